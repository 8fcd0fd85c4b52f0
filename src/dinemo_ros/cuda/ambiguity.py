# SPDX-License-Identifier: Apache-2.0
"""How certain the azimuth is, for all hypotheses and turns at once; see ``dinemo_ros.solver.ambiguity``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..geometry import turn
from ..solver.ambiguity import _OCCLUDED, angles
from ..solver.refine import CORRELATED
from ..solver.similarity import UNIT
from .category import DeviceCategory
from .poses import Poses
from .refine import seen_from
from .similarity import DeviceVolume


def turns() -> np.ndarray:
    """[TURNS, 3, 3] the rotations about object z that are compared, the identity first."""
    return np.array([turn(angle) for angle in angles()])


def azimuth_posterior(volume: DeviceVolume, category: DeviceCategory, camera: Tensor, poses: Poses, cosine: Tensor,
                      turned: Tensor) -> Tensor:
    """[H, TURNS] probability that each object is turned by ``angles()`` about its z axis.

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
    unit = variance * CORRELATED * category.covariance_scale
    per_vertex = _surface_area(category, poses) / volume.evidence.shape[1]
    return torch.softmax(evidence * (per_vertex / unit)[:, None], dim=1)


def turned_evidence(volume: DeviceVolume, category: DeviceCategory, camera: Tensor, poses: Poses) -> Tensor:
    """[H] evidence max(s - background_score, -cost) over the cells that each object covers, by the volume's vertices.

    camera: [B, 2] focal length and principal point, cells. poses: H of them, crop camera frame, metres.
    """
    _, V, height, width = volume.evidence.shape
    h, w = volume.foreground.shape[1:]
    shown, facing = seen_from(category, poses)
    points = poses.points(category.vertices[:V])
    z = points[..., 2]
    safe = torch.where(z > 0, z, 1.0)
    focal, centre = camera[poses.crop].split(1, dim=1)
    x, y = (focal * points[..., k] / safe + centre for k in (0, 1))
    shown = shown & (x > -1) & (y > -1) & (x < w) & (y < h) & (z > 0)
    x, y = x.clamp(-1, w), y.clamp(-1, h)
    j, i = torch.floor(x), torch.floor(y)
    u, v = x - j, y - i
    # Clamped once more as addresses: what is not a number passes the first clamp, see ``seen_from``.
    row, column = i.long().clamp(-1, h) + volume.pad, j.long().clamp(-1, w) + volume.pad     # zeros in the padding
    plane = poses.crop[:, None] * V + torch.arange(V, device=x.device)
    corner = (plane * height + row) * width + column
    cells = volume.evidence.reshape(-1)
    value = ((1 - v) * ((1 - u) * cells[corner] + u * cells[corner + 1])
             + v * ((1 - u) * cells[corner + width] + u * cells[corner + width + 1]))
    value = torch.where(value > 0, value / UNIT, -_OCCLUDED)
    return torch.where(shown, value * facing * (focal / safe) ** 2, 0.0).sum(1)


def _surface_area(category: DeviceCategory, poses: Poses) -> Tensor:
    """[H] square metres of each object's whole surface."""
    corners = (category.vertices * torch.exp(poses.log_size)[:, None])[:, category.faces]    # [H, F, 3, 3]
    edges = corners[:, :, 1:] - corners[:, :, :1]
    return 0.5 * torch.linalg.vector_norm(torch.linalg.cross(edges[:, :, 0], edges[:, :, 1]), dim=-1).sum(1)
