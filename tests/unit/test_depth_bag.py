# SPDX-License-Identifier: Apache-2.0
"""Depth of a bag: matched by stamp, decoded from every form, placed by its own CameraInfo and /tf_static."""

import struct

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import DatasetError, ImageError
from dinemo_ros.io.sources.bag_transforms import between
from dinemo_ros.io.sources.depth_bag import BagDepth
from dinemo_ros.io.sources.frame import Frame

from .test_bag_topics import Bag

pytest.importorskip("rosbags", reason="rosbags is not installed (pip install rosbags)")

DEPTH = "/cam/depth/image"
STEP_NS = 10**8  # between the messages of a Bag


def frame(stamp_s, frame_id="camera"):
    return Frame(stamp_s, np.zeros((24, 32, 3), np.uint8), None, "x", frame_id)


def static(bag, *links):
    """A message of /tf_static; links: parent, child, x y z, quaternion x y z w."""
    types = bag.types
    made = [types["geometry_msgs/msg/TransformStamped"](bag.header(parent), child, types["geometry_msgs/msg/Transform"](
        types["geometry_msgs/msg/Vector3"](*map(float, t)), types["geometry_msgs/msg/Quaternion"](*map(float, q))))
        for parent, child, t, q in links]
    bag.put("/tf_static", types["tf2_msgs/msg/TFMessage"](made))


def opened(path, topic=DEPTH):
    return BagDepth(path, topic)


def test_the_nearest_stamp_is_taken_and_none_beyond_the_tolerance(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for value in (1000, 2000, 3000):  # at 1.0, 1.1 and 1.2 s
            bag.image(DEPTH, "16UC1", value)
    depth = opened(tmp_path / "bag")
    found = [depth.of(frame(stamp)) for stamp in (0.9, 0.98, 1.01, 1.05, 1.12, 1.2, 1.24)]
    assert [None if f is None else int(f.stored.max()) for f in found] == [None, 1000, 1000, None, 2000, 3000, None]
    assert found[1].camera is None and found[1].T_cam_depth is None and found[1].note == ""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_it_is_read_beside_a_source_of_the_same_bag(tmp_path, storage):
    from dinemo_ros.io.sources import open_source
    with Bag(tmp_path / "bag", storage) as bag:
        for value in range(1, 6):
            bag.image("/cam/image", "rgb8", value)
            bag.time_ns -= STEP_NS
            bag.image(DEPTH, "32FC1", value)
    depth = opened(tmp_path / "bag", "cam/depth/image")  # without the slash in front
    pairs = [(f.image_rgb.max(), depth.of(f).stored.max()) for f in open_source(tmp_path / "bag")]
    assert pairs == [(value, value) for value in range(1, 6)]
    depth.close()


def inverse(metres):
    """What compressed_depth_image_transport makes of 32FC1, with its default quantisation of 100 to 10 m."""
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    numbers = np.where(metres > 0, a / np.maximum(metres, 0.1) + b, 0).astype(np.uint16)
    return struct.pack("<iff", 0, a, b) + cv2.imencode(".png", numbers)[1].tobytes()


MM = np.tile(np.arange(32, dtype=np.uint16) * 40 + 500, (24, 1))
MM[0, 0] = 0
PNG = cv2.imencode(".png", MM)[1].tobytes()


@pytest.mark.parametrize(("image_format", "data", "tolerance"), [
    ("16UC1; compressedDepth png", b"\0" * 12 + PNG, 0.0), ("16UC1; png compressed ", PNG, 0.0),
    ("32FC1; compressedDepth png", inverse(MM / 1000.0), 5e-4)])
def test_packed_depth(tmp_path, image_format, data, tolerance):
    with Bag(tmp_path / "bag") as bag:
        bag.compressed(DEPTH + "/compressedDepth", image_format, data)
    found = opened(tmp_path / "bag", DEPTH + "/compressedDepth").of(frame(1.0))
    metres = found.stored / 1000.0 if found.stored.dtype == np.uint16 else np.nan_to_num(found.stored)
    assert np.abs(metres - MM / 1000.0).max() <= tolerance + 1e-9


def test_damaged_depth_costs_its_picture_and_no_other(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.compressed(DEPTH, "16UC1; compressedDepth png", b"\0" * 12 + PNG)
        bag.compressed(DEPTH, "16UC1; compressedDepth png", b"\0" * 12 + PNG[:100])
        bag.compressed(DEPTH, "16UC1; compressedDepth png", b"\0" * 12 + PNG)
    depth = opened(tmp_path / "bag")
    assert depth.of(frame(1.0)) is not None
    with pytest.raises(ImageError, match="/cam/depth/image: PNG of 100 bytes"):
        depth.of(frame(1.1))
    assert depth.of(frame(1.2)) is not None


def test_its_own_camera_info_counts(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.info("/cam/depth/camera_info", 0.0)
        bag.info("/cam/depth/camera_info", 44.0)
        bag.info("/cam/camera_info", 99.0)
        bag.image(DEPTH, "16UC1", 900)
    depth = opened(tmp_path / "bag")
    assert depth.of(frame(1.3)).camera.K[0, 0] == 44.0
    assert any("/cam/depth/camera_info is of no use" in note for note in depth.notes)


QUARTER = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))  # a quarter of a turn about z


def test_another_frame_is_placed_by_static_transforms(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        static(bag, ("base", "camera", (0, 0, 1), (0, 0, 0, 1)), ("mount", "depth", (0.1, 0, 0), (0, 0, 0, 1)))
        static(bag, ("base", "mount", (0, 0.5, 1), QUARTER))
        bag.image(DEPTH, "16UC1", 900, frame="/depth")
    T = opened(tmp_path / "bag").of(frame(1.2)).T_cam_depth
    assert T[:3, 3] == pytest.approx([0.0, 0.6, 0.0])  # 0.5 along y, then 0.1 along the turned x
    assert T[:3, :3] == pytest.approx(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]))


