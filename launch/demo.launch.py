# SPDX-License-Identifier: Apache-2.0
"""The pose node on a folder of images, a video or a rosbag2; by default on the rendered sequence that ships with it.

    ros2 launch dinemo_ros demo.launch.py path:=drive.mp4 rviz:=true
    ros2 launch dinemo_ros demo.launch.py scene:=cups

The second plays a shipped scene with depth and a table instead, and prints the errors of RGB alone, with the plane,
with depth and with both.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from dinemo_ros.process.fastdds_profile import profile_variable


def shared(*parts):
    """A file in the share folder of the package."""
    return PathJoinSubstitution([FindPackageShare("dinemo_ros"), *parts])


def profile():
    """The environment in which Fast DDS lets large images through."""
    variable = profile_variable()
    return {variable: shared("config", "fastdds.xml")} if variable else {}


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument("path", default_value=shared("config", "demo_sequence"),
                              description="Folder of images, video file, or rosbag2 (folder, .mcap or .db3)."),
        DeclareLaunchArgument("scene", default_value="", choices=["", "cups"],
                              description="A shipped scene with depth and a table, in the place of path, rate_hz, "
                                          "hfov_deg and category: prints the errors of RGB alone, with the plane, with "
                                          "depth and with both."),
        DeclareLaunchArgument("rate_hz", default_value="0.0",
                              description="Images per second; 0 keeps the source's own timing (folders: 10)."),
        DeclareLaunchArgument("loop", default_value="true", choices=["true", "false"],
                              description="Play the source again when it ends; a scene plays on with plane and depth."),
        DeclareLaunchArgument("hfov_deg", default_value="0.0",
                              description="Horizontal field of view in degrees, in the place of the source's camera; 0 "
                                          "takes that."),
        DeclareLaunchArgument("category", default_value="car",
                              description="Object category, the name of a shipped bundle."),
        DeclareLaunchArgument("bundle", default_value="",
                              description="Folder of a model bundle; empty takes the one shipped for the category."),
        DeclareLaunchArgument("backend", default_value="auto", choices=["auto", "onnxruntime", "tensorrt", "openvino",
                                                                         "torch"],
                              description="What runs the network; auto takes the fastest that works."),
        DeclareLaunchArgument("precision", default_value="auto", choices=["auto", "fp32", "fp16", "bf16", "int8"],
                              description="What the network computes in."),
        DeclareLaunchArgument("device", default_value="auto", choices=["auto", "cpu", "cuda"],
                              description="What the solver runs on; auto takes a GPU where torch and Triton can."),
        DeclareLaunchArgument("engine_cache", default_value="",
                              description="Folder for engines; empty takes dinemo_ros in the user's cache folder."),
        DeclareLaunchArgument("threads", default_value="2",
                              description="CPU threads: of the network, and for several objects at a time."),
        DeclareLaunchArgument("namespace", default_value="",
                              description="Namespace of the nodes and their topics."),
        DeclareLaunchArgument("autostart", default_value="true", choices=["true", "false"],
                              description="Configure and activate the node at once; false leaves both to a lifecycle "
                                          "manager."),
        DeclareLaunchArgument("rviz", default_value="true", choices=["true", "false"],
                              description="Open RViz with the overlay, the markers and the frames."),
        DeclareLaunchArgument("params_file", default_value=shared("config", "pose.yaml"),
                              description="YAML of pose_node's parameters; what it sets wins over the arguments."),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=nodes)])


# What a scene shows; a launch file has no way to look into it.
CATEGORY_OF = {"cups": "cup"}


def nodes(context):
    """The nodes, once it is known whether a scene is played."""
    scene = context.launch_configurations["scene"]
    return [scene_player(scene) if scene else image_source(), pose_node(CATEGORY_OF.get(scene)), rviz()]


def scene_player(scene):
    """Plays a scene, sets the pose node's parameters for it, prints errors."""
    return Node(
        package="dinemo_ros", executable="scene_node", namespace=LaunchConfiguration("namespace"), output="screen",
        additional_env=profile(),
        parameters=[{"scene": scene, "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool)}])


def image_source():
    """Plays pictures."""
    return Node(
        package="dinemo_ros", executable="image_source_node",
        namespace=LaunchConfiguration("namespace"), output="screen", additional_env=profile(),
        parameters=[{
            "path": ParameterValue(LaunchConfiguration("path"), value_type=str),
            "rate_hz": ParameterValue(LaunchConfiguration("rate_hz"), value_type=float),
            "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
            "hfov_deg": ParameterValue(LaunchConfiguration("hfov_deg"), value_type=float),
        }])


def pose_node(category):
    """The pose node; ``category`` in the place of the argument, where it is one."""
    return Node(
        package="dinemo_ros", executable="pose_node", namespace=LaunchConfiguration("namespace"), output="screen",
        additional_env=profile(),
        # The file comes last: an argument's default must not override what a user's file says. No name= here, because
        # launch_ros would key the dictionary by it, and rclpy lets that win over the file's /** in any order.
        parameters=[{
            "category": category or ParameterValue(LaunchConfiguration("category"), value_type=str),
            "bundle": ParameterValue(LaunchConfiguration("bundle"), value_type=str),
            "backend": ParameterValue(LaunchConfiguration("backend"), value_type=str),
            "precision": ParameterValue(LaunchConfiguration("precision"), value_type=str),
            "device": ParameterValue(LaunchConfiguration("device"), value_type=str),
            "engine_cache": ParameterValue(LaunchConfiguration("engine_cache"), value_type=str),
            "threads": ParameterValue(LaunchConfiguration("threads"), value_type=int),
            "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
        }, LaunchConfiguration("params_file")])


def rviz():
    """RViz with the layout of the package."""
    return Node(
        package="rviz2", executable="rviz2", name="rviz2", namespace=LaunchConfiguration("namespace"),
        arguments=["-d", shared("config", "dinemo.rviz")], condition=IfCondition(LaunchConfiguration("rviz")))
