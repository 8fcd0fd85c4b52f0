# SPDX-License-Identifier: Apache-2.0
"""Solvers on identical input: the same crops, features, mesh and crop cameras, turn about.

Where the bundle has flip test-time augmentation (``model/mirror.py``), every solver is given the features of each
crop and its mirror image.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from ..camera.crop import check_roi, crop_camera, warp_crop
from ..errors import DinemoError, told
from ..estimator import PoseEstimator, target_of
from ..evaluation.metrics import summarise
from ..evaluation.sample import LabelledSample
from ..evaluation.truth import ReferenceObject, Truth
from ..features.flip_tta import beside, flipped
from ..geometry import rotation_angle, se3
from ..model.mirror import with_counterparts
from ..model.neural_mesh import NeuralMesh
from ..pose import Hypothesis
from ..solver.coarse import Target
from .stages import milliseconds

# Crops that each solver gets in a row: short turns share the machine's moods, but the threads of a linear algebra
# library spin on for a moment and would slow down the first crop of whoever comes next.
_TURN = 5
Solver = Callable[[np.ndarray, Target], Hypothesis | None]  # the pose is in the crop camera's frame


@dataclass(frozen=True)
class Crop:
    """What every solver is given, features [D, h, h] and target, and what its pose is compared with."""

    group: str
    features: np.ndarray
    target: Target
    R_cam_crop: np.ndarray
    truth: Truth | None


def crops(estimator: PoseEstimator, entries: Iterable[LabelledSample]) -> list[Crop]:
    """The features of the region of each entry, as the estimator gets them, without re-crop.

    Raises:
        DinemoError: an entry has no region.
    """
    spec = estimator.bundle.card.image
    buffer = np.empty((1, spec.size, spec.size, 3), np.uint8)
    found = []
    for entry in entries:
        sample = entry.load()
        if sample.roi is None:
            raise DinemoError(f"{entry.name}: solvers can only be compared in a given region")
        box = check_roi(sample.roi, sample.camera.width, sample.camera.height)
        crop = crop_camera(sample.camera, box, spec.size, spec.margin)
        warp_crop(sample.image, sample.camera, crop, buffer[0])
        # The extractor may hand out its own buffer: each crop needs its copy.
        features = np.array(estimator.extractor(buffer))
        if estimator.bundle.card.features.flip_tta:
            features = beside(features, estimator.extractor(flipped(buffer)))
        found.append(Crop(entry.group, features[0], target_of(crop, spec.stride), crop.R_cam_crop, sample.truth))
    return found


def given_mesh(estimator: PoseEstimator) -> NeuralMesh:
    """The mesh with features as long as those of :func:`crops`."""
    bundle = estimator.bundle
    return with_counterparts(bundle.mesh) if bundle.card.features.flip_tta else bundle.mesh


def our_solver(estimator: PoseEstimator) -> Solver:
    """The solver of this package, alone."""
    flip_tta = estimator.bundle.card.features.flip_tta

    def solve(features: np.ndarray, target: Target) -> Hypothesis | None:
        poses = estimator.pipeline.solve_features(features[None], [target], None, flip_tta)[0]
        return Hypothesis(poses[0].T_crop_obj, poses[0].score, poses[0].size) if poses else None

    return solve


def require_reference(rasterizer: str) -> None:
    """DinemoError now and not after the work, if torch or the rasteriser is not installed or cannot be imported."""
    try:
        from ..reference.rasterizer import create_rasterizer
    except Exception as error:  # a broken torch raises what it likes
        raise DinemoError(f"--reference needs torch, which cannot be used here ({told(error)}): pip install torch, or "
                          "leave --reference out") from error
    create_rasterizer(rasterizer)


def reference_solver(estimator: PoseEstimator, **options: Any) -> Solver:
    """NeMo and NOVUM, see :class:`dinemo_ros.reference.analysis_by_synthesis.Options`.

    Raises:
        DinemoError: torch, or the rasteriser asked for, is not installed.
    """
    try:
        from ..reference.analysis_by_synthesis import Options, ReferenceSolver
    except ModuleNotFoundError as error:
        raise DinemoError(f"the reference solver needs {error.name}, which is not installed: pip install torch") \
            from error
    mesh, spec = given_mesh(estimator), estimator.bundle.card.image
    solver = ReferenceSolver(mesh, spec.size // spec.stride, spec.stride, spec.margin, Options(**options))

    def solve(features: np.ndarray, target: Target) -> Hypothesis:
        best = solver(features, target)[0]
        return Hypothesis(best.T_crop_obj, 1.0 - best.loss, mesh.extent)

    return solve


def pnp_solver(estimator: PoseEstimator) -> Solver:
    """Matches and PnP, see :mod:`dinemo_ros.reference.pnp`."""
    from ..reference.pnp import PnpSolver

    solver = PnpSolver(given_mesh(estimator))

    def solve(features: np.ndarray, target: Target) -> Hypothesis | None:
        T = solver(features, target)
        return None if T is None else Hypothesis(T, 0.0, estimator.bundle.mesh.extent)

    return solve


def compare(solvers: dict[str, Solver], given: Sequence[Crop], reference: ReferenceObject, what: str) -> list[dict]:
    """One row per solver; the first is what the others are held against.

    A row holds ``solver``, ``n``, ``median_ms``, ``p95_ms``, ``cpu_median_ms`` (of all threads), ``times_slower`` and
    ``times_slower_cpu`` (median over the crops of the ratio to the first solver on that crop), ``same_pose`` (share of
    crops where its rotation is within 10 degrees of the first solver's) and, where the truth is known, the columns of
    :func:`~dinemo_ros.evaluation.metrics.summarise`.
    """
    for solve in solvers.values():
        solve(given[0].features, given[0].target)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in solvers}
    poses: dict[str, list[Hypothesis | None]] = {name: [] for name in solvers}
    for first in tqdm(range(0, len(given), _TURN), desc=what, unit="turn", file=sys.stderr, disable=None):
        for name, solve in solvers.items():
            for crop in given[first:first + _TURN]:
                found: list[Hypothesis | None] = []
                times[name].append(milliseconds(lambda solve=solve, crop=crop, found=found:
                                                found.append(solve(crop.features, crop.target))))
                poses[name].append(_in_camera(found[0], crop))
    first = next(iter(solvers))
    return [{"solver": name, "n": len(given), **_speed(np.array(times[name]), np.array(times[first])),
             "same_pose": float(np.mean([_same(a, b) for a, b in zip(poses[name], poses[first], strict=True)])),
             **_accuracy(poses[name], given, reference)} for name in solvers]


def _speed(times: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """Of times [N, 2] in milliseconds, wall-clock and CPU, with those of the first solver on the same crops."""
    slower, slower_cpu = np.median(times / first, axis=0)
    return {"median_ms": float(np.median(times[:, 0])), "p95_ms": float(np.percentile(times[:, 0], 95)),
            "cpu_median_ms": float(np.median(times[:, 1])), "times_slower": float(slower),
            "times_slower_cpu": float(slower_cpu)}


def _accuracy(poses: Sequence[Hypothesis | None], given: Sequence[Crop], reference: ReferenceObject) -> dict:
    known = [(pose, crop) for pose, crop in zip(poses, given, strict=True) if crop.truth is not None]
    if not known:
        return {}
    row = summarise([{"error_deg": None} if pose is None else crop.truth.errors(pose, reference)
                     for pose, crop in known])
    return {key: value for key, value in row.items() if key != "n" and value is not None}


def _in_camera(pose: Hypothesis | None, crop: Crop) -> Hypothesis | None:
    if pose is None:
        return None
    return Hypothesis(se3(crop.R_cam_crop, np.zeros(3)) @ pose.T_cam_obj, pose.score, pose.size)


def _same(a: Hypothesis | None, b: Hypothesis | None) -> bool:
    if a is None or b is None:
        return a is b
    return rotation_angle(a.T_cam_obj[:3, :3], b.T_cam_obj[:3, :3]) < np.radians(10.0)
