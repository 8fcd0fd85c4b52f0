# SPDX-License-Identifier: Apache-2.0
"""Where in a picture objects of a category may be: what a detector says, or what the neural mesh proposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..model.card import DetectorHint
from ..pose import Roi
from .detector import Detection, Detector

_LIMIT = 20  # boxes of a category in a picture that are looked at; each costs its time


@dataclass(frozen=True)
class Found:
    """Boxes worth a look.

    Attributes:
        boxes: [4] each, x_min, y_min, x_max, y_max in pixels, the most convincing first.
        scores: how likely each holds an object, 0 to 1, as its detector says; None where none tells.
        floor: probability of an object, after the look, below which a pose in one of them is dropped.
        proposed: by the neural mesh itself: rough boxes, most of them of nothing.
    """

    boxes: list[np.ndarray]
    scores: list[float | None]
    proposed: bool
    floor: float = 0.0

    @property
    def stage(self) -> str:
        """What the time that it took is booked under."""
        return "proposals" if self.proposed else "detector"


def given(boxes: list[np.ndarray], scores: Sequence[float | None] | None = None) -> Found:
    """Boxes [4] each, in pixels, of a caller, with his detector's scores, 0 to 1, where he has one."""
    return Found(boxes, [None] * len(boxes) if scores is None else list(scores), False)


Finder = Callable[[np.ndarray], Found]


class DetectorFinder:
    """The boxes of a detector whose labels and scores a category asks for.

    Args:
        detector: that knows one of the labels, see :func:`knows`.
        hint: from the category's card.
    """

    def __init__(self, detector: Detector, hint: DetectorHint) -> None:
        self._detector, self._hint, self.name = detector, hint, detector.name

    def __call__(self, image: np.ndarray) -> Found:
        """Of a picture uint8 [H, W, 3] RGB."""
        wanted = [found for found in self._detector(image)
                  if found.label in self._hint.labels and found.score >= self._hint.min_score][:_LIMIT]
        return Found([np.array(found.box) for found in wanted],
                     [self._hint.probability(found.score) for found in wanted], False, self._hint.floor)


class ProposalFinder:
    """The boxes of :class:`~dinemo_ros.detection.proposals.Proposer`, or of another such function."""

    def __init__(self, proposer: Callable[[np.ndarray], list[Roi]]) -> None:
        self._proposer = proposer

    def __call__(self, image: np.ndarray) -> Found:
        """Of a picture uint8 [H, W, 3] RGB."""
        boxes = [np.array(box) for box in self._proposer(image)]
        return Found(boxes, [None] * len(boxes), True)


def knows(detector: Detector, hint: DetectorHint) -> bool:
    """Whether a detector finds objects of the category."""
    return not set(hint.labels).isdisjoint(detector.labels)


class SharedDetector:
    """A detector that several categories ask about one picture: it looks once.

    Pictures are told apart by their pixels, not by where they are in memory: a caller may write each into the same
    array. That takes a fifth of a millisecond at 720p.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.name, self.labels = detector.name, detector.labels
        self._last: np.ndarray | None = None
        self._found: list[Detection] = []

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """As the detector that it shares."""
        if self._last is None or not np.array_equal(image, self._last):
            self._found, self._last = self._detector(image), image.copy()
        return list(self._found)
