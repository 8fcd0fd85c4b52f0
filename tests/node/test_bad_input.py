# SPDX-License-Identifier: Apache-2.0
"""Each bad input is said once, counted, and survived; the next good image gets its pose."""

import re
import time
from array import array

import cv2
import numpy as np
import pytest
from ros_support.processes import running_node, start_node
from sensor_msgs.msg import CameraInfo, CompressedImage

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.node.conversions import camera_to_info, nanoseconds, rgb_to_image

NAMESPACE = "/bad_input_test"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with running_node(tmp_path_factory.mktemp("bad_input"), NAMESPACE, warn_period_s=3600.0,
                      diagnostics_period_s=0.2) as node:
        yield node


@pytest.fixture
def probe(node, make_probe):
    probe = make_probe(NAMESPACE, outputs=("detections", "/tf", "/diagnostics"))
    probe.wait_for_node()
    return probe


@pytest.fixture
def frame(demo_frames):
    return demo_frames[0]


def lines_with(node, words: str) -> list[str]:
    return [line for line in node.output.splitlines() if words in line]


def assert_rejected(node, probe, cause: str, words: str, send) -> None:
    """``send()`` three times: counted three times, said once in the log with ``words``, told by the diagnostics."""
    key = f"rejected_{cause}"
    before = int(probe.diagnosis()[key])
    for _ in range(3):
        count = int(probe.diagnosis()[key])
        header = send()
        probe.wait(lambda count=count: int(probe.diagnosis()[key]) > count, f"{key} to rise")
        assert not probe.answered("detections", header)
    values = probe.diagnosis()
    assert int(values[key]) == before + 3
    assert words in values["last_error"] and values["level"] == 2
    said = lines_with(node, words)
    assert len(said) == 1, f"said {len(said)} times: {said}"
    assert "WARN" in said[0] and re.search(r"/bad_input_test/\w+:", said[0]), "names the topic"


def assert_works(node, probe, frame) -> None:
    """A good image gets its answer, and the log says that it is good again."""
    count = len(lines_with(node, "images are good again"))
    header = probe.send(frame.image, frame.camera)
    assert probe.answer("detections", header).detections
    probe.wait(lambda: len(lines_with(node, "images are good again")) == count + 1, "the log to say so", 5.0)


