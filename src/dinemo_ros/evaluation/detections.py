# SPDX-License-Identifier: Apache-2.0
"""How well a box detector finds objects: recall and precision on annotated pictures, false finds where there are none.

A box is found where a detection of one of the labels overlaps it by :data:`IOU` or more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..detection.detector import Detection
from ..errors import FRAME_ERRORS, DatasetError
from ..io.quoting import named, shown, shown_path
from ..io.sources.folder import IMAGE_SUFFIXES, images_by_stem
from ..io.sources.picture import read_image
from ..pose import Roi
from .boxes import match_greedily
from .kitti import assign_own
from .kitti_labels import read_kitti
from .metrics import wilson_interval
from .runner import skipped
from .turntable import read_turntables
from .turntable_annotations import ANNOTATIONS

IOU = 0.5
_NAMES = 5  # of missing pictures in one sentence
_log = logging.getLogger(__name__)


class Judged(NamedTuple):
    """Of one picture: objects, those of them that were found, and boxes on nothing."""

    objects: int
    found: int
    wrong: int


class _Box(NamedTuple):
    roi: Roi
    score: float


@dataclass(frozen=True)
class Picture:
    """A picture with what is known of it: ``judge`` tells from boxes of the labels what they are worth."""

    group: str
    path: Path
    judge: Callable[[Sequence[Detection]], Judged]


def read_pictures(folder: Path, only: Sequence[str] = ()) -> list[Picture]:
    """KITTI's object frames (``label_2``), turntables with boxes (``azimuth.json``), or pictures without any object.

    Frames of turntables without a box are left out, which is logged.

    Args:
        only: names of sequences, or of pictures; all where there are none.

    Raises:
        DatasetError: it is none of these, one of the names is not there, or nothing is left.
    """
    if (folder / "label_2").is_dir():
        found = [Picture("easy cars", frame.image, _kitti_judge(frame.objects)) for frame in read_kitti(folder)]
    elif (folder / ANNOTATIONS).is_file():
        return _turntable_pictures(folder, only)
    else:
        found = [Picture("without an object", path, lambda found: Judged(0, 0, len(found)))
                 for path in images_by_stem(folder).values()]
    if not found:
        raise DatasetError(f"{shown_path(folder)}: no pictures here; give a folder with KITTI's label_2, with "
                           f"{ANNOTATIONS}, or with pictures ({', '.join(IMAGE_SUFFIXES)})")
    unknown = sorted(set(only) - {name for picture in found for name in (picture.path.name, picture.path.stem)})
    if unknown:
        raise DatasetError(f"{shown_path(folder)}: no picture {named(unknown, _NAMES)}; there are {len(found)}, "
                           f"the first is {shown(found[0].path.name)}")
    return [picture for picture in found if not only or not {picture.path.name, picture.path.stem}.isdisjoint(only)]


def _turntable_pictures(folder: Path, only: Sequence[str]) -> list[Picture]:
    frames = read_turntables(folder, only or None)
    found = [Picture(frame.sequence, frame.path, _box_judge(frame.box)) for frame in frames if frame.box is not None]
    if not found:
        raise DatasetError(f"{shown_path(folder)}: no frame has a box in {ANNOTATIONS}, so none can be judged; "
                           "docs/evaluation.md shows how it is written")
    if len(found) < len(frames):
        _log.warning("%s: %d of %d frames have no box in %s and are left out", shown_path(folder),
                     len(frames) - len(found), len(frames), ANNOTATIONS)
    return found


def _kitti_judge(objects: Sequence) -> Callable[[Sequence[Detection]], Judged]:
    def judge(found: Sequence[Detection]) -> Judged:
        held, wrong = assign_own([_Box(one.box, one.score) for one in found], objects)
        return Judged(len(held), sum(one is not None for one in held), wrong)

    return judge


def _box_judge(box: Roi) -> Callable[[Sequence[Detection]], Judged]:
    def judge(found: Sequence[Detection]) -> Judged:
        boxes = np.array([one.box for one in found], dtype=float).reshape(-1, 4)
        hit = len(match_greedily(np.array([box]), boxes, [one.score for one in found], IOU))
        return Judged(1, hit, len(found) - hit)

    return judge


def detection_rows(detector: Callable[[np.ndarray], list[Detection]], pictures: Iterable[Picture],
                   labels: Sequence[str], scores: Sequence[float]) -> list[dict]:
    """A row per group and score below which boxes are left out, with intervals of 95 % (Wilson).

    detector: from a picture uint8 [H, W, 3] RGB to its boxes.

    ``recall`` of ``recall_n`` objects, ``precision`` of ``precision_n`` boxes, and ``pictures_wrong``: pictures of
    ``pictures`` with a box on nothing. A picture that cannot be used counts as one without boxes.
    """
    seen: dict[str, list[tuple[Picture, list[Detection]]]] = {}
    for picture in pictures:
        found: list[Detection] = []
        try:
            found = [one for one in detector(read_image(picture.path)) if one.label in labels]
        except FRAME_ERRORS as error:
            skipped(picture.path.name, error)
        seen.setdefault(picture.group, []).append((picture, found))
    return [_row(group, seen[group], score) for group in seen for score in scores]


def _row(group: str, seen: Sequence[tuple[Picture, list[Detection]]], score: float) -> dict:
    judged = [picture.judge([one for one in found if one.score >= score]) for picture, found in seen]
    objects, found, wrong = (sum(numbers) for numbers in zip(*judged, strict=True))
    row: dict = {"group": group, "min_score": score, "pictures": len(judged),
                 "pictures_wrong": sum(one.wrong > 0 for one in judged)}
    for name, count, n in (("recall", found, objects), ("precision", found, found + wrong)):
        if objects and n:
            row |= {name: count / n, f"{name}_n": n, f"{name}_interval": list(wilson_interval(count, n))}
    return row
