# SPDX-License-Identifier: Apache-2.0
"""The image source over real DDS: a folder, a video and a bag come out as Image + CameraInfo with the right stamps."""

import os
import re
import time

import cv2
import numpy as np
import pytest
import rclpy
from photographs import exif
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros_support.processes import start_node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from unit.test_sources import CAMERA_INFO, raw_image, write_bag
from video_files import VIDEOS

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.defaults import DEFAULT_HFOV_DEG
from dinemo_ros.node.conversions import image_to_rgb, nanoseconds

NAMESPACE = "/source_test"
GREYS = (30, 90, 150, 210)


class Viewer(Node):
    def __init__(self, kind=Image):
        super().__init__("viewer", namespace=NAMESPACE)
        self.images, self.infos, self.arrivals = [], [], []
        self.create_subscription(kind, "image", self._on_image, QoSProfile(depth=20))
        self.create_subscription(CameraInfo, "camera_info", self.infos.append, QoSProfile(depth=20))

    def _on_image(self, message):
        self.images.append(message)
        self.arrivals.append(time.monotonic())

    def watch(self, source, timeout_s=40.0):
        """Spin until the source has ended; its exit code."""
        deadline = time.monotonic() + timeout_s
        while source.process.poll() is None:
            assert time.monotonic() < deadline, source.output
            rclpy.spin_once(self, timeout_sec=0.05)
        for _ in range(20):
            rclpy.spin_once(self, timeout_sec=0.02)
        return source.process.returncode

    def greys(self):
        return [int(np.median(image_to_rgb(m))) for m in self.images]

    def stamps(self):
        return [nanoseconds(m.header.stamp) * 1e-9 for m in self.images]


@pytest.fixture
def viewer():
    viewers = []

    def make(kind=Image):
        viewers.append(Viewer(kind))
        return viewers[-1]

    yield make
    for node in viewers:
        node.destroy_node()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index, grey in enumerate(GREYS):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((48, 64, 3), grey, np.uint8))
    return folder


def test_folder_in_order_with_camera_and_bad_files_named(viewer, folder, tmp_path):
    (folder / "2b.jpg").write_bytes(b"this is no image")
    (folder / "movie.txt").write_text("nor is this")
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(folder), hfov_deg=50.0,
                        stamps="source", frame_id="front")
    assert view.watch(source) == 0, source.output
    assert view.greys() == list(GREYS)
    assert view.stamps() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert {m.header.frame_id for m in view.images + view.infos} == {"front"}
    assert [nanoseconds(m.header.stamp) for m in view.infos] == [nanoseconds(m.header.stamp) for m in view.images]
    assert view.infos[0].k[0] == pytest.approx(Camera.from_hfov(64, 48, 50.0).K[0, 0])
    assert "2b.jpg" in source.output and "movie.txt" in source.output
    assert "4 images published, 2 skipped" in source.output


def test_camera_that_photographs_tell(viewer, folder, tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for path in folder.iterdir():
        with pillow.open(path) as picture:
            picture.save(path, exif=exif(35))
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(folder))
    assert view.watch(source) == 0, source.output
    assert view.infos[0].k[0] == pytest.approx(80 * 35 / np.hypot(36, 24))
    assert source.output.count("EXIF") == 1 and "is assumed" not in source.output


def test_a_field_of_view_given_by_hand_replaces_a_broken_calibration(viewer, folder, tmp_path):
    (folder / "camera_info.yaml").write_text("unknown: [")
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(folder), hfov_deg=60.0)
    assert view.watch(source) == 0, source.output
    width = view.infos[0].width
    assert view.infos[0].k[0] == pytest.approx(0.5 * width / np.tan(np.radians(30)))
    assert source.output.count("it is left out, for another camera was given") == 1


