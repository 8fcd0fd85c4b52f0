# SPDX-License-Identifier: Apache-2.0
"""Somebody who publishes TF beside a probe."""

from __future__ import annotations

from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from dinemo_ros.node.conversions import quaternion_from_rotation


class Tree:
    """Publishes fixed and moving frames."""

    def __init__(self, probe) -> None:
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._static = probe.create_publisher(TFMessage, "/tf_static", latched)
        self.moving = probe.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))
        self._all: list[TransformStamped] = []

    def static(self, parent: str, child: str, T) -> None:
        self._all.append(stamped(parent, child, T))
        self._static.publish(TFMessage(transforms=self._all))

    def at(self, parent: str, child: str, T, stamp) -> None:
        message = stamped(parent, child, T)
        message.header.stamp = stamp
        self.moving.publish(TFMessage(transforms=[message]))


def stamped(parent: str, child: str, T) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = (float(x) for x in T[:3, 3])
    q.x, q.y, q.z, q.w = quaternion_from_rotation(T[:3, :3])
    return message


def ready(probe, tree: Tree) -> None:
    probe.wait_for_node()
    probe.wait(lambda: tree.moving.get_subscription_count() > 1, "the node to listen to TF")  # the probe does, too
    probe.spin(0.5)
