# SPDX-License-Identifier: Apache-2.0
"""``dinemo estimate BAG --out-bag OUT.mcap``: what is in the file, and what is told and left where there is none.

That it holds what the node says of the same images is held by ``tests/node/test_offline.py``.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dinemo_ros.cli.main import main
from dinemo_ros.errors import OutputError
from dinemo_ros.io.sources import open_source

from .conftest import CAMERA

pytest.importorskip("rosbags", reason="rosbags is not installed (pip install rosbags)")
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader

from dinemo_ros.io.bag_types import typestore
from dinemo_ros.io.bag_writer import bag_file
from dinemo_ros.node import conversions
from dinemo_ros.node.for_bag import TOPICS, header_of
from dinemo_ros.node.message_classes import TFMessage

IMAGE, INFO = "/front/image_raw", "/front/camera_info"
BEGIN_NS, STEP_NS = 1_700_000_000_123_456_789, 100_000_000  # no float has the stamp


@pytest.fixture(scope="module")
def recorded(scenes, tmp_path_factory):
    """A bag: three pictures, one too small to be worked on, /tf and /tf_static, and what has nothing to do with it."""
    path = tmp_path_factory.mktemp("recorded") / "in.mcap"
    pictures = [cv2.imread(str(scenes[0] / name))[..., ::-1] for name in ("a.png", "b.png", "c.png")]
    mount = np.eye(4)
    mount[:3, 3] = 0.1, 0.2, 1.3
    with bag_file(path) as file:
        for topic in ("/tf_static", "/tf", "/detections"):
            header = header_of(divmod(BEGIN_NS, 10**9), "base_link")
            file.write(topic, "tf2_msgs/msg/TFMessage", BEGIN_NS, TFMessage(transforms=[
                conversions.transform_between(header, "front_camera", mount)]))
        for k, picture in enumerate([*pictures, np.zeros((8, 8, 3), np.uint8)]):
            header = header_of(divmod(BEGIN_NS + k * STEP_NS, 10**9), "front_camera")
            received_ns = BEGIN_NS + k * STEP_NS + 5_000_000
            file.write(INFO, "sensor_msgs/msg/CameraInfo", received_ns, conversions.camera_to_info(header, CAMERA))
            file.write(IMAGE, "sensor_msgs/msg/Image", received_ns + 7, conversions.rgb_to_image(header, picture))
    return path


@pytest.fixture(scope="module")
def out(recorded, bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    assert main(["estimate", str(recorded), "--bundle", str(bundle), "--out-bag", str(folder / "out.mcap"), "--json",
                 str(folder / "poses.jsonl")]) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["out.mcap", "poses.jsonl"]
    return folder / "out.mcap"


def read(path):
    """(topic, type, time of receipt, CDR) of all messages, in their order."""
    with Reader(path) as reader:
        return [(c.topic, c.msgtype, received_ns, bytes(raw)) for c, received_ns, raw in reader.messages()]


def said(capsys, *arguments) -> str:
    assert main(["estimate", *map(str, arguments)]) == 1
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    return errors


def test_the_input_is_copied_as_it_is(recorded, out):
    kept = [entry for entry in read(recorded) if entry[0] != "/detections"]
    ours = [entry for entry in read(out) if entry[0] in (IMAGE, INFO, "/tf_static")]
    assert ours == [entry for entry in kept if entry[0] != "/tf"]
    assert read(out)[0][2] == BEGIN_NS and [entry for entry in kept if entry[0] == "/tf"][0] in read(out)


def test_answers_have_stamp_frame_and_place_of_their_image(out):
    entries = [json.loads(line) for line in (out.parent / "poses.jsonl").read_text().splitlines()]
    answers = [entry for entry in read(out) if entry[0] == "/detections"]
    assert len(answers) == 3 and "error" in entries[3], "nothing is said of an image that cannot be worked on"
    for k, (_, msgtype, received_ns, raw) in enumerate(answers):
        message, expected = typestore().deserialize_cdr(raw, msgtype), entries[k]["objects"][0]
        assert received_ns == BEGIN_NS + k * STEP_NS + 5_000_007
        assert message.header.frame_id == "front_camera"
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == BEGIN_NS + k * STEP_NS
        where = message.detections[0].bbox.center.position
        assert [where.x, where.y, where.z] == pytest.approx([row[3] for row in expected["T_cam_obj"][:3]], rel=1e-6)
        boxes = next(typestore().deserialize_cdr(entry[3], entry[1]) for entry in read(out)
                     if entry[0] == "/boxes" and entry[2] == received_ns)
        x_min, y_min, x_max, y_max = expected["roi"]
        roi = [(x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min]
        looked = [[b.bbox.center.position.x, b.bbox.center.position.y, b.bbox.size_x, b.bbox.size_y]
                  for b in boxes.detections]
        # A proposal is tightened where the object turned out to fill another box.
        assert any(box == pytest.approx(roi, abs=25.0) for box in looked), "where the pose is was looked at"
        assert {b.id for b in boxes.detections} == {"car"} and message.detections[0].id == "car_0"


def test_an_answer_comes_behind_its_image_and_before_the_next(out):
    order = [topic for topic, *_ in read(out) if topic in (IMAGE, "/detections")]
    assert order == [IMAGE, "/detections"] * 3 + [IMAGE]


def test_a_static_transform_is_latched_and_every_topic_is_there(out):
    with Reader(out) as reader:
        topics = {c.topic: c for c in reader.connections}
    assert {*TOPICS, IMAGE, INFO, "/tf_static"} == set(topics)
    assert topics["/tf_static"].ext.offered_qos_profiles[0].durability == QosDurability.TRANSIENT_LOCAL


def test_our_own_reader_reads_it(recorded, out):
    before, after = list(open_source(recorded)), list(open_source(out))
    assert [frame.stamp for frame in after] == [frame.stamp for frame in before]
    assert all((a.image_rgb == b.image_rgb).all() for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("name", ["poses.bag", "-", ""])
def test_a_name_that_is_no_bag_is_refused(recorded, bundle, tmp_path, capsys, name):
    given = str(tmp_path / name) if name not in ("", "-") else name
    errors = said(capsys, recorded, "--bundle", bundle, "--out-bag", given)
    assert "--out-bag" in errors and ".mcap" in errors and not list(tmp_path.iterdir())


def test_images_of_no_bag_are_refused(scenes, bundle, tmp_path, capsys):
    errors = said(capsys, scenes[0], "--bundle", bundle, "--out-bag", tmp_path / "out.mcap")
    assert "--out-bag" in errors and "--rerun" in errors and not list(tmp_path.iterdir())


def test_the_input_is_not_overwritten(recorded, bundle, tmp_path, capsys):
    before = hashlib.sha256(recorded.read_bytes()).digest()
    (tmp_path / "link.mcap").symlink_to(recorded)
    for name in (recorded, tmp_path / "link.mcap"):
        assert "would be overwritten" in said(capsys, recorded, "--bundle", bundle, "--out-bag", name)
    same = tmp_path / "same.mcap"
    assert "--json" in said(capsys, recorded, "--bundle", bundle, "--out-bag", same, "--json", same)
    assert hashlib.sha256(recorded.read_bytes()).digest() == before


def test_a_run_that_ends_early_leaves_the_old_file_and_nothing_else(recorded, bundle, tmp_path, monkeypatch, capsys):
    from dinemo_ros.cli import estimate_bag

    def full(self, frame, camera, poses, looked):
        raise OutputError("out.mcap: cannot be written (No space left on device)")

    (tmp_path / "out.mcap").write_bytes(b"of last week")
    monkeypatch.setattr(estimate_bag.BagOutput, "write", full)
    assert "No space left" in said(capsys, recorded, "--bundle", bundle, "--out-bag", tmp_path / "out.mcap")
    assert [file.name for file in tmp_path.iterdir()] == ["out.mcap"]
    assert (tmp_path / "out.mcap").read_bytes() == b"of last week"


def test_an_image_topic_with_a_name_of_ours_is_told(bundle, tmp_path, capsys):
    with bag_file(tmp_path / "in.mcap") as file:
        header = header_of(divmod(BEGIN_NS, 10**9), "camera")
        picture = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        file.write("/boxes", "sensor_msgs/msg/Image", BEGIN_NS, conversions.rgb_to_image(header, picture))
    errors = said(capsys, tmp_path / "in.mcap", "--bundle", bundle, "--out-bag", tmp_path / "out.mcap")
    assert "/boxes" in errors and "another name" in errors


def test_what_a_strange_recorder_wrote_is_kept_or_told(bundle, tmp_path, capsys):
    """A stamp of more nanoseconds than a second has stays; a time of receipt before 1970 fits in no MCAP file."""
    picture = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    strange = header_of((2**31 - 1, 4_000_000_000), "camera")
    with bag_file(tmp_path / "in.mcap") as file:
        file.write(IMAGE, "sensor_msgs/msg/Image", 5, conversions.rgb_to_image(strange, picture))
        with pytest.raises(OutputError, match="received at -1 ns"):
            file.write(IMAGE, "sensor_msgs/msg/Image", -1, conversions.rgb_to_image(strange, picture))
    main(["estimate", str(tmp_path / "in.mcap"), "--bundle", str(bundle), "--hfov", "60", "--out-bag",
          str(tmp_path / "out.mcap")])
    assert "Traceback" not in capsys.readouterr().err
    raw, = (entry for entry in read(tmp_path / "out.mcap") if entry[0] == "/detections")
    stamp = typestore().deserialize_cdr(raw[3], raw[1]).header.stamp
    assert (stamp.sec, stamp.nanosec) == (2**31 - 1, 4_000_000_000)


_MESSAGES = """
import hashlib, sys
import numpy as np
if sys.argv[1] == "without":
    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0].endswith("_msgs") or name.startswith(("builtin_interfaces", "rclpy")):
                raise ImportError(name)
    sys.meta_path.insert(0, Hidden())
