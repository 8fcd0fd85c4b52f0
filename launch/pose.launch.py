# SPDX-License-Identifier: Apache-2.0
"""The pose node beside a camera that is already running.

    ros2 launch dinemo_ros pose.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info

``ros2 launch dinemo_ros pose.launch.py --show-args`` lists every argument; each parameter of the node is one.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from dinemo_ros.node.launching import check_arguments, common_arguments, pose_node, rviz

# Topics of the node, by the argument that names them.
TOPICS = {"image": "image", "camera_info": "camera_info", "detections_2d": "detections_2d",
          "depth_image": "depth/image", "depth_camera_info": "depth/camera_info"}


def arguments():
    return [
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
        *common_arguments(rviz=False)]


def nodes(context):
    """The node and RViz, once the arguments are known."""
    check_arguments(context, "pose.launch.py", [argument.name for argument in arguments()])
    remappings = [(topic, LaunchConfiguration(name)) for name, topic in TOPICS.items()]
    return [*pose_node(context, remappings=remappings), *rviz(context)]


def generate_launch_description():
    return LaunchDescription([*arguments(), OpaqueFunction(function=nodes)])
