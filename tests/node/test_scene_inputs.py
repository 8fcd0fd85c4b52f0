# SPDX-License-Identifier: Apache-2.0
"""Over real DDS: the support plane and the depth image that the estimator is asked with, and what is told without."""

import math
import time
from array import array

import cv2
import numpy as np
import pytest
from ros_support.node_here import node_here
from ros_support.pose_node_here import CAMERA, IMAGE
from ros_support.transform_tree import Tree, ready
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.node import support
from dinemo_ros.node.conversions import camera_to_info, nanoseconds
from dinemo_ros.scene.support_plane import SupportPlane

T_BASE_CAMERA = se3(so3_exp(np.array([-2.1, 0.2, 0.1])), np.array([0.2, 0.1, 1.4]))
DEPTH = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) + 500  # millimetres


def depth_message(header: Header, depth: np.ndarray, **fields) -> Image:
    encoding = {np.dtype(np.uint16): "16UC1", np.dtype(np.float32): "32FC1"}[depth.dtype]
    message = Image(header=header, height=depth.shape[0], width=depth.shape[1], encoding=encoding,
                    step=depth.strides[0], data=array("B", depth.tobytes()))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


class DepthCamera:
    """Publishes depth beside a probe's images."""

    def __init__(self, probe, kind=Image, topic: str = "depth/image") -> None:
        self.probe = probe
        self.images = probe.create_publisher(kind, topic, 5)
        self.infos = probe.create_publisher(CameraInfo, "depth/camera_info", 5)
        probe.wait_for_node()
        probe.wait(self.images.get_subscription_count, "the node to subscribe to depth")
        probe.wait(self.infos.get_subscription_count, "the node to subscribe to the depth camera's camera_info")
        probe.spin(0.5)

    def send(self, depth=DEPTH, later_ms: float = 0.0, frame_id: str = "camera", **fields) -> Header:
        """A depth image and an image; the header of that."""
        header = self.probe.header()
        own = self.probe.header(nanoseconds(header.stamp) + round(later_ms * 1e6), frame_id)
        self.images.publish(depth_message(own, depth, **fields) if isinstance(depth, np.ndarray) else depth)
        self.probe.spin(0.1)
        return self.probe.send(IMAGE, CAMERA, header)


def asked_with(estimator, probe, header) -> dict:
    """The keywords of the estimator's call for the image of that header."""
    probe.answer("detections", header)
    return estimator.asked[-1]


@pytest.fixture
def camera(monkeypatch, make_probe):
    with node_here(monkeypatch, "/depth_test", depth_timeout_s=0.5) as estimator:
        yield estimator, DepthCamera(make_probe("/depth_test", outputs=("detections", "/diagnostics")))


# The support plane

def test_support_frame_becomes_the_plane_in_the_camera(monkeypatch, make_probe):
    """The table's frame hangs on the base as the camera does; z up."""
    T_base_table = se3(so3_exp(np.array([0.0, 0.1, 0.3])), np.array([0.5, 0.0, 0.7]))
    with node_here(monkeypatch, "/support_test", support_frame="table", support_tilt_sigma_deg=2.0,
                   support_offset_sigma_m=0.01) as estimator:
        probe = make_probe("/support_test", outputs=("detections", "/tf", "/diagnostics"))
        tree = Tree(probe)
        ready(probe, tree)
        tree.static("base", "camera", T_BASE_CAMERA)
        tree.static("base", "table", T_base_table)
        probe.spin(0.5)
        plane = asked_with(estimator, probe, probe.send(IMAGE, CAMERA))["support"]
        T_cam_table = np.linalg.inv(T_BASE_CAMERA) @ T_base_table
        assert np.allclose(plane.normal, T_cam_table[:3, 2])
        assert np.allclose(plane.height(T_cam_table[:3, :2].T + T_cam_table[:3, 3]), 0.0), "the x-y plane of the frame"
        assert plane.height(np.zeros(3)) == pytest.approx(T_base_table[:3, 2] @ (T_BASE_CAMERA - T_base_table)[:3, 3])
        assert (plane.normal_sigma, plane.offset_sigma) == (pytest.approx(math.radians(2.0)), 0.01)

        calls = len(estimator.asked)
        tree.static("base", "table", T_base_table @ se3(np.diag([1.0, -1.0, -1.0]), np.zeros(3)))  # z into the table
        probe.spin(0.5)
        probe.send(IMAGE, CAMERA)
        values = probe.wait(lambda: (v := probe.diagnosis())["rejected_support"] == "1" and v, "the rejection")
        assert "the support plane's offset is" in values["message"] and "no pose for this image" in values["message"]
        assert len(estimator.asked) == calls

        assert probe.set_parameter("support_frame", "shelf").successful
        header = probe.send(IMAGE, CAMERA)
        values = probe.wait(lambda: (v := probe.diagnosis())["rejected_transform"] == "1" and v, "the rejection")
        assert "frame 'shelf' is not in TF" in values["message"] and not probe.answered("detections", header)


