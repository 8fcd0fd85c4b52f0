# SPDX-License-Identifier: Apache-2.0
"""The device's counterpart of :class:`dinemo_ros.solver.solve.PoseSolver`."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..bundle import Card
from ..neural_mesh import NeuralMesh
from ..solver import crop_solver as cpu
from ..solver.category import prepare_category
from ..solver.coarse import SHIFT, Target
from ..solver.crop_solver import SolvedPose
from ..solver.refine import Refined
from . import twins
from .category import to_device
from .coarse import DeviceTarget, coarse_search, distinct_views
from .graph import GraphCache
from .refine import Judgement, Poses, climb, polish
from .similarity import similarity_volume


def best_loops(device: torch.device) -> ModuleType:
    """Triton's kernels on a CUDA device that has Triton, their twins elsewhere."""
    if device.type != "cuda":
        return twins
    try:
        from . import kernels
    except ImportError:  # no Triton, e.g. on some Jetson builds of torch
        return twins
    return kernels


class DeviceSolver:
    """Pose hypotheses of one category from feature maps, without a host synchronisation before the result.

    Args:
        mesh, card: of the bundle. device: torch device.
        loops: ``kernels`` or ``twins``; default: see :func:`best_loops`.

    Raises:
        ValueError: the category's rotation about its axis may be uncertain (a cup whose handle is hidden), which only
            the CPU's solver reports.
    """

    def __init__(self, mesh: NeuralMesh, card: Card, device: str | torch.device = "cuda",
                 loops: ModuleType | None = None) -> None:
        if card.symmetry.uncertain_azimuth:
            raise ValueError(f"category {card.category!r} has a rotation about its axis that may be uncertain; only "
                             "the CPU's solver (device: cpu) reports that")
        self._device = torch.device(device)
        self._loops = loops or best_loops(self._device)
        self._host = prepare_category(mesh, card, "clutter")
        self._category = to_device(self._host, self._device)
        self._flip = torch.diag(torch.tensor([-1.0, -1.0, 1.0])).to(self._device)
        capture = self._device.type == "cuda" and self._loops is not twins  # the twins' shapes depend on the data
        self._run = GraphCache(self._hypotheses) if capture else self._hypotheses

    def solve(self, features: np.ndarray | Tensor, target: Target) -> list[SolvedPose]:
        """Hypotheses, best score first, of a feature map [D, h, h] seen through ``target``'s crop camera."""
        return self.solve_batch([features], [target])[0]

    def solve_batch(self, features: Sequence[np.ndarray | Tensor], targets: Sequence[Target]) -> list[list[SolvedPose]]:
        """:meth:`solve` for every feature map with its target; maps that already are on the device stay there."""
        if not len(targets):
            return []
        maps = torch.stack([torch.as_tensor(F, dtype=torch.float32).to(self._device) for F in features])
        rows = [np.concatenate([t.box, t.open_sides, [t.focal, t.centre]]) for t in targets]
        inputs = maps, torch.as_tensor(np.array(rows), dtype=torch.float32).to(self._device)
        results = [tensor.double().cpu().numpy() for tensor in self._run(*inputs)]
        return [self._solved(*(array[b] for array in results)) for b in range(len(targets))]

    @torch.inference_mode()
    def _hypotheses(self, maps: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """All hypotheses of B maps [B, D, h, w] as arrays [B, starts + 1, ...]; fixed shapes, no branches."""
        category, loops, B = self._category, self._loops, len(maps)
        target = DeviceTarget(rows[:, :4].contiguous(), rows[:, 4:8] > 0, rows[:, 8:].contiguous())
        volume = similarity_volume(maps, category, SHIFT + 1)
        score, where = coarse_search(volume, category, target, loops)
        views, found = distinct_views(score, category.rotations, cpu._START_ANGLE, cpu._STARTS, cpu._START_FLOOR)
        crop = torch.arange(B, device=maps.device)[:, None].expand_as(views).reshape(-1)
        t = torch.gather(where, 1, views[..., None].expand(-1, -1, 3)).reshape(-1, 3)
        poses = Poses(category.rotations[views].reshape(-1, 3, 3), t, torch.zeros_like(t), crop)
        for sigma, steps in cpu._SCHEDULE:
            poses = climb(volume, category, target.camera, poses, float(sigma), int(steps), cpu._CLIMB_VERTICES,
                          cpu._INSIDE, loops)
        poses, found = self._with_flip(volume, target, poses, found)
        poses, judged = polish(volume, category, target.camera, poses, cpu._POLISH_STEPS, loops)
        return self._stacked(poses, judged, found)

    def _with_flip(self, volume, target, poses: Poses, found: Tensor) -> tuple[Poses, Tensor]:
        """The best pose of each crop turned back to front as one more hypothesis: the commonest gross error."""
        B, starts = found.shape
        _, judged = polish(volume, self._category, target.camera, poses, 0, self._loops)
        best = torch.where(found, judged.score.reshape(B, starts), -1.0).argmax(1)
        at = torch.arange(B, device=best.device) * starts + best
        flipped = Poses(poses.R[at] @ self._flip, poses.t[at], poses.log_size[at], poses.crop[at])

        def joined(many: Tensor, one: Tensor) -> Tensor:
            return torch.cat([many.reshape(B, starts, *many.shape[1:]), one[:, None]], 1).flatten(0, 1)

        return (Poses(*(joined(getattr(poses, k), getattr(flipped, k)) for k in ("R", "t", "log_size", "crop"))),
                torch.cat([found, torch.ones_like(found[:, :1])], 1))

    def _stacked(self, poses: Poses, judged: Judgement, found: Tensor) -> tuple[Tensor, ...]:
        parts = (poses.R, poses.t, poses.log_size, judged.normal, judged.score, judged.cosine, judged.visible)
        return (*(part.reshape(*found.shape, *part.shape[1:]) for part in parts), found)

    def _solved(self, R, t, log_size, normal, score, cosine, visible, found) -> list[SolvedPose]:
        """One crop's hypotheses on the host: distinct ones, best first, with covariance."""
        c = self._host
        poses = [Refined(R[k], t[k], log_size[k], normal[k], score[k], cosine[k], visible[k])
                 for k in np.flatnonzero(found > 0)]
        solved = []
        for pose in cpu._distinct(poses, c.symmetry)[: cpu._KEEP + 1]:
            T = np.eye(4)
            T[:3, :3], T[:3, 3] = _orthonormal(pose.R), pose.t * c.depth_scale
            solved.append(SolvedPose(T, c.mean_size * np.exp(pose.log_size), float(pose.score), float(pose.visible),
                                     cpu.pose_covariance(pose, c.prior, c.covariance_scale, c.dimension)))
        return solved


def _orthonormal(R: np.ndarray) -> np.ndarray:
    """The rotation nearest to R [3, 3], which float32 steps have left by some 1e-6."""
    U, _, Vt = np.linalg.svd(R)
    return U @ Vt
