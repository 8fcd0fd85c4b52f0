# SPDX-License-Identifier: Apache-2.0
"""The subscriptions of an active pose node, which follow what is published."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from ..io.quoting import shown
from .info_subscription import RECENT, InfoSubscription
from .limited import limited
from .node_log import NodeLog

# One image, because with a deeper queue a busy node works on stale ones; where images wait for their boxes anyway,
# those that come while it works on one must not get lost.
_NEWEST, _ALL = 1, 10
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class Inputs:
    """Subscribes to ``image`` with the type and under the name it is published with, to ``camera_info`` as it is
    offered, and to ``detections_2d``.

    Attributes:
        image_topic: full name of what the images come from.
    """

    def __init__(self, node: Node, group: CallbackGroup, on_image: Callable, on_camera_info: Callable,
                 on_detections: Callable, refuse: Callable[[str, str], None]) -> None:
        """``refuse`` is told topic and sentence of what is not read, see :func:`dinemo_ros.node.limited.limited`."""
        self._node, self._group, self._on_image = node, group, on_image
        self._log = NodeLog(node.get_logger())
        self.image_topic = node.resolve_topic_name("image")
        self._image = None
        self._subscribed: tuple = ()  # type, topic, depth
        self._infos = InfoSubscription(node, "camera_info", group, on_camera_info, refuse)
        on_boxes = limited(Detection2DArray, "detections_2d", on_detections, refuse)
        self._detections = node.create_subscription(Detection2DArray, "detections_2d", on_boxes, RECENT,
                                                    callback_group=group, raw=True)

    @property
    def latched(self) -> bool:
        """Somebody offers camera_info to those who come late."""
        return self._infos.latched

    def close(self) -> None:
        """End all subscriptions; nothing is called from here any more."""
        for subscription in filter(None, [self._detections, self._image]):
            self._node.destroy_subscription(subscription)
        self._detections = self._image = None
        self._infos.close()

    def follow(self, settings: SimpleNamespace, boxes: bool = False) -> str:
        """Adapt to what is published now; what stands in the way of images, or an empty string.

        boxes: images wait for those of a detector.
        """
        self._infos.follow()
        kind, topic, problem = self._wanted_image(settings.image_transport)
        if kind:
            self._subscribe(kind, topic, _ALL if boxes else _NEWEST)
        return problem

    def _subscribe(self, kind: type, topic: str, depth: int) -> None:
        if self._subscribed == (kind, topic, depth):
            return
        if self._image:
            self._node.destroy_subscription(self._image)
        if self._subscribed[:2] != (kind, topic):
            self._log.info(f"subscribed to {topic} ({kind.__name__})")
        self._subscribed, self.image_topic = (kind, topic, depth), topic
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._image = self._node.create_subscription(kind, topic, self._on_image, profile, callback_group=self._group)

    def _wanted_image(self, transport: str) -> tuple[type | None, str, str]:
        """Type and topic to subscribe to, and what is wrong with what is published."""
        topic = self._node.resolve_topic_name("image")
        here, beside = self._types(topic), f"{topic}/compressed"
        carries = f"{topic} carries {', '.join(shown(name, 80) for name in sorted(here)[:3])}"
        if transport == "raw":
            return Image, topic, "" if not here or _RAW in here else (
                f"{carries}, image_transport is 'raw', so no pose: set image_transport to auto, or remap 'image'")
        if transport == "auto" and _RAW in here:
            return Image, topic, ""
        if _COMPRESSED in here:
            return CompressedImage, topic, ""
        # What image_transport does: the name of the topic is that of the raw one.
        if _COMPRESSED in self._types(beside) and (transport == "compressed" or not here):
            return CompressedImage, beside, ""
        if transport == "compressed":
            return CompressedImage, topic, "" if not here else (
                f"{carries}, image_transport is 'compressed' and nobody publishes a CompressedImage on {beside}, so no "
                "pose: set image_transport to auto, or start the compressed transport")
        return None, topic, "" if not here else (f"{carries}, so no pose: remap 'image' to an Image or CompressedImage")

    def _types(self, topic: str) -> set[str]:
        return {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}