def test_rate_and_clock_stamps(viewer, folder, tmp_path):
    view = viewer()
    before = time.time()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(folder), rate_hz=5.0)
    assert view.watch(source) == 0
    assert np.diff(view.arrivals) == pytest.approx(0.2, abs=0.12)
    assert np.diff(view.stamps()) == pytest.approx(0.2, abs=0.12)
    assert before <= view.stamps()[0] <= time.time()
    assert f"{DEFAULT_HFOV_DEG:g} deg is assumed" in source.output  # as the command assumes


def test_loop_goes_on_until_interrupted(viewer, folder, tmp_path):
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(folder), rate_hz=50.0, loop=True)
    deadline = time.monotonic() + 30
    while len(view.images) < 10 and time.monotonic() < deadline:
        rclpy.spin_once(view, timeout_sec=0.05)
    assert view.greys()[:10] == (list(GREYS) * 3)[:10]
    assert source.interrupt() == 0
    assert "Traceback" not in source.output


def test_compressed(viewer, folder, tmp_path):
    view = viewer(CompressedImage)
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(folder), compressed=True)
    assert view.watch(source) == 0
    assert view.greys() == pytest.approx(GREYS, abs=2)


def test_video(viewer, tmp_path):
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for grey in GREYS:
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(path), stamps="source")
    assert view.watch(source) == 0, source.output
    assert view.greys() == pytest.approx(GREYS, abs=3)
    assert np.diff(view.stamps()) == pytest.approx(0.05)


def test_video_plays_by_the_stamps_of_its_container(viewer, tmp_path):
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(VIDEOS / "grey.mkv"),
                        stamps="source")
    assert view.watch(source) == 0, source.output
    expected = [0.0, 0.033, 0.066, 1.066, 1.1, 5.0]
    assert view.stamps() == pytest.approx(expected, abs=1e-3)
    assert view.arrivals[3] - view.arrivals[2] > 0.5 and view.arrivals[5] - view.arrivals[4] > 3.0
    assert "skipped:" not in source.output


def test_topic_of_a_bag_and_what_the_source_has_to_say(viewer, tmp_path):
    pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra 'bag')")
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = store.types
    with Writer(tmp_path / "bag", version=8) as writer:
        header = kinds["std_msgs/msg/Header"](kinds["builtin_interfaces/msg/Time"](5, 0), "bag_camera")
        for name, encoding, grey in (("/a/image", "mono8", 40), ("/b/image", "mono8", 90), ("/c/image", "16UC1", 9)):
            channel = writer.add_connection(name, "sensor_msgs/msg/Image", typestore=store)
            size = 64 if encoding == "mono8" else 128
            pixels = np.full(48 * size, grey, np.uint8)
            image = kinds["sensor_msgs/msg/Image"](header, 48, 64, encoding, 0, size, pixels)
            writer.write(channel, 5 * 10**9, store.serialize_cdr(image, image.__msgtype__))
    for topic, grey in (("", 40), ("/b/image", 90)):
        view = viewer()
        source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(tmp_path / "bag"), topic=topic)
        assert view.watch(source) == 0, source.output
        assert view.greys() == [grey]
        assert ("has 3 image topics, /a/image is used" in source.output) == (topic == "")
        assert "has no camera_info beside" in source.output
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(tmp_path / "bag"), topic="/c/image")
    assert source.process.wait(30) == 1
    assert "holds depth images (16UC1)" in source.output and "Traceback" not in source.output


def test_video_whose_name_is_no_utf8(viewer, tmp_path):
    """Parameters of ROS are UTF-8, so the folder is what gives such a name; the node must not die of it."""
    (tmp_path / "frames").mkdir()
    for index, grey in enumerate(GREYS[:2]):
        data = cv2.imencode(".png", np.full((48, 64, 3), grey, np.uint8))[1].tobytes()
        with open(os.fsencode(tmp_path / "frames") + b"/%d\xf6.png" % index, "wb") as file:
            file.write(data)
    with open(os.fsencode(tmp_path / "frames") + b"/\xf6.txt", "wb") as file:
        file.write(b"words")
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(tmp_path / "frames"))
    assert view.watch(source) == 0, source.output
    assert view.greys() == list(GREYS[:2])
    assert r"skipped: \xf6.txt: not an image file but a text file" in source.output