# Names of fields to change in a good Image message, and words the log must hold.
BAD_IMAGES = {
    "unknown encoding": ({"encoding": "mystery8"}, "encoding 'mystery8' is not supported"),
    "depth image": ({"encoding": "32FC1"}, "encoding '32FC1' is not supported"),
    "inconsistent encoding": ({"encoding": "rgba8"}, "a row of"),
    "short data": ({"data": array("B", b"\x00" * 1000)}, "image data has 1000 bytes"),
    "no data": ({"data": array("B"), "width": 0, "height": 0, "step": 0}, "image size is 0x0"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_image(node, probe, frame, name):
    changes, words = BAD_IMAGES[name]

    def send():
        header = probe.header()
        message = rgb_to_image(header, frame.image)
        for field, value in changes.items():
            setattr(message, field, value)
        probe.infos.publish(camera_to_info(header, frame.camera))
        probe.images.publish(message)
        return header

    assert_rejected(node, probe, "image", words, send)
    assert_works(node, probe, frame)


def test_empty_frame_id(node, probe, frame):
    assert_rejected(node, probe, "header", "frame_id is empty",
                    lambda: probe.send(frame.image, frame.camera, probe.header(frame_id="")))
    assert_works(node, probe, frame)


NAN = float("nan")
BAD_CAMERAS = {
    "zero": ({"k": [0.0] * 9}, "focal lengths must be positive"),
    "NaN": ({"k": [NAN] * 9}, "must be 3x3 finite numbers"),
    "negative": ({"k": [-400.0, 0.0, 320.0, 0.0, -401.0, 240.0, 0.0, 0.0, 1.0]}, "got fx=-400"),
    "normalised": ({"k": [1.2, 0.0, 0.5, 0.0, 1.2, 0.5, 0.0, 0.0, 1.0]}, "pixels are too short"),
    "transposed": ({"k": [400.0, 0.0, 0.0, 0.0, 400.0, 0.0, 320.0, 240.0, 1.0]}, "last row of the camera matrix"),
    "far centre": ({"k": [400.0, 0.0, 9000.0, 0.0, 400.0, 240.0, 0.0, 0.0, 1.0]}, "far outside of the image"),
    "other size": ({"width": 123, "height": 77}, "camera_info is for 123x77"),
    "lens": ({"d": [0.1] * 3}, "takes (0, 4, 5) finite coefficients"),
    "absurd lens": ({"d": [50.0, 0.0, 0.0, 0.0, 0.0]}, "stretch the image's border"),
    "folded lens": ({"d": [-50.0, 0.0, 0.0, 0.0, 0.0]}, "fold the image"),
    "lens model": ({"distortion_model": "double_sphere", "d": [0.1, 0.2]}, "'double_sphere' is not supported"),
}


@pytest.mark.parametrize("name", BAD_CAMERAS)
def test_camera_info(node, probe, frame, name):
    changes, words = BAD_CAMERAS[name]

    def send():
        header = probe.header()
        info: CameraInfo = camera_to_info(header, frame.camera)
        for field, value in changes.items():
            setattr(info, field, value)
        probe.infos.publish(info)
        probe.images.publish(rgb_to_image(header, frame.image))
        return header

    assert_rejected(node, probe, "camera_info", words, send)
    assert_works(node, probe, frame)


@pytest.mark.parametrize(("model", "lens"), [("plumb_bob", [1e-3] + [0.0] * 7), ("", [1e-3] + [0.0] * 4),
                                             ("Plumb Bob", [1e-3] + [0.0] * 4), ("none", [0.0] * 5)])
def test_lens_as_drivers_publish_it_is_used(node, probe, frame, model, lens):
    header = probe.header()
    info = camera_to_info(header, frame.camera)
    info.distortion_model, info.d = model, lens
    probe.infos.publish(info)
    probe.images.publish(rgb_to_image(header, frame.image))
    assert probe.answer("detections", header).detections


def test_image_before_its_predecessor(node, probe, frame):
    first = probe.send(frame.image, frame.camera)
    probe.answer("detections", first)
    stamp = nanoseconds(first.stamp)
    assert_rejected(node, probe, "header", "out of order",
                    lambda: probe.send(frame.image, frame.camera, probe.header(stamp_ns=stamp - 200_000_000)))
    assert_works(node, probe, frame)


def test_backwards_time_jump_is_a_restart(node, probe, frame):
    """Said and counted, and the very image that jumped is used already."""
    probe.answer("detections", probe.send(frame.image, frame.camera))
    before = int(probe.diagnosis()["rejected_time_jump"])
    header = probe.send(frame.image, frame.camera, probe.header(stamp_ns=5_000_000_000))
    assert probe.answer("detections", header).detections
    assert int(probe.diagnosis()["rejected_time_jump"]) == before + 1
    assert len(lines_with(node, "taken as a restart")) == 1
    # The other tests of this module have stamps of their own further on: no second jump back.
    assert probe.answer("detections", probe.send(frame.image, frame.camera)).detections


BAD_BOXES = {
    "outside": ((-50.0, -50.0, -10.0, -10.0), "lies outside"),
    "negative": ((80.0, 80.0, 20.0, 20.0), "it needs x_min < x_max"),
    "NaN": ((NAN, 10.0, 50.0, 50.0), "four finite numbers"),
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_box(node, probe, frame, name):
    """The bad box is left out, the good one beside it is used."""
    bad, words = BAD_BOXES[name]
    height, width = frame.image.shape[:2]
    probe.start_detector()
    try:
        before = int(probe.diagnosis()["rejected_roi"])
        header = probe.send(frame.image, frame.camera)
        probe.send_boxes(header, [bad, (1.0, 1.0, width - 1.0, height - 1.0)])
        probe.answer("detections", header)
        values = probe.diagnosis()
        assert int(values["rejected_roi"]) == before + 1 and words in values["last_error"]
        said = lines_with(node, words)
        assert len(said) == 1 and "detections_2d" in said[0] and "this box is skipped" in said[0]
    finally:
        probe.stop_detector()


def test_detections_that_match_no_image(node, probe, frame):
    probe.start_detector()
    try:
        for offset in range(40):
            probe.send_boxes(probe.header(stamp_ns=9_000_000_000_000 + offset), [(1.0, 1.0, 50.0, 50.0)])
            probe.spin(0.02)
        assert int(probe.diagnosis()["rejected_detections"]) > 0
        assert len(lines_with(node, "match no image")) == 1
    finally:
        probe.stop_detector()
    probe.wait(lambda: probe.count_publishers("detections_2d") == 0, "the detector to be gone")
    probe.answer("detections", probe.send(frame.image, frame.camera))


def test_detector_that_is_silent(tmp_path, make_probe, frame):
    """Images that wait for boxes which never come are no "estimating": log and diagnostics name the topic."""
    namespace = "/silent_detector_test"
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, stale_after_s=1.0)
    probe = make_probe(namespace, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    probe.start_detector()
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        probe.send(frame.image, frame.camera)
        probe.spin(0.1)
    values = probe.diagnosis()
    assert values["level"] == 2 and "for their boxes (1 publishers, 0 messages" in values["message"]
    assert int(values["rejected_detections"]) > 0
    assert f"{namespace}/detections_2d:" in lines_with(node, "for their boxes")[0]
    header = probe.send(frame.image, frame.camera)
    probe.send_boxes(header, [(1.0, 1.0, 900.0, 500.0)])
    probe.answer("detections", header)
    said = probe.diagnosis()["rejected_detections"]
    probe.spin(1.5)
    assert probe.diagnosis()["rejected_detections"] == said, "nothing waits any more"
    assert node.interrupt() == 0


def compressed(header, data: bytes, kind: str = "jpeg") -> CompressedImage:
    return CompressedImage(header=header, format=kind, data=data)


def test_broken_jpeg(tmp_path, make_probe, frame):
    namespace = "/broken_jpeg_test"
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, warn_period_s=3600.0)
    probe = make_probe(namespace, compressed=True, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].tobytes()
    noise = np.random.default_rng(0).integers(0, 255, 5000, dtype=np.uint8).tobytes()
    for count, data in enumerate((jpeg[:len(jpeg) // 2], b"", noise, b"not an image"), start=1):
        header = probe.header()
        probe.infos.publish(camera_to_info(header, frame.camera))
        probe.images.publish(compressed(header, data))
        probe.wait(lambda count=count: int(probe.diagnosis()["rejected_image"]) == count, "the image to be rejected")
    assert len(lines_with(node, "was cut short")) == 1
    header = probe.header()
    probe.infos.publish(camera_to_info(header, frame.camera))
    probe.images.publish(compressed(header, jpeg))
    assert probe.answer("detections", header).detections
    assert node.interrupt() == 0


def test_no_camera_info(tmp_path, make_probe, frame):
    """It waits, says so, and starts as soon as one arrives."""
    namespace = "/no_camera_test"
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, warn_period_s=3600.0)
    probe = make_probe(namespace, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    for count in (1, 2):
        probe.images.publish(rgb_to_image(probe.header(), frame.image))
        probe.wait(lambda count=count: int(probe.diagnosis()["rejected_camera_info"]) == count, "the rejection")
    said = lines_with(node, "no camera_info has arrived")
    assert len(said) == 1 and f"{namespace}/camera_info:" in said[0] and "default_hfov_deg" in said[0]
    assert probe.answer("detections", probe.send(frame.image, frame.camera)).detections
    assert node.interrupt() == 0


def test_silence_and_wrong_topic_type_are_said(tmp_path, make_probe):
    """No image at all, and an 'image' topic that carries something else."""
    namespace = "/silence_test"
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, stale_after_s=0.5)
    node.wait_for_output("no image for")
    assert "0 publishers" in lines_with(node, "no image for")[0]
    probe = make_probe(namespace + "/elsewhere", outputs=())
    probe.create_publisher(CameraInfo, namespace + "/image", 1)
    node.wait_for_output("carries sensor_msgs/msg/CameraInfo")
    assert node.interrupt() == 0


def test_image_smaller_than_a_network_can_see(node, probe, frame):
    tiny = np.zeros((8, 8, 3), np.uint8)
    assert_rejected(node, probe, "image", "at least 16x16", lambda: probe.send(tiny, Camera.from_hfov(8, 8, 60.0)))
    assert_works(node, probe, frame)
