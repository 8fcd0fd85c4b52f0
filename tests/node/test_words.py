# SPDX-License-Identifier: Apache-2.0
"""Strangers' text on its ways through the nodes: log, diagnostics, frames, parameters, boxes; and what is too large."""

import logging
import math

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, Detection3D, Detection3DArray, ObjectHypothesisWithPose

from dinemo_ros.node import parameters
from dinemo_ros.node.boxes import choose_boxes
from dinemo_ros.node.demo_listener import DemoListener
from dinemo_ros.node.diagnostics import Monitor
from dinemo_ros.node.image_source_node import _NAMED, ImageSourceNode
from dinemo_ros.node.limited import limited
from dinemo_ros.node.log_bridge import RosHandler
from dinemo_ros.node.node_log import NodeLog
from dinemo_ros.node.throttle import Throttle
from dinemo_ros.node.validation import FRAME_LIMIT, HeaderError, check_frame_id, strange_camera_frame, strange_frame

TEXTS = ["\x1b]0;owned\x07\x1b[2J", "a\n[ERROR] forged\r\x85", "a\u202egnp.exe", "\ud800", "x" * 500_000,
         "\x1b'\\" * 100_000]


class Recorder:
    """In the place of rclpy's logger."""

    def __init__(self):
        self.lines = []

    def info(self, line):
        self.lines.append(line)

    debug = warning = error = info


def assert_harmless(line: str, longest: int = 800) -> None:
    assert line.isprintable() and 0 < len(line) < longest
    line.encode()


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:12])
def test_log(text):
    said = Recorder()
    log = NodeLog(said)
    for say in (log.info, log.warning, log.error):
        say(f"from {text}: configured")
    record = logging.LogRecord("dinemo_ros", logging.WARNING, "", 0, "%s", (text,), None)
    RosHandler(log, said.lines.append).emit(record)
    assert len(said.lines) == 5
    for line in said.lines:
        assert_harmless(line)
    log.debug(f"Traceback\n  {text}")
    assert all(c.isprintable() or c in "\n\t" for c in said.lines[-1]) and len(said.lines[-1]) < 250_000


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:12])
def test_diagnostics(text):
    """Whatever words reach them, of a bundle, a library or a message."""
    monitor = Monitor(NodeLog(Recorder()), "pose_node: pose estimation")
    monitor.hardware_id = f"car {text}"
    monitor.progress = text
    monitor.reject("image", text, 1.0)
    monitor.leave_out("class", 1, text)
    monitor.note("frame", text, 1.0)
    for state in ("active", "configuring", "inactive"):
        status = monitor.status(state, 3.0, "/image", {"backend": text, "backend_reason": text})
        assert len(status.values) < 60
        for words in (status.message, status.hardware_id, *(value.value for value in status.values if value.value)):
            assert_harmless(words)


def test_one_cause_is_one_sentence_whatever_its_sender_writes():
    """300 senders' names, with quotes and backslashes in them to break out of ours, and boxes of any numbers."""
    said = Recorder()
    monitor = Monitor(said, "x")
    for number in range(300):
        name = "".join("abcdefghij"[int(digit)] for digit in str(number)) + "'\\ \"" + "z" * (number % 90)
        with pytest.raises(HeaderError) as error:
            check_frame_id(Header(frame_id=f"{name}\x1b"))
        monitor.reject("header", f"/image: {error.value}", 3600.0)
        monitor.note("frame", f"/image: {strange_frame(f'{name}_link')}", 3600.0)
        monitor.note("camera_frame", strange_camera_frame("camera", name), 3600.0)
        box = Detection2D()
        box.bbox.size_x = (math.nan, math.inf, -1e300, -3.5)[number % 4]
        choice = choose_boxes(Detection2DArray(detections=[box]), 640, 480)
        monitor.reject("roi", str(choice.bad[0]), 3600.0)
        monitor.warn("boxes_class", choose_boxes(boxes_of(name), 640, 480, "car").sentences["class"], 3600.0)
    assert len(said.lines) <= 9, said.lines
    assert sum(len(kinds) for kinds in monitor._throttle._said.values()) <= 9


def test_what_the_throttle_remembers_is_bounded():
    throttle = Throttle()
    for number in range(2000):
        throttle.let_through("image", "abcdefghij"[number % 10] * (number + 1), 1.0, number * 0.5)
    assert len(throttle._said["image"]) <= 12 and all(len(key) <= 160 for key in throttle._said["image"])


@pytest.mark.parametrize("name", [*TEXTS, "x" * (FRAME_LIMIT + 1), "\u2028", "a\tb"],
                         ids=lambda text: ascii(text)[:12])
