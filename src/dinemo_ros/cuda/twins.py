# SPDX-License-Identifier: Apache-2.0
"""The device solver's loops, readable: what each Triton kernel computes, in torch. Also runs where there is no GPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MIN_DEPTH = 0.1  # metres


def gather_scores(evidence: Tensor, index: Tensor, points: Tensor, weight: Tensor, place: Tensor, camera: Tensor,
                  pad: int, shift: int) -> tuple[Tensor, Tensor]:
    """Mean evidence of each view's vertices at each place, for the best of all small image shifts.

    Args:
        evidence: [B, V, h + 2 pad, w + 2 pad], zero in the padding.
        index, weight: [G, N] a view's visible vertices, weight 0 where it has fewer; points: [G, N, 3] rotated, metres.
        place: [B, G, S, 3] position of the object, metres, crop camera frame.
        camera: [B, 2] focal length and principal point, cells. shift: cells each way.

    Returns:
        best mean [B, G, S] and its shift [B, G, S] int64, counted row by row over (2 shift + 1)^2.
    """
    side = 2 * shift + 1
    B, height, width, S = len(evidence), *evidence.shape[2:], place.shape[2]
    focal, centre = camera[:, 0, None, None, None], camera[:, 1, None, None, None]
    at = points[None, :, None] + place[:, :, :, None]                                        # [B, G, S, N, 3]
    depth = at[..., 2]
    far = torch.where(depth < _MIN_DEPTH, 1.0, depth)
    j = torch.floor(focal * at[..., 0] / far + centre + 0.5).long() + pad - shift
    i = torch.floor(focal * at[..., 1] / far + centre + 0.5).long() + pad - shift
    used = ((weight[None, :, None] > 0) & (depth >= _MIN_DEPTH) & (i >= 0) & (j >= 0)
            & (i <= height - side) & (j <= width - side))
    corner = (index.long()[None, :, None] * height + i) * width + j
    corner = torch.where(used, corner, 0).reshape(B, -1)
    planes = evidence.reshape(B, -1)
    totals = [(torch.gather(planes, 1, corner + a * width + b).reshape(used.shape) * used).sum(-1)
              for a in range(side) for b in range(side)]
    best, where = torch.stack(totals, dim=-1).max(dim=-1)                                    # [B, G, S]
    return best / (1e-6 + weight.sum(-1))[None, :, None].expand(B, -1, S), where


def window_moments(odds: Tensor, crop: Tensor, u: Tensor, v: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Gaussian-windowed sum and moments of each vertex's own odds map about its projection.

    Args:
        odds: [B, V, h, w]; crop: [H] which of the B maps a hypothesis looks at.
        u, v, weight: [H, V] projections in cells; vertices of weight 0 are left out. sigma: of the window, cells.

    Returns:
        [H, V, 6]: Z, mean offset (du, dv), covariance (uu, uv, vv); zeros where the window finds nothing.
    """
    V, height, width, radius = *odds.shape[1:], 2.5 * sigma
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


def rasterise(corners: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which face each cell centre sees; faces seen from behind and those near the camera are left out.

    Args:
        corners: [H, F, 3, 3] of each face's corners: cell x, cell y, depth in metres.

    Returns:
        face [H, h w] int64 (-1 none), perspective barycentric weights [H, h w, 3], depth [H, h w] (inf none).
    """
    cell = torch.arange(height * width, device=corners.device)
    x, y = (cell % width).to(corners), (cell // width).to(corners)
    return tuple(torch.stack(part) for part in zip(*(_rasterise_one(one, x, y) for one in corners), strict=True))


def _rasterise_one(corners: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One hypothesis: corners [F, 3, 3], cell centres x, y [P]."""
    turn = corners[:, 1:, :2] - corners[:, :1, :2]
    area = turn[:, 0, 0] * turn[:, 1, 1] - turn[:, 0, 1] * turn[:, 1, 0]
    drawn = torch.nonzero((area < -1e-12) & (corners[..., 2] >= _MIN_DEPTH).all(1))[:, 0]
    if not len(drawn):
        none = torch.full_like(x, torch.inf)
        return torch.full_like(x, -1, dtype=torch.int64), torch.zeros_like(x)[:, None].expand(-1, 3), none
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[drawn, ..., None].permute(1, 2, 0, 3)  # each [F', 1]
    area = area[drawn, None]
    wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
    wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
    wc = 1.0 - wa - wb
    hit = (wa >= 0) & (wb >= 0) & (wc >= 0)
    depth, nearest = torch.where(hit, 1.0 / (wa / az + wb / bz + wc / cz), torch.inf).min(0)
    found, cell = torch.isfinite(depth), torch.arange(len(x), device=x.device)
    weights = torch.stack([(w / z)[nearest, cell] for w, z in ((wa, az), (wb, bz), (wc, cz))], -1)
    weights = torch.where(found[:, None], weights * torch.where(found, depth, 0.0)[:, None], 0.0)
    return torch.where(found, drawn[nearest], -1), weights, depth


def solve_positive(A: Tensor, b: Tensor) -> Tensor:
    """x [H, n] of A x = b for symmetric A [H, n, n]; zeros where A is not positive definite."""
    factor, failed = torch.linalg.cholesky_ex(A)
    good = (failed == 0)[:, None]
    safe = torch.where(good[..., None], factor, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device))
    return torch.where(good, torch.cholesky_solve(b[..., None], safe)[..., 0], 0.0)
