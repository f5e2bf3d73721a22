"""Controller, predictor and learner alone, for a base that publishes odom and takes cmd_vel.

The two simulations include this file, so these arguments are theirs too.

    ros2 launch learned_control base_robot.launch.py params_file:=/path/base.yaml

Paths come on base_controller/reference_path; or put it behind Nav2's controller_server, in place of velocity_smoother: with
cmd_vel_in:=cmd_vel_nav cmd_vel:=cmd_vel_smoothed it makes the base do what is asked for there, as far as collision_monitor lets it.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, SetRemap


# Its products are small: more threads would wait for each other, and spin.
ONE_THREAD = {'RAYON_NUM_THREADS': '1', 'CANDLE_NUM_THREADS': '1'}


def generate_launch_description():
    learning = LaunchConfiguration('learning')

    def node(name, more={}, **options):
        return Node(
            package='learned_control',
            executable=name,
            name=name,
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                LaunchConfiguration('params_file'),
                {'use_sim_time': LaunchConfiguration('use_sim_time'), **more},
            ],
            remappings=[
                ('cmd_vel_in', LaunchConfiguration('cmd_vel_in')),
                ('cmd_vel', LaunchConfiguration('cmd_vel')),
                ('odom', LaunchConfiguration('odom')),
            ],
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            output='screen',
            **options)

    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of all nodes and topics'),
        # Without a default: limits and gains of the simulated base are for no other.
        DeclareLaunchArgument('params_file', description='ROS 2 parameter file, keyed by node name'),
        DeclareLaunchArgument(
            'cmd_vel_in', default_value='cmd_vel_in', description='Topic on which another controller asks for twists'),
        DeclareLaunchArgument('cmd_vel', default_value='cmd_vel', description='Topic on which the base takes twists'),
        DeclareLaunchArgument('odom', default_value='odom', description='Topic with the odometry of the base'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false', choices=['true', 'false'],
            description='Take the time from /clock'),
        DeclareLaunchArgument(
            'learning', default_value='false', choices=['true', 'false'],
            description='Learn in the tick what the base makes of its twists, start the learner and let the controller take its weights'),
        DeclareLaunchArgument('log_level', default_value='info', description='debug, info, warn, error or fatal'),
        # As Nav2's bringup: each namespace has frames of its own.
        SetRemap('/tf', 'tf'),
        SetRemap('/tf_static', 'tf_static'),
        node('base_controller', {'learning': learning, 'accept_weights': learning, 'head.enabled': learning}),
        node('base_predictor'),
        # It may wait; the others may not.
        node('base_learner', condition=IfCondition(learning), prefix='nice -n 10', additional_env=ONE_THREAD),
    ])
