# SPDX-License-Identifier: Apache-2.0
"""What is strange about an input and no reason to refuse it: used, and told in the log and in the diagnostics."""

import time

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support.processes import running_node, start_node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from dinemo_ros.node.conversions import camera_to_info, rgb_to_image

CAR_BOX = (530.0, 226.0, 678.0, 316.0)  # of the first demo frame
NAMESPACE = "/oddities_test"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with running_node(tmp_path_factory.mktemp("oddities"), NAMESPACE, warn_period_s=3600.0, diagnostics_period_s=0.2,
                      stale_after_s=60.0) as node:
        yield node


@pytest.fixture
def probe(node, make_probe):
    probe = make_probe(NAMESPACE, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    return probe


@pytest.fixture
def frame(demo_frames):
    return demo_frames[0]


def lines_with(node, words: str) -> list[str]:
    return [line for line in node.output.splitlines() if words in line]


def assert_told(node, probe, words: str, cause: str) -> dict[str, str]:
    """One warning in the log, and the diagnostics are a warning that says it."""
    values = probe.diagnosis()
    assert words in values["message"] and values["level"] == 1, values["message"]
    assert words in values[f"note_{cause}"]
    said = lines_with(node, words)
    assert len(said) == 1 and "WARN" in said[0], f"said {len(said)} times: {said}"
    return values


def test_stamps_that_stay_zero(node, probe, frame):
    """Before every other test of this module: a stamp of zero after others is a jump back."""
    for _ in range(3):
        del probe.received["detections"][:]
        header = probe.send(frame.image, frame.camera, probe.header(stamp_ns=0))
        assert probe.answer("detections", header).detections, "poses are published all the same"
    assert_told(node, probe, "header.stamp stays zero", "stamp")


def test_stamps_that_stand_still(node, probe, frame):
    header = probe.header()
    for _ in range(5):
        del probe.received["detections"][:]
        assert probe.answer("detections", probe.send(frame.image, frame.camera, header)).detections
    assert_told(node, probe, f"header.stamp stays {header.stamp.sec}.{header.stamp.nanosec // 1_000_000:03d}", "stamp")


def test_camera_info_of_another_frame(node, probe, frame):
    for _ in range(3):
        header = probe.header(frame_id="left")
        info = camera_to_info(Header(stamp=header.stamp, frame_id="right\x1b[31m" + "t" * 1000), frame.camera)
        probe.infos.publish(info)
        probe.images.publish(rgb_to_image(header, frame.image))
        assert probe.answer("detections", header).header.frame_id == "left"
    told = assert_told(node, probe, "camera_info is of frame 'right", "camera_frame")["note_camera_frame"]
    assert "the images of 'left'" in told and "\x1b" not in told and len(told) < 400


@pytest.mark.parametrize("name", ["camera_link", "camera_color_frame", "base_footprint"])
def test_frame_that_is_no_optical_one(node, probe, frame, name):
    for _ in range(3):
        header = probe.send(frame.image, frame.camera, probe.header(frame_id=name))
        assert probe.answer("detections", header).detections
    values = probe.diagnosis()
    assert f"the images are of frame '{name}'" in values["note_frame"] and values["level"] == 1
    # One sentence for all: whose frames change has been told already.
    assert len(lines_with(node, "by its name no optical frame")) == 1


def test_normalised_boxes_and_turned_ones(node, probe, frame):
    height, width = frame.image.shape[:2]
    probe.start_detector()
    try:
        header = probe.send(frame.image, frame.camera)
        probe.send_boxes(header, [(0.1, 0.2, 0.9, 0.9), (0.3, 0.1, 0.5, 0.4)])
        assert probe.answer("detections", header).detections == []
        values = assert_told(node, probe, "2 boxes left out: they are normalised", "boxes_normalised")
        assert f"multiply x by {width} and y by {height}" in values["last_left_out"]
        assert values["boxes_left_out_normalised"] == "2"

        header = probe.send(frame.image, frame.camera)
        probe.send_boxes(header, [CAR_BOX], score=93.0)
        assert probe.answer("detections", header).detections, "it is used"
        assert_told(node, probe, "score is 93", "boxes_score")
    finally:
        probe.stop_detector()


def test_boxes_of_other_classes(tmp_path, make_probe, frame):
    """As a detector publishes numbers where names are expected: a warning. With some of the right one: no worry."""
    namespace = "/classes_test"
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, warn_period_s=3600.0,
                      detections_class_id="car", detections_min_score=0.5)
    probe = make_probe(namespace, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    probe.start_detector()
    box = (10.0, 10.0, 900.0, 500.0)
    for name in ("2", "Car", ""):
        header = probe.send(frame.image, frame.camera)
        probe.send_boxes(header, [box] * 3, class_id=name)
        assert probe.answer("detections", header).detections == []
    values = probe.diagnosis()
    assert "class '' is not 'car'" in values["message"] and values["level"] == 1
    assert values["boxes_left_out_class"] == "9"
    assert len(lines_with(node, "3 boxes left out: class '2' is not 'car' (parameter detections_class_id)")) == 1
    assert len(lines_with(node, "boxes left out")) == 1, "once per cause"

    header = probe.send(frame.image, frame.camera)
    probe.send_boxes(header, [box], class_id="car", score=0.2)
    assert probe.answer("detections", header).detections == []
    values = probe.diagnosis()
    assert "1 box left out: score 0.2 is below 0.5 (parameter detections_min_score)" in values["message"]
    assert values["boxes_left_out_score"] == "1"
    assert node.interrupt() == 0


def test_a_detector_of_many_classes_is_no_worry(tmp_path, make_probe, frame):
    namespace = "/many_classes_test"
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, detections_class_id="car",
                      stale_after_s=60.0)
    probe = make_probe(namespace, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    probe.start_detector()
    for name in ("car", "person", "dog"):
        header = probe.send(frame.image, frame.camera)
        probe.send_boxes(header, [(10.0, 10.0, 900.0, 500.0)], class_id=name)
        probe.answer("detections", header)
    values = probe.diagnosis()
    assert values["level"] == 0 and values["message"] == "estimating"
    assert values["boxes_left_out_class"] == "2" and "class 'dog' is not 'car'" in values["last_left_out"]
    assert "INFO" in lines_with(node, "class 'person' is not 'car'")[0]
    assert node.interrupt() == 0


LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_latched_camera_info(tmp_path, make_probe, frame):
    """Published once and before the node is there; also beside one that is volatile, and again after a deactivation."""
    namespace = "/latched_test"
    probe = make_probe(namespace, outputs=("detections", "/diagnostics"))
    latched = probe.create_publisher(CameraInfo, "camera_info", LATCHED)
    latched.publish(camera_to_info(probe.header(), frame.camera))
    probe.destroy_publisher(probe.infos)
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, stale_after_s=0.5)
    probe.wait(lambda: probe.images.get_subscription_count() > 0, "the node to subscribe", 60.0)
    probe.wait(lambda: latched.get_subscription_count() > 0, "the node to subscribe to camera_info")
    probe.spin(1.5)
    header = probe.header()
    probe.images.publish(rgb_to_image(header, frame.image))
    assert probe.answer("detections", header).detections
    node.wait_for_output("came once and is used for all images")  # told after the answer
    assert len(lines_with(node, "came once and is used for all images")) == 1
    assert node.interrupt() == 0


