"""The differential-drive base in Gazebo Harmonic (gz_ros2_control, diff_drive_controller), with the node that controls it.

    ros2 launch learned_control gazebo_base.launch.py headless:=true
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.substitutions import (
    Command, FindExecutable, IfElseSubstitution, LaunchConfiguration, PathJoinSubstitution)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    package = FindPackageShare('learned_control')
    namespace = LaunchConfiguration('namespace')
    controllers_file = PathJoinSubstitution([package, 'config', 'gazebo_base_controllers.yaml'])

    robot_description = Command([
        FindExecutable(name='xacro'), ' ', PathJoinSubstitution([package, 'urdf', 'base.urdf.xacro']),
        ' controllers_file:=', controllers_file, ' namespace:=/', namespace,
    ])

    def spawner(*arguments):
        return Node(
            package='controller_manager', executable='spawner', namespace=namespace,
            arguments=[*arguments, '--controller-manager-timeout', '60'], output='screen')

    create = Node(
        package='ros_gz_sim', executable='create', namespace=namespace,
        arguments=['-topic', 'robot_description', '-name', 'base', '-z', '0.01'], output='screen')
    joint_state_broadcaster = spawner('joint_state_broadcaster')
    diff_drive_controller = spawner(
        'diff_drive_base_controller', '--param-file', controllers_file, '--controller-ros-args',
        '--ros-args --remap ~/cmd_vel:=cmd_vel --remap ~/odom:=odom --remap /tf:=tf')

    return LaunchDescription([
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([package, 'config', 'base.yaml']),
            description='ROS 2 parameter file, keyed by node name'),
        DeclareLaunchArgument(
            'world', default_value=PathJoinSubstitution([package, 'config', 'gazebo_arm.sdf']),
            description='SDF world to put the base into'),
        DeclareLaunchArgument(
            'headless', default_value='false', choices=['true', 'false'],
            description='Run Gazebo without its window'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='true', choices=['true', 'false'],
            description='Take the time from /clock, which Gazebo publishes'),
        # First, because it declares namespace.
        IncludeLaunchDescription(
            PathJoinSubstitution([package, 'launch', 'base_robot.launch.py']),
            launch_arguments={'params_file': LaunchConfiguration('params_file')}.items()),
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare('ros_gz_sim'), 'launch', 'gz_sim.launch.py']),
            launch_arguments={
                'gz_args': [
                    '-r -v 3 ', IfElseSubstitution(LaunchConfiguration('headless'), '-s ', ''),
                    LaunchConfiguration('world')],
                'on_exit_shutdown': 'true',
            }.items()),
        Node(
            package='ros_gz_bridge', executable='parameter_bridge',
            arguments=['/clock@rosgraph_msgs/msg/Clock[gz.msgs.Clock'], output='screen'),
        Node(
            package='robot_state_publisher', executable='robot_state_publisher', namespace=namespace,
            parameters=[{
                'robot_description': ParameterValue(robot_description, value_type=str),
                'use_sim_time': True,
            }],
            output='screen'),
        create,
        RegisterEventHandler(OnProcessExit(target_action=create, on_exit=[joint_state_broadcaster])),
        RegisterEventHandler(OnProcessExit(target_action=joint_state_broadcaster, on_exit=[diff_drive_controller])),
    ])
