# SPDX-License-Identifier: Apache-2.0
"""Checks on incoming messages. Each returns what the message is good for or raises an error that says why not."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Iterable

from ..camera.camera_info import MOST_COEFFICIENTS, camera_from_info
from ..camera.crop import check_roi, check_seen
from ..camera.pinhole import Camera
from ..errors import CameraError, DinemoError, RoiError
from ..io.quoting import quoted
from ..pose import Roi
from . import conversions
from .message_classes import CameraInfo, Header


class HeaderError(DinemoError):
    """A header without a frame, or with a stamp out of order."""


class RestartError(HeaderError):
    """Time jumped backwards: not the message's fault, it is the first of a new run."""


#: Characters of a frame that is taken: TF has no limit, and the frame goes into everything that is published.
FRAME_LIMIT = 256


def check_frame_id(header: Header) -> None:
    """That the header of an image, a std_msgs/Header, names a frame that a pose can be published in.

    Raises:
        HeaderError: the name is empty, longer than tf takes, or cannot be printed.
    """
    name = header.frame_id
    if not name:
        raise HeaderError("header.frame_id is empty: a pose without a frame cannot be published; set the frame in the "
                          "camera driver")
    if len(name) > FRAME_LIMIT:
        raise HeaderError(f"header.frame_id has {len(name)} characters, at most {FRAME_LIMIT} are taken: set the frame "
                          "in the camera driver")
    if not name.isprintable():
        raise HeaderError(f"header.frame_id {quoted(name)} holds characters that cannot be printed, line ends or "
                          "terminal controls: set the frame in the camera driver")


# REP 103: a camera has a body frame (x forward, z up) and beside it an optical one (z forward, x right, y down) with
# the suffix _optical. These are names that drivers give to body frames.
_BODY_FRAME = re.compile(r"(link|frame|base|footprint|body|mount|chassis|map|odom|world)$", re.IGNORECASE)


def strange_frame(frame_id: str) -> str:
    """Why ``frame_id`` can hardly be a camera's optical frame, judged by its name; empty where it can."""
    if "optical" in frame_id.lower() or not _BODY_FRAME.search(frame_id):
        return ""
    return (f"the images are of frame {quoted(frame_id)}, by its name no optical frame (z forward, x right, y down; "
            "REP 103 gives it the suffix _optical_frame): poses are of an optical frame, and will be turned if this is "
            "another; set the frame in the camera driver")


def strange_camera_frame(image_frame: str, info_frame: str) -> str:
    """What a camera_info says that is of another frame than the image; empty where both agree or it has none."""
    if not info_frame or image_frame.lstrip("/") == info_frame.lstrip("/"):
        return ""
    return (f"camera_info is of frame {quoted(info_frame)}, the images of {quoted(image_frame)}: is it that of another "
            "camera? Poses are taken to be in the images' frame")


class StampOrder:
    """Watches that stamps do not go backwards."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._alike = 0

    def strange(self) -> str:
        """What is odd about the last stamps: that they stay the same. Empty where nothing is."""
        if self._last_ns is None or self._alike < (1 if self._last_ns == 0 else 3):  # a camera may send a picture twice
            return ""
        return (f"header.stamp stays {'zero' if self._last_ns == 0 else f'{self._last_ns * 1e-9:.3f}'}: TF, tracking "
                "and whoever matches by time need a stamp; set it in the camera driver")

    def check(self, stamp_ns: int, time_jump_s: float) -> None:
        """Compare ``stamp_ns``, nanoseconds, with that of the message before.

        Args:
            time_jump_s: seconds by which time may go back and be a message out of order.

        Raises:
            RestartError: a jump back by more. HeaderError: by less.
        """
        last = self._last_ns
        behind = 0 if last is None else last - stamp_ns
        self._alike = self._alike + 1 if last == stamp_ns else 0
        if last is None or behind <= 0:
            self._last_ns = stamp_ns
        elif behind > time_jump_s * 1e9:
            self._last_ns = stamp_ns
            raise RestartError(f"time jumped back by {behind * 1e-9:.3f} s (to {stamp_ns * 1e-9:.3f}): taken as a "
                               "restart, state is dropped and work goes on")
        else:
            raise HeaderError(f"stamp {stamp_ns * 1e-9:.3f} is {behind * 1e-9:.3f} s before its predecessor's "
                              f"{last * 1e-9:.3f}: skipped as out of order (see parameter time_jump_s)")


class CameraInfos:
    """The last CameraInfo messages; an image asks for the one of its stamp, or else the latest."""

    KEPT = 100  # longer than a slow detector takes

    def __init__(self) -> None:
        self._by_stamp: OrderedDict[int, CameraInfo] = OrderedDict()
        self._latest: CameraInfo | None = None
        self.notes: tuple[str, ...] = ()  # what the user should know about the camera that was asked for last
        self._heard, self._time_s = 0, 0.0

    def add(self, message: CameraInfo) -> None:
        """Keep a sensor_msgs/CameraInfo for the images of its stamp, and as the latest one."""
        self._heard, self._time_s = self._heard + 1, time.monotonic()
        if len(message.d) > MOST_COEFFICIENTS:  # no lens: its first ones are refused as well, and kept for less
            message.d = message.d[:MOST_COEFFICIENTS]
        stamp = conversions.nanoseconds(message.header.stamp)
        self._by_stamp[stamp] = self._latest = message
        self._by_stamp.move_to_end(stamp)
        while len(self._by_stamp) > self.KEPT:
            self._by_stamp.popitem(last=False)

    def __len__(self) -> int:
        return len(self._by_stamp)

    @property
    def once(self) -> bool:
        """Whether a single one has come, as from a publisher that latches it."""
        return self._heard == 1

    @property
    def frame_id(self) -> str:
        """Of the last one; empty where there is none."""
        return "" if self._latest is None else self._latest.header.frame_id

    def silent_s(self) -> float:
        """Seconds since the last one; 0 where none has come."""
        return time.monotonic() - self._time_s if self._heard else 0.0

    def camera(self, stamp_ns: int, width: int, height: int, rectified: bool) -> Camera:
        """Camera of an image of that stamp and size in pixels; :class:`CameraError` if it does not fit."""
        message = self._by_stamp.get(stamp_ns, self._latest)
        if message is None:
            raise CameraError("no camera_info has arrived: publish it beside the images, or set default_hfov_deg")
        camera = camera_from_info(message, rectified)
        camera.require_size(width, height)
        self.notes = camera.notes
        return camera


def check_rois(rois: Iterable[Roi], width: int, height: int,
               camera: Camera | None = None) -> tuple[list[Roi], list[RoiError]]:
    """Split ROIs (x_min, y_min, x_max, y_max) in pixels into usable ones and the errors of the others.

    camera: refuse those too that lie beyond what its lens shows.
    """
    good, bad = [], []
    for roi in rois:
        try:
            box = check_roi(roi, width, height)
            if camera is not None:
                check_seen(camera, [box])
            good.append(roi)
        except RoiError as error:
            bad.append(error)
    return good, bad
