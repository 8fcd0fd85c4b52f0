# SPDX-License-Identifier: Apache-2.0
"""Key ``presence`` of a bundle's card: how the evidence for an object is weighed, and how much of it is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..errors import BundleError
from ..io.quoting import shown

# What is weighed beside the pooled features; ``evidence.py`` says what each of them is.
NUMBERS = ("agreement", "lead", "seen", "gain", "scatter", "specific", "place", "placed", "foreground", "around",
           "peak", "peak_around", "clutter", "clutter_around", "held", "share", "length", "width", "height", "above",
           "fit", "inside", "pooled", "alike", "behind", "score", "visible", "apart", "sharp")
_LARGEST = 1e4  # of a weight, and of what is subtracted from a number
_FAR = 5.0  # spreads: beyond, a number says no more than there
_SURE = 1e-4  # a presence keeps this distance from 0 and 1
_DETECTOR_SURE = 0.02  # a detector's score keeps this one: as prior odds, 0 or 1 would leave nothing to verify


@dataclass(frozen=True)
class PresenceSpec:
    """Weights of the evidence; without them no presence is announced and no pose dropped.

    Attributes:
        bias: logarithm of the odds that there is an object where all the rest is zero.
        mean, spread: [N] of the :data:`NUMBERS` over the pictures that were fitted to.
        linear, square: [N] weights of the numbers in spreads from their mean, and of the squares of these.
        pooled: [2 D] weights of the mean feature where the object would be and of that around it.
        floor: presence below which the pose in a given box is no pose.
    """

    bias: float = 0.0
    mean: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    linear: tuple[float, ...] = ()
    square: tuple[float, ...] = ()
    pooled: tuple[float, ...] = ()
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not any(getattr(self, item.name) for item in fields(self)):
            return
        for name in ("mean", "spread", "linear", "square"):
            values = getattr(self, name)
            if len(values) != len(NUMBERS) or max(map(abs, values)) > _LARGEST:
                raise BundleError(f"presence.{name} is {_told(values)}; allowed: {len(NUMBERS)} numbers from "
                                  f"{-_LARGEST:g} to {_LARGEST:g}; fit it again")
        if min(self.spread) <= 0:
            raise BundleError(f"presence.spread is {_told(self.spread)}; allowed: numbers above 0")
        if max(map(abs, (self.bias, *self.pooled))) > _LARGEST:
            raise BundleError(f"presence.bias or presence.pooled has a number beyond {_LARGEST:g}; fit it again")
        if not 0.0 <= self.floor <= 1.0:
            raise BundleError(f"presence.floor is {self.floor!r}; allowed: 0 to 1")

    def __bool__(self) -> bool:
        return bool(self.linear)

    def require_dim(self, dim: int) -> None:
        """BundleError unless ``pooled`` weighs features of ``dim`` channels."""
        if self and len(self.pooled) != 2 * dim:
            raise BundleError(f"presence.pooled has {len(self.pooled)} numbers; allowed: {2 * dim}, two for each of "
                              "the channels in features.dim")

    def presence(self, numbers: np.ndarray, pooled: np.ndarray) -> float:
        """Probability of an object where as many boxes hold one as hold none.

        Args:
            numbers: [N] in the order of :data:`NUMBERS`. pooled: [2 D].
        """
        z = np.clip((numbers - self.mean) / self.spread, -_FAR, _FAR)
        return _probability(float(self.bias + z @ self.linear + (z * z) @ self.square + pooled @ self.pooled))


def with_detector(presence: float, detector_score: float | None) -> float:
    """``presence`` where a detector found the box with ``detector_score`` (0 to 1), or as it is without one.

    Bayes' rule: presence is for even odds; the detector's score is taken for the probability before one has looked, so
    the logarithms of the odds add up. A score of 0.5 changes nothing.

    Raises:
        ValueError: the score is no number from 0 to 1.
    """
    if detector_score is None:
        return presence
    if not 0.0 <= detector_score <= 1.0:
        raise ValueError(f"the detector's score is {detector_score!r}; allowed: 0 to 1")
    prior = min(max(detector_score, _DETECTOR_SURE), 1.0 - _DETECTOR_SURE)
    return _probability(math.log(presence / (1.0 - presence)) + math.log(prior / (1.0 - prior)))


def _probability(log_odds: float) -> float:
    return min(max(0.5 + 0.5 * math.tanh(0.5 * log_odds), _SURE), 1.0 - _SURE)


def _told(values: Sequence[float]) -> str:
    return shown(list(values), 200)
