# SPDX-License-Identifier: Apache-2.0
"""From one crop's features to its pose hypotheses: coarse search, distinct starts, refinement, covariance."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import TypeVar

import cv2
import numpy as np

from ..geometry import HALF_TURN, turn
from ..model.symmetry import Symmetry
from ..pose import Observation
from ..turns import angles
from .ambiguity import azimuth_of, azimuth_posterior, turn_likelihoods, turned_evidence, widened
from .category import COARSE_SAMPLES, Category
from .coarse import SHIFT, Target, coarse_search, make_sums, select_distinct
from .nearest_view import nearest_starts
from .observed_refinement import ObservedRefinement
from .problem import FeatureNoise, Priors
from .refine import CORRELATED, Refined, coarse_refinement, gauss_newton_refinement, noise_variance
from .roi_prior import roi_sides, tells_extent
from .similarity import Similarity, SimilarityVolume
from .workspace import PARAMETERS, Scratch, make_scratch

Result = TypeVar("Result")
Found = TypeVar("Found", bound=Refined)

_FIRST_SAMPLES = 24  # visible vertices that are looked up in all viewpoints; all of a view's in the best of them
_SECOND_VIEWS = 64
_COARSE_VERTICES = 120  # visible ones in the first refinement
_STARTS = 2  # distinct hypotheses of the coarse search that are refined
_ROUGH_STARTS = 4  # the same where the ROI does not tell the object's extent: it may hold several objects
_VIEW_STARTS = 4  # distinct matched templates, which need no coarse refinement
_START_ANGLE = math.radians(25)  # closer ones lie in the same basin of the refinement
_START_FLOOR = 0.6  # of the best score of their kind
_DISTINCT_ANGLE = math.radians(20)  # refined hypotheses closer than this are one
_SCHEDULE = np.array([[2.5, 4], [1.5, 3]], dtype=np.float64)  # window sigma in cells, Newton steps: wide basin first
_GAUSS_NEWTON_STEPS = 2  # of render-and-compare for every hypothesis
_LAST, _LAST_STEPS = 2, 6  # so many of the best get as many steps more
_FOLLOW_STEPS = 4
_FOLLOW_SCHEDULE = np.array([[2.5, 3], [1.5, 3]], dtype=np.float64)
_NEAR_TURNS = (math.radians(-15), math.radians(15))  # about object z: how wrong a predicted azimuth may be
_INSIDE = 0.7  # share of foreground in a vertex's window below which its match is too one-sided to be used


@dataclass(frozen=True)
class SolvedPose:
    """A pose in the crop camera frame.

    Attributes:
        T_crop_obj: [4, 4] metres; size: [3] metres (object x, y, z).
        score: mean evidence of the visible vertices; visible: share of them that the object explains.
        covariance: [6, 6] of (x, y, z, rot_x, rot_y, rot_z) along the crop camera's axes, rotation about the object's
            origin; metres and radians.
        size_covariance: [3, 3] of the size, square metres.
        source, observations, shape, turns: see :class:`~dinemo_ros.pose.ObjectPose`.
        pictured: the pose by the picture alone, where more was known.
    """

    T_crop_obj: np.ndarray
    size: np.ndarray
    score: float
    visible: float
    covariance: np.ndarray
    size_covariance: np.ndarray
    source: str = "rgb"
    observations: tuple[Observation, ...] = ()
    shape: tuple[float, ...] = ()
    turns: tuple[float, ...] = ()
    pictured: SolvedPose | None = None


@dataclass(frozen=True)
class Start:
    """Where tracking begins: a pose in the crop camera frame, as in :class:`SolvedPose`."""

    T_crop_obj: np.ndarray
    size: np.ndarray


class CropSolver:
    """Solves one crop at a time on one thread, with buffers of its own.

    Its pieces last tenths of a millisecond, and waking a thread up for each of them costs as much as it saves.

    category: shared, not written to.
    """

    def __init__(self, category: Category) -> None:
        self._category = category
        self._similarity = Similarity(category.search_features, category.clutter, category.temperature,
                                      category.evidence, SHIFT + 1)
        G = len(category.views.rotations)
        self._score, self._translation = np.empty(G), np.empty((G, 3))
        self._view_score = np.empty(len(category.nearest.rotations))
        self._everything = np.arange(G)
        self._sums = make_sums(COARSE_SAMPLES)
        self._kept: Scratch | None = None
        self.timings = dict.fromkeys(("similarity", "coarse", "refine"), 0.0)  # milliseconds, added up

    def solve(self, features: np.ndarray, target: Target) -> list[SolvedPose]:
        """Hypotheses, likeliest first, of a crop's features.

        Args:
            features: [D, h, h] float32, unit length per cell.
            target: the crop camera that they are seen through.
        """
        volume = self._timed("similarity", self._similarity, features)
        starts = self._timed("coarse", self._coarse, volume, target)
        views = self._timed("coarse", self._nearest, volume, target)
        poses = self._timed("refine", self._refine, volume, target, starts, views)
        solved = self._timed("refine", self._with_observations, volume, target, poses)
        if solved and self._category.symmetry.uncertain_azimuth:
            solved[0] = self._with_azimuth_uncertainty(solved[0], volume, target, poses[0])
        return solved

    def follow(self, features: np.ndarray, target: Target, start: Start) -> list[SolvedPose]:
        """The pose near ``start`` and then, where there is such a thing, its flip, for the caller to compare.

        Nothing is searched: the start, and the start turned a little to either side, take a few steps of windowed
        matching, the best of them and the flip a few of render-and-compare.

        features, target: as for :meth:`solve`.
        """
        volume = self._timed("similarity", self._similarity, features)
        poses = self._timed("refine", self._follow, volume, target, start)
        solved = self._timed("refine", self._with_observations, volume, target, poses)
        if self._category.symmetry.uncertain_azimuth:
            solved[0] = self._with_azimuth_uncertainty(solved[0], volume, target, poses[0])
        return solved

    def _timed(self, stage: str, function: Callable[..., Result], *arguments: object) -> Result:
        begin = time.perf_counter()
        result = function(*arguments)
        self.timings[stage] += 1e3 * (time.perf_counter() - begin)
        return result

    def _coarse(self, volume: SimilarityVolume, target: Target) -> list[Refined]:
        self._search(volume, target, self._everything, _FIRST_SAMPLES)
        best = np.argsort(-self._score)[:_SECOND_VIEWS]
        self._search(volume, target, best, COARSE_SAMPLES)
        views = self._category.views
        count = _STARTS if tells_extent(target) else _ROUGH_STARTS
        chosen = best[select_distinct(views.rotations[best], self._score[best], _START_ANGLE, count, _START_FLOOR)]
        return [Refined(views.rotations[g].copy(), self._translation[g].copy()) for g in chosen]

    def _nearest(self, volume: SimilarityVolume, target: Target) -> list[Refined]:
        starts = nearest_starts(volume.similarity, volume.background_score.shape, self._category.nearest, target,
                                _START_ANGLE, _VIEW_STARTS, _START_FLOOR, self._view_score)
        return [Refined(R, t) for R, t in starts]

    def _search(self, volume: SimilarityVolume, target: Target, chosen: np.ndarray, samples: int) -> None:
        coarse_search(volume, self._category.views, chosen, samples, target, self._category.scales, self._score,
                      self._translation, self._sums)

    def _refine(self, volume: SimilarityVolume, target: Target, starts: list[Refined],
                views: list[Refined]) -> list[Refined]:
        """Distinct hypotheses, likeliest first.

        Where the ROI tells how large the object looks, the sum of the evidence decides, NeMo's objective. Elsewhere
        that sum prefers whatever looks larger, so its mean over the object does.

        Only the coarse search's ``starts`` get the coarse refinement: a matched template already stands where the
        ROI says, near enough to be compared, and windowed matching would draw it away again.
        """
        symmetry, inside = self._category.symmetry, inside_maps(volume.foreground, _SCHEDULE[:, 0])
        rank = attrgetter("evidence" if tells_extent(target) else "score")
        self._coarse_refinement(volume, target, starts, _SCHEDULE, inside)
        best = _distinct(starts, symmetry, attrgetter("score"))
        best += [*_missing_flip(best, symmetry), *views]
        for count, steps in ((len(best), _GAUSS_NEWTON_STEPS), (_LAST, _LAST_STEPS)):
            self._gauss_newton_refinement(volume, target, best[:count], steps)
            best = _distinct(best, symmetry, rank)
        return self._turned_right(volume, target, best) if best and symmetry.uncertain_azimuth else best

    def _follow(self, volume: SimilarityVolume, target: Target, start: Start) -> list[Refined]:
        c = self._category
        R, t = start.T_crop_obj[:3, :3], start.T_crop_obj[:3, 3] / c.depth_scale
        log_size = np.log(start.size / c.mean_size)
        poses = [Refined(R @ turn(angle), t.copy(), log_size.copy()) for angle in (0.0, *_NEAR_TURNS)]
        poses += _missing_flip(poses[:1], c.symmetry)
        inside = inside_maps(volume.foreground, _FOLLOW_SCHEDULE[:, 0])
        self._coarse_refinement(volume, target, poses, _FOLLOW_SCHEDULE, inside)
        near = 1 + len(_NEAR_TURNS)
        poses = [max(poses[:near], key=attrgetter("score")), *poses[near:]]
        self._gauss_newton_refinement(volume, target, poses, _FOLLOW_STEPS)
        return poses

    def _coarse_refinement(self, volume: SimilarityVolume, target: Target, poses: Sequence[Refined],
                           schedule: np.ndarray, inside: np.ndarray) -> None:
        """Windowed matching of ``poses``, which are then evaluated by render-and-compare."""
        priors, scratch = self._priors(target), self._scratch(volume.background_score.shape)
        for pose in poses:
            coarse_refinement(volume, self._category.surface, priors, target.camera, pose, schedule, inside, scratch)
        self._gauss_newton_refinement(volume, target, poses, 0)

    def _gauss_newton_refinement(self, volume: SimilarityVolume, target: Target, poses: Sequence[Refined],
                                 steps: int) -> None:
        """``steps`` of render-and-compare for each of ``poses``; none only evaluates them."""
        c, priors, scratch = self._category, self._priors(target), self._scratch(volume.background_score.shape)
        for pose in poses:
            gauss_newton_refinement(volume, c.surface, FeatureNoise(c.temperature, c.dimension), priors, target.camera,
                                    pose, steps, scratch)

    def _priors(self, target: Target) -> Priors:
        return Priors(self._category.prior, roi_sides(target), self._category.upright)

    def _scratch(self, cells: tuple[int, int]) -> Scratch:
        """Work space for a feature map of ``cells`` (h, w); that of before, if it was as large."""
        if self._kept is None or self._kept.depth.shape != cells:
            self._kept = make_scratch(len(self._category.surface.vertices), cells, _COARSE_VERTICES)
        return self._kept

    def _turned_right(self, volume: SimilarityVolume, target: Target, poses: list[Refined]) -> list[Refined]:
        """``poses`` and the likeliest turn of the best one, the pose first that explains most of the picture.

        The score is a mean over the object's cells: a pose that hides the handle behind the body loses nothing by it,
        though it leaves the handle in the picture unexplained. The sum tells.
        """
        total = partial(self._total, volume, target)
        best = max(poses, key=total)
        return _distinct([*poses, self._turned(volume, target, best)], self._category.symmetry, total)

    def _turned(self, volume: SimilarityVolume, target: Target, pose: Refined) -> Refined:
        """``pose`` at its likeliest turn about the object's axis, refined there."""
        angle = angles()[self._turn_likelihoods(volume, target, pose).argmax()]
        likeliest = Refined(pose.R @ turn(angle), pose.t.copy(), pose.log_size.copy())
        self._gauss_newton_refinement(volume, target, [likeliest], _FOLLOW_STEPS)
        return likeliest

    def _total(self, volume: SimilarityVolume, target: Target, pose: Refined) -> float:
        """Evidence of the whole view, see ``ambiguity.py``."""
        return turned_evidence(volume, self._category.surface, pose.R, pose.t, np.exp(pose.log_size), target.focal,
                               target.centre, self._category.azimuth.level)

    def _turn_likelihoods(self, volume: SimilarityVolume, target: Target, pose: Refined) -> np.ndarray:
        """Of the turns of ``pose`` about the object's axis, see ``ambiguity.py``."""
        c = self._category
        unit = noise_variance(pose.cosine, c.dimension) * CORRELATED * c.turn_scale
        return turn_likelihoods(volume, c.surface, pose.R, pose.t, np.exp(pose.log_size), target.focal, target.centre,
                                c.azimuth.level, unit)

    def _with_azimuth_uncertainty(self, solved: SolvedPose, volume: SimilarityVolume, target: Target,
                                  pose: Refined) -> SolvedPose:
        """``solved`` with what all turns about the object's axis, and not one alone, say of it."""
        return with_turns(solved, pose, self._turn_likelihoods(volume, target, pose), self._category)

    def _with_observations(self, volume: SimilarityVolume, target: Target, poses: list[Refined]) -> list[SolvedPose]:
        """``poses`` in metres, the best of them refined with what is known beside the picture."""
        if target.support is None and target.depth is None:
            return [solved_pose(pose, self._category) for pose in poses]
        refine = ObservedRefinement(volume, target, self._category, self._priors(target),
                                    self._scratch(volume.background_score.shape))
        pictured = [solved_pose(pose, self._category) for pose in poses]
        known = [refine(pose) for pose in poses[:_LAST]]  # in place
        return [replace(solved_pose(pose, self._category), source=what.source, observations=what.observations,
                        shape=tuple(what.shape.tolist()), pictured=first)
                for pose, first, what in zip(poses, pictured, known, strict=False)] + pictured[_LAST:]


