# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 (sqlite3 or mcap) as a source, read with the ``rosbags`` library: no ROS installation needed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...camera.camera_info import camera_from_info
from ...camera.pinhole import Camera
from ...errors import CameraError, DatasetError, ImageError
from ..image_codec import decode_compressed, decode_image, peek_size
from ..picture_header import require_size
from ..quoting import shown, shown_path
from ..sample_range import SampleRange
from .bag_limits import limit_rosbags, require_small_chunks, require_small_metadata, small_values
from .bag_topics import (
    OTHER_PICTURES,
    ImageTopic,
    InfoTopic,
    Message,
    choose,
    image_topic,
    info_topic,
    listed,
    matching_info,
)
from .frame import Frame, Source, undecoded
from .safe_name import plain_path

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
BAG_SUFFIXES = (".mcap", ".db3")
_PEEKED = 5  # messages of a topic that are looked at for one that is not damaged
_MOST_TOPICS = 1000  # each is compared with all others


def is_bag_folder(path: Path) -> bool:
    """True for a folder with a bag's ``metadata.yaml`` or storage files in it.

    Raises:
        DatasetError: the folder cannot be read.
    """
    try:
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    except OSError as error:
        raise DatasetError(f"{shown_path(path)}: folder cannot be read ({error.strerror})") from error


def _storage_files(folder: Path) -> list[Path]:
    return [f for f in folder.iterdir() if f.suffix.lower() in BAG_SUFFIXES]


class BagSource(Source):
    """One image topic of a bag, with the CameraInfo beside it.

    Raises:
        DatasetError: ``rosbags`` is not installed, the bag cannot be read, or it lacks the topic.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        super().__init__(f"bag {shown_path(path)}")
        self._path = path
        where = shown_path(path)
        with _opened(path) as reader:
            counts = {c.topic: c.msgcount for c in reader.connections}
            images, infos = _peek(path, reader)
            others = {c.topic: c.msgtype for c in reader.connections if c.msgtype in OTHER_PICTURES}
        chosen = choose(where, images, infos, others, topic)
        self._topic, self._length = chosen.topic, counts[chosen.topic]
        self._info_topic = matching_info(chosen, infos)
        self._rectified = _is_rectified(self._topic)
        self._unusable = ""  # why the last CameraInfo gave no camera
        self.description += f", topic {shown(self._topic)}"
        rest = [image for image in images if image is not chosen]
        if rest and topic is None:
            self.note(f"{where} has {len(images)} image topics, {shown(self._topic)} is used; others: "
                      + listed([f"{shown(i.topic)}{' (depth)' if i.is_depth else ''}" for i in rest]))
        if self._info_topic is None:
            self.note(f"{where} has no camera_info beside {shown(self._topic)}, nor one of its frame and size")
        elif self._rectified:
            self.note(f"{shown(self._topic)} is taken as rectified, by its name: P of {shown(self._info_topic)}, no "
                      "lens")

    def __len__(self) -> int:
        return self._length

    def _frames(self) -> Generator[Frame, None, None]:
        with _opened(self._path) as reader:
            camera = self._first_camera(reader)
            chosen = [c for c in reader.connections if c.topic in (self._topic, self._info_topic)]
            index, samples = 0, SampleRange()
            for connection, _, raw in _messages(self._path, reader, chosen):
                if connection.msgtype == _CAMERA_INFO:
                    camera = self._camera(raw) or camera
                    continue
                name = f"{self._path.name}:{index:06d}"
                index += 1
                try:
                    message = _deserialize(raw, connection.msgtype)
                    image = _decode(message, connection.msgtype, samples, self.required_camera(camera))
                except ImageError as error:
                    self.skipped.append(f"{shown(name)}: {error}")
                    continue
                stamp = message.header.stamp
                yield Frame(stamp.sec + 1e-9 * stamp.nanosec, image, camera, name, message.header.frame_id,
                            camera_error="" if camera else self._unusable)
        if samples.note:
            self.note(f"{self.description}: {samples.note}")

    def _first_camera(self, reader: Reader) -> Camera | None:
        """The first CameraInfo that is of use: it serves the images before it too, and one that is latched is the only
        one of the bag."""
        chosen = [c for c in reader.connections if c.topic == self._info_topic]
        messages = _messages(self._path, reader, chosen) if chosen else ()
        cameras = (self._camera(raw) for (_, _, raw), _ in zip(messages, range(_PEEKED), strict=False))
        return next((camera for camera in cameras if camera is not None), None)

    def _camera(self, raw: bytes) -> Camera | None:
        try:
            return camera_from_info(_deserialize(raw, _CAMERA_INFO), self._rectified)
        except (CameraError, ImageError) as error:
            self._unusable = f"{shown(self._info_topic)} is of no use: {error}"
            self.note(self._unusable)
            return None


def _deserialize(raw: bytes, msgtype: str) -> Message:
    try:
        return _deserializer()(raw, msgtype)
    except Exception as error:  # struct, index and unicode errors of a damaged message
        raise ImageError(f"message of type {shown(msgtype)} is damaged ({shown(str(error), 200)})") from error


def _decode(message: Message, msgtype: str, samples: SampleRange, camera: Camera | None) -> np.ndarray:
    """RGB uint8 [H, W, 3]; see :func:`undecoded` for a picture of another size than ``camera``'s."""
    if camera is not None:
        compressed = msgtype == _COMPRESSED
        size = peek_size(message.format, message.data) if compressed else (message.width, message.height)
        if size is not None and size != (camera.width, camera.height):
            require_size(*size)
            return undecoded(*size)
    if msgtype == _COMPRESSED:
        return decode_compressed(message.format, message.data, samples)
    return decode_image(message.encoding, message.height, message.width, message.step, message.data,
                        bool(message.is_bigendian), samples)