@pytest.mark.parametrize(("links", "note"), [
    ([], True), ([("base", "depth", (0, 0, 1), (0, 0, 0, 1))], True),
    ([("camera", "depth", (0, 0, 1), (0, 0, 0, 3))], True),
    ([("camera", "depth", (0, 0, np.nan), (0, 0, 0, 1))], True),
    ([("camera", "depth", (0, 0, 0), (0, 0, 0, 1))], False)])
def test_what_nothing_connects_is_taken_as_aligned_and_told(tmp_path, links, note):
    with Bag(tmp_path / "bag") as bag:
        if links:
            static(bag, *links)
        bag.image(DEPTH, "16UC1", 900, frame="depth")
    found = opened(tmp_path / "bag").of(frame(1.1 if links else 1.0))
    assert found.T_cam_depth is None
    assert found.note == (("/cam/depth/image is of the frame 'depth', the pictures of 'camera', and /tf_static of the "
                           "bag does not connect them: it is taken as aligned to the pictures") if note else "")


def test_frames_in_a_circle_have_an_end():
    T = np.eye(4)
    tree = {"a": ("b", T), "b": ("c", T), "c": ("a", T)}
    assert between(tree, "a", "c") is not None and between(tree, "a", "elsewhere") is None


@pytest.mark.parametrize(("topic", "says"), [
    ("/cam/image", "topic /cam/image holds 'rgb8', --depth takes 16UC1, 32FC1, mono16; its depth topics: "
     "/cam/depth/image"),
    ("/nothing", "no image topic '/nothing' for --depth; its depth topics: /cam/depth/image"),
    ("/x\n" + "y" * 5000, "no image topic")])
def test_another_topic_is_refused_with_those_there_are(tmp_path, topic, says):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/cam/image", "rgb8")
        bag.image(DEPTH, "16UC1", 900)
    with pytest.raises(DatasetError) as error:
        opened(tmp_path / "bag", topic)
    assert says in str(error.value) and str(error.value).isprintable() and len(str(error.value)) < 600


def test_a_flood_of_one_stamp_is_not_kept(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for value in range(30):
            bag.image(DEPTH, "16UC1", 100 + value)
            bag.time_ns -= STEP_NS
    depth = opened(tmp_path / "bag")
    assert depth.of(frame(1.0)) is not None and len(depth._window) <= 8
