"""A base in the embedded simulator, with the nodes that control and predict it: the differential-drive one in MuJoCo, or with
params_file:=.../config/base_ackermann.yaml or base_omnidirectional.yaml a kinematic one, for which no urdf is read.

    ros2 launch learned_control base.launch.py
    ros2 topic pub --once /base_controller/reference_path nav_msgs/msg/Path '{header: {frame_id: odom}, poses: [
      {pose: {position: {x: 0.0}}}, {pose: {position: {x: 1.0, y: 0.3}}}, {pose: {position: {x: 2.0}}}]}'
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, SetRemap
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    package = FindPackageShare('learned_control')
    return LaunchDescription([
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([package, 'config', 'base.yaml']),
            description='ROS 2 parameter file, keyed by node name'),
        DeclareLaunchArgument(
            'urdf', default_value=PathJoinSubstitution([package, 'urdf', 'base.urdf']),
            description="The base's URDF file"),
        DeclareLaunchArgument(
            'use_sim_time', default_value='true', choices=['true', 'false'],
            description='Take the time from /clock, which the simulator publishes'),
        # Each namespace has a simulator, hence a clock, of its own.
        SetRemap('/clock', 'clock'),
        # First, because it declares namespace and log_level.
        IncludeLaunchDescription(
            PathJoinSubstitution([package, 'launch', 'base_robot.launch.py']),
            launch_arguments={'params_file': LaunchConfiguration('params_file')}.items()),
        Node(
            package='learned_control',
            executable='base_simulator',
            name='base_simulator',
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                LaunchConfiguration('params_file'),
                {'urdf': ParameterValue(LaunchConfiguration('urdf'), value_type=str)},
            ],
            remappings=[
                ('cmd_vel', LaunchConfiguration('cmd_vel')),
                ('odom', LaunchConfiguration('odom')),
            ],
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            output='screen',
            on_exit=Shutdown(reason='the simulator ended')),
    ])
