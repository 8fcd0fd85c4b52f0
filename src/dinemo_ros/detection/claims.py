# SPDX-License-Identifier: Apache-2.0
"""Which poses are of one and the same object, and which of them is told.

Two bundles may see their category in one thing, and so may twenty boxes on it. Scores of two networks cannot be
compared; what can is the calibrated probability that there is an object (``presence``), weighed with the score of the
detector that sent the box. Where a bundle does not tell it, the score stands for it, in shares of what that bundle
accepts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..pose import ObjectPose
from ..verification.spec import with_detector
from .labelled_box import LabelledBox
from .regions import covered_share, overlap, overlaps

#: Overlap above which two boxes of one category show one object: a detector that does not suppress its own doubles.
SAME_BOX = 0.9

#: Overlap of the boxes that two objects cover in the image above which they are one, if they are of two categories ...
SAME_OBJECT = 0.5
# ... and if they are of one, where the second may stand behind the first: then their distances must agree as well.
_TWINS = 0.6
# A pose of which so much lies over a better one needs so much of its worth: the lower half of a bottle is no cup.
_HIDDEN, _LOW_CONFIDENCE = 0.6, 0.75
_AT_HOME = 0.3  # overlap of what a pose covers and the box that led to it below which it has strayed


@dataclass(frozen=True)
class Chosen:
    """Indices of boxes, most certain first: those to look at, those that show what a better one shows, and those that
    are more than there is time for."""

    kept: list[int]
    doubles: list[int]
    beyond: list[int]


def choose(boxes: Sequence[LabelledBox], most: int | None = None,
           certainty: Sequence[float] | None = None) -> Chosen:
    """Which of ``boxes`` are worth their time, before anything is looked at: the most certain ones, one per object.

    Args:
        boxes: a score that is no number is the least certain, none at all the most.
        most: how many over all categories; None: all that are distinct.
        certainty: of each of them, in the place of its score.
    """
    certain = np.array([certainty_of(box.score) for box in boxes] if certainty is None else certainty, dtype=float)
    rest = np.argsort(-certain, kind="stable")
    corners = np.array([box.roi for box in boxes], dtype=np.float64).reshape(-1, 4)
    numbers: dict[str, int] = {}
    category = np.array([numbers.setdefault(box.category, len(numbers)) for box in boxes], dtype=int)
    kept: list[int] = []
    doubles: list[int] = []
    while len(rest) and (most is None or len(kept) < most):
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        same = (category[rest] == category[best]) & (overlaps(corners[best], corners[rest]) > SAME_BOX)
        doubles += rest[same].tolist()
        rest = rest[~same]
    return Chosen(kept, doubles, rest.tolist())


def certainty_of(score: float | None) -> float:
    """For sorting: none at all, as where nobody doubts it, is 1; what is no number comes last."""
    if score is None:
        return 1.0
    return -math.inf if math.isnan(score) else score


def worth(pose: ObjectPose, accept: float, detector_score: float | None = None, calibrated: bool = True) -> float:
    """How likely it is that there is an object of the category at ``pose``, to be compared between categories.

    Args:
        accept: score that the bundle of the category accepts.
        detector_score: of the box that led to the pose, 0 to 1.
        calibrated: every pose that it is compared with has a ``presence``.
    """
    if calibrated and pose.presence is not None:
        return with_detector(pose.presence, detector_score)
    return pose.score / max(accept, 1e-6)


def one_per_object(poses: Sequence[ObjectPose], boxes: Sequence[np.ndarray],
                   worths: Sequence[float]) -> tuple[list[int], dict[int, int]]:
    """Indices of the poses that are told, in their order, and of each other one the index of the pose it belongs to.

    A pose that was found beside its box comes after those that were found where they were looked for: it is of a
    neighbour, which has a better claim, and so has whatever else is in its box.

    Args:
        boxes: [4] pixels, what an object at each pose covers in the image. worths: see :func:`worth`.
    """
    kept: list[int] = []
    claimed: dict[int, int] = {}
    strayed = [np.any(pose.roi) and overlap(box, np.array(pose.roi)) < _AT_HOME
               for pose, box in zip(poses, boxes, strict=True)]
    for k in sorted(range(len(poses)), key=lambda k: (strayed[k], -worths[k], -poses[k].score, k)):
        better = next((other for other in kept if _is_same(poses, boxes, worths, k, other)), None)
        if better is None:
            kept.append(k)
        else:
            claimed[k] = better
    return sorted(kept), claimed


def _is_same(poses: Sequence[ObjectPose], boxes: Sequence[np.ndarray], worths: Sequence[float], k: int,
             better: int) -> bool:
    """Whether pose ``k`` is a second reading of what ``better`` is of: of one box, or of one place in the image."""
    if overlap(np.array(poses[k].roi), np.array(poses[better].roi)) > SAME_BOX:
        return True
    common = overlap(boxes[k], boxes[better])
    if poses[k].category == poses[better].category:
        return common > _TWINS and not _have_room(poses[k], poses[better])
    return common > SAME_OBJECT or (worths[k] < _LOW_CONFIDENCE * worths[better]
                                    and covered_share(boxes[k], boxes[better]) > _HIDDEN)


def _have_room(a: ObjectPose, b: ObjectPose) -> bool:
    """Whether two objects of one category can be at ``a`` and ``b``: their centres are half a side apart."""
    apart = float(np.linalg.norm(a.T_cam_obj[:3, 3] - b.T_cam_obj[:3, 3]))
    return apart > 0.25 * float(np.mean(a.size) + np.mean(b.size))
