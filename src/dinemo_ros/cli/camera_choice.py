# SPDX-License-Identifier: Apache-2.0
"""Which calibration an image gets, and where nothing is known a field of view that is stated.

``image_source_node`` follows the same order and assumes the same angle, so that a folder has one camera by either way.
"""

from __future__ import annotations

from collections.abc import Callable

from ..camera.pinhole import Camera
from ..defaults import DEFAULT_HFOV_DEG
from ..errors import CameraError
from ..io.quoting import shown, shown_path
from ..io.sources import Frame


class CameraChoice:
    """A file, else a field of view, else the source's own calibration, else EXIF data, else the stated default.

    say: how the user is told what was assumed or understood; it may be told the same sentence again.
    """

    def __init__(self, file: str | None, hfov_deg: float | None, say: Callable[[str], None],
                 advice: str = "; give --camera FILE or --hfov DEG") -> None:
        self._advice = advice
        self._file = Camera.from_yaml(file) if file else None
        self._name, self._hfov_deg, self._say = file, hfov_deg, say

    def of(self, frame: Frame) -> tuple[Camera, str]:
        """The camera and where it came from: "file", "hfov", "source", "exif" or "assumed".

        Raises:
            CameraError: a calibration came with the images and cannot be used; then none is assumed instead.
        """
        height, width = frame.image_rgb.shape[:2]
        if self._file is not None:
            return self._told(self._file, self._name), "file"
        if self._hfov_deg is not None:
            return Camera.from_hfov(width, height, self._hfov_deg), "hfov"
        if frame.camera is not None and frame.calibrated:
            return self._told(frame.camera, "calibration"), "source"
        if frame.camera_error:
            raise CameraError(f"{shown(frame.name)}: {frame.camera_error}{self._advice}")
        if frame.camera is not None:
            self._say("no calibration: the field of view comes from the focal length in the pictures (EXIF), distances "
                      f"scale with it and are wrong where a picture was cropped{self._advice}")
            return frame.camera, "exif"
        self._say(f"no calibration: a horizontal field of view of {DEFAULT_HFOV_DEG:g} degrees is assumed, "
                  f"distances scale with it{self._advice}")
        return Camera.from_hfov(width, height, DEFAULT_HFOV_DEG), "assumed"

    def required(self, own: Camera | None) -> Camera | None:
        """The calibration that pictures of a source with ``own`` must fit; None where any size will do."""
        return self._file if self._file is not None else None if self._hfov_deg is not None else own

    def _told(self, camera: Camera, name: str | None) -> Camera:
        for note in camera.notes:
            self._say(f"{shown_path(name or '')}: {note}")
        return camera