def test_height_and_pitch_become_the_plane(monkeypatch, make_probe):
    with node_here(monkeypatch, "/height_test", camera_height_m=1.2, camera_pitch_deg=30.0) as estimator:
        probe = make_probe("/height_test", outputs=("detections",))
        probe.wait_for_node()
        plane = asked_with(estimator, probe, probe.send(IMAGE, CAMERA))["support"]
    known = SupportPlane.from_camera_height(1.2, math.radians(30.0), normal_sigma=math.radians(1.0),
                                            offset_sigma=0.003)
    assert np.allclose(plane.normal, known.normal) and plane.offset_m == known.offset_m
    assert (plane.normal_sigma, plane.offset_sigma) == (known.normal_sigma, known.offset_sigma)


def test_plane_is_looked_for_in_the_depth_image(camera, monkeypatch):
    """Round the boxes where there are some; what is told by a parameter comes first."""
    estimator, sensor = camera
    probe, asked = sensor.probe, []
    plane = SupportPlane(np.array([0.0, -1.0, 0.0]), -0.5)

    def find_support(depth, box, camera):
        asked.append((depth, tuple(box), camera))
        return plane if len(asked) != 2 else None

    monkeypatch.setattr(support, "find_support", find_support)
    assert asked_with(estimator, probe, sensor.send())["support"] is None and not asked, "it is off unless set"
    assert probe.set_parameter("support_from_depth", True).successful
    assert asked_with(estimator, probe, sensor.send())["support"] is plane
    depth, box, seen = asked[0]
    assert box == (0.0, 0.0, 64.0, 48.0) and (seen.width, seen.height) == (64, 48)
    assert np.allclose(depth.metres, DEPTH * 1e-3) and estimator.asked[-1]["depth"] is depth
    probe.start_detector()
    header = sensor.send()
    probe.send_boxes(header, [(5.0, 6.0, 20.0, 30.0), (30.0, 10.0, 60.0, 40.0)])
    assert asked_with(estimator, probe, header)["support"] is plane
    assert [box for _, box, _ in asked[1:]] == [(5.0, 6.0, 20.0, 30.0), (30.0, 10.0, 60.0, 40.0)]
    assert probe.set_parameter("camera_height_m", 0.8).successful
    header = sensor.send()
    probe.send_boxes(header, [(5.0, 6.0, 20.0, 30.0)])
    assert asked_with(estimator, probe, header)["support"].offset_m == -0.8 and len(asked) == 3


def test_no_plane_in_the_depth_image_is_told(camera, monkeypatch):
    estimator, sensor = camera
    monkeypatch.setattr(support, "find_support", lambda *_: None)
    assert sensor.probe.set_parameter("support_from_depth", True).successful
    known = asked_with(estimator, sensor.probe, sensor.send())
    assert known["support"] is None and known["depth"] is not None
    assert "no plane that objects stand on was found" in sensor.probe.diagnosis()["note_support"]


# Depth

