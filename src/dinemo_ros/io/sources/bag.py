# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 (sqlite3 or mcap) as a source, read with the ``rosbags`` library: no ROS installation needed."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...camera.camera_info import camera_from_info
from ...camera.pinhole import Camera
from ...errors import CameraError, ImageError
from ..image_codec import decode_compressed, decode_image, peek_size
from ..picture_header import require_size
from ..quoting import shown, shown_path
from ..sample_range import SampleRange
from .bag_reader import CAMERA_INFO, COMPRESSED, PEEKED, deserialize, messages, opened, peek
from .bag_topics import OTHER_PICTURES, Message, choose, is_rectified, listed, matching_info
from .frame import Frame, Source, undecoded

if TYPE_CHECKING:
    from rosbags.rosbag2 import Reader


class BagSource(Source):
    """One image topic of a bag, with the CameraInfo beside it.

    Raises:
        DatasetError: ``rosbags`` is not installed, the bag cannot be read, or it lacks the topic.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        super().__init__(f"bag {shown_path(path)}")
        self._path = path
        where = shown_path(path)
        with opened(path) as reader:
            counts = {c.topic: c.msgcount for c in reader.connections}
            images, infos = peek(path, reader)
            others = {c.topic: c.msgtype for c in reader.connections if c.msgtype in OTHER_PICTURES}
        chosen = choose(where, images, infos, others, topic)
        self._topic, self._length = chosen.topic, counts[chosen.topic]
        self._info_topic = matching_info(chosen, infos)
        self._rectified = is_rectified(self._topic)
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

    @property
    def path(self) -> Path:
        """Of the bag."""
        return self._path

    @property
    def topics(self) -> list[str]:
        """Of the images, and of their CameraInfo where there is one."""
        return [topic for topic in (self._topic, self._info_topic) if topic is not None]

    def __len__(self) -> int:
        return self._length

    def _frames(self) -> Generator[Frame, None, None]:
        with opened(self._path) as reader:
            camera = self._first_camera(reader)
            chosen = [c for c in reader.connections if c.topic in (self._topic, self._info_topic)]
            index, samples = 0, SampleRange()
            for connection, received_ns, raw in messages(self._path, reader, chosen):
                if connection.msgtype == CAMERA_INFO:
                    camera = self._camera(raw) or camera
                    continue
                name = f"{self._path.name}:{index:06d}"
                index += 1
                try:
                    message = deserialize(raw, connection.msgtype)
                    image = _decode(message, connection.msgtype, samples, self.required_camera(camera))
                except ImageError as error:
                    self.skipped.append(f"{shown(name)}: {error}")
                    continue
                stamp = message.header.stamp
                yield Frame(stamp.sec + 1e-9 * stamp.nanosec, image, camera, name, message.header.frame_id,
                            camera_error="" if camera else self._unusable,
                            stamp=(stamp.sec, stamp.nanosec), received_ns=received_ns)
        if samples.note:
            self.note(f"{self.description}: {samples.note}")

    def _first_camera(self, reader: Reader) -> Camera | None:
        """The first CameraInfo that is of use: it serves the images before it too, and one that is latched is the only
        one of the bag."""
        chosen = [c for c in reader.connections if c.topic == self._info_topic]
        found = messages(self._path, reader, chosen) if chosen else ()
        cameras = (self._camera(raw) for (_, _, raw), _ in zip(found, range(PEEKED), strict=False))
        return next((camera for camera in cameras if camera is not None), None)

    def _camera(self, raw: bytes) -> Camera | None:
        try:
            return camera_from_info(deserialize(raw, CAMERA_INFO), self._rectified)
        except (CameraError, ImageError) as error:
            self._unusable = f"{shown(self._info_topic)} is of no use: {error}"
            self.note(self._unusable)
            return None


def _decode(message: Message, msgtype: str, samples: SampleRange, camera: Camera | None) -> np.ndarray:
    """RGB uint8 [H, W, 3]; see :func:`undecoded` for a picture of another size than ``camera``'s."""
    if camera is not None:
        compressed = msgtype == COMPRESSED
        size = peek_size(message.format, message.data) if compressed else (message.width, message.height)
        if size is not None and size != (camera.width, camera.height):
            require_size(*size)
            return undecoded(*size)
    if msgtype == COMPRESSED:
        return decode_compressed(message.format, message.data, samples)
    return decode_image(message.encoding, message.height, message.width, message.step, message.data,
                        bool(message.is_bigendian), samples)
