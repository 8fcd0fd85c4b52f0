# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag is taken, and whose CameraInfo: by encoding, frame and size, whatever the names are."""

import os
import shutil
import sqlite3

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import DatasetError
from dinemo_ros.io.sources import open_source

pytest.importorskip("rosbags", reason="rosbags is not installed (pip install rosbags)")

ENCODINGS = {"rgb8": (3, np.uint8), "bgr8": (3, np.uint8), "mono8": (1, np.uint8), "mono16": (1, np.uint16),
             "16UC1": (1, np.uint16), "32FC1": (1, np.float32), "rgb99": (3, np.uint8)}


class Bag:
    """Writes messages in the order of the calls, a tenth of a second apart."""

    def __init__(self, path, storage="mcap"):
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        self.types = self.store.types
        self.writer = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
        self.writer.open()
        self.connections, self.time_ns = {}, 10**9

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.writer.close()

    def connection(self, topic, kind):
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=self.store)
        return self.connections[topic]

    def put(self, topic, message):
        kind = message.__msgtype__
        self.time_ns += 10**8
        self.writer.write(self.connection(topic, kind), self.time_ns, self.store.serialize_cdr(message, kind))

    def header(self, frame):
        stamp = self.types["builtin_interfaces/msg/Time"](self.time_ns // 10**9, self.time_ns % 10**9)
        return self.types["std_msgs/msg/Header"](stamp, frame)

    def image(self, topic, encoding="rgb8", value=90, frame="camera", size=(32, 24)):
        channels, dtype = ENCODINGS[encoding]
        pixels = np.full((size[1], size[0] * channels), value, dtype)
        self.put(topic, self.types["sensor_msgs/msg/Image"](self.header(frame), size[1], size[0], encoding, 0,
                                                            pixels.strides[0], pixels.view(np.uint8).reshape(-1)))

    def compressed(self, topic, image_format="jpeg", data=None, frame="camera"):
        if data is None:
            data = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()
        self.put(topic, self.types["sensor_msgs/msg/CompressedImage"](self.header(frame), image_format,
                                                                      np.frombuffer(data, np.uint8)))

    def info(self, topic, focal=40.0, frame="camera", size=(32, 24)):
        region = self.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        K = np.array([focal, 0, (size[0] - 1) / 2, 0, focal, (size[1] - 1) / 2, 0, 0, 1.0])
        self.put(topic, self.types["sensor_msgs/msg/CameraInfo"](
            self.header(frame), size[1], size[0], "plumb_bob", np.zeros(5), K, np.eye(3).ravel(), np.zeros(12), 0, 0,
            region))


def focals(source):
    return [f.camera and f.camera.K[0, 0] for f in source]


def chosen(source):
    return source.description.rsplit(" ", 1)[1]


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_is_known_by_its_encoding_and_not_by_its_name(tmp_path, encoding):
    with Bag(tmp_path / "bag") as bag:
        for _ in range(2):
            bag.image("/a/colour", encoding, 1500)  # a name that says otherwise, and comes first
            bag.image("/depth_camera/rgb", "rgb8", 90)
    source = open_source(tmp_path / "bag")
    assert chosen(source) == "/depth_camera/rgb" and len(source) == 2
    assert [f.image_rgb.max() for f in source] == [90, 90]
    assert any("others: /a/colour (depth)" in note for note in source.notes)


def test_a_depth_topic_that_is_asked_for_is_refused(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/a/image", "16UC1")
        bag.image("/b/image", "rgb8")
        bag.compressed("/c/image", "16UC1; compressedDepth png", b"\0" * 100)
    for topic in ("/a/image", "/c/image"):
        with pytest.raises(DatasetError, match=rf"topic {topic} holds depth images \(16UC1\).*; it has /b/image$"):
            open_source(tmp_path / "bag", topic=topic)
    assert len(list(open_source(tmp_path / "bag", topic="b/image"))) == 1  # without the slash in front


def test_a_bag_of_depth_alone_says_so(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/a/image", "16UC1")
        bag.compressed("/c/image", "32FC1; png compressed ", b"\0" * 100)
    with pytest.raises(DatasetError, match="no topic of colour images .*of depth it has /a/image, /c/image"):
        open_source(tmp_path / "bag")


def test_one_with_a_camera_goes_first_then_colour_then_the_name(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/a/debug/overlay", "rgb8", frame="elsewhere")
        bag.image("/b/infra/image", "mono8", frame="infra")
        bag.info("/b/infra/camera_info", frame="infra")
        bag.image("/c/colour/image", "bgr8", frame="colour")
        bag.info("/c/colour/camera_info", frame="colour")
        bag.image("/d/colour/image", "rgb8", frame="other")
        bag.info("/d/colour/camera_info", frame="other")
    assert chosen(open_source(tmp_path / "bag")) == "/c/colour/image"
    assert len(list(open_source(tmp_path / "bag", topic="/a/debug/overlay"))) == 1


def test_what_cannot_be_decoded_goes_last(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/a/image", "rgb99")
        bag.info("/a/camera_info")
        bag.compressed("/b/image", "h264", b"\0\0\0\1\x67" + bytes(50))
        bag.info("/b/camera_info")
        bag.connection("/c/image", "sensor_msgs/msg/Image")  # without a message
        bag.info("/c/camera_info")
        bag.compressed("/d/image", frame="d")
    source = open_source(tmp_path / "bag")
    assert chosen(source) == "/d/image" and len(list(source)) == 1


def test_a_camera_info_elsewhere_is_found_by_frame_and_size(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/sensors/front/picture", frame="front_optical")
        bag.info("/calibration/rear", 50.0, frame="rear_optical")
        bag.info("/calibration/all_of_front", 80.0, frame="front_optical", size=(64, 48))
        bag.info("/calibration/front", 40.0, frame="front_optical")
    source = open_source(tmp_path / "bag")
    assert focals(source) == [40.0] and not any("no camera_info" in note for note in source.notes)


def test_a_camera_info_beside_of_another_size_is_not_preferred(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/cam/image", frame="front")
        bag.info("/cam/camera_info", 80.0, frame="front", size=(64, 48))
        bag.info("/cam/small/camera_info", 40.0, frame="front")
    assert focals(open_source(tmp_path / "bag")) == [40.0]


def test_no_camera_of_another_frame_is_borrowed(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/cam/image", frame="front")
        bag.info("/other/camera_info", frame="rear")
    source = open_source(tmp_path / "bag")
    assert focals(source) == [None] and any("no camera_info beside /cam/image" in note for note in source.notes)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("where", ["start", "end", "middle"])
def test_a_latched_camera_info_serves_all_images(tmp_path, storage, where):
    with Bag(tmp_path / "bag", storage) as bag:
        for index in range(4):
            if index == {"start": 0, "middle": 2}.get(where):
                bag.info("/cam/camera_info")
            bag.image("/cam/image")
        if where == "end":
            bag.info("/cam/camera_info")
    assert focals(open_source(tmp_path / "bag")) == [40.0] * 4


def test_a_camera_info_that_is_of_no_use_for_a_while_does_not_take_the_camera_away(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.info("/cam/camera_info", 0.0)
        bag.image("/cam/image")
        for focal in (40.0, 0.0, 50.0):
            bag.info("/cam/camera_info", focal)
            bag.image("/cam/image")
    source = open_source(tmp_path / "bag")
    assert focals(source) == [40.0, 40.0, 40.0, 50.0] and any("is of no use" in note for note in source.notes)


def test_a_video_stream_is_named_for_what_it_is(tmp_path):
    from rosbags.typesys import get_types_from_msg
    kind = "foxglove_msgs/msg/CompressedVideo"
    with Bag(tmp_path / "bag") as bag:
        fields = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
        bag.store.register(get_types_from_msg(fields, kind))
        video = bag.types[kind](bag.header("x").stamp, "camera", np.zeros(9, np.uint8), "h264")
        video.__msgtype__ = kind
        bag.put("/cam/video", video)
    with pytest.raises(DatasetError, match=r"/cam/video is foxglove_msgs/msg/CompressedVideo \(a video stream\), which "
                       "is not read: republish"):
        open_source(tmp_path / "bag")
    with pytest.raises(DatasetError, match=r"no image topic '/cam/video', it is foxglove_msgs/msg/CompressedVideo"):
        open_source(tmp_path / "bag", topic="/cam/video")


def test_pixels_of_a_bag_are_not_turned(tmp_path):
    from photographs import exif
    data = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()
    content = exif(35, 6)
    data = data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + data[2:]
    with Bag(tmp_path / "bag") as bag:
        bag.compressed("/cam/image/compressed", data=data)
        bag.info("/cam/camera_info")
    frame, = open_source(tmp_path / "bag")
    assert frame.image_rgb.shape == (24, 32, 3) and frame.camera.K[0, 0] == 40.0


def test_16_bits_of_a_bag_are_scaled_alike(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/cam/image", "mono16", 4095)
        bag.image("/cam/image", "mono16", 300)
    source = open_source(tmp_path / "bag")
    assert [f.image_rgb.max() for f in source] == [255, 19]
    assert any("hold at most 12" in note for note in source.notes)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("name", [b"b\xf6g", b"a?b#c%20d", b"a\nb", b"-x", b"100%d", b"x y"])
def test_a_bag_of_any_name_is_read(tmp_path, storage, name):
    with Bag(tmp_path / "plain", storage) as bag:
        bag.image("/cam/image")
    target = os.fsencode(tmp_path) + b"/" + name
    shutil.move(os.fsencode(tmp_path / "plain"), target)
    folder = next(p for p in tmp_path.iterdir())
    file = next(p for p in folder.iterdir() if p.suffix in (".mcap", ".db3"))
    single = os.fsdecode(target + b"." + os.fsencode(file.suffix[1:]))
    shutil.copy(file, single)
    for path in (folder, single):
        source = open_source(path)
        frame, = source
        assert frame.image_rgb.max() == 90 and source.description.isprintable()


def test_bags_are_known_by_their_content(tmp_path):
    for storage in ("mcap", "sqlite3"):
        with Bag(tmp_path / storage, storage) as bag:
            bag.image("/cam/image")
        file = next(p for p in (tmp_path / storage).iterdir() if p.suffix in (".mcap", ".db3"))
        for suffix in ("", ".bag", ".mcap", ".db3", ".jpg"):
            shutil.copy(file, tmp_path / f"{storage}_copy{suffix}")
            assert len(list(open_source(tmp_path / f"{storage}_copy{suffix}"))) == 1


def test_another_database_is_no_bag(tmp_path):
    with sqlite3.connect(tmp_path / "a.db3") as database:
        database.execute("create table people (name text)")
    with pytest.raises(DatasetError, match="cannot be read as a rosbag2"):
        open_source(tmp_path / "a.db3")


@pytest.mark.parametrize("name", ["x.db3.zstd", "x.mcap.zstd", "x.db3"])
def test_a_compressed_storage_file_alone_says_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(DatasetError, match=r"compressed with Zstandard: give the bag's folder .*zstd -d FILE"):
        open_source(tmp_path / name)


def test_a_bag_whose_files_are_compressed_is_read_by_its_folder(tmp_path):
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    with writer:
        bag = Bag.__new__(Bag)
        bag.store, bag.types, bag.writer, bag.connections, bag.time_ns = store, store.types, writer, {}, 10**9
        bag.image("/cam/image")
    assert any(p.suffix == ".zstd" for p in (tmp_path / "bag").iterdir())
    assert len(list(open_source(tmp_path / "bag"))) == 1


def test_text_of_a_bag_is_escaped_and_cut(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        bag.image("/cam/image")
        bag.compressed("/cam/other", "jpeg\n[ERROR]" + "x" * 5000, b"nothing\x00\xff\xfe")
    source = open_source(tmp_path / "bag", topic="/cam/other")
    assert list(source) == []
    assert source.skipped[0].isprintable() and len(source.skipped[0]) < 300
    with pytest.raises(DatasetError) as caught:
        open_source(tmp_path / "bag", topic="/no\nsuch" + "x" * 5000)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