def with_turns(solved: SolvedPose, pose: Refined, likelihoods: np.ndarray, category: Category) -> SolvedPose:
    """``solved`` with the posterior over the turns of ``pose``, and the variance about the axis that follows from it.

    likelihoods: [TURNS] of the turns, see ``ambiguity.py``.
    """
    posterior = azimuth_posterior(likelihoods, azimuth_of(pose.R, pose.t), category.azimuth)
    covariance = widened(solved.covariance, pose.R, posterior, bool(category.azimuth))
    return replace(solved, covariance=covariance, turns=tuple(posterior.tolist()))


def solved_pose(pose: Refined, category: Category) -> SolvedPose:
    """A refined hypothesis of either solver in metres, with what is known about it."""
    T, size = np.eye(4), category.mean_size * np.exp(pose.log_size)
    T[:3, :3], T[:3, 3] = pose.R, pose.t * category.depth_scale
    covariance = state_covariance(pose, category.prior, category.covariance_scale, category.dimension)
    return SolvedPose(T, size, float(pose.score), float(pose.visible), covariance[:6, :6],
                      covariance[6:, 6:] * np.outer(size, size))


def state_covariance(pose: Refined, prior: np.ndarray, scale: float, dimension: float) -> np.ndarray:
    """[9, 9] inverse Gauss-Newton matrix of position, rotation and log-sizes (metres, radians, no unit).

    Each block is what is known of that quantity when the others are integrated out. The measured residual weakens the
    data, and so do the correlation of neighbouring cells and ``scale``. Scaling the object and its distance together
    leaves the picture unchanged, so the prior's spread of the log-sizes reappears along the viewing ray.

    Args:
        prior: [3] 1/sigma^2 of the log-sizes. scale: the bundle's ``covariance_scale``.
        dimension: in how many directions the features vary.
    """
    information = pose.normal / (noise_variance(pose.cosine, dimension) * CORRELATED * scale)
    information[range(6, PARAMETERS), range(6, PARAMETERS)] += prior
    unit = np.array([pose.t[2]] * 3 + [1.0] * 6)  # metres to shares of the distance: a matrix of like numbers
    # A direction that the picture says nothing about (nearly all occluded) gets a huge but finite variance.
    scaled = information * np.outer(unit, unit) + 1e-4 * np.eye(PARAMETERS)
    return np.linalg.inv(scaled) * np.outer(unit, unit)


