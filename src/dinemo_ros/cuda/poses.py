# SPDX-License-Identifier: Apache-2.0
"""Many poses at once: what is chosen of them, and where they project the object's points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..solver.workspace import MIN_DEPTH


@dataclass
class Poses:
    """H poses: R [H, 3, 3], t [H, 3] metres, log_size [H, 3], and crop [H] int64, the crop each belongs to."""

    R: Tensor
    t: Tensor
    log_size: Tensor
    crop: Tensor

    def points(self, vertices: Tensor) -> Tensor:
        """Vertices [V, 3] or [H, P, 3] of the instances in the camera frame, metres."""
        scaled = vertices * torch.exp(self.log_size)[:, None]
        return scaled @ self.R.transpose(1, 2) + self.t[:, None]

    def where(self, accepted: Tensor, other: Poses) -> Poses:
        """``other`` where ``accepted`` [H] bool, else this."""
        return Poses(torch.where(accepted[:, None, None], other.R, self.R),
                     torch.where(accepted[:, None], other.t, self.t),
                     torch.where(accepted[:, None], other.log_size, self.log_size), self.crop)


def rotation(vector: Tensor) -> Tensor:
    """Rotation matrices [H, 3, 3] of rotation vectors [H, 3] (Rodrigues)."""
    angle = torch.linalg.vector_norm(vector, dim=1, keepdim=True).clamp(min=1e-12)
    x, y, z = (vector / angle).unbind(1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    angle = angle[..., None]
    return torch.eye(3, device=vector.device) + torch.sin(angle) * K + (1 - torch.cos(angle)) * (K @ K)


def project(X: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
    """Cells u, v [H, P] of points; those behind the camera go far outside.

    X: [H, P, 3] metres, crop camera frame. camera: [H, 2] focal length and principal point, cells.
    """
    z = X[..., 2]
    safe = torch.where(z >= MIN_DEPTH, z, 1.0)
    u, v = (torch.where(z >= MIN_DEPTH, camera[:, :1] * X[..., k] / safe + camera[:, 1:], -1e4) for k in range(2))
    return u, v


def jacobian(X: Tensor, poses: Poses, scaled: Tensor, focal: Tensor) -> Tensor:
    """[H, P, 2, 9]: change of a point's cells per metre, radian and log-size of its pose.

    X: [H, P, 3] = R scaled + t, crop camera frame, metres. scaled: [H, P, 3] object frame, metres. focal: [H] cells.
    """
    z = X[..., 2].clamp(min=MIN_DEPTH)
    fz, x, y = focal[:, None] / z, X[..., 0] / z, X[..., 1] / z
    zero = torch.zeros_like(x)
    plane = torch.stack([torch.stack([fz, zero, -fz * x], -1), torch.stack([zero, fz, -fz * y], -1)], -2)  # d uv / d X
    rx, ry, rz = (X - poses.t[:, None]).unbind(-1)
    turned = torch.stack([torch.stack([zero, rz, -ry], -1), torch.stack([-rz, zero, rx], -1),
                          torch.stack([ry, -rx, zero], -1)], -2)                                    # d X / d rotation
    grown = poses.R[:, None] * scaled[..., None, :]                                                 # d X / d log-size
    return torch.cat([plane, plane @ turned, plane @ grown], dim=-1)
