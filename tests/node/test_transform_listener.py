# SPDX-License-Identifier: Apache-2.0
"""Who listens to TF: tf2_ros where it is, else our own; both say the same to the node."""

from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.serialization import serialize_message
from ros_support.transform_tree import Tree, stamped
from tf2_msgs.msg import TFMessage

from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.node import transform_listener
from dinemo_ros.node.limited import MOST_BYTES
from dinemo_ros.node.transforms import TransformError

T = se3(so3_exp(np.array([0.1, -0.4, 0.9])), np.array([0.3, 0.2, 1.0]))


@pytest.fixture
def listening(make_probe):
    """Our own listener on a probe's node, what it refuses, and somebody who publishes."""
    probe, refused = make_probe("/tf_test", outputs=()), []
    own = transform_listener.OwnTransforms(probe, MutuallyExclusiveCallbackGroup(), lambda *told: refused.append(told))
    yield own, refused, probe
    own.close()


def test_without_tf2_ros_the_topics_are_listened_to_as_it_does(listening, monkeypatch):
    own, _, probe = listening
    qos = {topic: next(info.qos_profile for info in probe.get_subscriptions_info_by_topic(topic))
           for topic in ("/tf", "/tf_static")}
    assert all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in qos.values())
    assert [profile.durability for profile in qos.values()] == [DurabilityPolicy.VOLATILE,
                                                                DurabilityPolicy.TRANSIENT_LOCAL]
    monkeypatch.setattr(transform_listener, "_TF2", False)
    made = transform_listener.listen(probe, MutuallyExclusiveCallbackGroup(), print)
    assert isinstance(made, transform_listener.OwnTransforms)
    made.close()
    own.close()
    probe.spin(0.3)
    assert probe.count_subscribers("/tf") == probe.count_subscribers("/tf_static") == 0


def test_what_is_published_is_looked_up(listening):
    """A fixed frame also by who comes after it was published; what moves is forgotten by clear()."""
    own, refused, probe = listening
    tree, stamp = Tree(probe), probe.header(5_000_000_000).stamp
    tree.static("base", "mast", T)
    probe.wait(tree.moving.get_subscription_count, "matching")
    late = transform_listener.OwnTransforms(probe, MutuallyExclusiveCallbackGroup(), lambda *told: refused.append(told))
    tree.at("mast", "camera", T, stamp)
    probe.spin(0.5)
    assert np.allclose(own.lookup("base", "camera", 5_000_000_000), T @ T)
    assert np.allclose(late.lookup("base", "mast", 1), T)
    own.clear()
    assert np.allclose(own.lookup("base", "mast", 1), T)
    with pytest.raises(TransformError, match="'camera' is not in TF"):
        own.lookup("base", "camera", 0)
    late.close()
    assert not refused


def test_strangers_transforms_are_refused_in_a_sentence(listening):
    own, refused, probe = listening
    tree = Tree(probe)
    probe.wait(tree.moving.get_subscription_count, "matching")
    probe.spin(0.3)
    bad = TransformStamped(child_frame_id="camera")  # of no parent
    tree.moving.publish(TFMessage(transforms=[bad] * 3 + [stamped("base", "camera", T)]))
    large = TFMessage(transforms=[stamped("base", f"frame_{k}", T) for k in range(3000)])
    assert len(serialize_message(large)) > MOST_BYTES["/tf"]
    tree.moving.publish(large)
    probe.spin(0.5)
    assert [topic for topic, _ in refused] == ["/tf", "/tf"]
    assert refused[0][1].endswith("1 to 256 printable characters (and 2 more)")
    assert "a TFMessage of" in refused[1][1] and "256000 are the most" in refused[1][1]
    assert np.allclose(own.lookup("base", "camera", 0), T), "the good one among them is taken"


class Tf2Error(Exception):
    """In the place of tf2_ros.TransformException."""


class Tf2Buffer:
    """In the place of tf2_ros.Buffer."""

    def __init__(self, node=None) -> None:
        self.asked, self.cleared = [], 0

    def lookup_transform(self, target, source, time):
        self.asked.append((target, source, time.nanoseconds))
        if source == "nowhere":
            raise Tf2Error('"nowhere" passed to lookupTransform argument source_frame does not exist.')
        return stamped(target, source, T)

    def clear(self) -> None:
        self.cleared += 1


def test_with_tf2_ros_its_buffer_is_asked(monkeypatch):
    ended = []
    monkeypatch.setattr(transform_listener, "_TF2", True)
    monkeypatch.setattr(transform_listener, "Buffer", Tf2Buffer, raising=False)
    monkeypatch.setattr(transform_listener, "TransformException", Tf2Error, raising=False)
    monkeypatch.setattr(transform_listener, "TransformListener",
                        lambda buffer, node: SimpleNamespace(unregister=lambda: ended.append(buffer)), raising=False)
    node = rclpy.create_node("tf2_user")
    try:
        found = transform_listener.listen(node, MutuallyExclusiveCallbackGroup(), print)
        assert np.allclose(found.lookup("/base", "camera", 7), T)
        with pytest.raises(TransformError, match="nowhere.*does not exist") as error:
            found.lookup("base", "nowhere", 0)
        assert error.value.may_come
        with pytest.raises(TransformError, match="below zero"):
            found.lookup("base", "camera", -5)
        found.clear()
        found.close()
        assert found._buffer.asked == [("base", "camera", 7), ("base", "nowhere", 0)]
        assert found._buffer.cleared == 1 and ended == [found._buffer]
    finally:
        node.destroy_node()
