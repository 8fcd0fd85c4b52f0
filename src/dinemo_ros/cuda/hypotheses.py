# SPDX-License-Identifier: Apache-2.0
"""From feature maps to hypotheses on the device: what ``dinemo_ros.solver.crop_solver`` does, for B crops in lock-step.

Nothing here looks at the value of a tensor, so a whole call can be one CUDA graph. A hypothesis that the CPU would not
have is computed all the same and masked; which one to report is left to the host, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import ModuleType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..geometry import HALF_TURN, turn
from ..gpu.full_float32 import full_float32
from ..solver import crop_solver as cpu
from ..solver.coarse import SHIFT
from .ambiguity import turn_likelihoods, turned_evidence, turns
from .category import DeviceCategory
from .coarse import DeviceTarget, coarse_search
from .distinct import distance, distinct_views, keep_distinct
from .nearest_view import nearest_starts
from .poses import Poses
from .refine import PoseScore, coarse_refinement, gauss_newton_refinement
from .similarity import DeviceVolume, similarity_volume

Rows = TypeVar("Rows", Poses, PoseScore)  # dataclasses of tensors with one row per hypothesis


@dataclass(frozen=True)
class Hypotheses:
    """H hypotheses of each of B crops, arrays or tensors [B, H, ...]; fields as in ``solver.refine.Refined``.

    found: whether it counts. rank: by what the likeliest is chosen. azimuth: [B, H, TURNS] logarithms of the likelihood
    of turns, of categories whose azimuth may be uncertain, of others [B, H, 0].
    """

    R: Tensor
    t: Tensor
    log_size: Tensor
    normal: Tensor
    score: Tensor
    cosine: Tensor
    visible: Tensor
    found: Tensor
    rank: Tensor
    azimuth: Tensor

    def packed(self) -> Tensor:
        """[B, H, K] float32 of tensors in metres, radians and log-sizes: one tensor is one copy to the host."""
        parts = (self.R.flatten(2), self.t, self.log_size, self.normal.flatten(2), self.azimuth,
                 *(x.float()[..., None] for x in (self.score, self.cosine, self.visible, self.found, self.rank)))
        return torch.cat(parts, dim=-1)

    @staticmethod
    def unpacked(rows: np.ndarray) -> Hypotheses:
        """Arrays from rows [B, H, K] as :meth:`packed` writes them, in metres, radians and log-sizes."""
        R, t, log_size, normal, azimuth, rest = np.split(rows, np.cumsum([9, 3, 3, 81, rows.shape[2] - 101]), axis=-1)
        score, cosine, visible, found, rank = np.moveaxis(rest, -1, 0)
        return Hypotheses(R.reshape(*R.shape[:2], 3, 3), t, log_size, normal.reshape(*R.shape[:2], 9, 9), score, cosine,
                          visible, found > 0, rank, azimuth)


class Search:
    """The two calls that :class:`dinemo_ros.cuda.solver.DeviceSolver` makes into graphs.

    loops: ``kernels`` or ``twins``.
    """

    def __init__(self, category: DeviceCategory, loops: ModuleType) -> None:
        self.category, self.loops = category, loops

        def matrices(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32).to(category.vertices.device)

        self._flip = matrices(HALF_TURN)
        self._near = matrices(np.array([turn(angle) for angle in (0.0, *cpu._NEAR_TURNS)]))
        self._turns = matrices(turns())
        self._has_flip = category.symmetry.distance(HALF_TURN, np.eye(3)) >= cpu._START_ANGLE

    @torch.inference_mode()
    @full_float32()
    def solve(self, maps: Tensor, rows: Tensor) -> Tensor:
        """Hypotheses [B, H, K] as :meth:`Hypotheses.packed` writes them.

        Args:
            maps: [B, D, h, w] float32 features of unit length per cell.
            rows: [B, 14] targets, cells, as :func:`dinemo_ros.cuda.coarse.target_row` writes them.
        """
        target, volume = DeviceTarget.of(rows), similarity_volume(maps, self.category, SHIFT + 1)
        poses, found = self._starts(volume, target)
        poses, evaluated = self._coarsely_refined(volume, target, poses, cpu._SCHEDULE)
        found = self._distinct(poses, evaluated.score, found)
        poses, found = self._with_flip(poses, evaluated, found)
        poses, found = self._with_views(volume, target, poses, found)
        poses, evaluated = self._gauss_newton_refined(volume, target, poses, cpu._GAUSS_NEWTON_STEPS)
        found = self._distinct(poses, _rank(target, poses, evaluated), found)
        poses, evaluated = self._best_again(volume, target, poses, evaluated, found)
        if self.category.symmetry.uncertain_azimuth:
            found = self._distinct(poses, _rank(target, poses, evaluated), found)
            poses, evaluated, found = self._turned_right(volume, target, poses, evaluated, found)
        return self._stacked(volume, target, poses, evaluated, found).packed()

    @torch.inference_mode()
    @full_float32()
    def follow(self, maps: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
        """The pose near each start and its flip, as :meth:`solve` packs them.

        Args:
            maps, rows: as for :meth:`solve`.
            starts: [B, 15] rotation row by row, position in the solver's metres, log-size.
        """
        target, volume = DeviceTarget.of(rows), similarity_volume(maps, self.category, SHIFT + 1)
        B, near = len(maps), len(self._near)
        R, t, log_size = starts[:, :9].reshape(B, 1, 3, 3), starts[:, 9:12], starts[:, 12:]
        R = torch.cat([R @ self._near, *([R @ self._flip] if self._has_flip else [])], 1)
        H = R.shape[1]
        poses = _poses(R, t[:, None].expand(-1, H, -1), log_size[:, None].expand(-1, H, -1))
        poses, evaluated = self._coarsely_refined(volume, target, poses, cpu._FOLLOW_SCHEDULE)
        first = torch.arange(B, device=maps.device) * H
        best = first + evaluated.score.reshape(B, H)[:, :near].argmax(1)
        chosen = torch.stack([best, first + near], 1) if self._has_flip else best[:, None]
        at = chosen.flatten()
        poses, evaluated = self._gauss_newton_refined(volume, target, _taken(poses, at), cpu._FOLLOW_STEPS,
                                                      _taken(evaluated, at))
        return self._stacked(volume, target, poses, evaluated, torch.ones_like(chosen, dtype=torch.bool)).packed()

    def _starts(self, volume: DeviceVolume, target: DeviceTarget) -> tuple[Poses, Tensor]:
        views, score, where = coarse_search(volume, self.category, target, cpu._FIRST_SAMPLES, cpu._SECOND_VIEWS,
                                            self.loops)
        R = self.category.rotations[views]                                                   # [B, C, 3, 3]
        best, found = distinct_views(score, R, cpu._START_ANGLE, cpu._ROUGH_STARTS, cpu._START_FLOOR)
        found[:, cpu._STARTS:] &= ~_tells_extent(target)[:, None]  # shapes are fixed: others are refined in vain
        R = torch.gather(R, 1, best[..., None, None].expand(-1, -1, 3, 3))
        t = torch.gather(where, 1, best[..., None].expand(-1, -1, 3))
        return _poses(R, t, torch.zeros_like(t)), found

    def _coarsely_refined(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses,
                          schedule: np.ndarray) -> tuple[Poses, PoseScore]:
        for sigma, steps in schedule:
            poses = coarse_refinement(volume, self.category, target, poses, float(sigma), int(steps),
                                      cpu._COARSE_VERTICES, cpu._INSIDE, self.loops)
        return self._gauss_newton_refined(volume, target, poses, 0)

    def _gauss_newton_refined(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses, steps: int,
                              evaluated: PoseScore | None = None) -> tuple[Poses, PoseScore]:
        return gauss_newton_refinement(volume, self.category, target, poses, steps, self.loops, evaluated)

    def _distinct(self, poses: Poses, rank: Tensor, found: Tensor) -> Tensor:
        """``found`` [B, H] without those that ran into the optimum of a better ranked one; rank [B H]."""
        R = poses.R.reshape(*found.shape, 3, 3)
        return keep_distinct(self.category.symmetry, R, rank.reshape(found.shape), found, cpu._DISTINCT_ANGLE)

    def _with_flip(self, poses: Poses, evaluated: PoseScore, found: Tensor) -> tuple[Poses, Tensor]:
        """The best pose of each crop turned back to front as one more, unless another one lies there."""
        best = _best(evaluated.score.reshape(found.shape), found)
        one = _taken(poses, best)
        flipped, R = one.R @ self._flip, poses.R.reshape(*found.shape, 3, 3)
        taken = (distance(self.category.symmetry, flipped[:, None], R) < cpu._START_ANGLE) & found
        there = found.any(1) & ~taken.any(1)
        flip = Poses(flipped, one.t, one.log_size, one.crop)
        return _side_by_side(poses, flip, len(found)), torch.cat([found, there[:, None]], 1)

    def _with_views(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses,
                    found: Tensor) -> tuple[Poses, Tensor]:
        """Starts by template matching as more."""
        R, t, there = nearest_starts(volume, self.category.nearest, target, cpu._START_ANGLE, cpu._VIEW_STARTS,
                                     cpu._START_FLOOR)
        views = _poses(R, t, torch.zeros_like(t))
        return _side_by_side(poses, views, len(found)), torch.cat([found, there], 1)

    def _best_again(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses, evaluated: PoseScore,
                    found: Tensor) -> tuple[Poses, PoseScore]:
        """The best of each crop take more steps."""
        B, H = found.shape
        rank = torch.where(found, _rank(target, poses, evaluated).reshape(B, H), -torch.inf)
        at = rank.topk(cpu._LAST, dim=1).indices + H * torch.arange(B, device=found.device)[:, None]
        at = at.flatten()
        better, again = self._gauss_newton_refined(volume, target, _taken(poses, at), cpu._LAST_STEPS,
            _taken(evaluated, at))
        return _replaced(poses, at, better), _replaced(evaluated, at, again)

    def _turned_right(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses, evaluated: PoseScore,
                      found: Tensor) -> tuple[Poses, PoseScore, Tensor]:
        """The likeliest turn of the pose that explains most as one more; see ``CropSolver._turned_right``."""
        c = self.category
        total = turned_evidence(volume, c, target.camera, poses).reshape(found.shape)
        at = _best(total, found)
        best = _taken(poses, at)
        azimuth = turn_likelihoods(volume, c, target.camera, best, evaluated.cosine[at], self._turns)
        likeliest = Poses(best.R @ self._turns[azimuth.argmax(1)], best.t, best.log_size, best.crop)
        likeliest, one = self._gauss_newton_refined(volume, target, likeliest, cpu._FOLLOW_STEPS)
        evaluated = _side_by_side(evaluated, one, len(found))
        return _side_by_side(poses, likeliest, len(found)), evaluated, torch.cat([found, found.any(1, keepdim=True)], 1)

    def _stacked(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses, evaluated: PoseScore,
                 found: Tensor) -> Hypotheses:
        """With totals as rank and likelihoods of turns where the azimuth may be uncertain."""
        c = self.category
        rank, azimuth = _rank(target, poses, evaluated), evaluated.score.new_zeros(len(evaluated.score), 0)
        if c.symmetry.uncertain_azimuth:
            rank = turned_evidence(volume, c, target.camera, poses)
            azimuth = turn_likelihoods(volume, c, target.camera, poses, evaluated.cosine, self._turns)
        parts = (poses.R, poses.t, poses.log_size, evaluated.normal, evaluated.score, evaluated.cosine,
                 evaluated.visible, found.flatten(), rank, azimuth)
        return Hypotheses(*(part.reshape(*found.shape, *part.shape[1:]) for part in parts))


def _poses(R: Tensor, t: Tensor, log_size: Tensor) -> Poses:
    """From [B, H, ...], crop by crop."""
    crop = torch.arange(R.shape[0], device=R.device)[:, None].expand(R.shape[:2])
    return Poses(R.flatten(0, 1), t.flatten(0, 1), log_size.flatten(0, 1), crop.flatten())


def _rank(target: DeviceTarget, poses: Poses, evaluated: PoseScore) -> Tensor:
    """[H] the sum of the evidence where the ROI tells how large the object looks, elsewhere its mean."""
    return torch.where(_tells_extent(target)[poses.crop], evaluated.evidence, evaluated.score)


def _tells_extent(target: DeviceTarget) -> Tensor:
    """[B] bool, see ``solver/roi_prior.py``."""
    known = target.trust > 0
    return (known[:, :2] & known[:, 2:]).any(1)


def _best(rank: Tensor, found: Tensor) -> Tensor:
    """[B] row of the best ranked hypothesis of each crop among all; rank, found [B, H]."""
    B, H = found.shape
    return torch.where(found, rank, -torch.inf).argmax(1) + H * torch.arange(B, device=found.device)


def _taken(rows: Rows, at: Tensor) -> Rows:
    return type(rows)(*(part[at] for part in _parts(rows)))


def _replaced(rows: Rows, at: Tensor, new: Rows) -> Rows:
    """``rows`` with those ``at`` [n] taken from ``new``."""
    return type(rows)(*(a.index_copy(0, at, b) for a, b in zip(_parts(rows), _parts(new), strict=True)))


def _side_by_side(rows: Rows, more: Rows, crops: int) -> Rows:
    """Both lists of each of so many crops as one."""
    both = zip(_parts(rows), _parts(more), strict=True)
    return type(rows)(*(torch.cat([x.reshape(crops, -1, *x.shape[1:]) for x in pair], 1).flatten(0, 1)
                        for pair in both))


def _parts(rows: Poses | PoseScore) -> list[Tensor]:
    return [getattr(rows, field.name) for field in fields(rows)]
