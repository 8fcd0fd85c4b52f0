# SPDX-License-Identifier: Apache-2.0
"""What ``azimuth.json`` of a turntable folder says about its pictures, checked before the first of them is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DatasetError, DocumentError
from ..io.bounded_file import is_name
from ..io.document import Document, read_json
from ..io.quoting import quoted, shown, shown_path
from ..pose import Roi

ANNOTATIONS = "azimuth.json"
_LAYOUT = 'expected {SEQUENCE: {"azimuth_deg": {FILE: degrees}}}'


@dataclass(frozen=True)
class FrameAnnotation:
    """One picture: azimuth in degrees and, where known, elevation in degrees and box (pixel edges) of the object."""

    azimuth_deg: float
    elevation_deg: float | None = None
    box: Roi | None = None


def read_annotations(path: Path) -> dict[str, dict[str, FrameAnnotation]]:
    """Sequence -> file -> what is known about it; DatasetError names file, sequence, picture and what is allowed."""
    try:
        document = read_json(path)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}; {_LAYOUT}") from error
    try:
        azimuths = {name: dict(entry["azimuth_deg"]) for name, entry in document.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{shown_path(path)}: cannot be read (it has another layout); {_LAYOUT}") from error
    for name, files in azimuths.items():
        _check_azimuths(path, name, files)
    return {name: _sequence(path, name, files, document[name]) for name, files in azimuths.items()}


def _check_azimuths(path: Path, name: str, files: dict[str, Any]) -> None:
    for part in (name, *files):
        if not is_name(part):
            raise DatasetError(f"{shown_path(path)}: {quoted(part)} is no name of a file or folder; {_LAYOUT}")
    wrong = [file for file, angle in files.items() if not is_finite(angle)]
    if wrong or not files:
        raise DatasetError(f"{path}: sequence {quoted(name)} "
                           + (f"has no finite azimuth for {shown(wrong[0])}" if wrong else "has no frames"))


def _sequence(path: Path, name: str, azimuths: dict[str, float], entry: dict) -> dict[str, FrameAnnotation]:
    where = f"{shown_path(path)}: sequence {quoted(name)}"
    elevations = _per_file(where, "elevation_deg", entry.get("elevation_deg"), azimuths)
    boxes = _per_file(where, "box", entry.get("box"), azimuths)
    return {file: FrameAnnotation(float(azimuth), _elevation(where, file, elevations.get(file)),
                                  _box(where, file, boxes.get(file))) for file, azimuth in azimuths.items()}


def _per_file(where: str, key: str, value: Document, files: dict[str, float]) -> dict[str, Any]:
    """Values of an optional key by file; an elevation may be one number for the whole sequence."""
    if value is None:
        return {}
    if key == "elevation_deg" and is_finite(value):
        return dict.fromkeys(files, value)
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: {key} is no mapping of files; see docs/evaluation.md for an example, or leave "
                           "it out")
    unknown = [file for file in value if file not in files]
    if unknown:
        raise DatasetError(f"{where} has {key} for {quoted(unknown[0])}, which has no azimuth_deg; give both, or take "
                           "it out")
    return value


def _elevation(where: str, file: str, value: Document) -> float | None:
    if value is None:
        return None
    if not is_finite(value) or not -90.0 <= value <= 90.0:
        raise DatasetError(f"{where}: elevation_deg of {shown(file)} is {quoted(value, 40)}; allowed: degrees from -90 "
                           "to 90")
    return float(value)


def _box(where: str, file: str, value: Document) -> Roi | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and len(value) == 4 and all(map(is_finite, value))
    if not numbers or not (value[0] < value[2] and value[1] < value[3]):
        raise DatasetError(f"{where}: box of {shown(file)} is {quoted(value, 60)}; allowed: [x_min, y_min, x_max, "
                           "y_max] in pixels with x_min < x_max and y_min < y_max")
    x_min, y_min, x_max, y_max = map(float, value)
    return x_min, y_min, x_max, y_max


def is_finite(value: object) -> bool:
    """Whether a value of a document is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
