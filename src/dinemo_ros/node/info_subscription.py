# SPDX-License-Identifier: Apache-2.0
"""A subscription to a camera_info, which follows how it is offered."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from .limited import limited

#: A handful, while an image is worked on. Fast DDS keeps room for as many of the largest message that ever came.
RECENT = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class InfoSubscription:
    """A volatile subscription never gets what was published before it, a latching one nothing volatile: as offered.

    One of each where both kinds of publishers are there.

    Attributes:
        latched: somebody offers it to those who come late.
    """

    def __init__(self, node: Node, topic: str, group: CallbackGroup, take: Callable[[CameraInfo], None],
                 refuse: Callable[[str, str], None]) -> None:
        """``topic`` is a key of :data:`dinemo_ros.node.limited.MOST_BYTES`; ``refuse``: see there."""
        self._node, self._topic, self._group = node, topic, group
        self._take = limited(CameraInfo, topic, take, refuse)
        self.latched = False
        self._subscriptions: dict[DurabilityPolicy, object] = {}
        self.follow()

    def close(self) -> None:
        """End it; nothing is called from here any more."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions = {}

    def follow(self) -> None:
        """Adapt to what is published now."""
        offered = [info.qos_profile for info in self._node.get_publishers_info_by_topic(
            self._node.resolve_topic_name(self._topic))]
        latching = [qos for qos in offered if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL]
        self.latched = bool(latching)
        wanted = {}
        if len(latching) < len(offered) or not offered:
            wanted[DurabilityPolicy.VOLATILE] = RECENT
        if latching:
            reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in latching)
            wanted[DurabilityPolicy.TRANSIENT_LOCAL] = QoSProfile(
                history=HistoryPolicy.KEEP_LAST, depth=RECENT.depth, durability=DurabilityPolicy.TRANSIENT_LOCAL,
                reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT)
        for durability in [*self._subscriptions]:
            if durability not in wanted and offered:
                self._node.destroy_subscription(self._subscriptions.pop(durability))
        for durability, profile in wanted.items():
            if durability not in self._subscriptions:
                self._subscriptions[durability] = self._node.create_subscription(
                    CameraInfo, self._topic, self._take, profile, callback_group=self._group, raw=True)
