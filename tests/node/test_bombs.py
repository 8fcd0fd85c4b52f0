# SPDX-License-Identifier: Apache-2.0
"""Messages that would unpack to gigabytes: the node refuses them unread, answers meanwhile, and goes on."""

import time
from array import array
from pathlib import Path

import cv2
import pytest
from bombs import MEGABYTES, black_png, jpeg_of_many_scans
from ros_support.processes import running_node, start_node
from sensor_msgs.msg import CompressedImage, Image

from dinemo_ros.node.conversions import camera_to_info

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
_ANSWER_S, _BUSY_MACHINE_S = 0.5, 1.0  # the second for a test that shares its cores


def forget_peak(node) -> float:
    """Resident megabytes now, from which on the peak is counted."""
    Path(f"/proc/{node.process.pid}/clear_refs").write_text("5")
    return peak_mb(node)


def peak_mb(node) -> float:
    status = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def slowest_answer_until(probe, done, timeout_s: float = 20.0) -> float:
    """The longest that get_state took, asked again and again until ``done()``."""
    slowest, deadline = 0.0, time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"waited {timeout_s} s"
        begin = time.monotonic()
        assert probe.state() == "active"
        slowest = max(slowest, time.monotonic() - begin)
    return slowest


def assert_costs_nothing(node, probe, cause: str, words: str, send) -> None:
    """``send()`` is counted as ``cause``, said, and neither memory nor the answers of the node notice it."""
    before, start = int(probe.diagnosis()[f"rejected_{cause}"]), forget_peak(node)
    begin = time.monotonic()
    send()
    slowest = slowest_answer_until(probe, lambda: words in node.output)
    seconds = time.monotonic() - begin
    probe.wait(lambda: int(probe.diagnosis()[f"rejected_{cause}"]) == before + 1, f"rejected_{cause} to rise")
    assert peak_mb(node) - start < MEGABYTES / 2, f"{peak_mb(node) - start:.0f} MB"
    assert slowest < _ANSWER_S + _BUSY_MACHINE_S
    assert seconds < 1.0 + 2 * _BUSY_MACHINE_S


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with running_node(tmp_path_factory.mktemp("bombs"), "/bombs_test", diagnostics_period_s=0.2,
                      warn_period_s=0.0) as node:
        yield node


@pytest.fixture
def probe(node, make_probe):
    probe = make_probe("/bombs_test", compressed=True, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    return probe


def assert_gets_poses(probe, frame) -> None:
    header = probe.header()
    probe.infos.publish(camera_to_info(header, frame.camera))
    picture = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].tobytes()
    probe.images.publish(CompressedImage(header=header, format="jpeg", data=picture))
    assert probe.answer("detections", header).detections


def test_a_picture_before_any_camera_is_not_decoded(node, probe):
    def send():
        probe.images.publish(CompressedImage(header=probe.header(), format="png", data=black_png(12_000, 9_000)))

    assert_costs_nothing(node, probe, "camera_info", "no camera_info has arrived", send)


BOMBS = {
    "a gigapixel": (lambda w, h: black_png(32_000, 32_000), "image", "image size is 32000x32000"),
    "another size than the camera's": (lambda w, h: black_png(12_000, 9_000), "camera_info", "the image is 12000x9000"),
    "thousands of scans": (lambda w, h: jpeg_of_many_scans(w, h, 20_000), "image", "more than 64 scans"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_compressed(node, probe, demo_frames, name):
    make, cause, words = BOMBS[name]
    frame = demo_frames[0]
    assert_gets_poses(probe, frame)
    data = make(frame.camera.width, frame.camera.height)

    def send():
        header = probe.header()
        probe.infos.publish(camera_to_info(header, frame.camera))
        probe.images.publish(CompressedImage(header=header, format="png", data=data))

    assert_costs_nothing(node, probe, cause, words, send)
    assert_gets_poses(probe, frame)


def test_a_camera_of_thousands_of_coefficients(node, probe, demo_frames):
    frame = demo_frames[0]
    picture = cv2.imencode(".jpg", frame.image)[1].tobytes()

    def send():
        header = probe.header()
        info = camera_to_info(header, frame.camera)
        info.d = array("d", [0.1] * 5_000)
        probe.infos.publish(info)
        probe.spin(0.3)
        probe.images.publish(CompressedImage(header=header, format="jpeg", data=picture))

    assert_costs_nothing(node, probe, "camera_info", "finite coefficients", send)
    assert_gets_poses(probe, frame)


def test_raw_images_that_say_more_than_they_hold(tmp_path, make_probe, demo_frames):
    node = start_node("pose_node", tmp_path / "log", "/raw_bombs_test", diagnostics_period_s=0.2, warn_period_s=0.0)
    probe = make_probe("/raw_bombs_test", outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    frame = demo_frames[0]
    height, width = frame.image.shape[:2]
    for fields, cause, words in (
            ({"width": 2**32 - 1, "height": 2**32 - 1, "step": 2**32 - 1}, "image", "image size is 4294967295x"),
            ({"width": 10_000, "height": 10_000, "step": 30_000}, "camera_info", "the image is 10000x10000"),
            ({"width": width, "height": height, "step": 2**32 - 1}, "image", "image data has 100 bytes")):
        def send(fields=fields):
            header = probe.header()
            probe.infos.publish(camera_to_info(header, frame.camera))
            probe.images.publish(Image(header=header, encoding="rgb8", data=array("B", bytes(100)), **fields))

        assert_costs_nothing(node, probe, cause, words, send)
    assert probe.answer("detections", probe.send(frame.image, frame.camera)).detections
    assert node.interrupt() == 0
