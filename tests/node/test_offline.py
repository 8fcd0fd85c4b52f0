# SPDX-License-Identifier: Apache-2.0
"""Offline equals online: ``dinemo estimate BAG --out-bag`` writes what the pose node says of the same messages."""

import numpy as np
import pytest
from ros_support.processes import running_node
from rosbags.interfaces import Nodetype
from rosbags.rosbag2 import Reader

from dinemo_ros.cli.main import main
from dinemo_ros.io.bag_types import typestore
from dinemo_ros.io.bag_writer import bag_file
from dinemo_ros.node import conversions, parameters
from dinemo_ros.node.for_bag import TOPICS, header_of

NAMESPACE = "/offline_test"
BEGIN_NS, STEP_NS = 1_700_000_000_123_456_789, 100_000_000
FRAMES = 4
IMAGE, INFO = "/front/image_raw", "/front/camera_info"


@pytest.fixture(scope="module")
def bag(tmp_path_factory, demo_frames):
    """What ``dinemo estimate`` wrote of a bag with some demo frames and a picture without a car."""
    folder = tmp_path_factory.mktemp("offline")
    shown = [demo_frames[k] for k in np.linspace(0, len(demo_frames) - 1, FRAMES).astype(int)]
    pictures = [*(frame.image for frame in shown), np.full_like(shown[0].image, 120)]
    with bag_file(folder / "in.mcap") as file:
        for k, picture in enumerate(pictures):
            stamp_ns = BEGIN_NS + k * STEP_NS
            header, received_ns = header_of(divmod(stamp_ns, 10**9), "front_camera"), stamp_ns + 5_000_000
            file.write(INFO, "sensor_msgs/msg/CameraInfo", received_ns,
                       conversions.camera_to_info(header, shown[0].camera))
            file.write(IMAGE, "sensor_msgs/msg/Image", received_ns + 1, conversions.rgb_to_image(header, picture))
    assert main(["estimate", str(folder / "in.mcap"), "--out-bag", str(folder / "out.mcap"), "--json",
                 str(folder / "poses.jsonl")]) == 0
    return folder / "out.mcap"


def read(path) -> dict[str, list[tuple[int, str, bytes]]]:
    """By topic (time of receipt, type, CDR)."""
    found: dict = {}
    with Reader(path) as reader:
        for connection, received_ns, raw in reader.messages():
            found.setdefault(connection.topic, []).append((received_ns, connection.msgtype, bytes(raw)))
    return found


def plain(message, msgtype: str) -> list:
    """[(where, value)] of every number and word in a message of whatever class; arrays as lists."""
    found: list = []

    def walk(where: str, value, kind: tuple) -> None:
        node, of = kind
        if node == Nodetype.NAME:
            for name, inner in typestore().fielddefs[of][1]:
                walk(f"{where}.{name}", getattr(value, name), inner)
        elif node == Nodetype.BASE:
            found.append((where, value))
        else:
            found.append((f"{where}.length", len(value)))
            for index, one in enumerate(value):
                walk(f"{where}[{index}]", one, of[0])

    walk("", message, (Nodetype.NAME, msgtype))
    return found


def assert_same(offline, online, msgtype: str) -> None:
    ours, theirs = plain(offline, msgtype), plain(online, msgtype)
    assert [where for where, _ in ours] == [where for where, _ in theirs]
    for (where, one), (_, other) in zip(ours, theirs, strict=True):
        if isinstance(other, float):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-7), where
        else:
            assert one == other, where


def test_a_played_bag_gives_online_what_was_written_offline(bag, tmp_path, make_probe):
    """Every image of the file is played to the real node; every message of its answer stands in the file."""
    written = read(bag)
    with running_node(tmp_path, NAMESPACE, child_frame_prefix="/"):
        probe = make_probe(NAMESPACE, outputs=("detections", "pose", "pose_with_covariance", "markers", "boxes", "/tf"))
        probe.wait_for_node()
        for index, ((_, _, info), (_, kind, image)) in enumerate(zip(written[INFO], written[IMAGE], strict=True)):
            header = typestore().deserialize_cdr(image, kind).header
            probe.infos.publish(info)
            probe.images.publish(image)
            probe.wait(lambda index=index: len(probe.received["markers"]) > index, f"the answer to image {index}")
            assert conversions.nanoseconds(header.stamp) == BEGIN_NS + index * STEP_NS
        probe.spin(0.5)
        received = {topic: probe.received[topic.lstrip("/") if topic != "/tf" else topic] for topic in TOPICS}
    for topic, online in received.items():
        offline = written[topic]
        assert len(offline) == len(online) == (FRAMES + (topic in ("/detections", "/markers", "/boxes"))), topic
        for (_, kind, raw), message in zip(offline, online, strict=True):
            assert kind == TOPICS[topic]
            assert_same(typestore().deserialize_cdr(raw, kind), message, kind)


def test_defaults_are_those_of_the_node():
    from dinemo_ros.node import for_bag

    defaults = {parameter.name: parameter.default for parameter in parameters.POSE_NODE}
    assert for_bag._MARKER_STYLE == defaults["marker_style"]
    assert for_bag._MARKER_LIFETIME_S == defaults["marker_lifetime_s"]
    assert defaults["publish_tf"] and not defaults["publish_grasps"] and defaults["target_frame"] == ""


@pytest.mark.parametrize("package", ["vision_msgs", "tf2_msgs"])
def test_types_of_the_file_are_those_of_the_installed_packages(package):
    """By their hashes, which ROS 2 compares as well."""
    from importlib import import_module

    module = import_module(f"{package}.msg")
    checked = 0
    for msgtype in typestore().types:
        name = msgtype.rpartition("/")[2]
        if msgtype.startswith(f"{package}/msg/") and hasattr(module, name):
            fields = getattr(module, name).get_fields_and_field_types()
            assert list(fields) == [field for field, _ in typestore().fielddefs[msgtype][1]], msgtype
            checked += 1
    assert checked >= (10 if package == "vision_msgs" else 1)


def test_the_hash_of_the_answer_is_that_of_a_real_distribution():
    """Of vision_msgs 4, as Humble to Lyrical have it."""
    assert typestore().hash_rihs01("vision_msgs/msg/Detection3DArray") == (
        "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018")
    assert typestore().hash_rihs01("tf2_msgs/msg/TFMessage") == (
        "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087")
