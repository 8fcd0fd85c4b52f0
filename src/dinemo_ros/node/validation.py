# SPDX-License-Identifier: Apache-2.0
"""Checks on incoming messages. Each returns what the message is good for or raises an error that says why not."""

from __future__ import annotations

from collections import OrderedDict

from ..camera import Camera
from ..camera_info import camera_from_info
from ..crop import check_roi, check_seen
from ..errors import CameraError, DinemoError, RoiError
from . import conversions


class HeaderError(DinemoError):
    """A header without a frame, or with a stamp out of order."""


class RestartError(HeaderError):
    """Time jumped backwards: not the message's fault, it is the first of a new run."""


def check_frame_id(header) -> None:
    if not header.frame_id:
        raise HeaderError("header.frame_id is empty: a pose without a frame cannot be published; set the frame in the "
                          "camera driver")


class StampOrder:
    """Watches that stamps do not go backwards."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def check(self, stamp_ns: int, time_jump_s: float) -> None:
        """Raise :class:`RestartError` on a jump back by more than ``time_jump_s``, :class:`HeaderError` on less."""
        last, behind = self._last_ns, 0 if self._last_ns is None else self._last_ns - stamp_ns
        if behind <= 0:
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

    KEPT = 30

    def __init__(self) -> None:
        self._by_stamp: OrderedDict[int, object] = OrderedDict()
        self._latest = None
        self.notes: tuple[str, ...] = ()  # what the user should know about the camera that was asked for last

    def add(self, message) -> None:
        stamp = conversions.nanoseconds(message.header.stamp)
        self._by_stamp[stamp] = self._latest = message
        self._by_stamp.move_to_end(stamp)
        while len(self._by_stamp) > self.KEPT:
            self._by_stamp.popitem(last=False)

    def __len__(self) -> int:
        return len(self._by_stamp)

    def camera(self, stamp_ns: int, width: int, height: int, rectified: bool) -> Camera:
        """Camera of an image of that stamp and size in pixels; :class:`CameraError` if it does not fit."""
        message = self._by_stamp.get(stamp_ns, self._latest)
        if message is None:
            raise CameraError("no camera_info has arrived: publish it beside the images, or set default_hfov_deg")
        camera = camera_from_info(message, rectified)
        camera.require_size(width, height)
        self.notes = camera.notes
        return camera


def check_rois(rois, width: int, height: int,
               camera: Camera | None = None) -> tuple[list[tuple[float, float, float, float]], list[RoiError]]:
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
