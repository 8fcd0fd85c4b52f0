# SPDX-License-Identifier: Apache-2.0
"""From one crop's features to its pose hypotheses: coarse search, distinct starts, refinement, covariance."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ..bundle import Card
from ..neural_mesh import NeuralMesh
from ..symmetry import Symmetry
from .coarse import SHIFT, Target, coarse_search, select_distinct
from .likelihood import PARAMETERS
from .refine import CORRELATED, Refined, climb, noise_variance, polish
from .similarity import Similarity, SimilarityVolume
from .surface import prepare_surface
from .views import view_table

_SEARCH_VERTICES = 400  # evenly spread vertices whose similarity is computed for every cell
_FIRST_SAMPLES, _COARSE_SAMPLES = 24, 80  # visible ones per viewpoint: in all viewpoints, then in the best of them
_SECOND_VIEWS = 64
_CLIMB_VERTICES = 120  # visible ones in the first refinement
_STARTS = 4  # distinct coarse hypotheses that are refined
_START_ANGLE = math.radians(25)  # closer ones lie in the same basin of the refinement
_START_FLOOR = 0.6  # of the best coarse score
_KEEP = 3  # hypotheses that are rendered and compared
_DISTINCT_ANGLE = math.radians(20)  # refined hypotheses closer than this are one
_FLIP = np.diag([-1.0, -1.0, 1.0])  # half a turn about the object's z axis: front for back
_SCHEDULE = np.array([[2.5, 4], [1.5, 3]], dtype=np.float64)  # window sigma in cells, Newton steps: wide basin first
_POLISH_STEPS = 4
_INSIDE = 0.7  # share of foreground in a vertex's window below which its match is too one-sided to be used


@dataclass(frozen=True)
class SolvedPose:
    """A pose in the crop camera frame.

    Attributes:
        T_crop_obj: [4, 4] metres; size: [3] metres (object x, y, z).
        score: mean evidence of the visible vertices; visible: share of them that the object explains.
        covariance: [6, 6] of (x, y, z, rot_x, rot_y, rot_z) along the crop camera's axes, rotation about the object's
            origin; metres and radians.
    """

    T_crop_obj: np.ndarray
    size: np.ndarray
    score: float
    visible: float
    covariance: np.ndarray


class PoseSolver:
    """Pose hypotheses of one category from feature maps.

    Args:
        mesh, card: of the bundle.
        threads: Python threads that share a solve (the kernels release the GIL).
        evidence: "clutter" (NeMo's choice) or "posterior" (softmax over vertices and clutter), see ``similarity.py``.
    """

    def __init__(self, mesh: NeuralMesh, card: Card, threads: int = 2, evidence: str = "clutter") -> None:
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dinemo_solver")
        self._surface = surface = prepare_surface(mesh)
        search = min(_SEARCH_VERTICES, len(surface.vertices)) // 4 * 4
        self._symmetry = card.symmetry
        self._views = view_table(surface, card.search, search, _COARSE_SAMPLES, card.symmetry)
        self._temperature = card.features.temperature
        self._similarity = Similarity(surface.features[:search], mesh.clutter, self._temperature, evidence, SHIFT + 1,
                                      self._each, self._threads)
        self._mean_size = np.array(card.size_prior.mean_m)
        self._prior = 1.0 / np.array(card.size_prior.log_sigma) ** 2
        self._dimension = effective_dimension(surface.features)
        self._covariance_scale = card.score.covariance_scale
        self._depth_scale = card.calibration.depth_scale
        self._scales = np.array(card.search.scale)
        G = len(self._views.rotations)
        self._score, self._translation = np.empty(G), np.empty((G, 3))
        self.timings: dict[str, float] = {}

    def solve(self, features: np.ndarray, target: Target) -> list[SolvedPose]:
        """Hypotheses, best score first, of a feature map [D, h, h] float32 seen through ``target``'s crop camera."""
        clock = time.perf_counter
        start = clock()
        volume = self._similarity(features)
        compared = clock()
        starts = self._coarse(volume, target)
        searched = clock()
        poses = self._refine(volume, target, starts)
        self.timings = {"similarity": 1e3 * (compared - start), "coarse": 1e3 * (searched - compared),
                        "refine": 1e3 * (clock() - searched)}
        return [self._solved(pose) for pose in poses]

    def _coarse(self, volume: SimilarityVolume, target: Target) -> list[Refined]:
        everything = np.arange(len(self._score))
        self._search(volume, target, everything, _FIRST_SAMPLES)
        best = np.argsort(-self._score)[:_SECOND_VIEWS]
        self._search(volume, target, best, _COARSE_SAMPLES)
        rotations, score = self._views.rotations[best], self._score[best]
        chosen = best[select_distinct(rotations, score, _START_ANGLE, _STARTS, _START_FLOOR)]
        return [Refined(self._views.rotations[g].copy(), self._translation[g].copy()) for g in chosen]

    def _search(self, volume: SimilarityVolume, target: Target, views: np.ndarray, samples: int) -> None:
        shares = np.array_split(views, self._threads)
        self._each(lambda k: coarse_search(volume, self._views, shares[k], samples, target, self._scales, self._score,
                                           self._translation), self._threads)

    def _refine(self, volume: SimilarityVolume, target: Target, poses: list[Refined]) -> list[Refined]:
        inside = inside_maps(volume.foreground, _SCHEDULE[:, 0])
        setting = volume, self._surface, self._prior, target.focal, target.centre
        likelihood = self._temperature, self._dimension

        def first(k: int) -> None:
            climb(*setting, poses[k], _SCHEDULE, inside, _CLIMB_VERTICES)
            polish(*setting, poses[k], *likelihood, 0)

        self._each(first, len(poses))
        best = _distinct(poses, self._symmetry)[:_KEEP]
        best += _missing_flip(best, self._symmetry)
        self._each(lambda k: polish(*setting, best[k], *likelihood, _POLISH_STEPS), len(best))
        return _distinct(best, self._symmetry)

    def _each(self, function: Callable[[int], None], count: int) -> None:
        """function(0) ... function(count - 1) on the pool; an exception of any call is raised here."""
        for _ in self._pool.map(function, range(count)):
            pass

    def _solved(self, pose: Refined) -> SolvedPose:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = pose.R, pose.t * self._depth_scale
        return SolvedPose(T, self._mean_size * np.exp(pose.log_size), float(pose.score), float(pose.visible),
                          pose_covariance(pose, self._prior, self._covariance_scale, self._dimension))


def pose_covariance(pose: Refined, prior: np.ndarray, scale: float, dimension: float) -> np.ndarray:
    """[6, 6] marginal of the inverse Gauss-Newton matrix: the size, known from picture and prior, is integrated out.

    The measured residual weakens the data, and so do the correlation of neighbouring cells and the bundle's
    ``covariance_scale``. Scaling the object and its distance together leaves the picture unchanged, so the prior's
    spread [3] of the log-sizes reappears along the viewing ray.
    """
    information = pose.normal / (noise_variance(pose.cosine, dimension) * CORRELATED * scale)
    information[range(6, PARAMETERS), range(6, PARAMETERS)] += prior
    unit = np.array([pose.t[2]] * 3 + [1.0] * 6)  # metres to shares of the distance: a matrix of like numbers
    # A direction that the picture says nothing about (nearly all occluded) gets a huge but finite variance.
    scaled = information * np.outer(unit, unit) + 1e-4 * np.eye(PARAMETERS)
    return (np.linalg.inv(scaled) * np.outer(unit, unit))[:6, :6]


def effective_dimension(features: np.ndarray) -> float:
    """Participation ratio of features [V, D]: in how many directions they really vary, 1 to D."""
    spread = np.linalg.eigvalsh(np.cov(features.T.astype(np.float64)))
    return float(spread.sum() ** 2 / np.sum(spread**2))


def inside_maps(foreground: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """[stages, h, w] float32 trust in a vertex per window width: 1 where its whole window is object, 0 outside."""
    blurred = np.stack([cv2.GaussianBlur(foreground, (0, 0), s, borderType=cv2.BORDER_CONSTANT) for s in sigmas])
    x = np.clip((blurred - _INSIDE) / (1.0 - _INSIDE), 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x) + np.float32(1e-3)


def _missing_flip(poses: list[Refined], symmetry: Symmetry) -> list[Refined]:
    """The best pose turned back to front, unless another lies there: flips are the commonest gross error."""
    if not poses:
        return []
    best = poses[0]
    flipped = best.R @ _FLIP
    if any(symmetry.distance(flipped, other.R) < _START_ANGLE for other in poses):
        return []
    return [Refined(flipped, best.t.copy(), best.log_size.copy())]


def _distinct(poses: list[Refined], symmetry: Symmetry) -> list[Refined]:
    """Best score first, without those that ran into the same optimum or an equivalent one."""
    kept: list[Refined] = []
    for pose in sorted(poses, key=lambda p: -p.score):
        if all(symmetry.distance(pose.R, other.R) > _DISTINCT_ANGLE for other in kept):
            kept.append(pose)
    return kept
