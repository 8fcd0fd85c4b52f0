# SPDX-License-Identifier: Apache-2.0
"""Which of what is known beside the picture agrees with a pose, and at what scale of the object it does.

Scaling an object and its distance together leaves its picture as it is. So a pose found in the picture alone is one of
a family, and the support plane and the depth image each name a member of it: the one whose foot lies on the plane, the
one whose rendered depth most of the measured cells agree with. A pose is moved there first, and only then refined with
the observation as a term of the refinement, which begins where its basin is.

An observation may be of something else: an object may be held or stand on a box, a bottle is seen through. It is tested
before it is used. The test of the plane compares two models of where the foot and the axis of the pose from the picture
would be (Bayesian model selection): an object that stands there, within what the picture and the category's size leave
open, and one that is anywhere. Where the size prior is wide, that test can be no sharper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..pose import Observation
from ..scene.support_plane import SupportPlane
from .category import Category
from .coarse import Target
from .depth_term import depth_noise, spread
from .problem import NO_DEPTH, NO_DEPTH_NOISE, NO_SUPPORT
from .refine import Refined
from .support_term import foot, support_term
from .workspace import Scratch

_ELSEWHERE = 0.1  # share of objects that do not stand on the plane ...
_REACH = 0.4  # ... and have their foot anywhere up to so many metres off it, either upright or at any tilt
_SHARE = 0.25  # of the cells that show the object whose depth must agree at one scale
_SURE = 0.5  # share from which depth is believed where it contradicts the plane
_BELOW = -0.02  # metres: a foot so far below the plane is seen through the object, not measured on it
_LEANING = 3.0  # standard deviations of the axis up to which an object whose foot is on the plane stands there
_APART = 0.03  # metres between foot and plane at which depth and plane contradict each other
_FARTHEST = 0.7  # of the logarithm of the scale: objects of half or twice the size of what the picture suggests
_LOOSER = 2.0  # the size of single objects, over what the category's spread says: some are far from the rest
_SPARE = 1.4  # the same for the test of the plane, whose wrong answers cost on either side
_BAND = 0.025  # of the logarithm of the scale: cells this near to each other agree


class Terms(NamedTuple):
    """What the refinement is given, see ``support_term.py`` and ``depth_term.py``; nothing by default."""

    support: np.ndarray = NO_SUPPORT
    depth: np.ndarray = NO_DEPTH
    depth_noise: np.ndarray = NO_DEPTH_NOISE

    @property
    def source(self) -> str:
        names = ["support"] * bool(self.support[0]) + ["depth"] * bool(len(self.depth))
        return "+".join(names) or "rgb"


NO_TERMS = Terms()


@dataclass(frozen=True)
class Choice:
    """What is used of what was observed, the logarithm of the scale to begin with, and what is told of it."""

    terms: Terms
    log_scale: float
    observations: tuple[Observation, ...]


def choose(target: Target, pose: Refined, category: Category, scratch: Scratch) -> Choice:
    """What to use for ``pose``, which was rendered last into ``scratch``."""
    plane, measured = target.support, target.depth
    support = None if plane is None else _standing(plane, pose, category)
    depth = None if measured is None else _depth_vote(measured, pose, category, scratch)
    observations: list[Observation] = []
    if plane is not None and support and depth and depth.used:
        support, depth = _reconciled(plane, pose, category, support, depth)
    terms, log_scale = NO_TERMS, 0.0
    if plane is not None and support:
        observations.append(support.told("support"))
        if support.used:
            terms, log_scale = Terms(support_term(plane, category)), support.log_scale
    if measured is not None and depth:
        observations.append(depth.told("depth"))
        if depth.used:
            terms = Terms(terms.support, measured, depth_noise(category))
            log_scale = depth.log_scale if not terms.support[0] else log_scale
    return Choice(terms, log_scale, tuple(observations))


@dataclass(frozen=True)
class _Verdict:
    """Of one observation: whether it is used, at which scale, how far the pose from the picture lies from it."""

    used: bool
    log_scale: float
    residual_m: float
    reason: str = ""
    share: float = 0.0

    def told(self, name: str) -> Observation:
        return Observation(name, self.used, self.residual_m, "" if self.used else self.reason)


def _standing(plane: SupportPlane, pose: Refined, category: Category) -> _Verdict:
    """Does the object stand on the plane?"""
    below = foot(pose.R, pose.t, pose.log_size, category)
    along = float(plane.normal @ below)
    height = along - plane.offset_m
    if along >= 0.0:
        return _Verdict(False, 0.0, height, "the plane does not pass below the object: is it given in the frame of "
                                            "this camera, with its normal up?")
    tilt = _tilt(plane, pose)
    sigma_height = math.hypot(_SPARE * category.spread.log_scale * along, plane.offset_sigma)
    sigma_tilt = math.hypot(category.spread.tilt, plane.normal_sigma)
    inside = -0.5 * (height / sigma_height) ** 2 - math.log(sigma_height * math.sqrt(2.0 * math.pi))
    upright = -0.5 * (tilt / sigma_tilt) ** 2 - math.log(2.0 * math.pi * sigma_tilt**2)
    anywhere = -math.log(2.0 * _REACH)
    stands = math.log(1.0 - _ELSEWHERE) + inside + upright
    stacked = math.log(0.5 * _ELSEWHERE) + anywhere + upright
    held = math.log(0.5 * _ELSEWHERE) + anywhere - math.log(math.pi)  # over tilts of up to about a radian
    used = stands > max(stacked, held)
    reason = (f"by the picture its foot is {100 * height:.0f} cm above the plane and its axis {math.degrees(tilt):.0f} "
              "degrees from the plane's normal: it is held, stands on something else, or the plane is wrong")
    return _Verdict(used, math.log(plane.offset_m / along), height, reason)


def _tilt(plane: SupportPlane, pose: Refined) -> float:
    """Angle between the object's axis and the plane's normal, radians."""
    axis = pose.R[:, 2]
    return math.atan2(float(np.linalg.norm(np.cross(axis, plane.normal))), float(axis @ plane.normal))


def _depth_vote(measured: np.ndarray, pose: Refined, category: Category, scratch: Scratch) -> _Verdict:
    """The scale at which most of the cells that show the object have the measured depth.

    measured: [h, w] metres, 0 where nothing was measured.
    """
    shown = scratch.face_of >= 0
    seen = np.where(shown, scratch.seen, 0.0)
    total = float(seen.sum())
    known = shown & (measured > 0.0)
    if total < 1.0 or not known.any():
        return _Verdict(False, 0.0, math.nan, "nothing was measured where the object is seen")
    rendered = scratch.depth[known] + (category.depth_scale - 1.0) * pose.t[2]
    ratio, weight = np.log(measured[known] / rendered), seen[known]
    sigma = _LOOSER * category.spread.log_scale
    band = max(_BAND, spread(category) / float(np.median(rendered)))
    order = np.sort(ratio[weight > 0.3]) if (weight > 0.3).any() else np.sort(ratio)
    candidates = order[np.linspace(0, len(order) - 1, min(len(order), 60)).round().astype(int)]
    near = np.exp(-0.5 * ((ratio - candidates[:, None]) / band) ** 2) @ weight
    best = int(np.argmax(near * np.exp(-0.5 * (candidates / sigma) ** 2)))
    close = np.abs(ratio - candidates[best]) < 2.0 * band
    log_scale = float(np.average(ratio[close], weights=weight[close] + 1e-9))
    share = float(weight[close].sum()) / total
    distance = float(np.linalg.norm(pose.t)) * category.depth_scale
    residual = (math.exp(log_scale) - 1.0) * distance
    if share < (_SHARE if abs(log_scale) < 2.0 * category.spread.log_scale else _SURE) or abs(log_scale) > _FARTHEST:
        reason = (f"only {100 * share:.0f} % of what is seen of the object has a depth that agrees with its shape at a "
                  "size that such objects have: it is transparent, covered, or the depth is of another place or unit")
        return _Verdict(False, 0.0, residual, reason, share)
    return _Verdict(True, log_scale, residual, share=share)


def _reconciled(plane: SupportPlane, pose: Refined, category: Category, support: _Verdict,
                depth: _Verdict) -> tuple[_Verdict, _Verdict]:
    """The two verdicts where both were observed and the depth agrees with the object at some scale."""
    along = float(plane.normal @ foot(pose.R, pose.t, pose.log_size, category))
    height = math.exp(depth.log_scale) * along - plane.offset_m
    if along < 0.0 and abs(height) <= _APART:
        upright = _tilt(plane, pose) < _LEANING * category.spread.tilt
        return _Verdict(upright, math.log(plane.offset_m / along), support.residual_m, support.reason), depth
    if height < _BELOW and depth.share < _SURE and support.used:
        return support, _Verdict(False, 0.0, depth.residual_m, f"by the depth the foot is {-100 * height:.0f} cm below "
                                 "the plane: what was measured lies behind the object, is it transparent?")
    return _Verdict(False, 0.0, height, f"by the depth its foot is {100 * height:.0f} cm above the plane: it is held, "
                    "stands on something else, or the plane is wrong"), depth
