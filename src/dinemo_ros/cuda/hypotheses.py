# SPDX-License-Identifier: Apache-2.0
"""From feature maps to hypotheses on the device: what ``dinemo_ros.solver.crop_solver`` does, for B crops in lock-step.

Nothing here looks at the value of a tensor, so a whole call can be one CUDA graph. A hypothesis that the CPU would not
have is computed all the same and masked; which one to report is left to the host, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..solver import crop_solver as cpu
from ..solver.coarse import SHIFT
from ..symmetry import turn
from .ambiguity import azimuth_posterior, turned_evidence, turns
from .category import DeviceCategory
from .coarse import DeviceTarget, coarse_search
from .distinct import distance, distinct_views, keep_distinct
from .nearest_view import nearest_starts
from .refine import Judgement, Poses, climb, polish
from .similarity import DeviceVolume, similarity_volume


@dataclass(frozen=True)
class Hypotheses:
    """H hypotheses of each of B crops, arrays or tensors [B, H, ...]; fields as in ``solver.refine.Refined``.

    found: whether it counts. rank: score times the fit to a measured ROI. total: evidence of all its cells, and azimuth
    [B, H, TURNS] the posterior over turns, both only of categories whose azimuth may be uncertain.
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
    total: Tensor
    azimuth: Tensor

    def packed(self) -> Tensor:
        """[B, H, K] float32: one tensor is one copy to the host."""
        parts = (self.R.flatten(2), self.t, self.log_size, self.normal.flatten(2), self.azimuth,
                 *(x.float()[..., None] for x in (self.score, self.cosine, self.visible, self.found, self.rank,
                                                  self.total)))
        return torch.cat(parts, dim=-1)

    @staticmethod
    def unpacked(rows: np.ndarray) -> Hypotheses:
        """Arrays from :meth:`packed` rows [B, H, K]."""
        R, t, log_size, normal, azimuth, rest = np.split(rows, np.cumsum([9, 3, 3, 81, rows.shape[2] - 102]), axis=-1)
        score, cosine, visible, found, rank, total = np.moveaxis(rest, -1, 0)
        return Hypotheses(R.reshape(*R.shape[:2], 3, 3), t, log_size, normal.reshape(*R.shape[:2], 9, 9), score, cosine,
                          visible, found > 0, rank, total, azimuth)


