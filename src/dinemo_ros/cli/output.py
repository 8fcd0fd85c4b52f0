# SPDX-License-Identifier: Apache-2.0
"""What results are called and what they look like in JSON; :mod:`dinemo_ros.io.files` writes them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import Any, TextIO

import numpy as np

from ..errors import OutputError
from ..io.files import AtomicFile, check_output_file, destination, own_place, readable
from ..io.overlay_file import OVERLAY_SUFFIXES
from ..model.symmetry import knows_azimuth
from ..pose import Hypothesis, ObjectPose
from ..process.console import require_output
from ..process.input_guard import refuse_inputs

__all__ = ["STANDARD_OUTPUT", "AtomicFile", "OutputError", "check_output_file", "check_outputs", "object_entry",
           "output_folder", "overlay_name", "prose_beside", "result_file", "to_json"]

STANDARD_OUTPUT = "-"  # what --json and --csv take for it
_LONGEST_NAME = 255  # bytes, of nearly every file system
_NUMBERED = re.compile(r":\d{6,}$")
_DIGITS = 8  # significant digits; far below any error of a pose, and files stay readable


def check_outputs(results: Mapping[str, str | None], inputs: Iterable[str | Path | None], deep: bool = False) -> None:
    """Now and not after the work: what cannot be written, or is read as well, is refused.

    Args:
        results: by option the file that was given, None where it was not; "-" is standard output.
        inputs, deep: see :func:`~dinemo_ros.process.input_guard.refuse_inputs`.

    Raises:
        OutputError: names the option or the file.
    """
    for option, path in results.items():
        if path == "":  # of a variable that is not set, in a script: hours of work would leave nothing
            raise OutputError(f"{option} is empty; give the name of a file, or - for standard output")
    printed = [option for option, path in results.items() if path == STANDARD_OUTPUT]
    if len(printed) > 1:
        raise OutputError(f"{' and '.join(printed)} cannot both go to standard output; give one of them a file")
    if printed:
        require_output()
    files = {option: path for option, path in results.items() if path != STANDARD_OUTPUT}
    refuse_inputs(files, inputs, deep)
    for path in files.values():
        check_output_file(path)


def result_file(path: str) -> AbstractContextManager[AtomicFile | TextIO]:
    """What ``--json`` and ``--csv`` write to: a file that appears when it is complete, or standard output for "-".

    Raises:
        OutputError: it cannot be written.
    """
    return contextlib.nullcontext(sys.stdout) if path == STANDARD_OUTPUT else AtomicFile(path)


@contextlib.contextmanager
def prose_beside(*results: str | None) -> Iterator[None]:
    """What is printed for people goes to standard error where one of ``results`` takes standard output."""
    with contextlib.redirect_stdout(sys.stderr) if any(map(_is_printed, results)) else contextlib.nullcontext():
        yield


def _is_printed(path: str | None) -> bool:
    """Whether a result called ``path`` goes to standard output, by "-" or as ``/dev/stdout``."""
    if not path or path == STANDARD_OUTPUT:
        return bool(path)
    try:
        return destination(path).descriptor == 1
    except OSError:  # told by who opens it
        return False


def output_folder(path: str | Path) -> Path:
    """``path`` as an existing folder that takes files, made if need be.

    Raises:
        OutputError: it cannot be made or written to, or is empty or "-": pictures do not go to standard output.
    """
    if not str(path):
        raise OutputError("the name of the folder for pictures is empty; give one, or leave the option out")
    if str(path) == STANDARD_OUTPUT:
        raise OutputError("-: pictures cannot go to standard output; give a folder (./- for one of that name)")
    folder = Path(path)
    own_place(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(f"{folder}: no file can be written into this folder ({error.strerror}); give another one") \
            from error
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
        "presence": pose.presence,
        "covariance": pose.covariance,
        "size_covariance": pose.size_covariance,
        "roi": pose.roi,
        "visible": pose.visible,
        "source": pose.source,
        "observations": [{"name": o.name, "used": o.used, "reason": o.reason,
                          "residual_m": o.residual_m if math.isfinite(o.residual_m) else None}
                         for o in pose.observations],
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
