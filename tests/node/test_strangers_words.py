# SPDX-License-Identifier: Apache-2.0
"""Whatever text strangers put into messages, the node's console, log and diagnostics stay small and printable, its
memory does not grow, and its services answer."""

import random
import time
from pathlib import Path

import cv2
import pytest
from ros_support.processes import start_node
from sensor_msgs.msg import CompressedImage
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from dinemo_ros.node.conversions import camera_to_info
from dinemo_ros.node.limited import MOST_BYTES

NASTY = "\x1b]0;owned\x07\x1b[2J\n[ERROR] forged line\r\u202egnp.exe\x9b31m'"
_MESSAGES, _LENGTH = 300, 500_000
_WRITTEN = 20_000  # bytes on the console: a start, and a sentence for each cause
_ANSWER_S = 0.5
_BUSY_MACHINE_S = 1.0  # more, for a test that shares its cores


def nasty_text(number: int) -> str:
    """Half a megabyte that begins with another letter each time and has no numbers to tell it by."""
    rng = random.Random(number)
    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=40))
    return (word + NASTY) * (_LENGTH // (len(word) + len(NASTY)))


class Watched:
    """The node, what it wrote, and how slow its answers became."""

    def __init__(self, folder: Path, make_probe) -> None:
        self.logs = folder / "ros_logs"
        self.node = start_node("pose_node", folder / "console", "/words_test", diagnostics_period_s=0.2,
                               warn_period_s=3600.0, detections_class_id="car")
        self.probe = make_probe("/words_test", compressed=True, outputs=("detections", "/diagnostics"))
        self.probe.wait_for_node()
        self.slowest_s = 0.0

    def send(self, frame, header=None, **changes) -> CompressedImage:
        header = header or self.probe.header()
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].tobytes()
        message = CompressedImage(**{"header": header, "format": "jpeg", "data": jpeg} | changes)
        self.probe.images.publish(message)
        return message

    def ask(self) -> None:
        begin = time.monotonic()
        assert self.probe.state() == "active"
        self.slowest_s = max(self.slowest_s, time.monotonic() - begin)

    def resident_mb(self) -> float:
        return int(Path(f"/proc/{self.node.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    def count(self, cause: str) -> int:
        return int(self.probe.diagnosis()[f"rejected_{cause}"])

    def written(self) -> list[bytes]:
        """Console and log files."""
        files = [file for file in self.logs.rglob("*") if file.is_file() and not file.is_symlink()]
        return [self.node._log.read_bytes(), *(file.read_bytes() for file in files)]


@pytest.fixture
def watched(tmp_path, make_probe, monkeypatch):
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros_logs"))
    return Watched(tmp_path, make_probe)


def flood_of_words(watched: Watched, frame) -> None:
    """Formats, frames and lenses with half a megabyte of text each, no two alike."""
    for number in range(_MESSAGES):
        text = nasty_text(number)
        if number % 3 == 0:
            watched.send(frame, format=text, data=b"")
        elif number % 3 == 1:
            watched.send(frame, watched.probe.header(frame_id=text))
        else:
            header = watched.probe.header()
            info = camera_to_info(header, frame.camera)
            info.distortion_model = text[:MOST_BYTES["camera_info"] // 4]
            info.d = [0.1, 0.2]
            watched.probe.infos.publish(info)
            watched.send(frame, header)
            if number % 30 == 2:
                info.distortion_model = text  # too large to be taken
                watched.probe.infos.publish(info)
        watched.probe.spin(0.01)
        if number % 15 == 0:
            watched.ask()


def strange_boxes(header, first: int) -> Detection2DArray:
    """300 boxes of 300 classes."""
    message = Detection2DArray(header=header)
    for number in range(first, first + 300):
        box = Detection2D(header=header, id=NASTY * 20)
        box.bbox.center.position.x = box.bbox.center.position.y = box.bbox.size_x = box.bbox.size_y = 100.0
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = nasty_text(number)[:2000], 0.9
        box.results = [result]
        message.detections.append(box)
    return message


def flood_of_classes(watched: Watched, frame) -> None:
    """Boxes of 3000 classes, each with a name of its own, and lists of boxes that are too long."""
    probe = watched.probe
    probe.start_detector()
    for turn in range(10):
        header = probe.header()
        probe.infos.publish(camera_to_info(header, frame.camera))
        watched.send(frame, header)
        probe._detector.publish(strange_boxes(header, 300 * turn))
        watched.ask()
    too_many = Detection2DArray(header=probe.header(), detections=[Detection2D()] * (MOST_BYTES["detections_2d"] // 40))
    for _ in range(3):
        probe._detector.publish(too_many)
        watched.ask()
    probe.wait(lambda: watched.count("detections") > 0, "the long list to be refused")
    probe.stop_detector()
    probe.wait(lambda: probe.count_publishers("detections_2d") == 0, "the detector to be gone")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_floods_of_words(watched, demo_frames):
    frame, probe = demo_frames[0], watched.probe
    header = probe.header()
    probe.infos.publish(camera_to_info(header, frame.camera))
    watched.send(frame, header)
    assert probe.answer("detections", header).detections
    before = watched.resident_mb()
    flood_of_words(watched, frame)
    flood_of_classes(watched, frame)
    values = probe.diagnosis()
    for cause, least in (("image", 3), ("header", 3), ("camera_info", 3), ("detections", 1)):  # few lists, of megabytes
        assert int(values[f"rejected_{cause}"]) >= least, f"hardly anything is rejected as {cause}: nothing is tested"
    assert int(values["boxes_left_out_class"]) >= 300
    assert len(values) < 60 and max(map(len, map(str, values.values()))) < 2000
    assert all(str(value).isprintable() for value in values.values())
    header = probe.header()
    probe.infos.publish(camera_to_info(header, frame.camera))
    watched.send(frame, header)
    assert probe.answer("detections", header).detections
    grown = watched.resident_mb() - before
    assert grown < 100.0, f"{grown:.0f} MB more"  # 47 to 69 measured; 207 when every text was kept and printed
    assert watched.slowest_s < _ANSWER_S + _BUSY_MACHINE_S
    assert watched.node.interrupt() == 0
    written = watched.written()
    print({key: value for key, value in values.items() if key.startswith(("rejected", "boxes"))})
    print(f"grown {grown:.0f} MB, slowest answer {watched.slowest_s:.2f} s, written {list(map(len, written))}")
    assert len(written) > 1, "console and log"
    for text in written:
        assert len(text) < _WRITTEN, f"{len(text)} bytes for {text.count(b'WARN')} warnings"
        assert not any(c in text.decode() for c in "\x1b\x07\x9b\r\u202e") and b"\n[ERROR]" not in text
