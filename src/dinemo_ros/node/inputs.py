# SPDX-License-Identifier: Apache-2.0
"""The subscriptions of an active pose node, which follow what is published."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from ..io.quoting import shown
from .arrivals import Arrivals
from .info_subscription import RECENT, InfoSubscription
from .limited import limited
from .node_log import NodeLog

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

# One image, because with a deeper queue a busy node works on stale ones; where images wait for their boxes anyway,
# those that come while it works on one must not get lost.
_NEWEST, _ALL = 1, 10
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class Inputs:
    """Subscribes to ``image`` with the type and under the name it is published with, to ``camera_info`` as it is
    offered, and to ``detections_2d``; notices where images are lost.

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
        self._subscribed: tuple = ()  # type, topic, depth, reliability
        self._arrivals, self._lossy = Arrivals(), False
        self._on_camera_info = on_camera_info
        self._infos = InfoSubscription(node, "camera_info", group, self._take_info, refuse)
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
            reliability, cannot = self._reliability(topic, settings.image_reliability)
            self._subscribe(kind, topic, _ALL if boxes else _NEWEST, reliability)
            problem = problem or cannot
        return problem

    def losses(self) -> str:
        """Where images are lost, and what helps; empty where all is well."""
        problem = self._arrivals.problem()
        self._lossy |= bool(problem)
        return problem

    def _reliability(self, topic: str, asked: str) -> tuple[ReliabilityPolicy, str]:
        """That of the subscription, and why no image can come with it.

        auto: as REP 2003 has it for sensors, until images were seen to be lost and their publishers could help it.
        """
        offered = {info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(topic)}
        if asked == "reliable" or (asked == "auto" and self._lossy and offered == {ReliabilityPolicy.RELIABLE}):
            return ReliabilityPolicy.RELIABLE, "" if offered != {ReliabilityPolicy.BEST_EFFORT} else (
                f"{topic} is offered as best effort, image_reliability is 'reliable', so no pose: set it to auto")
        return ReliabilityPolicy.BEST_EFFORT, ""

    def _subscribe(self, kind: type, topic: str, depth: int, reliability: ReliabilityPolicy) -> None:
        if self._subscribed == (kind, topic, depth, reliability):
            return
        if self._image:
            self._node.destroy_subscription(self._image)
        if self._subscribed[:2] != (kind, topic):
            self._log.info(f"subscribed to {topic} ({kind.__name__})")
        elif self._subscribed[3] != reliability:
            self._log.info(f"subscribed to {topic} as {reliability.name.lower()} from now on")
        self._subscribed, self.image_topic = (kind, topic, depth, reliability), topic
        self._arrivals.clear()
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability)
        more = {"callback_group": self._group}
        try:
            self._image = self._node.create_subscription(
                kind, topic, self._take_image, profile, **more,
                event_callbacks=SubscriptionEventCallbacks(message_lost=self._count_lost))
        except _rclpy.UnsupportedEventTypeError:  # not with every middleware
            self._arrivals.told_of_losses = False
            self._image = self._node.create_subscription(kind, topic, self._take_image, profile, **more)

    def _take_image(self, message: Image | CompressedImage) -> None:
        begin = time.monotonic()
        self._on_image(message)
        self._arrivals.image(time.monotonic() - begin)

    def _take_info(self, message: CameraInfo) -> None:
        self._arrivals.info()
        self._on_camera_info(message)

    def _count_lost(self, event: Any) -> None:
        self._arrivals.lost(event.total_count_change)

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
