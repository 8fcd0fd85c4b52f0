# SPDX-License-Identifier: Apache-2.0
"""A refinement step's loops, readable; part of ``twins``. Their Triton kernels are in ``refine_kernels.py``."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..solver.likelihood import _MIN_INFORMATION
from ..solver.refine import _MAX_LOG_SIZE, _MAX_ROTATION, _MAX_TRANSLATION
from ..solver.workspace import CAUCHY_TAIL, MIN_DEPTH
from .poses import Poses, jacobian, project, rotation


def window_terms(odds: Tensor, vertices: Tensor, R: Tensor, t: Tensor, log_size: Tensor, crop: Tensor, camera: Tensor,
                 weight: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """What each vertex's own odds map says about where it is seen; see ``dinemo_ros.solver.likelihood``.

    Args:
        odds: [B, V, h, w]. vertices: [V, 3] mean size, metres. R [H, 3, 3], t [H, 3], log_size [H, 3]: of the poses.
        crop: [H] which of the B maps and cameras a hypothesis has. camera: [B, 2] focal length, principal point, cells.
        weight: [H, V]; vertices of weight 0 are left out. sigma: of the window, cells.

    Returns:
        weight times log(1 + Z) [H, V]; for :func:`normal_equations` pull [H, V, 2] and matrix [H, V, 2, 2].
    """
    X = Poses(R, t, log_size, crop).points(vertices)
    weight = torch.where(X[..., 2] >= MIN_DEPTH, weight, 0.0)
    u, v = project(X, camera[crop])
    z, du, dv, uu, uv, vv = window_moments(odds, crop, u, v, weight, sigma).unbind(-1)
    share = weight * z / (1 + z)
    return (weight * torch.log1p(z), (share / sigma**2)[..., None] * torch.stack([du, dv], -1),
            share[..., None, None] * information(uu, uv, vv, sigma))


def window_moments(odds: Tensor, crop: Tensor, u: Tensor, v: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Gaussian-windowed sum and moments of each vertex's own odds map about its projection.

    Args:
        odds: [B, V, h, w]; crop: [H] which of the B maps a hypothesis looks at.
        u, v, weight: [H, V] projections in cells; vertices of weight 0 are left out. sigma: of the window, cells.

    Returns:
        [H, V, 6]: Z, mean offset (du, dv), covariance (uu, uv, vv); zeros where the window finds nothing.
    """
    (V, height, width), radius = odds.shape[1:], 2.5 * sigma
    tile = torch.arange(int(2 * radius) + 2, device=u.device)
    j, i = (torch.ceil(x[..., None] - radius).long() + tile for x in (u, v))                 # [H, V, T]
    du, dv = j - u[..., None], i - v[..., None]
    seen_x, seen_y = (j >= 0) & (j < width) & (du <= radius), (i >= 0) & (i < height) & (dv <= radius)
    gx, gy = torch.exp(-0.5 * (du / sigma) ** 2) * seen_x, torch.exp(-0.5 * (dv / sigma) ** 2) * seen_y
    plane = crop[:, None] * V + torch.arange(V, device=u.device)
    cells = ((plane[..., None, None] * height + i.clamp(0, height - 1)[..., None]) * width
             + j.clamp(0, width - 1)[..., None, :])
    p = gy[..., None] * gx[..., None, :] * odds.reshape(-1)[cells] * (weight > 0)[..., None, None]
    z = p.sum((-2, -1))
    safe, found = torch.where(z > 1e-12, z, 1.0), (z > 1e-12).to(z)
    along_x, along_y = p.sum(-2), p.sum(-1)
    mean_u, mean_v = (along_x * du).sum(-1) / safe, (along_y * dv).sum(-1) / safe
    cross = (p * dv[..., None] * du[..., None, :]).sum((-2, -1)) / safe
    return torch.stack([z / (2 * math.pi * sigma**2), mean_u, mean_v, (along_x * du**2).sum(-1) / safe - mean_u**2,
                        cross - mean_u * mean_v, (along_y * dv**2).sum(-1) / safe - mean_v**2], -1) * found[..., None]


def information(uu: Tensor, uv: Tensor, vv: Tensor, sigma: float) -> Tensor:
    """I / sigma^2 - C / sigma^4 [..., 2, 2] per square cell, eigenvalues clamped to [_MIN_INFORMATION, 1] / sigma^2.

    uu, uv, vv: [...] entries of the covariance C, square cells. sigma: of the window, cells.
    """
    k = 1.0 / sigma**2
    a, b, c = 1 - uu * k, -uv * k, 1 - vv * k
    middle, radius = 0.5 * (a + c), torch.sqrt(0.25 * (a - c) ** 2 + b * b)
    high, low = (middle + radius).clamp(_MIN_INFORMATION, 1.0), (middle - radius).clamp(_MIN_INFORMATION, 1.0)
    safe = radius.clamp(min=1e-12)
    p_uu, p_uv = 0.5 * (1 + 0.5 * (a - c) / safe), 0.5 * b / safe
    xx, xy, yy = low + (high - low) * p_uu, (high - low) * p_uv, low + (high - low) * (1 - p_uu)
    round_ = radius < 1e-12
    xx, yy = torch.where(round_, high, xx), torch.where(round_, high, yy)
    return k * torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], -2)


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
    seen = (points[..., 2] >= MIN_DEPTH).all(1, keepdim=True)
    plane = points[..., :2] / points[..., 2:].clamp(min=MIN_DEPTH)
    extreme = torch.cat([plane.argmin(1), plane.argmax(1)], 1)                               # [H, 4] in the box's order
    scaled = vertices[extreme] * torch.exp(log_size)[:, None]                                # [H, 4, 3]
    low, high = plane.amin(1), plane.amax(1)
    residual = (box - camera[:, :1] * torch.cat([low, high], 1) - camera[:, 1:]) * trust
    tail = 1 + (residual / CAUCHY_TAIL) ** 2
    weight = torch.where(seen, trust / tail, 0.0)
    # A side without trust has no residual.
    value = torch.where(seen, -0.5 * CAUCHY_TAIL**2 * torch.log(tail), 0.0).sum(1)
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
        step[:, :3].abs().amax(1) / (_MAX_TRANSLATION * t[:, 2].clamp(min=MIN_DEPTH)),
        torch.linalg.vector_norm(step[:, 3:6], dim=1) / _MAX_ROTATION), step[:, 6:].abs().amax(1) / _MAX_LOG_SIZE)
    step = step / longest.clamp(min=1.0)[:, None]
    return rotation(step[:, 3:6]) @ R, t + step[:, :3], log_size + step[:, 6:]


def solve_positive(A: Tensor, b: Tensor) -> Tensor:
    """x [H, n] of A x = b [H, n], in the unit of b by that of A [H, n, n], symmetric; zeros where A is not positive
    definite.
    """
    factor, failed = torch.linalg.cholesky_ex(A)
    good = (failed == 0)[:, None]
    safe = torch.where(good[..., None], factor, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device))
    return torch.where(good, torch.cholesky_solve(b[..., None], safe)[..., 0], 0.0)
