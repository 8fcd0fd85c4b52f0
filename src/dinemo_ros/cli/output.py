# SPDX-License-Identifier: Apache-2.0
"""Results on disk: a file appears under its name when it is complete, never half written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DinemoError
from ..pose import Hypothesis, ObjectPose
from ..symmetry import knows_azimuth

_COLOUR_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
_NUMBERED = re.compile(r":\d{6,}$")
_DIGITS = 8  # significant digits; far below any error of a pose, and files stay readable


class OutputError(DinemoError):
    """A file that cannot be written."""


class AtomicFile:
    """Text file that is written beside its place and moved there on success.

    After an exception what was written so far stays in ``NAME.part``: hours of poses are not thrown away.

    Raises:
        OutputError: the place cannot be written; at once, not after the work is done.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        if self._path.is_dir():
            raise OutputError(f"{self._path}: is a folder; give the name of a file")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error

    def __enter__(self) -> AtomicFile:
        return self

    def discard(self) -> None:
        """Leave nothing behind: the place was only tried."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error

    def __exit__(self, kind, *_) -> None:
        try:
            self._file.close()
            if kind is None:
                os.replace(self._part, self._path)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error


def check_output_file(path: str | Path | None) -> None:
    """OutputError now and not after the work, if the file (None: no file is wanted) will not be writable."""
    if path:
        AtomicFile(path).discard()


def output_folder(path: str | Path) -> Path:
    """``path`` as an existing folder, made if need be."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    return folder


def overlay_name(name: str) -> str:
    """File for the overlay of a frame: ``STEM_pose.SUFFIX``, so that originals are never overwritten.

    A frame of a video or bag, ``NAME:000012``, becomes ``NAME_000012_pose.jpg``; a kind of file that holds no colour
    or is not written everywhere becomes ``NAME.SUFFIX_pose.png``.
    """
    if _NUMBERED.search(name):
        return f"{name.replace(':', '_')}_pose.jpg"
    path = Path(name)
    if path.suffix.lower() in _COLOUR_SUFFIXES:
        return f"{path.stem}_pose{path.suffix}"
    return f"{name}_pose.png"


def to_json(document: Any, indent: int | None = None) -> str:
    """Strict JSON (no NaN) with numbers of 8 significant digits."""
    return json.dumps(_plain(document), indent=indent, allow_nan=False)


def object_entry(pose: ObjectPose) -> dict:
    """One object as written by ``dinemo estimate``; lengths in metres, angles in degrees, covariance in m and rad.

    ``azimuth`` is None where the covariance says that nothing is known about it: what the pose has there is convention.
    """
    known = knows_azimuth(pose.covariance, pose.T_cam_obj[:3, :3])
    return {
        "category": pose.category,
        **_hypothesis_entry(pose, known),
        "probability": pose.probability,
        "covariance": pose.covariance,
        "size_covariance": pose.size_covariance,
        "roi": pose.roi,
        "visible": pose.visible,
        "runner_up": _hypothesis_entry(pose.runners_up[0], known) if pose.runners_up else None,
    }


def _hypothesis_entry(pose: Hypothesis, azimuth_known: bool) -> dict:
    azimuth, elevation, theta = np.degrees(pose.viewpoint())
    return {"score": pose.score, "T_cam_obj": pose.T_cam_obj, "azimuth": azimuth if azimuth_known else None,
            "elevation": elevation, "theta": theta, "size": pose.size}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{float(value):.{_DIGITS}g}")
    return value.item() if isinstance(value, np.generic) else value
