# SPDX-License-Identifier: Apache-2.0
"""Rows of programs that cannot be run from here: what they answered on the frames of a turntable, read from a file.

    {"SEQUENCE": {"FILE": {"azimuth_deg": 12.0, "elevation_deg": 30.0, "theta_deg": 1.5, "box": [10, 20, 200, 220]}}}

Angles along the ray to the object as in docs/evaluation.md. ``theta_deg`` is 0 where it is left out. A frame without an
entry, or with null, has no answer. ``box`` (pixels) is where a program that looks for itself has found its object: one
that overlaps the annotated box by less than half (intersection over union) is of something else, and no answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DatasetError, DocumentError
from ..geometry import rotation_from_viewpoint, se3
from ..io.document import Document, read_json
from ..io.quoting import quoted, shown, shown_path
from ..pose import Hypothesis, Roi
from .boxes import iou
from .sample import CLEAN
from .truth import ReferenceObject
from .turntable import TurntableFrame
from .turntable_annotations import is_finite
from .view_truth import ViewTruth

_LAYOUT = 'expected {SEQUENCE: {FILE: {"azimuth_deg": degrees, "elevation_deg": degrees}}}'
_KEYS: dict[str, Any] = {"azimuth_deg": None, "elevation_deg": None, "theta_deg": 0.0, "box": None}  # with defaults
_SAME_OBJECT = 0.5


@dataclass(frozen=True)
class Answer:
    """From where a program says that an object is seen (radians), and where it found it (pixels)."""

    azimuth: float
    elevation: float
    theta: float = 0.0
    box: Roi | None = None

    def pose(self) -> Hypothesis:
        """One metre ahead, of no particular size: nothing but the angles is compared."""
        T = se3(rotation_from_viewpoint(self.azimuth, self.elevation, self.theta), np.array([0.0, 0.0, 1.0]))
        return Hypothesis(T, 0.0, np.ones(3))


@dataclass(frozen=True)
class Rival:
    """A row of the table: its name, and its answers by sequence and file."""

    name: str
    answers: Mapping[tuple[str, str], Answer]

    @classmethod
    def read(cls, name: str, path: Path) -> Rival:
        """DatasetError where ``path`` holds no such answers, or some that are none."""
        try:
            document = read_json(path)
        except DocumentError as error:
            raise DatasetError(f"{shown_path(path)}: {error}; {_LAYOUT}") from error
        if not isinstance(document, dict) or not all(isinstance(files, dict) for files in document.values()):
            raise DatasetError(f"{shown_path(path)}: has another layout; {_LAYOUT}")
        return cls(name, {(sequence, file): _answer(f"{shown_path(path)}: {quoted(sequence)}, {quoted(file)}", entry)
                          for sequence, files in document.items() for file, entry in files.items()
                          if entry is not None})


def rival_records(rival: Rival, frames: Sequence[TurntableFrame], truths: Mapping[tuple[str, str], ViewTruth],
                  reference: ReferenceObject) -> list[dict]:
    """Records of all ``frames`` as :func:`~dinemo_ros.evaluation.runner.evaluate` makes them, nothing pasted over."""
    records = []
    for frame in frames:
        key = frame.sequence, frame.path.name
        answer = rival.answers.get(key)
        record = {"model": rival.name, "occlusion": CLEAN, "group": key[0], "file": key[1], "score": None,
                  "error_deg": None}
        if answer is not None and _is_of(answer, frame):
            record |= truths[key].errors(answer.pose(), reference)
        records.append(record)
    return records


def _is_of(answer: Answer, frame: TurntableFrame) -> bool:
    if answer.box is None or frame.box is None:
        return True
    return float(iou(np.array([answer.box]), np.array([frame.box]))[0, 0]) >= _SAME_OBJECT


def _answer(where: str, entry: Document) -> Answer:
    if not isinstance(entry, dict):
        raise DatasetError(f"{where}: is {quoted(entry, 40)}; {_LAYOUT}, or null for no answer")
    azimuth, elevation, theta, box = (entry.get(key, default) for key, default in _KEYS.items())
    corners = box if isinstance(box, list) and len(box) == 4 else [] if box is None else [None]
    if not all(map(is_finite, (azimuth, elevation, theta, *corners))):
        raise DatasetError(f"{where}: is {shown(entry, 120)}; allowed: finite azimuth_deg and elevation_deg, "
                           "theta_deg in degrees, and box with four pixels")
    found = None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return Answer(math.radians(azimuth), math.radians(elevation), math.radians(theta), found)
