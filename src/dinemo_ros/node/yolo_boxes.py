# SPDX-License-Identifier: Apache-2.0
"""``yolo_boxes``: the boxes of yolo_ros, whose message type is its own, as ``vision_msgs/Detection2DArray``.

Subscribes ``yolo_detections`` (yolo_msgs/DetectionArray), publishes ``detections_2d``. yolo_msgs has to be installed.
"""

from __future__ import annotations

import importlib
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from ..errors import DinemoError
from .ending import leave
from .executable import run
from .info_subscription import RECENT


def converted(message: Any) -> Detection2DArray:
    """Detection2DArray of a yolo_msgs/DetectionArray; ``class_id`` is the name of the class, or its number without one.

    The header stays that of the image: the pose node finds the image by it.
    """
    return Detection2DArray(header=message.header,
                            detections=[_converted(detection, message.header) for detection in message.detections])


def _converted(detection: Any, header: Any) -> Detection2D:
    box = Detection2D(header=header, id=str(detection.id))
    center = detection.bbox.center
    box.bbox.center.position.x, box.bbox.center.position.y = float(center.position.x), float(center.position.y)
    box.bbox.center.theta = float(center.theta)
    box.bbox.size_x, box.bbox.size_y = float(detection.bbox.size.x), float(detection.bbox.size.y)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = detection.class_name or str(detection.class_id)
    result.hypothesis.score = float(detection.score)
    box.results = [result]
    return box


class YoloBoxes(Node):
    """See the module."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("yolo_boxes", start_parameter_services=False, **kwargs)
        try:
            kind = importlib.import_module("yolo_msgs.msg").DetectionArray
        except ImportError as error:
            raise DinemoError(f"yolo_msgs cannot be imported ({error}): build and source yolo_ros first") from error
        self._boxes = self.create_publisher(Detection2DArray, "detections_2d", QoSProfile(depth=10))
        self.create_subscription(kind, "yolo_detections", self._convert, RECENT)

    def _convert(self, message: Any) -> None:
        self._boxes.publish(converted(message))


def main(args: list[str] | None = None) -> int:
    """Convert until SIGINT or SIGTERM; 0, or 1 without yolo_msgs."""
    return run("yolo_boxes", YoloBoxes, rclpy.spin, args)


if __name__ == "__main__":
    leave(main())