@pytest.mark.parametrize("depth", [DEPTH, (DEPTH * 1e-3).astype(np.float32)], ids=["16UC1", "32FC1"])
def test_depth_of_the_image_is_aligned_where_frame_and_size_are(camera, depth):
    estimator, sensor = camera
    known = asked_with(estimator, sensor.probe, sensor.send(depth))
    assert np.allclose(known["depth"].metres, DEPTH * 1e-3) and known["depth"].T_cam_depth is None
    assert known["depth"].camera is known["camera"], "no depth/camera_info: that of the colour image"
    values = sensor.probe.diagnosis()
    assert (values["depth_images_used"], values["depth_images_missing"]) == ("1", "0")


def test_padded_rows_and_the_other_byte_order(camera):
    estimator, sensor = camera
    padded = np.full((48, 70), 9, np.uint16)
    padded[:, :64] = DEPTH
    header = sensor.send(padded.byteswap(), width=64, is_bigendian=1)
    assert np.allclose(asked_with(estimator, sensor.probe, header)["depth"].metres, DEPTH * 1e-3)


def test_depth_of_another_camera_is_registered_by_tf(camera):
    """Its own size, its own camera_info and frame; T_cam_depth from TF, which is listened to from then on."""
    estimator, sensor = camera
    probe, other = sensor.probe, Camera.from_hfov(32, 24, 80.0)
    T_camera_depth = se3(so3_exp(np.array([0.0, 0.02, 0.01])), np.array([0.05, 0.0, 0.0]))
    tree, depth = Tree(probe), DEPTH[::2, ::2].copy()
    tree.static("camera", "depth_camera", T_camera_depth)
    for _ in range(2):  # the first finds out that TF is needed
        sensor.infos.publish(camera_to_info(Header(frame_id="depth_camera"), other))
        known = asked_with(estimator, probe, sensor.send(depth, frame_id="depth_camera"))
        probe.spin(1.0)
    assert np.allclose(known["depth"].T_cam_depth, T_camera_depth)
    assert np.allclose(known["depth"].camera.K, other.K) and known["depth"].metres.shape == (24, 32)