class Search:
    """The two calls that :class:`dinemo_ros.cuda.solver.DeviceSolver` makes into graphs.

    loops: ``kernels`` or ``twins``.
    """

    def __init__(self, category: DeviceCategory, loops: ModuleType) -> None:
        self.category, self._loops = category, loops

        def matrices(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32).to(category.vertices.device)

        self._flip = matrices(cpu._FLIP)
        self._near = matrices(np.array([turn(angle) for angle in (0.0, *cpu._NEAR_TURNS)]))
        self._turns = matrices(turns())
        self._has_flip = category.symmetry.distance(cpu._FLIP, np.eye(3)) >= cpu._START_ANGLE

    @torch.inference_mode()
    def solve(self, maps: Tensor, rows: Tensor) -> Tensor:
        """Packed hypotheses of maps [B, D, h, w] seen through targets given as rows [B, 11]."""
        c, B = self.category, len(maps)
        target, volume = DeviceTarget.of(rows), similarity_volume(maps, c, SHIFT + 1)
        poses, found = self._starts(volume, target)
        poses, judged = self._climbed(volume, target, poses, cpu._SCHEDULE)
        score = judged.score.reshape(B, -1)
        R = poses.R.reshape(B, -1, 3, 3)
        found = keep_distinct(c.symmetry, R, score, found, cpu._DISTINCT_ANGLE, cpu._KEEP)
        poses, found = self._with_flip(poses, R, score, found)
        poses, found = self._with_nearest(volume, target, poses, found)
        poses, judged = polish(volume, c, target.camera, poses, cpu._POLISH_STEPS, self._loops)
        fit = torch.where(target.measured[poses.crop], box_fit(c, target, poses), 1.0)
        if c.symmetry.uncertain_azimuth:
            return self._turned_right(volume, target, poses, judged, found, judged.score * fit)
        return _stacked(poses, judged, found, judged.score * fit).packed()

    @torch.inference_mode()
    def follow(self, maps: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
        """Packed hypotheses near starts [B, 15] (rotation, position in the solver's metres, log-size): it, its flip."""
        c, B = self.category, len(maps)
        target, volume = DeviceTarget.of(rows), similarity_volume(maps, c, SHIFT + 1)
        R, t, log_size = starts[:, :9].reshape(B, 1, 3, 3), starts[:, 9:12], starts[:, 12:]
        turned = [R @ self._near]
        if self._has_flip:
            turned.append(R @ self._flip)
        R = torch.cat(turned, 1)
        H, near = R.shape[1], len(self._near)
        poses = _poses(R, t[:, None].expand(-1, H, -1), log_size[:, None].expand(-1, H, -1))
        poses, judged = self._climbed(volume, target, poses, cpu._FOLLOW_SCHEDULE)
        first = torch.arange(B, device=maps.device) * H
        best = first + judged.score.reshape(B, H)[:, :near].argmax(1)
        chosen = torch.stack([best, first + near], 1) if self._has_flip else best[:, None]
        poses = _taken(poses, chosen.flatten())
        poses, judged = polish(volume, c, target.camera, poses, cpu._POLISH_STEPS, self._loops)
        found = torch.ones_like(chosen, dtype=torch.bool)
        return self._with_azimuths(volume, target, poses, judged, found, judged.score).packed()

    def _starts(self, volume: DeviceVolume, target: DeviceTarget) -> tuple[Poses, Tensor]:
        views, score, where = coarse_search(volume, self.category, target, cpu._FIRST_SAMPLES, cpu._SECOND_VIEWS,
                                            self._loops)
        R = self.category.rotations[views]                                                  # [B, C, 3, 3]
        best, found = distinct_views(score, R, cpu._START_ANGLE, cpu._STARTS, cpu._START_FLOOR)
        R = torch.gather(R, 1, best[..., None, None].expand(-1, -1, 3, 3))
        t = torch.gather(where, 1, best[..., None].expand(-1, -1, 3))
        return _poses(R, t, torch.zeros_like(t)), found

    def _climbed(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses,
                 schedule: np.ndarray) -> tuple[Poses, Judgement]:
        for sigma, steps in schedule:
            poses = climb(volume, self.category, target.camera, poses, float(sigma), int(steps), cpu._CLIMB_VERTICES,
                          cpu._INSIDE, self._loops)
        return polish(volume, self.category, target.camera, poses, 0, self._loops)

    def _with_flip(self, poses: Poses, R: Tensor, score: Tensor, found: Tensor) -> tuple[Poses, Tensor]:
        """The best pose of each crop turned back to front as one more, unless another one lies there."""
        best = torch.where(found, score, -torch.inf).argmax(1)
        at = torch.arange(len(best), device=best.device) * found.shape[1] + best
        flipped = poses.R[at] @ self._flip
        taken = (distance(self.category.symmetry, flipped[:, None], R) < cpu._START_ANGLE) & found
        there = found.any(1) & ~taken.any(1)
        return _joined(poses, _poses(flipped[:, None], poses.t[at][:, None], poses.log_size[at][:, None]),
                       found, there[:, None])

    def _with_nearest(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses,
                      found: Tensor) -> tuple[Poses, Tensor]:
        """Starts by whole views, of crops whose box is measured and not cut on every side."""
        R, t, there = nearest_starts(volume, self.category.nearest, target, cpu._START_ANGLE, cpu._STARTS,
                                     cpu._START_FLOOR)
        asked = target.measured & ~target.open_sides.all(1)
        return _joined(poses, _poses(R, t, torch.zeros_like(t)), found, there & asked[:, None])

    def _turned_right(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses, judged: Judgement, found: Tensor,
                      rank: Tensor) -> Tensor:
        """The likeliest turn of the pose that explains most as one more; see ``CropSolver._turned_right``."""
        c, (B, H) = self.category, found.shape
        kept = keep_distinct(c.symmetry, poses.R.reshape(B, H, 3, 3), rank.reshape(B, H), found, cpu._DISTINCT_ANGLE, H)
        total = turned_evidence(volume, c, target.camera, poses).reshape(B, H)
        best = torch.where(kept, total, -torch.inf).argmax(1)
        at = torch.arange(B, device=best.device) * H + best
        one = _taken(poses, at)
        azimuth = azimuth_posterior(volume, c, target.camera, one, judged.cosine[at], self._turns)
        one = Poses(one.R @ self._turns[azimuth.argmax(1)], one.t, one.log_size, one.crop)
        one, _ = polish(volume, c, target.camera, one, cpu._POLISH_STEPS, self._loops)
        poses, kept = _joined(poses, _poses(one.R[:, None], one.t[:, None], one.log_size[:, None]), kept,
                              kept.any(1, keepdim=True))
        judged = polish(volume, c, target.camera, poses, 0, self._loops)[1]
        return self._with_azimuths(volume, target, poses, judged, kept, judged.score).packed()

    def _with_azimuths(self, volume: DeviceVolume, target: DeviceTarget, poses: Poses, judged: Judgement,
                       found: Tensor, rank: Tensor) -> Hypotheses:
        """With totals and posteriors where the azimuth may be uncertain."""
        c = self.category
        if not c.symmetry.uncertain_azimuth:
            return _stacked(poses, judged, found, rank)
        total = turned_evidence(volume, c, target.camera, poses)
        azimuth = azimuth_posterior(volume, c, target.camera, poses, judged.cosine, self._turns)
        return _stacked(poses, judged, found, rank, total, azimuth)


def box_fit(category: DeviceCategory, target: DeviceTarget, poses: Poses) -> Tensor:
    """[H] intersection over union of each projected box and its ROI; see :func:`crop_solver.box_fit`."""
    camera, box, is_open = target.camera[poses.crop], target.box[poses.crop], target.open_sides[poses.crop]
    points = poses.points(category.vertices)
    pixels = camera[:, None, :1] * points[..., :2] / points[..., 2:].clamp(min=1e-3) + camera[:, None, 1:]
    found_low, found_high, low, high = pixels.amin(1), pixels.amax(1), box[:, :2], box[:, 2:]
    start = torch.where(is_open[:, :2], torch.maximum(found_low, low), found_low)
    end = torch.where(is_open[:, 2:], torch.minimum(found_high, high), found_high)
    low, high = torch.where(is_open[:, :2], start, low), torch.where(is_open[:, 2:], end, high)
    shared = (torch.minimum(end, high) - torch.maximum(start, low)).clamp(min=0).prod(1)
    union = (end - start).clamp(min=0).prod(1) + (high - low).clamp(min=0).prod(1) - shared
    return shared / union.clamp(min=1e-9)


def _poses(R: Tensor, t: Tensor, log_size: Tensor) -> Poses:
    """From [B, H, ...], crop by crop."""
    crop = torch.arange(R.shape[0], device=R.device)[:, None].expand(R.shape[:2])
    return Poses(R.flatten(0, 1), t.flatten(0, 1), log_size.flatten(0, 1), crop.flatten())


def _taken(poses: Poses, at: Tensor) -> Poses:
    return Poses(poses.R[at], poses.t[at], poses.log_size[at], poses.crop[at])


def _joined(poses: Poses, more: Poses, found: Tensor, more_found: Tensor) -> tuple[Poses, Tensor]:
    """Both lists of each crop as one: found [B, H] and more_found [B, M] say how many there are of each."""
    B = len(found)
    parts = (torch.cat([getattr(p, k).reshape(B, -1, *getattr(p, k).shape[1:]) for p in (poses, more)], 1).flatten(0, 1)
             for k in ("R", "t", "log_size", "crop"))
    return Poses(*parts), torch.cat([found, more_found], 1)


def _stacked(poses: Poses, judged: Judgement, found: Tensor, rank: Tensor, total: Tensor | None = None,
             azimuth: Tensor | None = None) -> Hypotheses:
    total = rank if total is None else total
    azimuth = rank.new_zeros(len(rank), 0) if azimuth is None else azimuth
    parts = (poses.R, poses.t, poses.log_size, judged.normal, judged.score, judged.cosine, judged.visible)
    return Hypotheses(*(x.reshape(*found.shape, *x.shape[1:]) for x in parts), found,
                      *(x.reshape(*found.shape, *x.shape[1:]) for x in (rank, total, azimuth)))
