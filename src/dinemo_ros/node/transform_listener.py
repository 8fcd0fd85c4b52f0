# SPDX-License-Identifier: Apache-2.0
"""Who listens to TF for the node: tf2_ros where it is installed, else a buffer of our own on the same topics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from ..geometry import se3
from .limited import limited
from .transform_history import rotation_from_quaternion
from .transforms import TransformBuffer, TransformError, Transforms, bare

try:
    from tf2_ros import Buffer, TransformException, TransformListener

    _TF2 = True
except ImportError:  # ROS 2 from wheels has no tf2_ros
    _TF2 = False

_REFUSED = Callable[[str, str], None]


def listen(node: Node, group: CallbackGroup, refuse: _REFUSED) -> Transforms:
    """Subscribe to /tf and /tf_static. ``refuse`` is told topic and sentence of what is not taken."""
    return Tf2Transforms(node) if _TF2 else OwnTransforms(node, group, refuse)


class OwnTransforms:
    """:class:`TransformBuffer` on the topics, with the qualities of service of tf2_ros."""

    def __init__(self, node: Node, group: CallbackGroup, refuse: _REFUSED) -> None:
        self._node, self._refuse, self._buffer = node, refuse, TransformBuffer()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(TFMessage, topic, limited(TFMessage, topic, take, refuse), qos,
                                     callback_group=group, raw=True)
            for topic, take, qos in (("/tf", self._on_moving, QoSProfile(depth=100)),
                                     ("/tf_static", self._on_static, latched))]

    def _on_moving(self, message: TFMessage) -> None:
        self._add("/tf", message, static=False)

    def _on_static(self, message: TFMessage) -> None:
        self._add("/tf_static", message, static=True)

    def _add(self, topic: str, message: TFMessage, static: bool) -> None:
        problems = list(filter(None, (self._buffer.add(one, static) for one in message.transforms)))
        if problems:
            self._refuse(topic, problems[0] + f" (and {len(problems) - 1} more)" * (len(problems) > 1))

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """[4, 4] metres; see :class:`Transforms`. stamp_ns: nanoseconds.

        Raises:
            TransformError: TF does not have it.
        """
        return self._buffer.lookup(target, source, stamp_ns)

    def clear(self) -> None:
        """See :class:`Transforms`."""
        self._buffer.clear()

    def close(self) -> None:
        """See :class:`Transforms`."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []


class Tf2Transforms:
    """tf2_ros, which has its own callback group."""

    def __init__(self, node: Node) -> None:
        self._buffer = Buffer(node=node)
        self._listener = TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """[4, 4] metres; see :class:`Transforms`. stamp_ns: nanoseconds.

        Raises:
            TransformError: TF does not have it.
        """
        if stamp_ns < 0:  # which rclpy's Time cannot hold
            raise TransformError(f"TF is asked for {1e-9 * stamp_ns:.3f} s, a time below zero: set the stamp in the "
                                 "camera driver", may_come=False)
        try:
            found = self._buffer.lookup_transform(bare(target), bare(source), Time(nanoseconds=stamp_ns)).transform
        except TransformException as error:
            raise TransformError(f"TF: {error}", may_come=True) from error
        t, q = found.translation, found.rotation
        return se3(rotation_from_quaternion(q.x, q.y, q.z, q.w), np.array([t.x, t.y, t.z]))

    def clear(self) -> None:
        """See :class:`Transforms`."""
        self._buffer.clear()

    def close(self) -> None:
        """See :class:`Transforms`."""
        self._listener.unregister()
