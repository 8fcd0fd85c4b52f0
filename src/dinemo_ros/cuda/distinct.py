# SPDX-License-Identifier: Apache-2.0
"""Which of several rotations are one, without looking at the result: choices are masks, not branches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..model.symmetry import Symmetry


def distance(symmetry: Symmetry, a: Tensor, b: Tensor) -> Tensor:
    """Angle [...] in radians between rotations a and b [..., 3, 3], least over the equivalent ones.

    As for :meth:`dinemo_ros.model.symmetry.Symmetry.distance`.
    """
    M = b.transpose(-1, -2) @ a
    p, q = M[..., 0, 0] + M[..., 1, 1], M[..., 0, 1] - M[..., 1, 0]
    if symmetry.continuous:
        around = torch.hypot(p, q)
    elif symmetry.exact:
        step = 2 * math.pi / symmetry.order
        angle = step * torch.round(torch.atan2(q, p) / step)
        around = p * torch.cos(angle) + q * torch.sin(angle)
    else:
        around = p
    return torch.acos((0.5 * (around + M[..., 2, 2] - 1)).clamp(-1, 1))


def distinct_views(score: Tensor, rotations: Tensor, angle: float, count: int, floor: float) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression of views in rotation space, as :func:`dinemo_ros.solver.coarse.select_distinct`.

    score [B, C], rotations [C, 3, 3] or [B, C, 3, 3]. Returns views [B, count], indices into C, and whether there was
    one left [B, count] bool.
    """
    flat = rotations.flatten(-2).expand(len(score), -1, -1)                                  # [B, C, 9]
    same = 1.0 + 2.0 * math.cos(angle)  # trace(Ra^T Rb) = 1 + 2 cos(angle between)
    alive = score > (floor * score.amax(1, keepdim=True)).clamp(min=0.0)
    views, found = [], []
    for _ in range(count):
        value, best = torch.where(alive, score, -1.0).max(1)
        views.append(best)
        found.append(value > 0)
        chosen = flat.gather(1, best[:, None, None].expand(-1, 1, 9))
        alive = alive & ((flat * chosen).sum(-1) < same)
        alive = alive.scatter(1, best[:, None], False)
    return torch.stack(views, 1), torch.stack(found, 1)


def keep_distinct(symmetry: Symmetry, R: Tensor, rank: Tensor, found: Tensor, angle: float) -> Tensor:
    """Mask [B, H] of rotations R [B, H, 3, 3] further than ``angle`` from all that are kept with a better rank.

    rank [B, H]; found [B, H] bool: the others do not take part.
    """
    near = distance(symmetry, R[:, :, None], R[:, None]) <= angle                           # [B, H, H]
    left, kept = found, torch.zeros_like(found)
    for _ in range(R.shape[1]):
        best = torch.where(left, rank, -torch.inf).argmax(1, keepdim=True)                   # [B, 1]
        kept = kept | torch.zeros_like(kept).scatter(1, best, left.gather(1, best))
        left = left & ~near.gather(1, best[..., None].expand(-1, -1, R.shape[1]))[:, 0]
    return kept
