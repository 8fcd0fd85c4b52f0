# SPDX-License-Identifier: Apache-2.0
"""A refinement step's loops, readable; part of ``twins``. Their Triton kernels are in ``refine_kernels.py``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..solver.refine import _MAX_LOG_SIZE, _MAX_ROTATION, _MAX_TRANSLATION
from ..solver.roi_prior import _MIN_DEPTH, _TAIL
from .poses import Poses, jacobian, rotation


def normal_equations(scaled: Tensor, R: Tensor, t: Tensor, focal: Tensor, pull: Tensor,
                     matrix: Tensor) -> tuple[Tensor, Tensor]:
    """What points on the picture say about nine pose parameters, added up.

    Args:
        scaled: [H, P, 3] points in the object's frame after scaling, metres. R [H, 3, 3], t [H, 3]: of the poses.
        focal: [H] cells.
        pull: [H, P, 2] derivative of the objective by where a point is seen, per cell.
        matrix: [H, P, 2, 2] symmetric, minus its second derivative, per cell squared.

    Returns:
        gradient [H, 9] = sum J^T pull, normal [H, 9, 9] = sum J^T matrix J, J [2, 9] as in :func:`poses.jacobian`.
    """
    poses = Poses(R, t, t, torch.empty(0))  # sizes and crops do not matter here
    J = jacobian(scaled @ R.transpose(1, 2) + t[:, None], poses, scaled, focal)
    return torch.einsum("hpka,hpk->ha", J, pull), torch.einsum("hpka,hpkl,hplb->hab", J, matrix, J)


def box_sides(vertices: Tensor, R: Tensor, t: Tensor, log_size: Tensor, crop: Tensor, box: Tensor, trust: Tensor,
              camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the four sides of a box say about poses whose outermost vertices should lie there.

    Nothing where part of the object is beside the camera.

    Args:
        vertices: [V, 3] mean size, metres. R [H, 3, 3], t [H, 3], log_size [H, 3]: of the poses. crop: [H] of each.
        box, trust: [B, 4] sides in cells and 1/sigma of each. camera: [B, 2] focal length and principal point, cells.

    Returns:
        log-likelihood [H], its gradient [H, 9], its Gauss-Newton matrix [H, 9, 9].
    """
    camera, box, trust = camera[crop], box[crop], trust[crop]
    points = Poses(R, t, log_size, crop).points(vertices)
    seen = (points[..., 2] >= _MIN_DEPTH).all(1, keepdim=True)
    plane = points[..., :2] / points[..., 2:].clamp(min=_MIN_DEPTH)
    extreme = torch.cat([plane.argmin(1), plane.argmax(1)], 1)                               # [H, 4] in the box's order
    scaled = vertices[extreme] * torch.exp(log_size)[:, None]                                # [H, 4, 3]
    low, high = plane.amin(1), plane.amax(1)
    residual = (box - camera[:, :1] * torch.cat([low, high], 1) - camera[:, 1:]) * trust
    tail = 1 + (residual / _TAIL) ** 2
    weight = torch.where(seen, trust / tail, 0.0)
    value = torch.where(seen, -0.5 * _TAIL**2 * torch.log(tail), 0.0).sum(1)  # a side without trust has no residual
    # A side tells of one direction on the picture: the left and the right one of u, the others of v.
    along = torch.eye(2, device=points.device).repeat(2, 1)                                  # [4, 2]
    pull, matrix = (weight * residual)[..., None] * along, (weight * trust)[..., None] * along
    return value, *normal_equations(scaled, R, t, camera[:, 0], pull, torch.diag_embed(matrix))


def stepped(normal: Tensor, gradient: Tensor, data: Tensor, prior: Tensor, damping: Tensor, R: Tensor, t: Tensor,
            log_size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Poses after one Levenberg-Marquardt step, limited in length.

    Args:
        normal [H, 9, 9], gradient [H, 9]: taken ``data`` [H] times; prior [3]: 1/sigma^2 of the log-sizes, added to
            them. damping: [H]. R [H, 3, 3], t [H, 3], log_size [H, 3]: of the poses.

    Returns:
        new R, t, log_size; as they were where the equations are not positive definite.
    """
    A, b = data[:, None, None] * normal, data[:, None] * gradient
    b = b - F.pad(prior * log_size, (6, 0))
    diagonal = A.diagonal(dim1=1, dim2=2) + F.pad(prior, (6, 0))
    A = A + torch.diag_embed(F.pad(prior, (6, 0)) + damping[:, None] * diagonal + 1e-9)
    # Metres and radians differ by the distance; unit diagonals keep float32 from losing the small ones.
    unit = torch.rsqrt(A.diagonal(dim1=1, dim2=2).clamp(min=1e-20))
    step = unit * solve_positive(A * unit[:, :, None] * unit[:, None, :], b * unit)
    longest = torch.maximum(torch.maximum(
        step[:, :3].abs().amax(1) / (_MAX_TRANSLATION * t[:, 2].clamp(min=0.1)),
        torch.linalg.vector_norm(step[:, 3:6], dim=1) / _MAX_ROTATION), step[:, 6:].abs().amax(1) / _MAX_LOG_SIZE)
    step = step / longest.clamp(min=1.0)[:, None]
    return rotation(step[:, 3:6]) @ R, t + step[:, :3], log_size + step[:, 6:]


def solve_positive(A: Tensor, b: Tensor) -> Tensor:
    """x [H, n] of A x = b for symmetric A [H, n, n]; zeros where A is not positive definite."""
    factor, failed = torch.linalg.cholesky_ex(A)
    good = (failed == 0)[:, None]
    safe = torch.where(good[..., None], factor, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device))
    return torch.where(good, torch.cholesky_solve(b[..., None], safe)[..., 0], 0.0)
