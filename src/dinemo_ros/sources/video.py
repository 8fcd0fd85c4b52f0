# SPDX-License-Identifier: Apache-2.0
"""A video file as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from ..errors import DatasetError
from .frame import Frame, Source

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".mjpeg")
_FALLBACK_FPS = 30.0  # a container without a frame rate (raw streams)


class VideoSource(Source):
    """Frames of a video, stamped by its frame rate.

    Raises:
        DatasetError: the file cannot be opened as a video.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        super().__init__(f"video {path}")
        self._path = path
        capture = self._open()
        own_fps = capture.get(cv2.CAP_PROP_FPS)
        self._length = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()
        self._period = 1.0 / (fps or (own_fps if 0.0 < own_fps <= 1000.0 else _FALLBACK_FPS))

    def __len__(self) -> int:
        return self._length

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise DatasetError(f"{self._path}: cannot be opened as a video; it is damaged or its codec is unknown to "
                               "OpenCV: convert it, for instance with ffmpeg -c:v libx264")
        return capture

    def _frames(self) -> Iterator[Frame]:
        capture = self._open()
        index = 0
        try:
            while True:
                ok, bgr = capture.read()
                if not ok:
                    break
                image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                yield Frame(index * self._period, image, None, f"{self._path.name}:{index:06d}")
                index += 1
        finally:
            capture.release()
        if index == 0:
            raise DatasetError(f"{self._path}: no frame of this video could be decoded")
        if index < self._length:
            self.skipped.append(f"{self._path.name}: {self._length - index} of {self._length} frames at the end could "
                                "not be decoded")