from dinemo_ros import load_bundle
from dinemo_ros.detection.labelled_box import LabelledBox
from dinemo_ros.io.bag_types import to_cdr
from dinemo_ros.node.for_bag import TOPICS, ImageMessages
from dinemo_ros.pose import Hypothesis, ObjectPose
T = np.eye(4)
T[:3, 3] = 0.3, -0.2, 5.0
pose = ObjectPose(T, 0.7, np.array([4.0, 1.8, 1.5]), category="car", covariance=np.diag([1.0, 2, 3, 4, 5, 6]),
                  roi=(1.0, 2.0, 30.0, 40.0), runners_up=(Hypothesis(T, 0.1, np.array([4.0, 1.8, 1.5])),))
make = ImageMessages(load_bundle(sys.argv[2]))
for poses in ([pose, pose], [pose], []):
    for topic, message in make.of((1_700_000_000, 123_456_789), "camera", poses,
                                  [LabelledBox((1.0, 2.0, 30.0, 40.0), "car", 0.5, "Car")]):
        print(topic, hashlib.sha256(to_cdr(message, TOPICS[topic])).hexdigest(), type(message).__module__)
"""


def test_messages_without_ros_are_those_with_it(bundle):
    """Byte for byte, also of fields that nobody sets: a quaternion is 0, 0, 0, 1."""
    pytest.importorskip("vision_msgs.msg", reason="ROS 2 is not installed: there is nothing to compare with")
    with_ros, without = (subprocess.run([sys.executable, "-c", _MESSAGES, how, str(bundle)], capture_output=True,
                                        text=True, check=True).stdout.split("\n") for how in ("with", "without"))
    assert [line.split()[:2] for line in with_ros] == [line.split()[:2] for line in without]
    assert len(with_ros) > 12 and "_msgs" in with_ros[0] and "_msgs" not in without[0].split()[2]