def test_camera_info_that_stops(tmp_path, make_probe, frame):
    """The last one is used on, with a word."""
    namespace = "/stopped_test"
    node = start_node("pose_node", tmp_path / "log", namespace, diagnostics_period_s=0.2, stale_after_s=0.5)
    probe = make_probe(namespace, outputs=("detections", "/diagnostics"))
    probe.wait_for_node()
    for _ in range(3):
        probe.answer("detections", probe.send(frame.image, frame.camera))
    time.sleep(1.0)
    header = probe.header()
    probe.images.publish(rgb_to_image(header, frame.image))
    assert probe.answer("detections", header).detections
    node.wait_for_output("while images come: the last one is used on")
    assert len(lines_with(node, "while images come: the last one is used on")) == 1
    probe.images.publish(rgb_to_image(probe.header(), frame.image))
    assert "the last one is used on" in probe.diagnosis()["note_camera_info"]
    assert node.interrupt() == 0


@pytest.mark.parametrize(("transport", "types", "subscribed"), [
    ("compressed", ["image", "image/compressed"], "/image/compressed (CompressedImage)"),
    ("auto", ["image/compressed"], "/image/compressed (CompressedImage)"),
    ("auto", ["image", "image/compressed"], "/image (Image)"), ("raw", ["image"], "/image (Image)")])
def test_transport_is_found_as_image_transport_names_it(tmp_path, make_probe, frame, transport, types, subscribed):
    namespace = "/transport_test"
    node = start_node("pose_node", tmp_path / "log", namespace, image_transport=transport, stale_after_s=60.0)
    probe = make_probe(namespace, outputs=())
    probe.destroy_publisher(probe.images)
    for topic in types:
        probe.create_publisher(CompressedImage if topic.endswith("compressed") else Image, topic, 1)
    node.wait_for_output(f"subscribed to {namespace}{subscribed}")
    probe.spin(1.0)
    assert "so no pose" not in node.output
    assert node.interrupt() == 0


@pytest.mark.parametrize(("transport", "kind", "words"), [
    ("compressed", Image, "carries sensor_msgs/msg/Image, image_transport is 'compressed' and nobody publishes a "
                          "CompressedImage on /type_test/image/compressed"),
    ("raw", CompressedImage, "carries sensor_msgs/msg/CompressedImage, image_transport is 'raw'")])
def test_transport_that_is_not_there_is_told(tmp_path, make_probe, transport, kind, words):
    namespace = "/type_test"
    node = start_node("pose_node", tmp_path / "log", namespace, image_transport=transport, diagnostics_period_s=0.2)
    probe = make_probe(namespace, outputs=("/diagnostics",))
    probe.destroy_publisher(probe.images)
    probe.create_publisher(kind, "image", 1)
    node.wait_for_output(words)
    probe.spin(0.5)
    assert "set image_transport to auto" in probe.diagnosis()["last_error"]
    assert node.interrupt() == 0


def test_simulated_time_without_a_clock_is_no_silence(tmp_path, make_probe):
    """The timers stand on the steady clock: diagnostics come, and say that no image does and why."""
    namespace = "/simulated_test"
    node = start_node("pose_node", tmp_path / "log", namespace, use_sim_time=True, diagnostics_period_s=0.2,
                      stale_after_s=0.5)
    node.wait_for_output("no image for")
    probe = make_probe(namespace, outputs=("/diagnostics",))
    message = probe.diagnosis()["message"]
    assert message.startswith("no image on") and "no time comes on /clock, nobody publishes it" in message
    said, = lines_with(node, "no time comes on /clock")
    assert "WARN" in said
    assert node.interrupt() == 0