def inside_maps(foreground: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """[stages, h, w] float32 trust in a vertex per window width: 1 where its whole window is object, 0 outside.

    foreground: [h, w] float32, probability of the object per cell. sigmas: [stages] of the windows, cells.
    """
    blurred = np.stack([cv2.GaussianBlur(foreground, (0, 0), s, borderType=cv2.BORDER_CONSTANT) for s in sigmas])
    x = np.clip((blurred - _INSIDE) / (1.0 - _INSIDE), 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x) + np.float32(1e-3)


def _missing_flip(poses: list[Refined], symmetry: Symmetry) -> list[Refined]:
    """The best pose turned back to front, unless another lies there: flips are the commonest gross error."""
    if not poses:
        return []
    best = poses[0]
    flipped = best.R @ HALF_TURN
    if any(symmetry.distance(flipped, other.R) < _START_ANGLE for other in poses):
        return []
    return [Refined(flipped, best.t.copy(), best.log_size.copy())]


def _distinct(poses: list[Found], symmetry: Symmetry, rank: Callable[[Found], float]) -> list[Found]:
    """Highest rank first, without those that ran into the same optimum or an equivalent one."""
    kept: list[Found] = []
    for pose in sorted(poses, key=rank, reverse=True):
        if all(symmetry.distance(pose.R, other.R) > _DISTINCT_ANGLE for other in kept):
            kept.append(pose)
    return kept
