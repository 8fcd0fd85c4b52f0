# SPDX-License-Identifier: Apache-2.0
"""Probabilities of all turns of an object about its z axis: how far they reach, and what several pictures come to.

Of a category whose azimuth a single part tells (a cup's handle) a pose comes with the probability that the object is
really turned by 0, 10, 20 ... degrees from it (``ObjectPose.turns``). Pictures of one object from several sides are
several such statements. They are multiplied in the frame of the object, each to a power that tells how much of it is
new: pictures from one side show the same pixels, and make the same error again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .geometry import wrapped
from .model.symmetry import UNIFORM_VARIANCE

TURNS = 36  # ten degrees apart: a handle is wider than that
_STEP = 2 * math.pi / TURNS
_ONE_DEVIATION = math.erf(math.sqrt(0.5))  # of a normal error within one standard deviation
_LEAST = 1e-6  # probability of a turn: no single picture rules one out for good


def angles() -> np.ndarray:
    """[TURNS] the turns in radians, -pi to pi, zero first."""
    return wrapped(_STEP * np.arange(TURNS))


def blurred(posterior: np.ndarray, deviation: float) -> np.ndarray:
    """``posterior`` [TURNS] with a normal error of this standard ``deviation`` (radians) in every turn."""
    if deviation <= 0.0:
        return posterior
    kernel = np.exp(-0.5 * (angles() / deviation) ** 2)
    turned = np.fft.irfft(np.fft.rfft(posterior) * np.fft.rfft(kernel / kernel.sum()), TURNS)
    return np.maximum(turned, 0.0)  # rounding


def deviation(posterior: np.ndarray) -> float:
    """Radians to either side of the reported turn that hold 68.3 % of ``posterior`` [TURNS], as of a normal error.

    Not the root of the second moment: one percent of doubt about all turns makes ten degrees of that, and a handle that
    is plainly seen would be announced like one that is guessed. At most what a uniform angle has.
    """
    around = np.round(np.abs(angles()) / _STEP).astype(int)  # steps away from the reported turn, to either side
    held = np.r_[0.0, np.cumsum(np.bincount(around, posterior))]
    ends = np.r_[0.0, np.minimum((np.arange(len(held) - 1) + 0.5) * _STEP, math.pi)]  # each turn stands for a step
    return min(float(np.interp(_ONE_DEVIATION, held, ends)), math.sqrt(UNIFORM_VARIANCE))


def turn_between(R: np.ndarray, other: np.ndarray) -> float:
    """Radians by which ``R`` [3, 3] has to be turned about object z to be as near to ``other`` as can be."""
    M = np.asarray(other).T @ np.asarray(R)
    return math.atan2(M[0, 1] - M[1, 0], M[0, 0] + M[1, 1])


def counted_from(turns: Sequence[float] | np.ndarray, angle: float) -> np.ndarray:
    """[TURNS] the probabilities ``turns`` of a pose, of the same turns counted from that pose turned by ``angle``."""
    steps, values = (np.arange(TURNS) + angle / _STEP) % TURNS, np.asarray(turns, dtype=np.float64)
    low = np.floor(steps).astype(int) % TURNS
    share = steps - np.floor(steps)
    return (1 - share) * values[low] + share * values[(low + 1) % TURNS]


def product(factors: Sequence[np.ndarray] | np.ndarray, powers: Sequence[float] | np.ndarray) -> np.ndarray:
    """[TURNS] the product of probabilities ``factors`` [N][TURNS] to their ``powers`` [N], which sums to one."""
    logs = sum(power * np.log(np.maximum(factor, _LEAST)) for factor, power in zip(factors, powers, strict=True))
    weight = np.exp(logs - np.max(logs))
    return weight / weight.sum()
