# SPDX-License-Identifier: Apache-2.0
"""From one crop's features to its pose hypotheses: coarse search, distinct starts, refinement, covariance."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ..bundle import Card
from ..neural_mesh import NeuralMesh
from .coarse import SHIFT, Target, coarse_search, select_distinct
from .likelihood import PARAMETERS
from .refine import Refined, Surface, refine
from .similarity import Similarity, SimilarityVolume
from .views import farthest_point_order, view_table
from .visibility import visibility_table

_COARSE_SAMPLES = 80  # visible vertices per viewpoint in the coarse search
_STARTS = 6  # distinct coarse hypotheses that are refined
_START_ANGLE = math.radians(25)  # closer ones lie in the same basin of the refinement
_START_FLOOR = 0.6  # of the best coarse score
_KEEP = 3  # hypotheses that go through the last, narrow stage
_DISTINCT_ANGLE = math.radians(20)  # refined hypotheses closer than this are one
_FLIP = np.diag([-1.0, -1.0, 1.0])  # half a turn about the object's z axis: front for back
# (window sigma in cells, Newton steps): a wide basin first, sub-cell accuracy last.
_WIDE = np.array([[2.5, 4], [1.5, 3]], dtype=np.float64)
_NARROW = np.array([[1.0, 4], [0.7, 4]], dtype=np.float64)
_INSIDE = 0.7  # share of foreground in a vertex's window below which its match is too one-sided to be used
_WIDE_VERTICES, _NARROW_VERTICES = 120, 240


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
        order = farthest_point_order(mesh.vertices.astype(np.float64))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        vertices, normals = mesh.vertices[order], mesh.normals[order]
        table = visibility_table(vertices, rank[mesh.faces], normals)
        self._surface = Surface(vertices.astype(np.float64), normals.astype(np.float64), table.visible, table.azimuths,
                                table.elevations)
        self._views = view_table(vertices, table, card.search, _COARSE_SAMPLES)
        self._similarity = Similarity(mesh.features[order], mesh.clutter, card.features.temperature, evidence, SHIFT + 1)
        self._mean_size = np.array(card.size_prior.mean_m)
        self._prior = 1.0 / np.array(card.size_prior.log_sigma) ** 2
        self._scales = np.array(card.search.scale)
        G = len(self._views.rotations)
        self._score, self._translation = np.empty(G), np.empty((G, 3))
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dinemo_solver")
        self.timings: dict[str, float] = {}

    def solve(self, features: np.ndarray, target: Target) -> list[SolvedPose]:
        """Hypotheses, best score first, of a feature map [D, h, h] seen through ``target``'s crop camera."""
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
        G = len(self._score)
        bounds = np.linspace(0, G, self._threads + 1).astype(int)
        self._each(lambda part: coarse_search(volume.evidence, volume.pad, self._views, target, self._scales,
                                              self._score, self._translation, bounds[part], bounds[part + 1]),
                   range(self._threads))
        chosen = select_distinct(self._views.rotations, self._score, _START_ANGLE, _STARTS, _START_FLOOR)
        starts = [_start(self._views.rotations[g], self._translation[g]) for g in chosen]
        return starts + _missing_flip(starts)

    def _refine(self, volume: SimilarityVolume, target: Target, poses: list[Refined]) -> list[Refined]:
        def run(pose: Refined, schedule: np.ndarray, limit: int) -> None:
            refine(volume.odds, volume.evidence, volume.pad, self._surface, self._prior, target.focal, target.centre,
                   pose, schedule, limit, inside_maps(volume.foreground, schedule[:, 0]))

        self._each(lambda pose: run(pose, _WIDE, _WIDE_VERTICES), poses)
        poses = _distinct(poses)[:_KEEP]
        self._each(lambda pose: run(pose, _NARROW, _NARROW_VERTICES), poses)
        return _distinct(poses)

    def _each(self, function, items) -> None:
        """Call ``function`` on every item, on the pool; an exception of any call is raised here."""
        for _ in self._pool.map(function, items):
            pass

    def _solved(self, pose: Refined) -> SolvedPose:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = pose.R, pose.t
        size = self._mean_size * np.exp(pose.log_size)
        return SolvedPose(T, size, float(pose.score), float(pose.visible), pose_covariance(pose, self._prior))


def pose_covariance(pose: Refined, prior: np.ndarray) -> np.ndarray:
    """[6, 6] marginal of the inverse Newton matrix: the size, known from ``prior`` [3] and the picture, is integrated out.

    Scaling the object and its distance together leaves the picture unchanged, so the prior's spread reappears along
    the viewing ray. The data part is weakened by the measured misfit where matches scatter more than they should.
    """
    information = pose.normal / max(pose.misfit, 1.0)
    information[range(6, PARAMETERS), range(6, PARAMETERS)] += prior
    # A direction that the picture says nothing about (nearly all occluded) gets a huge but finite variance.
    scale = np.array([pose.t[2]] * 3 + [1.0] * 6)
    scaled = information * np.outer(scale, scale) + 1e-4 * np.eye(PARAMETERS)
    return (np.linalg.inv(scaled) * np.outer(scale, scale))[:6, :6]


def inside_maps(foreground: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """[stages, h, w] trust in a vertex per window width: 1 where the whole window lies on the object, to 0 at its edge.
    """
    blurred = np.stack([cv2.GaussianBlur(foreground, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) for sigma in sigmas])
    x = np.clip((blurred - _INSIDE) / (1.0 - _INSIDE), 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x) + np.float32(1e-3)


def _start(R: np.ndarray, t: np.ndarray) -> Refined:
    return Refined(R.copy(), t.copy(), np.zeros(3), np.zeros((PARAMETERS, PARAMETERS)))


def _missing_flip(starts: list[Refined]) -> list[Refined]:
    """The best start turned back to front, unless a start lies there: flips are the commonest gross error."""
    if not starts:
        return []
    flipped = starts[0].R @ _FLIP
    if any(np.sum(flipped * other.R) > 1.0 + 2.0 * math.cos(_START_ANGLE) for other in starts):
        return []
    return [_start(flipped, starts[0].t)]


def _distinct(poses: list[Refined]) -> list[Refined]:
    """Best score first, without those that ran into the same optimum."""
    kept: list[Refined] = []
    same = 1.0 + 2.0 * math.cos(_DISTINCT_ANGLE)
    for pose in sorted(poses, key=lambda p: -p.score):
        if all(np.sum(pose.R * other.R) < same for other in kept):
            kept.append(pose)
    return kept