def _peek(path: Path, reader: Reader) -> tuple[list[ImageTopic], list[InfoTopic]]:
    """What the first messages of all image and CameraInfo topics say, by the topics' names."""
    images, infos = [], []
    connections: dict[tuple[str, str], list] = {}
    for connection in reader.connections:
        if connection.msgtype in (_IMAGE, _COMPRESSED, _CAMERA_INFO):
            connections.setdefault((connection.topic, connection.msgtype), []).append(connection)
    if len(connections) > _MOST_TOPICS:
        raise DatasetError(f"{shown_path(path)}: has {len(connections)} topics of images and cameras, {_MOST_TOPICS} "
                           "are the most that are looked at: write those that matter to a bag of their own")
    for (topic, msgtype), chosen in sorted(connections.items(), key=lambda item: item[0]):
        message = _first_whole(path, reader, chosen, msgtype)
        if msgtype == _CAMERA_INFO:
            infos.append(InfoTopic(topic) if message is None else info_topic(topic, message))
        else:
            images.append(ImageTopic(topic) if message is None else image_topic(topic, message))
    return images, infos


def _first_whole(path: Path, reader: Reader, chosen: list, msgtype: str) -> Message | None:
    """The first message of a topic's connections that can be read, None if there is none among the first few."""
    if not any(c.msgcount for c in chosen):
        return None
    with contextlib.suppress(DatasetError):  # a bag that breaks off says so when its images are read
        for (_, _, raw), _ in zip(_messages(path, reader, chosen), range(_PEEKED), strict=False):
            with contextlib.suppress(ImageError):
                return _deserialize(raw, msgtype)
    return None


def _is_rectified(topic: str) -> bool:
    """By its name, as image_proc gives it: ``image_rect``, ``image_rect_color``, perhaps with a transport behind."""
    return any(part.startswith("image_rect") for part in topic.split("/")[-2:])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    where = shown_path(path)
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise DatasetError(f"{where}: reading a bag needs the rosbags library: pip install rosbags") from error
    files = [] if path.is_file() or (path / "metadata.yaml").is_file() else sorted(_storage_files(path))
    if len(files) > 1:
        raise DatasetError(f"{where}: has {len(files)} storage files and no metadata.yaml; run 'ros2 bag reindex' on "
                           "it, or give one of the files")
    storage = files[0] if files else path
    require_small_metadata(path)
    with plain_path(storage, _storage_suffix(storage)) as name:
        limit_rosbags()
        try:
            with small_values():
                reader = Reader(name)
                reader.open()
        except Exception as error:  # rosbags raises from sqlite, yaml, struct, zstd...: all mean the bag is unreadable
            said = shown(str(error).replace(str(name), str(storage)), 300)
            raise DatasetError(f"{where}: cannot be read as a rosbag2 ({said}); try 'ros2 bag reindex'") from error
        try:
            require_small_chunks(reader, where)
            yield reader
        finally:
            reader.close()


def _storage_suffix(path: Path) -> str:
    """By which rosbags tells the two kinds of storage apart; by the content, where that says."""
    if path.is_dir():
        return path.suffix
    with path.open("rb") as file:
        head = file.read(16)
    return ".mcap" if head.startswith(b"\x89MCAP0") else ".db3" if head.startswith(b"SQLite format 3") else path.suffix


def _messages(path: Path, reader: Reader,
              connections: list[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
    """``reader.messages`` with its errors told as ours."""
    messages = reader.messages(connections=connections)
    while True:
        try:
            item = next(messages)
        except StopIteration:
            return
        except Exception as error:  # see _opened
            raise DatasetError(f"{shown_path(path)}: the bag breaks off or is damaged "
                               f"({shown(str(error), 300)})") from error
        yield item


@functools.cache
def _deserializer() -> Callable[[bytes, str], Message]:
    """CDR bytes and type name to message. The three types used are the same in every ROS 2 distribution, so the
    definitions that newer bags carry are not needed."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE).deserialize_cdr
