# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 (sqlite3 or mcap) as a source, read with the ``rosbags`` library: no ROS installation needed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..camera import Camera
from ..camera_info import camera_from_info
from ..errors import CameraError, DatasetError, ImageError
from ..image_codec import decode_compressed, decode_image
from .frame import Frame, Source

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_BAG_SUFFIXES = (".mcap", ".db3")


def is_bag(path: Path) -> bool:
    """True for a bag's folder and for one of its storage files."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    return path.suffix.lower() in _BAG_SUFFIXES


def _storage_files(folder: Path) -> list[Path]:
    return [f for f in folder.iterdir() if f.suffix.lower() in _BAG_SUFFIXES]


class BagSource(Source):
    """One image topic of a bag, with the CameraInfo beside it.

    Raises:
        DatasetError: ``rosbags`` is not installed, the bag cannot be read, or it lacks the topic.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        super().__init__(f"bag {path}")
        self._path = path
        with _opened(path) as reader:
            images = {c.topic: c for c in reader.connections if c.msgtype in (_IMAGE, _COMPRESSED)}
            infos = {c.topic for c in reader.connections if c.msgtype == _CAMERA_INFO}
            self._topic = _choose(path, sorted(images), infos, topic)
            self._length = images[self._topic].msgcount
        self._info_topic = next((t for t in _info_topics(self._topic) if t in infos), None)
        self._rectified = _is_rectified(self._topic)
        self._unusable = ""  # why the last CameraInfo gave no camera
        self.description += f", topic {self._topic}"
        if len(images) > 1 and topic is None:
            self.notes.append(f"{path} has {len(images)} image topics, {self._topic} is used; others: "
                              f"{', '.join(sorted(set(images) - {self._topic}))}")
        if self._info_topic is None:
            self.notes.append(f"{path} has no camera_info beside {self._topic}")
        elif self._rectified:
            self.notes.append(f"{self._topic} is taken as rectified, by its name: P of {self._info_topic}, no lens")

    def __len__(self) -> int:
        return self._length

    def _frames(self) -> Iterator[Frame]:
        with _opened(self._path) as reader:
            camera = self._first_camera(reader)
            chosen = [c for c in reader.connections if c.topic in (self._topic, self._info_topic)]
            index = 0
            for connection, _, raw in _messages(self._path, reader, chosen):
                if connection.msgtype == _CAMERA_INFO:
                    camera = self._camera(raw)
                    continue
                name = f"{self._path.name}:{index:06d}"
                index += 1
                try:
                    message = _deserialize(raw, connection.msgtype)
                    image = _decode(message, connection.msgtype)
                except ImageError as error:
                    self.skipped.append(f"{name}: {error}")
                    continue
                stamp = message.header.stamp
                yield Frame(stamp.sec + 1e-9 * stamp.nanosec, image, camera, name, message.header.frame_id,
                            camera_error="" if camera else self._unusable)

    def _first_camera(self, reader) -> Camera | None:
        """The first CameraInfo, which may lie behind the first image."""
        chosen = [c for c in reader.connections if c.topic == self._info_topic]
        first = next(_messages(self._path, reader, chosen), None) if chosen else None
        return None if first is None else self._camera(first[2])

    def _camera(self, raw: bytes) -> Camera | None:
        try:
            return camera_from_info(_deserialize(raw, _CAMERA_INFO), self._rectified)
        except (CameraError, ImageError) as error:
            self._unusable = f"{self._info_topic} is of no use: {error}"
            if self._unusable not in self.notes:
                self.notes.append(self._unusable)
            return None


def _deserialize(raw: bytes, msgtype: str):
    try:
        return _deserializer()(raw, msgtype)
    except Exception as error:  # struct, index and unicode errors of a damaged message
        raise ImageError(f"message of type {msgtype} is damaged ({error})") from error


def _decode(message, msgtype: str) -> np.ndarray:
    if msgtype == _COMPRESSED:
        return decode_compressed(message.format, message.data)
    return decode_image(message.encoding, message.height, message.width, message.step, message.data,
                        bool(message.is_bigendian))


def _info_topics(image_topic: str) -> tuple[str, ...]:
    """Where the CameraInfo of an image topic may be: beside it, or one level up (``NS/image_raw/compressed``)."""
    parts = image_topic.split("/")
    return tuple("/".join([*parts[:-up], "camera_info"]) for up in (1, 2) if len(parts) > up)


def _is_rectified(topic: str) -> bool:
    """By its name, as image_proc gives it: ``image_rect``, ``image_rect_color``, perhaps with a transport behind."""
    return any(part.startswith("image_rect") for part in topic.split("/")[-2:])


def _choose(path: Path, topics: list[str], infos: set[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted in topics:
            return wanted
        raise DatasetError(f"{path}: no image topic {wanted!r}; it has {', '.join(topics) or 'none'}")
    colour = [t for t in topics if "depth" not in t.lower()]
    if not colour:
        raise DatasetError(f"{path}: no topic of colour images (sensor_msgs/Image or CompressedImage)"
                           + (f"; name one of {', '.join(topics)}" if topics else ""))
    return next((t for t in colour if any(info in infos for info in _info_topics(t))), colour[0])


@contextlib.contextmanager
def _opened(path: Path):
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise DatasetError(f"{path}: reading a bag needs the rosbags library: pip install rosbags") from error
    files = [] if path.is_file() or (path / "metadata.yaml").is_file() else sorted(_storage_files(path))
    if len(files) > 1:
        raise DatasetError(f"{path}: has {len(files)} storage files and no metadata.yaml; run 'ros2 bag reindex' on "
                           "it, or give one of the files")
    try:
        reader = Reader(files[0] if files else path)
        reader.open()
    except Exception as error:  # rosbags raises from sqlite, yaml, struct, zstd...: all mean the bag is unreadable
        raise DatasetError(f"{path}: cannot be read as a rosbag2 ({error}); try 'ros2 bag reindex'") from error
    try:
        yield reader
    finally:
        reader.close()


def _messages(path: Path, reader, connections) -> Iterator:
    """``reader.messages`` with its errors told as ours."""
    messages = reader.messages(connections=connections)
    while True:
        try:
            item = next(messages)
        except StopIteration:
            return
        except Exception as error:  # see _opened
            raise DatasetError(f"{path}: the bag breaks off or is damaged ({error})") from error
        yield item


@functools.cache
def _deserializer():
    """CDR bytes and type name to message. The three types used are the same in every ROS 2 distribution, so the
    definitions that newer bags carry are not needed."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE).deserialize_cdr