def test_frames_that_cannot_be_passed_on(name):
    """What is published repeats the frame for each object: half a megabyte would become ten."""
    with pytest.raises(HeaderError, match="header.frame_id") as error:
        check_frame_id(Header(frame_id=name))
    assert_harmless(str(error.value))
    schema = {parameter.name: parameter for parameter in (*parameters.POSE_NODE, *parameters.IMAGE_SOURCE)}
    for frame in ("child_frame_prefix", "frame_id"):
        assert_harmless(schema[frame].check(name))
    for choice in ("rois", "marker_style", "backend", "stamps"):
        assert_harmless(schema[choice].check(name))


@pytest.mark.parametrize("name", ["camera", "front camera/optical", "Kamera_vörn", "x" * FRAME_LIMIT])
def test_frames_that_can(name):
    check_frame_id(Header(frame_id=name))
    assert not next(p for p in parameters.POSE_NODE if p.name == "child_frame_prefix").check(name)


def boxes_of(*names) -> Detection2DArray:
    message = Detection2DArray()
    for name in names:
        box = Detection2D()
        box.bbox.center.position.x = box.bbox.center.position.y = box.bbox.size_x = box.bbox.size_y = 50.0
        box.results = [ObjectHypothesisWithPose()]
        box.results[0].hypothesis.class_id, box.results[0].hypothesis.score = name, 0.5
        message.detections.append(box)
    return message


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:12])
def test_classes(text):
    message = boxes_of(*(f"{number}{text}" for number in range(300)))
    for wanted in ("car", text):
        choice = choose_boxes(message, 640, 480, wanted)
        assert choice.left_out == {"class": 300}
        assert_harmless(choice.sentences["class"], 500)


def test_the_best_of_thousands_of_hypotheses_decides():
    message, others = boxes_of("car"), boxes_of("cup").detections[0].results * 4000
    message.detections[0].results = [*others, *message.detections[0].results, *others]
    message.detections[0].results[4000].hypothesis.score = 0.9
    assert len(choose_boxes(message, 640, 480, "car").rois) == 1


def test_usual_messages_are_not_too_large():
    """The longest lens and frame, and two thousand boxes."""
    taken = []
    info = CameraInfo(header=Header(frame_id="x" * FRAME_LIMIT), d=[0.1] * 14)
    limited(CameraInfo, "camera_info", taken.append, lambda *why: pytest.fail(str(why)))(serialize_message(info))
    boxes = boxes_of(*["car"] * 2000)
    limited(Detection2DArray, "detections_2d", taken.append, lambda *why: pytest.fail(str(why)))(
        serialize_message(boxes))
    assert taken == [info, boxes]


def test_bytes_that_are_no_message_are_one_sentence():
    refused = []
    take = limited(Detection2DArray, "detections_2d", lambda message: None, lambda topic, why: refused.append(why))
    for junk in (b"", b"\x00", bytes(range(256)), b"\xff" * 1000):
        take(junk)
    assert refused
    for sentence in refused:
        assert_harmless(sentence)


class Source:
    description, notes = "bag", []
    skipped = [f"image {number} \x1b[2J" for number in range(1000)]


def test_source_node_tells_the_first_of_many():
    """A bag may have a thousand bad images, and a lens of another name in every camera_info."""
    said = Recorder()
    node = ImageSourceNode.__new__(ImageSourceNode)
    node._log, node._throttle, node._source = NodeLog(said), Throttle(), Source()
    node._tell_skipped()
    assert len(said.lines) == _NAMED + 1 and said.lines[-1] == f"skipped: {1000 - _NAMED} more"
    del said.lines[:]
    for number in range(300):
        camera = type("Camera", (), {"notes": (f"distortion model '{chr(97 + number % 26) * number}' is unknown",)})
        assert node._told(camera) is camera
    assert len(said.lines) == 1
    for line in said.lines:
        assert_harmless(line)


def test_demo_prints_names_of_others_as_one_line(capsys):
    """Another node may answer on its topics."""
    listener = DemoListener.__new__(DemoListener)
    listener._names, listener._truth = {0: "a\x1b[2J\nb.png"}, {}
    listener._answers = listener._poses = listener._pictures = 0
    detection = Detection3D(id="car\x1b[2J\n" * 10_000, results=boxes_of("car").detections[0].results)
    detection.bbox.size.x = detection.bbox.size.y = detection.bbox.size.z = detection.bbox.center.position.z = 1.0
    listener._on_detections(Detection3DArray(detections=[detection]))
    listener._on_detections(Detection3DArray())
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 3 and not lines[2]
    for line in lines[:2]:
        assert_harmless(line)