def test_what_cannot_be_used_is_told_and_the_image_answered_without(camera):
    estimator, sensor = camera
    probe = sensor.probe
    cases = [(DEPTH[::2, ::2].copy(), {}, "no depth/camera_info has arrived, and the depth image (32x24"),
             (DEPTH, {"encoding": "rgb8"}, "depth encoding 'rgb8' is not supported"),
             (DEPTH, {"step": 100}, "step is 100 bytes, a row of 64 pixels in '16UC1' takes 128"),
             (DEPTH, {"height": 4800, "width": 6400, "step": 12800}, "no depth/camera_info has arrived"),
             (DEPTH, {"height": 2**32 - 1, "width": 2**32 - 1}, "pixels"),
             ((DEPTH // 500).astype(np.uint16), {}, "no distance in millimetres"),
             (DEPTH, {"data": array("B", b"123")}, "depth image has 3 bytes, 64x48 in '16UC1'")]
    for count, (depth, fields, words) in enumerate(cases, 1):
        assert asked_with(estimator, probe, sensor.send(depth, **fields))["depth"] is None
        values = probe.diagnosis()
        assert values["rejected_depth"] == str(count) and words in values["last_error"], words
        assert values["last_error"].endswith("this image is worked on without depth")
    assert values["images_published"] == str(len(cases))


def test_millimetres_in_floats_are_mended_and_told(camera):
    estimator, sensor = camera
    known = asked_with(estimator, sensor.probe, sensor.send(DEPTH.astype(np.float32)))
    assert np.allclose(known["depth"].metres, DEPTH * 1e-3)
    assert "taken for millimetres, a factor of 1000" in sensor.probe.diagnosis()["note_depth_unit"]


def test_the_nearest_in_time_is_taken_and_none_from_too_far(camera):
    estimator, sensor = camera
    probe = sensor.probe
    assert asked_with(estimator, probe, sensor.send(DEPTH, later_ms=30.0))["depth"] is not None, "depth_max_age_s: 0.05"
    assert asked_with(estimator, probe, sensor.send(DEPTH, later_ms=80.0))["depth"] is None
    values = probe.diagnosis()
    assert values["depth_images_missing"] == "1" and "none came within 0.5 s" in values["note_depth"]


def test_depth_that_comes_late_is_waited_for_and_not_for_long(camera):
    """An image is answered in time where depth has stopped: at first after the wait, then at once."""
    estimator, sensor = camera
    probe = sensor.probe
    header = probe.send(IMAGE, CAMERA)
    probe.spin(0.2)
    assert not estimator.asked, "it waits"
    sensor.images.publish(depth_message(header, DEPTH))
    assert asked_with(estimator, probe, header)["depth"] is not None
    time.sleep(2.1)
    begin = time.monotonic()
    assert asked_with(estimator, probe, probe.send(IMAGE, CAMERA))["depth"] is None
    assert time.monotonic() - begin < 0.4, "depth has stopped, nobody waits"


def test_always_means_no_answer_without_depth(monkeypatch, make_probe):
    with node_here(monkeypatch, "/always_test", use_depth="always", depth_timeout_s=0.1) as estimator:
        probe = make_probe("/always_test", outputs=("detections", "/diagnostics"))
        probe.wait_for_node()
        probe.send(IMAGE, CAMERA)
        values = probe.wait(lambda: (v := probe.diagnosis())["rejected_depth"] == "1" and v, "the rejection")
        assert values["message"] == ("/always_test/depth/image: nobody publishes it, and use_depth is 'always': start "
                                     "the depth camera, or remap depth/image; no pose for this image")
        sensor = DepthCamera(probe)
        probe.send(IMAGE, CAMERA)
        probe.wait(lambda: "none came within 0.1 s" in probe.diagnosis()["message"], "the second rejection")
        sensor.send(DEPTH, encoding="rgb8")
        probe.wait(lambda: "'rgb8' is not supported" in probe.diagnosis()["message"], "the third rejection")
        assert not estimator.asked and not probe.received["detections"]
        assert asked_with(estimator, probe, sensor.send())["depth"] is not None


def test_never_means_no_subscription(monkeypatch, make_probe):
    with node_here(monkeypatch, "/never_test", use_depth="never") as estimator:
        probe = make_probe("/never_test", outputs=("detections",))
        images = probe.create_publisher(Image, "depth/image", 5)
        probe.wait_for_node()
        assert asked_with(estimator, probe, probe.send(IMAGE, CAMERA))["depth"] is None
        assert images.get_subscription_count() == 0
        assert probe.set_parameter("use_depth", "auto").successful
        probe.wait(images.get_subscription_count, "the node to subscribe to depth")


def test_compressed_depth_is_found_beside_the_topic(monkeypatch, make_probe):
    with node_here(monkeypatch, "/packed_test") as estimator:
        probe = make_probe("/packed_test", outputs=("detections", "/diagnostics"))
        sensor = DepthCamera(probe, CompressedImage, "depth/image/compressedDepth")
        header = probe.header()
        data = bytes(12) + cv2.imencode(".png", DEPTH)[1].tobytes()
        sensor.images.publish(CompressedImage(header=header, format="16UC1; compressedDepth png", data=data))
        probe.spin(0.1)
        probe.send(IMAGE, CAMERA, header)
        assert np.allclose(asked_with(estimator, probe, header)["depth"].metres, DEPTH * 1e-3)


def test_time_that_begins_anew_brings_no_depth_of_before(camera):
    estimator, sensor = camera
    probe = sensor.probe
    first = sensor.send()
    assert asked_with(estimator, probe, first)["depth"] is not None
    restart = probe.header(nanoseconds(first.stamp) - 30_000_000_000)
    asked_with(estimator, probe, probe.send(IMAGE, CAMERA, restart))
    del probe.received["detections"][:]  # the first image had this stamp, too
    again = probe.send(IMAGE, CAMERA, probe.header(nanoseconds(first.stamp)))
    assert asked_with(estimator, probe, again)["depth"] is None
    assert len(estimator.asked) == 3