def test_bag_keeps_stamps_frame_and_camera(viewer, tmp_path):
    rosbags = pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra 'bag')")
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = store.types
    camera = Camera.from_hfov(64, 48, 70.0)
    stamps = [1_700_000_000_250_000_000 + index * 40_000_000 for index in range(len(GREYS))]
    with rosbags.Writer(tmp_path / "bag", version=8) as writer:
        images = writer.add_connection("/cam/image_raw", "sensor_msgs/msg/Image", typestore=store)
        infos = writer.add_connection("/cam/camera_info", "sensor_msgs/msg/CameraInfo", typestore=store)
        for stamp, grey in zip(stamps, GREYS, strict=True):
            time_ = kinds["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
            header = kinds["std_msgs/msg/Header"](stamp=time_, frame_id="bag_camera")
            roi = kinds["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            info = kinds["sensor_msgs/msg/CameraInfo"](
                header, 48, 64, "plumb_bob", np.zeros(5), camera.K.ravel(), np.eye(3).ravel(),
                np.hstack([camera.K, np.zeros((3, 1))]).ravel(), 0, 0, roi)
            image = kinds["sensor_msgs/msg/Image"](header, 48, 64, "mono8", 0, 64, np.full(48 * 64, grey, np.uint8))
            writer.write(infos, stamp, store.serialize_cdr(info, info.__msgtype__))
            writer.write(images, stamp, store.serialize_cdr(image, image.__msgtype__))
    view = viewer()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(tmp_path / "bag"))
    assert view.watch(source) == 0, source.output
    assert view.greys() == list(GREYS)
    # Seconds as a float resolve a quarter of a microsecond today.
    assert [nanoseconds(m.header.stamp) for m in view.images] == pytest.approx(stamps, abs=1000)
    assert {m.header.frame_id for m in view.images} == {"bag_camera"}
    assert view.infos[0].k[0] == pytest.approx(camera.K[0, 0])


def test_a_calibration_that_cannot_be_used_ends_it(folder, tmp_path):
    """Nothing is assumed instead; a field of view that is given is a way out."""
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra 'bag')")
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(90))], [(1.0, 40.0)], d=np.array([50.0, 0, 0, 0, 0]))
    (tmp_path / "c.yaml").write_text(CAMERA_INFO)  # of 32 x 24 pixels, as the bag's images; the folder's have 64 x 48
    (tmp_path / "wide.yaml").write_text(CAMERA_INFO.replace("24", "18"))
    cases = [(tmp_path / "bag", {}, 1, "front/camera_info is of no use: .*stretch.*set the parameter camera_file or"),
             (tmp_path / "bag", {"hfov_deg": 50.0}, 0, "1 images published"),
             (folder, {"camera_file": str(tmp_path / "c.yaml")}, 0, "4 images published"),
             (folder, {"camera_file": str(tmp_path / "wide.yaml")}, 1, "is of 32x18 and the image is 64x48")]
    for path, options, code, words in cases:
        source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(path), rate_hz=50.0,
                            wait_for_subscriber=False, **options)
        assert source.process.wait(40) == code, source.output
        assert re.search(words, source.output) and "Traceback" not in source.output
        assert "is assumed" not in source.output


@pytest.mark.parametrize(("path", "words"), [("", "parameter 'path' is empty"), ("nothing_here", "no such file"),
                                             ("empty", "no image here")])
def test_nothing_to_play(tmp_path, path, words):
    (tmp_path / "empty").mkdir()
    source = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(tmp_path / path) if path else "")
    assert source.process.wait(30) == 1
    assert words in source.output and "Traceback" not in source.output
