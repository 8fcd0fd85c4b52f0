# SPDX-License-Identifier: Apache-2.0
"""The device's counterpart of :class:`dinemo_ros.solver.solve.PoseSolver`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..gpu.graph import GraphCache
from ..solver import crop_solver as cpu
from ..solver.category import Category
from ..solver.coarse import Target
from ..solver.crop_solver import SolvedPose, Start
from ..solver.refine import Refined
from . import twins
from .category import to_device
from .coarse import target_row
from .hypotheses import Hypotheses, Search
from .staging import Staging

_log = logging.getLogger(__name__)


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
        category: as for the CPU's solver. device: torch device.
        loops: ``kernels`` or ``twins``; default: see :func:`best_loops`.

    Attributes:
        device: torch's. loops: ``kernels`` or ``twins``. search: what is run there. staging: what brings things there.
        timings: milliseconds of the last call, from when the features are asked for until the poses are on the host.
    """

    def __init__(self, category: Category, device: str | torch.device = "cuda",
                 loops: ModuleType | None = None) -> None:
        self.device = torch.device(device)
        self.loops = loops or best_loops(self.device)
        self._host = category
        self.staging = Staging(self.device)
        self.search = search = Search(to_device(self._host, self.device), self.loops)
        capture = self.device.type == "cuda" and self.loops is not twins  # the twins' shapes depend on the data
        self._solve: Callable[..., Tensor] = GraphCache(search.solve) if capture else search.solve
        self._follow: Callable[..., Tensor] = GraphCache(search.follow) if capture else search.follow
        self.timings: dict[str, float] = {"solve": 0.0}

    def solve(self, features: np.ndarray | Tensor, target: Target) -> list[SolvedPose]:
        """Hypotheses, likeliest first, of a feature map [D, h, h] seen through ``target``'s crop camera."""
        return self.solve_batch([features], [target])[0]

    def solve_batch(self, features: Sequence[np.ndarray | Tensor] | Tensor,
                    targets: Sequence[Target]) -> list[list[SolvedPose]]:
        """See :meth:`solve`, for every feature map [D, h, h] with its target; maps on the device already stay there."""
        return self.solved(features, self.prepared(targets))

    def follow_batch(self, features: Sequence[np.ndarray | Tensor] | Tensor, targets: Sequence[Target],
                     starts: Sequence[Start]) -> list[list[SolvedPose]]:
        """Per crop the pose near its start, then its flip.

        features: [D, h, h] each; see :meth:`dinemo_ros.solver.crop_solver.CropSolver.follow`.
        """
        return self.solved(features, self.prepared(targets, starts))

    def prepared(self, targets: Sequence[Target], starts: Sequence[Start] | None = None) -> list[Tensor]:
        """What :meth:`solved` has to know of each crop, on its way to the device while the network may run.

        [B, 14], and where there are starts to follow from [B, 15].
        """
        rows = [np.reshape([target_row(target) for target in targets], (-1, 14))]
        if starts is not None:
            rows.append(np.reshape([self._start_row(start) for start in starts], (-1, 15)))
        return self.staging.upload_numbers("rows", *rows)

    def solved(self, features: Sequence[np.ndarray | Tensor] | Tensor, rows: list[Tensor]) -> list[list[SolvedPose]]:
        """:meth:`solve_batch` or, where :meth:`prepared` was given starts, :meth:`follow_batch`.

        features: [D, h, h] each. rows: from :meth:`prepared`.
        """
        begin, solved = time.perf_counter(), []
        run, choose = (self._solve, self._ranked) if len(rows) == 1 else (self._follow, list)
        if len(features):
            packed = self.staging.download(run(self._maps(features), *rows))
            found = Hypotheses.unpacked(packed.astype(np.float64))
            solved = [self._solved(choose(candidates(found, b))) for b in range(len(features))]
        self.timings = {"solve": 1e3 * (time.perf_counter() - begin)}
        return solved

    def _start_row(self, start: Start) -> np.ndarray:
        """[15] rotation, position in the solver's metres, log-size."""
        return np.r_[start.T_crop_obj[:3, :3].ravel(), start.T_crop_obj[:3, 3] / self._host.depth_scale,
                     np.log(start.size / self._host.mean_size)]

    def _maps(self, features: Sequence[np.ndarray | Tensor] | Tensor) -> Tensor:
        if not isinstance(features, (np.ndarray, Tensor)):
            features = torch.stack([torch.as_tensor(F) for F in features])
        if isinstance(features, np.ndarray):
            features = self.staging.upload("features", features)
        return features.to(self.device, torch.float32)

    def _ranked(self, poses: list[Candidate]) -> list[Candidate]:
        """Distinct ones, likeliest first."""
        return cpu._distinct(poses, self._host.symmetry, attrgetter("rank"))

    def _solved(self, poses: list[Candidate]) -> list[SolvedPose]:
        """On the host: with covariance, the first one's with the uncertainty of its azimuth."""
        solved = [cpu.solved_pose(pose, self._host) for pose in poses]
        if solved and self._host.symmetry.uncertain_azimuth:
            solved[0] = cpu.with_turns(solved[0], poses[0], poses[0].azimuth, self._host)
        return solved


@dataclass
class Candidate(Refined):
    """A pose from the device; rank and azimuth as in :class:`dinemo_ros.cuda.hypotheses.Hypotheses`."""

    rank: float = 0.0
    azimuth: np.ndarray = field(default_factory=lambda: np.empty(0))


def candidates(found: Hypotheses, b: int) -> list[Candidate]:
    """The poses of crop ``b`` that count and are numbers.

    A hypothesis of no depth or size may end as none, and the others are still right; a GPU that computes nonsense does
    not pass the check at the start.
    """
    fields = [name for name in vars(found) if name != "found"]
    poses = [Candidate(**{name: getattr(found, name)[b, k] for name in fields}) for k in np.flatnonzero(found.found[b])]
    finite = [pose for pose in poses if all(np.isfinite(value).all() for value in vars(pose).values())]
    if len(finite) < len(poses):
        _log.debug("%d of %d hypotheses of a crop are not finite", len(poses) - len(finite), len(poses))
    for pose in finite:
        pose.R = _orthonormal(pose.R)
    return finite


def _orthonormal(R: np.ndarray) -> np.ndarray:
    """The rotation nearest to R [3, 3], which float32 steps have left by some 1e-6."""
    U, _, Vt = np.linalg.svd(R)
    return U @ Vt
