# SPDX-License-Identifier: Apache-2.0
"""A 2-D detector beside the pose node: yolo_ros, or any node that publishes vision_msgs/Detection2DArray.

    ros2 launch dinemo_ros yolo.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info \\
        category:=cup detector_class:=cup
    ros2 launch dinemo_ros yolo.launch.py ... detector:=my_package/my_node detections_2d:=/my_node/boxes

yolo_ros has to be built beforehand; the weights of its models have a licence of their own (AGPL-3.0). Its messages are
not standard ones: the node yolo_boxes converts them. The detector may be slower than the camera.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from dinemo_ros.node.launching import environment, share_of, shared

YOLO = "yolo_ros"


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("image", default_value="/camera/image_raw", description="Topic of the camera images."),
        DeclareLaunchArgument("camera_info", default_value="/camera/camera_info",
                              description="Topic of the camera's sensor_msgs/CameraInfo."),
        DeclareLaunchArgument("category", default_value="cup", description="Object category of the pose node."),
        DeclareLaunchArgument("detector_class", default_value="cup",
                              description="The detector's class that is this category; empty uses all boxes."),
        DeclareLaunchArgument("detector", default_value=YOLO,
                              description="yolo_ros, or PACKAGE/EXECUTABLE of a node with a topic 'image' and boxes on "
                                          "detections_2d; empty starts none."),
        DeclareLaunchArgument("detections_2d", default_value="/detector/boxes",
                              description="Topic of the boxes, vision_msgs/Detection2DArray."),
        DeclareLaunchArgument("yolo_detections", default_value="/yolo/detections",
                              description="Topic of the boxes as yolo_ros publishes them."),
        DeclareLaunchArgument("rviz", default_value="true", choices=["true", "false"],
                              description="Open RViz, where it is installed."),
        OpaqueFunction(function=nodes)])


def nodes(context):
    """The detector, what converts its boxes, and the pose node."""
    given = dict(context.launch_configurations)
    pose = included(shared("launch", "pose.launch.py"), {
        "image": given["image"], "camera_info": given["camera_info"], "category": given["category"],
        "detections_2d": given["detections_2d"], "detections_class_id": given["detector_class"],
        "rois": "detections", "rviz": given["rviz"]})
    return [*detector(given), pose]


def detector(given):
    """The actions that start it."""
    if not given["detector"]:
        return []
    if given["detector"] != YOLO:
        package, _, executable = given["detector"].partition("/")
        return [Node(package=package, executable=executable, output="screen", additional_env=environment(),
                     remappings=[("image", given["image"]), ("detections_2d", given["detections_2d"])])]
    yolo = included(f"{share_of('yolo_bringup')}/launch/yolo.launch.py", {
        "input_image_topic": given["image"], "use_tracking": "False", "use_debug": "False"})
    boxes = Node(package="dinemo_ros", executable="yolo_boxes", output="screen", additional_env=environment(),
                 remappings=[("yolo_detections", given["yolo_detections"]),
                             ("detections_2d", given["detections_2d"])])
    return [yolo, boxes]


def included(file, arguments):
    """A launch file with its own arguments only: some names, like device, mean another thing in each."""
    return GroupAction([IncludeLaunchDescription(PythonLaunchDescriptionSource(file),
                                                 launch_arguments=list(arguments.items()))],
                       scoped=True, forwarding=False)
