# SPDX-License-Identifier: Apache-2.0
"""A video file as a source."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path

import cv2

from ...errors import DatasetError, ImageError
from ..opencv_log import silent
from ..orientation import upright
from ..picture_header import require_size
from ..quoting import shown, shown_path
from .frame import Frame, Source
from .safe_name import open_name
from .video_end import ends_in_zeros, missing_bytes
from .video_turn import stored_orientation

#: What the content does not tell is tried as a video by these; what it tells goes first.
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".flv",
                  ".wmv", ".asf", ".mpg", ".mpeg", ".mpe", ".vob", ".m2v", ".ts", ".m2ts", ".mts", ".m2t", ".ogv",
                  ".ogg", ".ogm", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpg", ".mjpeg", ".mxf", ".ivf",
                  ".nut", ".y4m", ".rm", ".rmvb", ".dv", ".gif")
_FALLBACK_FPS = 30.0  # a container without a frame rate (raw streams)
# The backends that read files; the rest of OpenCV's take a name for a series of pictures or a camera.
_BACKENDS = (cv2.CAP_FFMPEG, cv2.CAP_GSTREAMER, cv2.CAP_OPENCV_MJPEG)
_MAX_PIXELS = 36_000_000  # of a frame; 8K has 33 million
_LONGEST_S = 10.0 * 365 * 86400


class VideoSource(Source):
    """Frames of a video, turned as the file asks for, with the container's stamps.

    Raises:
        DatasetError: the file cannot be opened as a video.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        super().__init__(f"video {shown_path(path)}")
        self._path = path
        self._orientation = stored_orientation(path)  # None: left to OpenCV
        capture = self._open()
        own_fps = capture.get(cv2.CAP_PROP_FPS)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._length = int(count) if 0 < count < 1e9 else 0
        capture.release()
        self._fps, self._own_fps = fps, own_fps if 0.0 < own_fps <= 1000.0 else _FALLBACK_FPS

    def __len__(self) -> int:
        return self._length

    def _open(self) -> cv2.VideoCapture:
        with open_name(self._path) as name:
            for backend in _BACKENDS:
                capture = _opened(name, backend)
                if capture.isOpened():
                    # Versions differ in what they do unasked.
                    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, int(self._orientation is None))
                    self._require_size(capture)
                    return capture
        raise DatasetError(f"{shown_path(self._path)}: cannot be opened as a video; {self._way_out()}")

    def _way_out(self) -> str:
        if missing_bytes(self._path):
            return "it is cut short: copy it again, or record it to its end"
        return ("it is damaged or its codec is unknown to OpenCV: copy it again, or convert it, for instance with "
                "ffmpeg -c:v libx264")

    def _require_size(self, capture: cv2.VideoCapture) -> None:
        size = [capture.get(which) for which in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        try:
            if min(size) > 0:  # raw streams tell with the first frame
                require_size(*map(int, size))
                if size[0] * size[1] > _MAX_PIXELS:
                    raise ImageError(f"a frame is {size[0]:.0f}x{size[1]:.0f}; of a video at most {_MAX_PIXELS} pixels "
                                     "are read, for its decoder holds many frames: make it smaller, or give pictures")
        except ImageError as error:
            raise DatasetError(f"{shown_path(self._path)}: {error}") from error

    def _frames(self) -> Generator[Frame, None, None]:
        capture, clock, codec = self._open(), _Clock(self._fps, self._own_fps), ""
        index = 0
        try:
            codec = _codec(capture)
            while True:
                ok, bgr = capture.read()
                if not ok:
                    break
                stamp_s = clock.stamp(1e-3 * capture.get(cv2.CAP_PROP_POS_MSEC))  # of the frame just read
                image = upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), self._orientation or 1)
                yield Frame(stamp_s, image, None, f"{self._path.name}:{index:06d}")
                index += 1
        finally:
            capture.release()
        if index == 0:
            raise DatasetError(f"{shown_path(self._path)}: no frame of this video could be decoded{codec}; "
                               f"{self._way_out()}")
        if clock.note:
            self.note(f"{shown(self._path.name)}: {clock.note}")
        self._notice_cut(index)

    def _notice_cut(self, read: int) -> None:
        missing = missing_bytes(self._path)
        if missing or (read < self._length - 1 and ends_in_zeros(self._path)):
            what = f"{missing} bytes or more are missing at its end" if missing > 1 else "its end is missing"
            self.skipped.append(f"{shown(self._path.name)}: the video breaks off, {what}; {read} frames were read, the "
                                "last of them may be damaged")


class _Clock:
    """Stamps in seconds: the container's, or by the frame rate where a frame has none that is behind its predecessor's.

    A frame without stamp reads 0, so the first one tells nothing, and a stream without stamps has a note.
    """

    def __init__(self, wanted_fps: float | None, own_fps: float) -> None:
        self._wanted, self._own = wanted_fps, own_fps
        self._count, self._told, self._last, self._shift = 0, 0, 0.0, 0.0

    def stamp(self, container_s: float) -> float:
        """Of the next frame, for which the container says ``container_s``."""
        index, self._count = self._count, self._count + 1
        if self._wanted:
            return index / self._wanted
        if not math.isfinite(container_s) or abs(container_s) > _LONGEST_S:
            container_s = 0.0
        if index == 0:
            self._shift = max(0.0, -container_s)  # ROS has no negative time
            self._last = container_s + self._shift
        elif container_s + self._shift > self._last:
            self._last, self._told = container_s + self._shift, self._told + 1
        else:
            self._last = index / self._own if self._told == 0 else self._last + 1.0 / self._own
        return self._last

    @property
    def note(self) -> str:
        if self._wanted or self._told or self._count < 2:
            return ""
        return f"the video has no time stamps, {self._own:g} frames per second are taken"


def _opened(name: str, backend: int) -> cv2.VideoCapture:
    with silent():
        capture = cv2.VideoCapture(name, backend)
        # FFmpeg's decoder of Theora loses frames, to black ones, where its threads get in each other's way.
        if capture.isOpened() and "theo" in _codec(capture).lower() and hasattr(cv2, "CAP_PROP_N_THREADS"):
            capture.release()
            capture = cv2.VideoCapture(name, backend, [cv2.CAP_PROP_N_THREADS, 1])
    return capture


def _codec(capture: cv2.VideoCapture) -> str:
    """ `` (codec av01)``, or nothing."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    name = code.to_bytes(4, "little").decode("ascii", "replace")
    return f" (codec {name.strip()})" if name.isprintable() and name.strip() else ""
