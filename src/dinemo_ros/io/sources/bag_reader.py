# SPDX-License-Identifier: Apache-2.0
"""Messages of a rosbag2 and what its topics are, with the errors of ``rosbags`` told as ours."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DatasetError, ImageError
from ..quoting import shown, shown_path
from .bag_limits import limit_rosbags, require_small_chunks, require_small_metadata, small_values
from .bag_topics import ImageTopic, InfoTopic, Message, image_topic, info_topic
from .safe_name import plain_path

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
BAG_SUFFIXES = (".mcap", ".db3")
PEEKED = 5  # messages of a topic that are looked at for one that is not damaged
_MOST_TOPICS = 1000  # each is compared with all others


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """The bag, open for the length of the block.

    Raises:
        DatasetError: ``rosbags`` is not installed, or it cannot be read.
    """
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
    _require_plain_files(path)
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


def _require_plain_files(path: Path) -> None:
    """:class:`DatasetError` for a pipe or device in the bag's folder, which whoever opens it would wait for."""
    with contextlib.suppress(OSError):
        for file in path.iterdir() if path.is_dir() else ():
            if file.exists() and not (file.is_file() or file.is_dir()):
                raise DatasetError(f"{shown_path(file)}: a device, pipe or socket, which no bag holds; remove it")


def _storage_suffix(path: Path) -> str:
    """By which rosbags tells the two kinds of storage apart; by the content, where that says."""
    if path.is_dir():
        return path.suffix
    with path.open("rb") as file:
        head = file.read(16)
    return ".mcap" if head.startswith(b"\x89MCAP0") else ".db3" if head.startswith(b"SQLite format 3") else path.suffix


def messages(path: Path, reader: Reader, connections: list[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
    """``reader.messages`` with its errors told as ours."""
    found = reader.messages(connections=connections)
    while True:
        try:
            item = next(found)
        except StopIteration:
            return
        except Exception as error:  # see opened
            raise DatasetError(f"{shown_path(path)}: the bag breaks off or is damaged "
                               f"({shown(str(error), 300)})") from error
        yield item


@functools.cache
def _deserializer() -> Callable[[bytes, str], Message]:
    """CDR bytes and type name to message. The types used are the same in every ROS 2 distribution, so the
    definitions that newer bags carry are not needed."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE).deserialize_cdr


def deserialize(raw: bytes, msgtype: str) -> Message:
    """A message of its CDR bytes; ImageError where they are damaged."""
    try:
        return _deserializer()(raw, msgtype)
    except Exception as error:  # struct, index and unicode errors of a damaged message
        raise ImageError(f"message of type {shown(msgtype)} is damaged ({shown(str(error), 200)})") from error


def peek(path: Path, reader: Reader) -> tuple[list[ImageTopic], list[InfoTopic]]:
    """What the first messages of all image and CameraInfo topics say, by the topics' names.

    Raises:
        DatasetError: a message cannot be read.
    """
    images, infos = [], []
    connections: dict[tuple[str, str], list] = {}
    for connection in reader.connections:
        if connection.msgtype in (IMAGE, COMPRESSED, CAMERA_INFO):
            connections.setdefault((connection.topic, connection.msgtype), []).append(connection)
    if len(connections) > _MOST_TOPICS:
        raise DatasetError(f"{shown_path(path)}: has {len(connections)} topics of images and cameras, {_MOST_TOPICS} "
                           "are the most that are looked at: write those that matter to a bag of their own")
    for (topic, msgtype), chosen in sorted(connections.items(), key=lambda item: item[0]):
        message = first_whole(path, reader, chosen, msgtype)
        if msgtype == CAMERA_INFO:
            infos.append(InfoTopic(topic) if message is None else info_topic(topic, message))
        else:
            images.append(ImageTopic(topic) if message is None else image_topic(topic, message))
    return images, infos


def first_whole(path: Path, reader: Reader, chosen: list, msgtype: str) -> Message | None:
    """The first message of a topic's connections that can be read, None if there is none among the first few."""
    if not any(c.msgcount for c in chosen):
        return None
    with contextlib.suppress(DatasetError):  # a bag that breaks off says so when its images are read
        for (_, _, raw), _ in zip(messages(path, reader, chosen), range(PEEKED), strict=False):
            with contextlib.suppress(ImageError):
                return deserialize(raw, msgtype)
    return None


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
