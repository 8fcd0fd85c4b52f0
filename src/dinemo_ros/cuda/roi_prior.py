# SPDX-License-Identifier: Apache-2.0
"""What measured ROIs say about poses, all at once; see ``dinemo_ros.solver.roi_prior``."""

from __future__ import annotations

import torch
from torch import Tensor

from ..solver.roi_prior import _MIN_DEPTH, _TAIL
from .category import DeviceCategory
from .coarse import DeviceTarget
from .poses import Poses, jacobian


def roi_prior(target: DeviceTarget, category: DeviceCategory, poses: Poses) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihood [H] of the boxes' sides, its gradient [H, 9] and Gauss-Newton matrix [H, 9, 9].

    Nothing where part of the object is beside the camera.
    """
    camera, box, trust = target.camera[poses.crop], target.box[poses.crop], target.trust[poses.crop]
    points = poses.points(category.vertices)
    seen = (points[..., 2] >= _MIN_DEPTH).all(1, keepdim=True)
    plane = points[..., :2] / points[..., 2:].clamp(min=_MIN_DEPTH)
    extreme = torch.cat([plane.argmin(1), plane.argmax(1)], 1)                               # [H, 4] in the box's order
    X = torch.gather(points, 1, extreme[..., None].expand(-1, -1, 3))
    scaled = category.vertices[extreme] * torch.exp(poses.log_size)[:, None]
    J = jacobian(X, poses, scaled, camera[:, 0])                                             # [H, 4, 2, 9]
    J = torch.stack([J[:, side, side % 2] for side in range(4)], 1)                          # [H, 4, 9]
    low, high = plane.amin(1), plane.amax(1)
    residual = (box - camera[:, :1] * torch.cat([low, high], 1) - camera[:, 1:]) * trust
    tail = 1 + (residual / _TAIL) ** 2
    weight = torch.where(seen, trust / tail, 0.0)
    value = torch.where(seen, -0.5 * _TAIL**2 * torch.log(tail), 0.0).sum(1)  # a side without trust has no residual
    gradient = torch.einsum("hs,hsa->ha", weight * residual, J)
    return value, gradient, torch.einsum("hs,hsa,hsb->hab", weight * trust, J, J)
