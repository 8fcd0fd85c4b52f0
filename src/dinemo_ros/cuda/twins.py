# SPDX-License-Identifier: Apache-2.0
"""The device solver's loops, readable: what each Triton kernel computes, in torch. Also runs where there is no GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from ..solver.workspace import MIN_DEPTH
from .compare_twin import compare_cells as compare_cells
from .refine_twins import box_sides as box_sides
from .refine_twins import normal_equations as normal_equations
from .refine_twins import stepped as stepped
from .refine_twins import window_terms as window_terms


def gather_scores(evidence: Tensor, index: Tensor, points: Tensor, weight: Tensor, chosen: Tensor, samples: int,
                  place: Tensor, camera: Tensor, pad: int, shift: int) -> tuple[Tensor, Tensor]:
    """Summed evidence of some views' vertices at each place, for the best of all small image shifts.

    Args:
        evidence: [B, V, h + 2 pad, w + 2 pad] uint8, zero in the padding.
        index, weight: [G, N] a view's visible vertices, weight 0 where it has fewer; points: [G, N, 3] rotated, metres.
        chosen: [B, C] int64, the views each crop is compared with, by the first ``samples`` of their vertices.
        place: [B, C, S, 3] position of the object, metres, crop camera frame.
        camera: [B, 2] focal length and principal point, cells. shift: cells each way.

    Returns:
        best sum [B, C, S] int32 and its shift [B, C, S] int32, counted row by row over (2 shift + 1)^2.
    """
    side = 2 * shift + 1
    B, (height, width) = len(evidence), evidence.shape[2:]
    focal, centre = camera[:, 0, None, None, None], camera[:, 1, None, None, None]
    index, points, weight = (x[:, :samples][chosen][:, :, None] for x in (index.long(), points, weight))
    at = points + place[:, :, :, None]                                                       # [B, C, S, N, 3]
    depth = at[..., 2]
    far = torch.where(depth < MIN_DEPTH, 1.0, depth)
    j = torch.floor(focal * at[..., 0] / far + centre + 0.5).long() + pad - shift
    i = torch.floor(focal * at[..., 1] / far + centre + 0.5).long() + pad - shift
    used = ((weight > 0) & (depth >= MIN_DEPTH) & (i >= 0) & (j >= 0) & (i <= height - side) & (j <= width - side))
    corner = torch.where(used, (index * height + i) * width + j, 0).reshape(B, -1)
    planes = evidence.reshape(B, -1)
    totals = [(torch.gather(planes, 1, corner + a * width + b).reshape(used.shape) * used).sum(-1, dtype=torch.int32)
              for a in range(side) for b in range(side)]
    best, where = torch.stack(totals, dim=-1).max(dim=-1)                                    # [B, C, S]
    return best, where.to(torch.int32)


def rasterise(corners: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which face each cell centre sees; faces seen from behind and those near the camera are left out.

    Args:
        corners: [H, F, 3, 3] of each face's corners: cell x, cell y, depth in metres.

    Returns:
        face [H, h w] int64 (-1 none), perspective barycentric weights [H, h w, 3], depth [H, h w] (inf none).
    """
    (H, F), P = corners.shape[:2], height * width
    turn = corners[:, :, 1:, :2] - corners[:, :, :1, :2]
    area = turn[..., 0, 0] * turn[..., 1, 1] - turn[..., 0, 1] * turn[..., 1, 0]
    drawn = torch.nonzero((area < -1e-12) & (corners[..., 2] >= MIN_DEPTH).all(2))          # [n, 2] hypothesis, face
    which, cell = _cells_in_boxes(corners[drawn[:, 0], drawn[:, 1], :, :2], height, width)
    (h, f), x, y = drawn[which].unbind(1), cell % width, cell // width
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[h, f].permute(1, 2, 0)
    wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area[h, f]
    wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area[h, f]
    wc = 1.0 - wa - wb
    wa, wb, wc, hit = wa / az, wb / bz, wc / cz, (wa >= 0) & (wb >= 0) & (wc >= 0)
    z, at = torch.where(hit, 1.0 / (wa + wb + wc), torch.inf), h * P + cell
    depth = corners.new_full((H * P,), torch.inf).scatter_reduce(0, at, z, "amin")
    won = hit & (z == depth[at])
    face = torch.full((H * P,), F, device=corners.device).scatter_reduce(0, at, torch.where(won, f, F), "amin")
    won &= f == face[at]  # of two at the same depth the first
    weights = corners.new_zeros(H * P, 3)
    weights[at[won]] = (torch.stack([wa, wb, wc], -1) * z[:, None])[won]
    return torch.where(face < F, face, -1).reshape(H, P), weights.reshape(H, P, 3), depth.reshape(H, P)


def _cells_in_boxes(triangles: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """All pairs (triangle, cell) [m] with a cell centre in the bounding box of a triangle; triangles [n, 3, 2] x, y."""
    last = torch.tensor([width - 1, height - 1], device=triangles.device)
    low = torch.ceil(triangles.amin(1)).clamp(min=0).minimum(last + 1).long()
    high = torch.floor(triangles.amax(1)).clamp(min=-1).minimum(last).long()
    columns, rows = (high - low + 1).clamp(min=0).unbind(1)
    count = columns * rows
    which = torch.repeat_interleave(count)
    nth = torch.arange(len(which), device=triangles.device) - (count.cumsum(0) - count)[which]
    x, y = low[which, 0] + nth % columns[which], low[which, 1] + nth // columns[which]
    return which, y * width + x


def sample_crops(image: Tensor, x: Tensor, y: Tensor, shrink: Tensor, border: int) -> Tensor:
    """Pictures sampled bilinearly from an image, or from the means of its n x n pixels where it has to shrink.

    Args:
        image: uint8 [H, W, 3]; what lies outside has the value ``border``.
        x, y: [B, S, S] where in the image every pixel looks, in its pixels, centres at integers.
        shrink: [B] int32, n of each picture.

    Returns:
        uint8 [B, S, S, 3].
    """
    out = torch.empty(*x.shape, 3, dtype=torch.uint8, device=image.device)
    for b, n in enumerate(shrink.tolist()):
        height, width = image.shape[0] // n, image.shape[1] // n
        blocks = image[:height * n, :width * n].reshape(height, n, width, n, 3).float().mean((1, 3))
        blocks = torch.floor(blocks + 0.5)
        u, v = ((at[b] + 0.5) / n - 0.5 for at in (x, y))
        j, i = torch.floor(u), torch.floor(v)
        du, dv = (u - j)[..., None], (v - i)[..., None]
        above, below = ((1 - du) * _pixel(blocks, i + k, j, border) + du * _pixel(blocks, i + k, j + 1, border)
                        for k in (0, 1))
        out[b] = torch.floor((1 - dv) * above + dv * below + 0.5).to(torch.uint8)
    return out


def _pixel(image: Tensor, i: Tensor, j: Tensor, border: int) -> Tensor:
    """image [h, w, 3] at rows i and columns j [S, S], whole numbers that may lie outside."""
    h, w = image.shape[:2]
    inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
    return torch.where(inside[..., None], image[i.clamp(0, h - 1).long(), j.clamp(0, w - 1).long()], float(border))
