# SPDX-License-Identifier: Apache-2.0
"""The pose node beside a camera that is already running.

    ros2 launch dinemo_ros pose.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info

``ros2 launch dinemo_ros pose.launch.py --show-args`` lists every argument.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
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
        DeclareLaunchArgument("image", default_value="image",
                              description="Topic of the camera images, sensor_msgs/Image or CompressedImage."),
        DeclareLaunchArgument("camera_info", default_value="camera_info",
                              description="Topic of the camera's sensor_msgs/CameraInfo."),
        DeclareLaunchArgument("detections_2d", default_value="detections_2d",
                              description="Topic of a detector's vision_msgs/Detection2DArray. While nobody publishes "
                                          "it, the model finds objects by itself."),
        DeclareLaunchArgument("depth_image", default_value="depth/image",
                              description="Topic of depth images, sensor_msgs/Image (16UC1, 32FC1) or CompressedImage; "
                                          "used while somebody publishes it."),
        DeclareLaunchArgument("depth_camera_info", default_value="depth/camera_info",
                              description="Topic of the depth camera's sensor_msgs/CameraInfo; not needed where depth "
                                          "is aligned to the camera images and of their size."),
        DeclareLaunchArgument("target_frame", default_value="",
                              description="Frame to publish in, by TF; empty takes that of the images."),
        DeclareLaunchArgument("support_frame", default_value="",
                              description="Frame whose x-y plane the objects stand on, by TF; empty knows none."),
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
                              description="Namespace of the node and its topics."),
        DeclareLaunchArgument("autostart", default_value="true", choices=["true", "false"],
                              description="Configure and activate the node at once; false leaves both to a lifecycle "
                                          "manager."),
        DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"],
                              description="Open RViz with the overlay, the markers and the frames."),
        DeclareLaunchArgument("params_file", default_value=shared("config", "pose.yaml"),
                              description="YAML of the node's parameters; what it sets wins over the arguments."),
    ]
    pose_node = Node(
        package="dinemo_ros", executable="pose_node", namespace=LaunchConfiguration("namespace"), output="screen",
        additional_env=profile(),
        # The file comes last: an argument's default must not override what a user's file says. No name= here, because
        # launch_ros would key the dictionary by it, and rclpy lets that win over the file's /** in any order.
        parameters=[{
            "category": ParameterValue(LaunchConfiguration("category"), value_type=str),
            "bundle": ParameterValue(LaunchConfiguration("bundle"), value_type=str),
            "backend": ParameterValue(LaunchConfiguration("backend"), value_type=str),
            "precision": ParameterValue(LaunchConfiguration("precision"), value_type=str),
            "device": ParameterValue(LaunchConfiguration("device"), value_type=str),
            "engine_cache": ParameterValue(LaunchConfiguration("engine_cache"), value_type=str),
            "threads": ParameterValue(LaunchConfiguration("threads"), value_type=int),
            "target_frame": ParameterValue(LaunchConfiguration("target_frame"), value_type=str),
            "support_frame": ParameterValue(LaunchConfiguration("support_frame"), value_type=str),
            "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
        }, LaunchConfiguration("params_file")],
        remappings=[("image", LaunchConfiguration("image")), ("camera_info", LaunchConfiguration("camera_info")),
                    ("detections_2d", LaunchConfiguration("detections_2d")),
                    ("depth/image", LaunchConfiguration("depth_image")),
                    ("depth/camera_info", LaunchConfiguration("depth_camera_info"))])
    rviz = Node(
        package="rviz2", executable="rviz2", name="rviz2", namespace=LaunchConfiguration("namespace"),
        arguments=["-d", shared("config", "dinemo.rviz")], condition=IfCondition(LaunchConfiguration("rviz")))
    return LaunchDescription([*arguments, pose_node, rviz])
