# SPDX-License-Identifier: Apache-2.0
"""How well a box detector finds objects: recall and precision on annotated pictures, false finds where there are none.

A box is found where a detection of one of the labels overlaps it by :data:`IOU` or more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..detection.detector import Detection
from ..errors import FRAME_ERRORS
from ..io.sources.folder import images_by_stem
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

    Args:
        only: names of sequences, or of pictures; all where there are none.

    Raises:
        DatasetError: it is none of these.
    """
    if (folder / "label_2").is_dir():
        return [Picture("easy cars", frame.image, _kitti_judge(frame.objects)) for frame in read_kitti(folder)]
    if (folder / ANNOTATIONS).is_file():
        return [Picture(frame.sequence, frame.path, _box_judge(frame.box))
                for frame in read_turntables(folder, only or None) if frame.box is not None]
    return [Picture("without an object", path, lambda found: Judged(0, 0, len(found)))
            for path in images_by_stem(folder).values() if not only or path.name in only]


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
