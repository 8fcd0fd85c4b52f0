# SPDX-License-Identifier: Apache-2.0
"""Refinement of many hypotheses together; objectives and constants are those of ``dinemo_ros.solver.refine``.

H hypotheses of B crops step in lock-step: whether a step of one is accepted is a ``where``, not a branch, so the host
never waits for the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor

from ..solver.likelihood import _SOFT_FACING
from ..solver.refine import CORRELATED
from ..solver.workspace import BLOCK
from .category import DeviceCategory
from .coarse import DeviceTarget
from .poses import Poses, project
from .rendered import Rendered
from .roi_prior import roi_prior
from .similarity import DeviceVolume
from .upright_prior import upright_prior


@dataclass(frozen=True)
class PoseScore:
    """Per hypothesis [H]: see ``Refined``; sum of explanation; gradient [H, 9], Gauss-Newton matrix [H, 9, 9]."""

    evidence: Tensor
    score: Tensor
    cosine: Tensor
    visible: Tensor
    explained: Tensor
    gradient: Tensor
    normal: Tensor


def inside_map(foreground: Tensor, sigma: float, threshold: float) -> Tensor:
    """Trust in a vertex per cell [B, h, w]: 1 where its whole window is object, 0 outside.

    foreground: [B, h, w] probability of the object. sigma: of the window, cells. threshold: share of foreground in a
    window from which on trust rises.
    """
    radius = max(1, math.ceil(3 * sigma + 0.5))
    x = torch.arange(-radius, radius + 1, device=foreground.device, dtype=torch.float32)
    total = torch.exp(-0.5 * (x / sigma) ** 2).sum()
    along_y, along_x = (_gaussian(side, sigma, radius, foreground.device) / total for side in foreground.shape[1:])
    blurred = along_y @ foreground @ along_x
    s = ((blurred - threshold) / (1 - threshold)).clamp(0, 1)
    return s * s * (3 - 2 * s) + 1e-3


def _gaussian(side: int, sigma: float, radius: int, device: torch.device) -> Tensor:
    """[side, side] weight of each cell of a line in the window about each other one.

    A product with it blurs; a convolution would, on a GPU, be one with numbers of ten bits.
    """
    x = torch.arange(side, device=device, dtype=torch.float32)
    apart = (x[:, None] - x).abs()
    return torch.where(apart <= radius, torch.exp(-0.5 * (apart / sigma) ** 2), 0.0)


def coarse_refinement(volume: DeviceVolume, category: DeviceCategory, target: DeviceTarget, poses: Poses, sigma: float,
                      steps: int, limit: int, threshold: float, loops: ModuleType) -> Poses:
    """Poses after damped Newton steps on the windowed likelihood of the visible vertices (``likelihood.py``).

    Args:
        poses: H of them, crop camera frame, metres. sigma: of the window, cells.
        steps: how many. limit: vertices per pose at most.
        threshold: share of foreground in a vertex's window below which its match is not used.
        loops: ``kernels`` or ``twins``.
    """
    inside = inside_map(volume.foreground, sigma, threshold)[poses.crop]
    weight = _trusted(visible_vertices(category, poses, limit), category, target.camera, poses, inside)
    one, damping = torch.ones_like(poses.t[:, 0]), torch.full_like(poses.t[:, 0], 1e-2)
    value, gradient, normal = _likelihood(volume, category, target, poses, weight, sigma, loops)
    for _ in range(steps):
        new = _stepped(normal, gradient, one, category.prior, poses, damping, loops)
        new_value, new_gradient, new_normal = _likelihood(volume, category, target, new, weight, sigma, loops)
        better = new_value > value
        damping = torch.where(better, (damping * 0.2).clamp(min=1e-4), (damping * 10).clamp(max=1e3))
        value = torch.where(better, new_value, value)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        normal = torch.where(better[:, None, None], new_normal, normal)
        poses = poses.where(better, new)
    return poses


def visible_vertices(category: DeviceCategory, poses: Poses, limit: int) -> Tensor:
    """Weights [H, V'], 0 to 1, of the first ``limit`` vertices that each pose shows; 0 for the others."""
    shown, facing = seen_from(category, poses)
    return torch.where(shown & (shown.cumsum(1) <= limit), (facing / _SOFT_FACING).clamp(max=1.0), 0.0)


def seen_from(category: DeviceCategory, poses: Poses) -> tuple[Tensor, Tensor]:
    """Which of the search's vertices each pose shows [H, V'] bool, and the cosine at which it does [H, V']."""
    search = category.visible.shape[1]
    centre = -(poses.R.transpose(1, 2) @ poses.t[..., None])[..., 0] / torch.exp(poses.log_size)
    x, y, z = centre.unbind(1)
    a = torch.round(torch.atan2(y, x) / (2 * math.pi) * category.azimuths).long() % category.azimuths
    e = torch.round((torch.atan2(z, torch.hypot(x, y)) / math.pi + 0.5) * (category.elevations - 1)).long()
    # A pose that is no number must not become an address that does not exist: that ends CUDA for the whole process.
    row = category.visible[(e * category.azimuths + a).clamp(0, len(category.visible) - 1)] > 0
    ray = centre[:, None] - category.vertices[:search]
    facing = (ray * category.normals[:search]).sum(-1) / torch.linalg.vector_norm(ray, dim=-1)
    return row & (facing > 0), facing


def _trusted(weight: Tensor, category: DeviceCategory, camera: Tensor, poses: Poses, inside: Tensor) -> Tensor:
    """Weights times trust, with the sum of the independent measurements: the distinct blocks of cells hit."""
    X, (H, h, w) = poses.points(category.vertices[: weight.shape[1]]), inside.shape
    u, v = project(X, camera[poses.crop])
    in_front = X[..., 2] > 0
    i, j = v.clamp(-1, h).round().long(), u.clamp(-1, w).round().long()
    trust = torch.gather(inside.reshape(H, -1), 1, i.clamp(0, h - 1) * w + j.clamp(0, w - 1))
    chosen = weight > 0
    weight = torch.where(in_front, weight * trust, 0.0)
    on_map = chosen & in_front & (i >= 0) & (i < h) & (j >= 0) & (j < w)
    columns = w // BLOCK + 1
    block = (i.clamp(0, h - 1) // BLOCK) * columns + j.clamp(0, w - 1) // BLOCK
    hits = torch.zeros(H, (h // BLOCK + 1) * columns, device=weight.device)
    hits = hits.scatter_reduce(1, block, on_map.float(), "amax")
    return weight * (hits.sum(1) / weight.sum(1).clamp(min=1e-9))[:, None]


def _likelihood(volume: DeviceVolume, category: DeviceCategory, target: DeviceTarget, poses: Poses, weight: Tensor,
                sigma: float, loops: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
    """Value [H] with the size prior, gradient [H, 9] and Newton matrix [H, 9, 9] without it; the ROI is in all."""
    vertices, camera = category.vertices[: weight.shape[1]], target.camera
    terms, pull, matrix = loops.window_terms(volume.odds, vertices, poses.R, poses.t, poses.log_size, poses.crop,
                                             camera, weight, sigma)
    value = terms.sum(1) - 0.5 * (category.prior * poses.log_size**2).sum(1)
    scaled = vertices * torch.exp(poses.log_size)[:, None]
    gradient, normal = loops.normal_equations(scaled, poses.R, poses.t, camera[poses.crop, 0], pull, matrix)
    box_value, box_gradient, box_normal = roi_prior(target, category, poses, loops)
    return value + box_value, gradient + box_gradient, normal + box_normal


def _stepped(normal: Tensor, gradient: Tensor, data: Tensor, prior: Tensor, poses: Poses, damping: Tensor,
             loops: ModuleType) -> Poses:
    """Poses after a Levenberg-Marquardt step; see :func:`dinemo_ros.cuda.refine_twins.stepped`.

    ``data`` and ``damping`` [H] are tensors: a number would have to be copied to the device, which a graph cannot.
    """
    R, t, log_size = loops.stepped(normal, gradient, data, prior, damping, poses.R, poses.t, poses.log_size)
    return Poses(R, t, log_size, poses.crop)


def gauss_newton_refinement(volume: DeviceVolume, category: DeviceCategory, target: DeviceTarget, poses: Poses,
                            steps: int, loops: ModuleType,
                            evaluated: PoseScore | None = None) -> tuple[Poses, PoseScore]:
    """Gauss-Newton steps of render-and-compare (``compare.py``), and what the last rendering says.

    evaluated: what it says of ``poses``, where that is known.
    """
    evaluated = evaluated or evaluate(volume, category, target, poses, loops)
    for _ in range(steps):
        data = 1.0 / _unit(category, evaluated)
        new = _stepped(evaluated.normal, evaluated.gradient, data, category.prior, poses, torch.full_like(data, 1e-3),
                       loops)
        poses = poses.where(evaluated.explained >= 1, new)
        evaluated = evaluate(volume, category, target, poses, loops)
    return poses, evaluated


def evaluate(volume: DeviceVolume, category: DeviceCategory, target: DeviceTarget, poses: Poses,
             loops: ModuleType) -> PoseScore:
    """:func:`compare`, with what ROI and upright prior say in gradient and matrix."""
    evaluated = compare(volume, category, target.camera, poses, loops)
    unit = _unit(category, evaluated)
    _, gradient, normal = roi_prior(target, category, poses, loops)
    upright_gradient, upright_normal = upright_prior(category, poses)
    return replace(evaluated, gradient=evaluated.gradient + (gradient + upright_gradient) * unit[:, None],
                   normal=evaluated.normal + (normal + upright_normal) * unit[:, None, None])


def _unit(category: DeviceCategory, evaluated: PoseScore) -> Tensor:
    """[H] variance of what the picture says, in whose units gradient and matrix are."""
    return (2 * (1 - evaluated.cosine)).clamp(min=1e-2) * CORRELATED / category.dimension


def compare(volume: DeviceVolume, category: DeviceCategory, camera: Tensor, poses: Poses,
            loops: ModuleType) -> PoseScore:
    """Render every hypothesis and compare it with its crop's features.

    Args:
        camera: [B, 2] focal length and principal point, cells. poses: H of them, crop camera frame, metres.
        loops: ``kernels`` or ``twins``.
    """
    height, width = volume.foreground.shape[1:]
    own = camera[poses.crop]
    points = poses.points(category.vertices)
    u, v = project(points, own)
    screen = torch.stack([u, v, points[..., 2]], -1)[:, category.faces]                      # [H, F, 3, 3]
    face, bary, depth = loops.rasterise(screen.contiguous(), height, width)
    rendered = Rendered(screen, face, bary, depth)
    s, gamma, scaled, pull, matrix = loops.compare_cells(rendered, category, volume.cells, volume.background_score,
                                                         poses.log_size, poses.crop)
    gradient, normal = loops.normal_equations(scaled, poses.R, poses.t, own[:, 0], pull, matrix)
    shown = face >= 0
    covered, explained = shown.sum(1).clamp(min=1), gamma.sum(1)
    evidence = torch.where(shown, (s - volume.background_score[poses.crop]).clamp(min=0), 0.0).sum(1)
    return PoseScore(evidence, evidence / covered, (gamma * s).sum(1) / explained.clamp(min=1e-9), explained / covered,
                     explained, gradient, normal)
