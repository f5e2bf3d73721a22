"""The nodes alone, for a robot that publishes joint_states and takes effort_controller/commands.

The two simulations include this file, so these arguments are theirs too.

    ros2 launch learned_control robot.launch.py params_file:=/path/robot.yaml

takes the robot's description from robot_state_publisher; where none runs, add urdf:=/path/robot.urdf.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, NotEqualsSubstitution
from launch_ros.actions import Node, SetParameter
from launch_ros.parameter_descriptions import ParameterValue


# Its products are small: more threads would wait for each other, and spin.
ONE_THREAD = {'RAYON_NUM_THREADS': '1', 'CANDLE_NUM_THREADS': '1'}


def generate_launch_description():
    urdf = LaunchConfiguration('urdf')
    learning = LaunchConfiguration('learning')

    def node(name, parameters={}, **options):
        return Node(
            package='learned_control',
            executable=name,
            name=name,
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                LaunchConfiguration('params_file'),
                LaunchConfiguration('overrides_file'),
                {'use_sim_time': LaunchConfiguration('use_sim_time'), **parameters},
            ],
            ros_arguments=['--log-level', LaunchConfiguration('log_level')],
            output='screen',
            **options,
        )

    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of all nodes and topics'),
        # Without a default: the gains and the reference of the simulated arm are for no other robot.
        DeclareLaunchArgument('params_file', description='ROS 2 parameter file, keyed by node name'),
        DeclareLaunchArgument(
            'overrides_file', default_value=LaunchConfiguration('params_file'),
            description='A second parameter file, whose values win'),
        DeclareLaunchArgument(
            'urdf', default_value='',
            description="The robot's URDF file; empty: take it from the topic robot_description"),
        DeclareLaunchArgument(
            'learning', default_value='false', choices=['true', 'false'],
            description='Learn in the tick, start the learner and let the controller take its weights'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false', choices=['true', 'false'],
            description='Take the time from /clock'),
        DeclareLaunchArgument('log_level', default_value='info', description='debug, info, warn, error or fatal'),
        # A group, so that urdf reaches these nodes and none of an including file.
        GroupAction([
            SetParameter(
                'urdf', ParameterValue(urdf, value_type=str),
                condition=IfCondition(NotEqualsSubstitution(urdf, ''))),
            node('predictor'),
            node('controller', {'learning': learning, 'accept_weights': learning, 'head.enabled': learning}),
            # It may wait; the others may not.
            node('learner', condition=IfCondition(learning), prefix='nice -n 10', additional_env=ONE_THREAD),
        ]),
    ])
