# SPDX-License-Identifier: Apache-2.0
"""What results are called and what they look like in JSON; :mod:`dinemo_ros.io.files` writes them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..errors import OutputError
from ..io.files import AtomicFile, check_output_file, own_place, readable
from ..io.overlay_file import OVERLAY_SUFFIXES
from ..model.symmetry import knows_azimuth
from ..pose import Hypothesis, ObjectPose

__all__ = ["AtomicFile", "OutputError", "check_output_file", "object_entry", "output_folder", "overlay_name", "to_json"]

_LONGEST_NAME = 255  # bytes, of nearly every file system
_NUMBERED = re.compile(r":\d{6,}$")
_DIGITS = 8  # significant digits; far below any error of a pose, and files stay readable


def output_folder(path: str | Path) -> Path:
    """``path`` as an existing folder, made if need be."""
    folder = Path(path)
    own_place(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    return folder


def overlay_name(name: str) -> str:
    """File for the overlay of a frame: ``STEM_pose.SUFFIX`` of a JPEG or PNG, ``NAME.SUFFIX_pose.png`` of others.

    A frame of a video or bag, ``NAME:000012``, becomes ``NAME_000012_pose.jpg``.
    """
    name = PurePath(name).name or "frame"  # into the folder that was given, whoever chose the name
    if _NUMBERED.search(name):
        return _short(name.replace(":", "_"), "_pose.jpg")
    path = Path(name)
    if path.suffix.lower() in OVERLAY_SUFFIXES:
        return _short(path.stem, f"_pose{path.suffix}")
    return _short(name, "_pose.png")


def _short(stem: str, ending: str) -> str:
    """``stem`` and ``ending``, the stem cut where a file system would not take it; a digest keeps it apart."""
    raw, room = os.fsencode(stem), _LONGEST_NAME - len(os.fsencode(ending))
    if len(raw) <= room:
        return stem + ending
    return f"{os.fsdecode(raw[:room - 13])}_{hashlib.sha256(raw).hexdigest()[:12]}{ending}"


def to_json(document: Any, indent: int | None = None) -> str:
    """Strict JSON (no NaN, no lone surrogates) with numbers of 8 significant digits.

    File names may be any bytes. Of one that is no UTF-8 the odd bytes are written as ``\\xNN``, and beside the entry
    KEY stands KEY_bytes with all bytes of the name in hexadecimal, from which it can be had back.
    """
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
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return _plain_dict(value)
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{float(value):.{_DIGITS}g}")
    return value.item() if isinstance(value, np.generic) else value


def _plain_dict(value: dict) -> dict:
    plain = {}
    for key, item in value.items():
        key = readable(str(key))
        plain[key] = _plain(item)
        if isinstance(item, str) and plain[key] != item:
            plain[f"{key}_bytes"] = item.encode("utf-8", "surrogateescape").hex()
    return plain
