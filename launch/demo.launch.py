# SPDX-License-Identifier: Apache-2.0
"""The pose node on a folder of images, a video or a rosbag2; by default on the rendered sequence that ships with it.

    ros2 launch dinemo_ros demo.launch.py path:=drive.mp4 rviz:=true
    ros2 launch dinemo_ros demo.launch.py scene:=cups

The second plays a shipped scene with depth and a table instead, and prints the errors of RGB alone, with the plane,
with depth and with both. Each parameter of the pose node is an argument, see ``--show-args``.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dinemo_ros.node.launching import (
    check_arguments,
    common_arguments,
    ends_all,
    environment,
    pose_node,
    rviz,
    shared,
    sim_time,
)

# What a scene shows; a launch file has no way to look into it.
CATEGORY_OF = {"cups": "cup"}


def arguments():
    return [
        DeclareLaunchArgument("path", default_value=shared("config", "demo_sequence"),
                              description="Folder of images, video file, or rosbag2 (folder, .mcap or .db3)."),
        DeclareLaunchArgument("scene", default_value="", choices=["", "cups"],
                              description="A shipped scene with depth and a table, in the place of path, rate_hz, "
                                          "hfov_deg and category: prints the errors of RGB alone, with the plane, with "
                                          "depth and with both."),
        DeclareLaunchArgument("rate_hz", default_value="0.0",
                              description="Images per second; 0 keeps the source's own timing (folders: 10)."),
        DeclareLaunchArgument("loop", default_value="true", choices=["true", "false", "True", "False"],
                              description="Play the source again when it ends; a scene plays on with plane and depth."),
        DeclareLaunchArgument("hfov_deg", default_value="0.0",
                              description="Horizontal field of view in degrees, in the place of the source's camera; 0 "
                                          "takes that."),
        *common_arguments(rviz=True)]


def nodes(context):
    """The nodes, once it is known whether a scene is played; none waits for one that has ended."""
    check_arguments(context, "demo.launch.py", [argument.name for argument in arguments()])
    scene = context.launch_configurations["scene"]
    player = scene_player(context, scene) if scene else image_source(context)
    *told, estimator = pose_node(context, CATEGORY_OF.get(scene))
    return [*told, player, estimator, *rviz(context), ends_all(player, only_when_failed=True), ends_all(estimator)]


def scene_player(context, scene):
    """Plays a scene, sets the pose node's parameters for it, prints errors."""
    return Node(
        package="dinemo_ros", executable="scene_node", namespace=LaunchConfiguration("namespace"), output="screen",
        additional_env=environment(),
        parameters=[{"scene": scene, "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                     "use_sim_time": sim_time(context)}])


def image_source(context):
    """Plays pictures."""
    return Node(
        package="dinemo_ros", executable="image_source_node",
        namespace=LaunchConfiguration("namespace"), output="screen", additional_env=environment(),
        parameters=[{
            "path": ParameterValue(LaunchConfiguration("path"), value_type=str),
            "rate_hz": ParameterValue(LaunchConfiguration("rate_hz"), value_type=float),
            "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
            "hfov_deg": ParameterValue(LaunchConfiguration("hfov_deg"), value_type=float),
            "use_sim_time": sim_time(context),
        }])


def generate_launch_description():
    return LaunchDescription([*arguments(), OpaqueFunction(function=nodes)])
