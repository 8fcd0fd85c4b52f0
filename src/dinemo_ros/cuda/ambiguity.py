# SPDX-License-Identifier: Apache-2.0
"""How certain the azimuth is, for all hypotheses and turns at once; see ``dinemo_ros.solver.ambiguity``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..geometry import turn
from ..solver.refine import CORRELATED
from ..turns import angles
from .category import DeviceCategory
from .poses import Poses
from .refine import seen_from
from .similarity import DeviceVolume


def turns() -> np.ndarray:
    """[TURNS, 3, 3] the rotations about object z that are compared, the identity first."""
    return np.array([turn(angle) for angle in angles()])


def turn_likelihoods(volume: DeviceVolume, category: DeviceCategory, camera: Tensor, poses: Poses, cosine: Tensor,
                     turned: Tensor) -> Tensor:
    """[H, TURNS] logarithm of the likelihood, up to a constant, of a turn of each object by ``angles()`` about its z.

    Args:
        camera: [B, 2] focal length and principal point, cells. poses: H of them, crop camera frame, metres.
        cosine: [H] mean over the explained cells, of their judgement.
        turned: [TURNS, 3, 3], :func:`turns` on the device.
    """
    H, T = len(poses.t), len(turned)

    def each(values: Tensor) -> Tensor:
        return values.repeat_interleave(T, 0, output_size=H * T)

    around = Poses((poses.R[:, None] @ turned).flatten(0, 1), each(poses.t), each(poses.log_size), each(poses.crop))
    evidence = turned_evidence(volume, category, camera, around).reshape(H, T)
    variance = (2 * (1 - cosine)).clamp(min=1e-2) / category.dimension
    unit = variance * CORRELATED * category.turn_scale
    per_vertex = _surface_area(category, poses) / volume.similarity.shape[1]
    return evidence * (per_vertex / unit)[:, None]


def turned_evidence(volume: DeviceVolume, category: DeviceCategory, camera: Tensor, poses: Poses) -> Tensor:
    """[H] evidence s - level over the cells that each object covers, by the volume's vertices.

    camera: [B, 2] focal length and principal point, cells. poses: H of them, crop camera frame, metres.
    """
    V, (h, w) = volume.similarity.shape[1], volume.foreground.shape[1:]
    shown, facing = seen_from(category, poses)
    points = poses.points(category.vertices[:V])
    z = points[..., 2]
    safe = torch.where(z > 0, z, 1.0)
    focal, centre = camera[poses.crop].split(1, dim=1)
    x, y = (focal * points[..., k] / safe + centre for k in (0, 1))
    shown = shown & (x > -1) & (y > -1) & (x < w) & (y < h) & (z > 0)
    x, y = x.clamp(-1, w), y.clamp(-1, h)
    left, top = torch.floor(x), torch.floor(y)
    plane = poses.crop[:, None] * V + torch.arange(V, device=x.device)
    cosines, value = volume.similarity.reshape(-1), torch.zeros_like(x)
    for i, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for j, right in ((left, 1 - (x - left)), (left + 1, x - left)):
            there = (i >= 0) & (i < h) & (j >= 0) & (j < w)  # nothing is known beyond the crop
            # Clamped as addresses: what is not a number passes every comparison, see ``seen_from``.
            at = (plane * h + i.long().clamp(0, h - 1)) * w + j.long().clamp(0, w - 1)
            value = value + torch.where(there, down * right * (cosines[at] - category.level), 0.0)
    return torch.where(shown, value * facing * (focal / safe) ** 2, 0.0).sum(1)


def _surface_area(category: DeviceCategory, poses: Poses) -> Tensor:
    """[H] square metres of each object's whole surface."""
    corners = (category.vertices * torch.exp(poses.log_size)[:, None])[:, category.faces]    # [H, F, 3, 3]
    edges = corners[:, :, 1:] - corners[:, :, :1]
    return 0.5 * torch.linalg.vector_norm(torch.linalg.cross(edges[:, :, 0], edges[:, :, 1]), dim=-1).sum(1)
