# SPDX-License-Identifier: Apache-2.0
"""From what the solver announces to what experience confirms.

The solver's covariance describes the peak that it stands on. How much wider errors really are depends on how likely the
peak is the right one: a car of low score may as well be turned back to front. So the bundle holds, fitted by
``dinemo_training.export.uncertainty`` on renders with exact poses, occluded ones among them:

* a logistic model (Platt, 1999) of the probability that the rotation is within 30 degrees of the true one, from the
score, the share
  of the object that is explained, how far the next hypothesis lies behind, how sharply the solver says that it knows
  the rotation, and how well the pose fits the box that it was looked for in;
* factors for standard deviations as functions of this probability, linear between knots: of the turn about the object's
  z axis, of the tilt of this axis, of the position across and along the viewing ray, and of the size;
* floors under them: an object that is shaped otherwise than the mean one is misjudged however clearly it is seen;
* where enough models were measured, slopes: how the factors of the position change with the evidence and with the
  proportions that were found, at one and the same probability.

Applied to every pose that leaves the estimator, whatever device it was solved on. A Gaussian cannot say "this or its
opposite"; one wide enough for both is the honest second best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from .detection.regions import overlap
from .errors import BundleError
from .io.quoting import shown
from .model.symmetry import UNIFORM_VARIANCE, Symmetry, axis_variance, with_axis_variance
from .pose import ObjectPose

EVIDENCE = ("one", "score", "visible", "lead", "sharpness", "fit")  # what the coefficients of the probability multiply
_WIDEST, _HIGHEST, _SURE = 1000.0, 3.0, 1e-3  # factor, floor; probabilities keep this distance from 0 and 1
_STEEPEST = 1.5  # of the logarithm that a slope adds to that of a factor: evidence beyond all experience
_LARGEST = 1e6  # coefficient; the shipped ones are below 20
_SHARPEST = 1e-8  # variance of a rotation, square radians


def _told(values: Sequence[float]) -> str:
    return shown(list(values), 200)


@dataclass(frozen=True)
class UncertaintySpec:
    """Key ``uncertainty`` of a bundle's card; without it nothing is changed and no probability announced.

    Attributes:
        probability: [6] coefficients of :data:`EVIDENCE`.
        knots: [K] rising probabilities, 0 to 1, at which the factors are given.
        turn, tilt, across, along, size: [K] factors of standard deviations, after the floors.
        floor: [5] standard deviations that are added to the solver's as independent errors are, in squares: radians,
            radians, shares of the object's diagonal, of the distance, and of each side.
        across_slope, along_slope: [8] coefficients of :func:`circumstances` for what is added to the logarithm of the
            factor; or none.
    """

    probability: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    turn: tuple[float, ...] = ()
    tilt: tuple[float, ...] = ()
    across: tuple[float, ...] = ()
    along: tuple[float, ...] = ()
    size: tuple[float, ...] = ()
    floor: tuple[float, ...] = ()
    across_slope: tuple[float, ...] = ()
    along_slope: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not any(getattr(self, item.name) for item in fields(self)):
            return
        if len(self.probability) != len(EVIDENCE):
            raise BundleError(f"uncertainty.probability is {_told(self.probability)}; allowed: {len(EVIDENCE)} "
                              "numbers")
        knots = self.knots
        if not knots or min(knots) < 0 or max(knots) > 1 or any(b <= a for a, b in zip(knots, knots[1:], strict=False)):
            raise BundleError(f"uncertainty.knots is {_told(knots)}; allowed: rising probabilities, 0 to 1")
        for name in FACTORS:
            values = getattr(self, name)
            if len(values) != len(knots) or min(values) < 1 / _WIDEST or max(values) > _WIDEST:
                raise BundleError(f"uncertainty.{name} is {_told(values)}; allowed: a factor for each of the "
                                  f"{len(knots)} knots, {1 / _WIDEST:g} to {_WIDEST:g}")
        if len(self.floor) != len(FACTORS) or min(self.floor) < 0 or max(self.floor) > _HIGHEST:
            raise BundleError(f"uncertainty.floor is {_told(self.floor)}; allowed: {len(FACTORS)} numbers from 0 to "
                              f"{_HIGHEST:g}, of {', '.join(FACTORS)}")
        for name in SLOPES:
            if len(getattr(self, f"{name}_slope")) not in (0, CIRCUMSTANCES):
                raise BundleError(f"uncertainty.{name}_slope is {_told(getattr(self, f'{name}_slope'))}; "
                                  f"allowed: {CIRCUMSTANCES} numbers or none")
        if max(map(abs, (*self.probability, *self.across_slope, *self.along_slope))) > _LARGEST:
            raise BundleError(f"uncertainty has coefficients beyond {_LARGEST:g}; fit it again")

    def __bool__(self) -> bool:
        return bool(self.probability)

    def probability_of(self, evidence: Sequence[float]) -> float:
        """Probability of a rotation within 30 degrees, from [6] numbers in the order of :data:`EVIDENCE`."""
        x = sum(weight * value for weight, value in zip(self.probability, evidence, strict=True))
        return min(max(0.5 + 0.5 * math.tanh(0.5 * x), _SURE), 1.0 - _SURE)

    def factor(self, name: str, probability: float) -> float:
        """The factor called ``name`` of :data:`FACTORS` at a ``probability``; between knots its logarithm is linear."""
        return float(math.exp(np.interp(probability, self.knots, np.log(getattr(self, name)))))

    def stretch(self, name: str, found: np.ndarray) -> np.ndarray:
        """[N] what the slope ``name`` of :data:`SLOPES` multiplies a factor by, of :func:`circumstances` [N, 8]."""
        slope = getattr(self, f"{name}_slope")
        return np.exp(np.clip(found @ np.array(slope), -_STEEPEST, _STEEPEST)) if slope else np.ones(len(found))

    def covariance(self, covariance: np.ndarray, T_cam_obj: np.ndarray, size: np.ndarray, probability: float,
                   evidence: Sequence[float] = ()) -> np.ndarray:
        """``covariance`` [6, 6] of a pose, metres and radians along the camera's axes, with its factors and floors.

        Args:
            T_cam_obj: [4, 4] metres, camera optical frame. size: [3] metres.
            probability: of a rotation within 30 degrees, from :meth:`probability_of`.
            evidence: [6] in the order of :data:`EVIDENCE`, for the slopes; without it they are left out.

        An angle cannot be less known than not at all: the turn's variance ends at that of a uniform angle.
        """
        position, axis = T_cam_obj[:3, 3], T_cam_obj[:3, 2]
        distance = math.sqrt(position @ position)
        turn_floor, tilt_floor, across_floor, along_floor, _ = self.floor
        raised = covariance + _two_blocks(
            (position / distance, (along_floor * distance) ** 2, (across_floor * math.sqrt(size @ size)) ** 2),
            (axis, turn_floor**2, tilt_floor**2))
        turn, tilt, across, along, _ = (self.factor(name, probability) for name in FACTORS)
        if evidence and (self.across_slope or self.along_slope):
            found = circumstances(np.array([evidence]), size[None])
            across, along = across * self.stretch("across", found)[0], along * self.stretch("along", found)[0]
        turn = min(turn, math.sqrt(UNIFORM_VARIANCE / float(axis @ raised[3:, 3:] @ axis)))
        stretch = _two_blocks((position / distance, along, across), (axis, turn, tilt))
        return stretch @ raised @ stretch

    def size_covariance(self, covariance: np.ndarray, size: np.ndarray, probability: float) -> np.ndarray:
        """``covariance`` [3, 3] of the ``size`` [3] metres with the factor for ``probability`` and its floor."""
        return self.factor("size", probability) ** 2 * (covariance + np.diag((self.floor[-1] * size) ** 2))


def _two_blocks(*blocks: tuple[np.ndarray, float, float]) -> np.ndarray:
    """[6, 6] of two symmetric blocks, each given by a unit vector, what it is along that, and across."""
    result = np.zeros((6, 6))
    for corner, (direction, along, across) in zip((0, 3), blocks, strict=True):
        block = result[corner:corner + 3, corner:corner + 3]
        np.multiply.outer((along - across) * direction, direction, out=block)
        block[range(3), range(3)] += across
    return result


FACTORS = ("turn", "tilt", "across", "along", "size")
SLOPES = ("across", "along")  # factors that have one
CIRCUMSTANCES = len(EVIDENCE) + 2


def circumstances(evidence: np.ndarray, size: np.ndarray) -> np.ndarray:
    """[N, 8] what slopes multiply: ``evidence`` [N, 6], then the logarithms of width and height by length, of ``size``
    [N, 3] as it was found."""
    return np.concatenate([evidence, np.log(size[:, 1:] / size[:, :1])], axis=1)


def evidence_of(pose: ObjectPose, symmetry: Symmetry, box: np.ndarray) -> tuple[float, ...]:
    """[6] what the probability of ``pose`` is computed from, in the order of :data:`EVIDENCE`.

    The lead is how far the best other hypothesis lies behind, as a share of the score. Sharpness is minus the logarithm
    of the rotation's standard deviation in radians, by the covariance of the solver; a turn that means nothing is left
    out of it. The fit is the overlap (intersection over union) of ``box`` [4], what the pose covers of the picture, and
    the region of interest.
    """
    others = [other.score for other in pose.runners_up]
    lead = min(max(1.0 - max(others) / pose.score, -1.0), 1.0) if others and pose.score > 0.0 else 1.0
    variance = float(np.trace(pose.covariance[3:, 3:]))
    if symmetry.continuous:
        variance -= axis_variance(pose.covariance, pose.T_cam_obj[:3, :3])
    sharpness = -0.5 * math.log(max(variance, _SHARPEST))
    return 1.0, pose.score, pose.visible, lead, sharpness, overlap(box, np.asarray(pose.roi))


def as_experienced(pose: ObjectPose, known: UncertaintySpec, symmetry: Symmetry, box: np.ndarray,
                   turn_is_fitted: bool = False) -> ObjectPose:
    """``pose`` with the covariances and the probability that ``known`` makes of those of the solver.

    Args:
        pose: [4, 4] and its covariances, metres and radians, camera optical frame.
        known: of the bundle.
        symmetry: of the category.
        box: [4] pixels, see :func:`evidence_of`.
        turn_is_fitted: the variance about the axis is that of a posterior over all turns which was fitted to errors by
            itself; a second factor would flatten what it says.
    """
    evidence = evidence_of(pose, symmetry, box)
    probability = known.probability_of(evidence)
    covariance = known.covariance(pose.covariance, pose.T_cam_obj, pose.size, probability, evidence)
    if turn_is_fitted:
        R = pose.T_cam_obj[:3, :3]
        covariance = with_axis_variance(covariance, R, axis_variance(pose.covariance, R))
    return replace(pose, covariance=covariance,
                   size_covariance=known.size_covariance(pose.size_covariance, pose.size, probability),
                   probability=probability)
