# SPDX-License-Identifier: Apache-2.0
"""Depth images of a topic of a bag, each found by the stamp of the picture that it belongs to."""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from pathlib import Path

import numpy as np

from ...camera.camera_info import camera_from_info
from ...camera.pinhole import Camera
from ...errors import CameraError, DatasetError, ImageError
from ..depth_codec import decode_compressed_depth, decode_depth
from ..image_encodings import standard_name
from ..quoting import quoted, shown, shown_path
from .bag_reader import CAMERA_INFO, COMPRESSED, PEEKED, deserialize, messages, opened, peek
from .bag_topics import ImageTopic, InfoTopic, is_rectified, listed, matching_info
from .bag_transforms import Tree, bare, between, static_transforms
from .depth_source import DepthSource, FoundDepth
from .frame import Frame

TOLERANCE_S = 0.035  # between the stamps of a picture and its depth: half a period at 15 Hz
_HELD = 8  # depth images around a picture's stamp, as packed as they are: 70 ms at 90 Hz
_KINDS = ("16UC1", "32FC1", "mono16")


class BagDepth(DepthSource):
    """The depth image whose stamp is nearest to that of a picture, where it is near enough.

    Pictures have to be asked for in the order of their stamps.

    Raises:
        DatasetError: the bag cannot be read, or has no such topic of depth images.
    """

    def __init__(self, path: Path, topic: str) -> None:
        super().__init__()
        self._path, self._open = path, contextlib.ExitStack()
        self._reader = self._open.enter_context(opened(path))
        try:
            images, infos = peek(path, self._reader)
            chosen = _chosen(shown_path(path), images, topic)
            self._camera = self._camera_of(chosen, infos)
            self._tree: Tree = static_transforms(path, self._reader)
        except BaseException:
            self.close()
            raise
        connections = [c for c in self._reader.connections if c.topic == chosen.topic]
        self._messages = messages(path, self._reader, connections)
        self._window: deque[tuple[float, str, bytes]] = deque(maxlen=_HELD)
        self._topic = shown(chosen.topic)

    def of(self, frame: Frame) -> FoundDepth | None:
        """See :class:`DepthSource`."""
        raw = self._nearest(frame.stamp_s)
        if raw is None:
            return None
        msgtype, data = raw
        try:
            message = deserialize(data, msgtype)
            stored = decode_compressed_depth(message.format, message.data) if msgtype == COMPRESSED else decode_depth(
                message.encoding, message.height, message.width, message.step, message.data,
                bool(message.is_bigendian))
        except ImageError as error:
            raise ImageError(f"{self._topic}: {error}") from error
        T, note = self._placed(frame.frame_id, message.header.frame_id)
        return FoundDepth(stored, self._topic, self._camera, T, note)

    def close(self) -> None:
        """Close the bag."""
        self._open.close()

    def _nearest(self, stamp_s: float) -> tuple[str, bytes] | None:
        """Type and bytes of the message whose stamp is nearest, None beyond the tolerance."""
        while not self._window or self._window[-1][0] <= stamp_s + TOLERANCE_S:
            item = next(self._messages, None)
            if item is None:
                break
            connection, _, raw = item
            stamp = _stamp(raw)
            if stamp is not None:
                self._window.append((stamp, connection.msgtype, raw))
        near = [held for held in self._window if abs(held[0] - stamp_s) <= TOLERANCE_S]
        if not near:
            return None
        _, msgtype, raw = min(near, key=lambda held: abs(held[0] - stamp_s))
        return msgtype, raw

    def _placed(self, picture: str, depth: str) -> tuple[np.ndarray | None, str]:
        """T_cam_depth [4, 4] of two frames, None where they are one, and what was taken for granted."""
        if bare(picture) == bare(depth) or not picture or not depth:
            return None, ""
        T = between(self._tree, picture, depth)
        if T is None:
            return None, (f"{self._topic} is of the frame {quoted(depth, 80)}, the pictures of {quoted(picture, 80)}, "
                          "and /tf_static of the bag does not connect them: it is taken as aligned to the pictures")
        return (None, "") if np.allclose(T, np.eye(4), rtol=0, atol=1e-6) else (T, "")

    def _camera_of(self, image: ImageTopic, infos: list[InfoTopic]) -> Camera | None:
        """The first CameraInfo beside the topic that is of use; depth cameras do not zoom."""
        topic = matching_info(image, infos)
        chosen = [c for c in self._reader.connections if c.topic == topic]
        if topic is None or not chosen:
            return None
        for (_, _, raw), _ in zip(messages(self._path, self._reader, chosen), range(PEEKED), strict=False):
            try:
                return camera_from_info(deserialize(raw, CAMERA_INFO), is_rectified(image.topic))
            except (CameraError, ImageError) as error:
                self.notes.append(f"{shown(topic)} is of no use: {error}")
        return None


def _chosen(where: str, images: list[ImageTopic], wanted: str) -> ImageTopic:
    """The topic of this name; DatasetError where there is none, or it holds no depth."""
    depth = [image for image in images if standard_name(image.encoding) in _KINDS]
    offer = f"its depth topics: {listed([shown(i.topic) for i in depth if i.is_depth]) or 'none'}"
    found = next((image for image in images if image.topic in (wanted, f"/{wanted}")), None)
    if found is None:
        raise DatasetError(f"{where}: no image topic {quoted(wanted)} for --depth; {offer}")
    if found not in depth:
        raise DatasetError(f"{where}: topic {shown(found.topic)} holds {quoted(found.encoding or 'pictures', 40)}, "
                           f"--depth takes {', '.join(_KINDS)}; {offer}")
    return found


def _stamp(raw: bytes) -> float | None:
    """Seconds of the header that a message begins with, without reading the pixels; None of a damaged one."""
    if len(raw) < 12:
        return None
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)  # CDR: its byte order in raw[1]
    return seconds + 1e-9 * nanoseconds
