# SPDX-License-Identifier: Apache-2.0
"""Coarse search on the device: all views, distances and image shifts at once; see ``dinemo_ros.solver.coarse``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..solver.coarse import SHIFT
from .category import DeviceCategory
from .similarity import DeviceVolume


@dataclass(frozen=True)
class DeviceTarget:
    """B targets: box [B, 4] cells, open_sides [B, 4] bool, camera [B, 2] focal length and principal point in cells."""

    box: Tensor
    open_sides: Tensor
    camera: Tensor


def coarse_search(volume: DeviceVolume, category: DeviceCategory, target: DeviceTarget, loops) -> tuple[Tensor, Tensor]:
    """Best score [B, G] of every view and where its object lies [B, G, 3] metres; ``loops``: kernels or twins."""
    x, y, d = place(category.outline, target)
    z = d[..., None] * category.scales                                                       # [B, G, S]
    at = torch.stack([x[..., None] * z, y[..., None] * z, z], dim=-1).contiguous()
    score, shift = loops.gather_scores(volume.evidence, category.index, category.points, category.weight, at,
                                       target.camera, volume.pad, SHIFT)
    best, scale = score.max(dim=-1)
    z = torch.gather(z, 2, scale[..., None])[..., 0]
    shift = torch.gather(shift, 2, scale[..., None])[..., 0]
    focal, side = target.camera[:, :1], 2 * SHIFT + 1
    dx, dy = (shift % side - SHIFT) / focal, (shift // side - SHIFT) / focal
    return best, torch.stack([(x + dx) * z, (y + dy) * z, z], dim=-1)


def place(outline: Tensor, target: DeviceTarget) -> tuple[Tensor, Tensor, Tensor]:
    """(x/z, y/z, z), each [B, G], at which rotated points ``outline`` [G, M, 3] metres fill the ROI.

    A side on the image border says nothing about where the object ends, so it is left out.
    """
    box, is_open, focal, centre = target.box, target.open_sides, target.camera[:, :1], target.camera[:, 1:]
    use_x, use_y = ~(is_open[:, 0] | is_open[:, 2])[:, None], ~(is_open[:, 1] | is_open[:, 3])[:, None]
    width, height = (box[:, 2:3] - box[:, 0:1]).clamp(min=1.0), (box[:, 3:4] - box[:, 1:2]).clamp(min=1.0)
    nearest = outline[..., 2].amin(1).clamp(max=0.0)                                         # [G]
    d = (4.0 - nearest).expand(len(box), -1)
    for _ in range(5):  # width is nearly inverse to distance: a fixed-point step multiplies by the ratio
        plane = outline[..., :2] / (outline[..., 2] + d[..., None])[..., None]               # [B, G, M, 2]
        low, high = plane.amin(2), plane.amax(2)
        ratio_x, ratio_y = (focal * (high - low)[..., k] / side for k, side in enumerate((width, height)))
        both = torch.where(use_x, torch.sqrt(ratio_x * ratio_y), torch.minimum(ratio_x, ratio_y))
        d = torch.maximum(d * torch.where(use_x == use_y, both, torch.where(use_x, ratio_x, ratio_y)), -1.15 * nearest)
    edges = (box - centre) / focal                                                           # [B, 4]
    x, y = (_align(low[..., k], high[..., k], edges[:, k, None], edges[:, k + 2, None], is_open[:, k, None],
                   is_open[:, k + 2, None]) for k in range(2))
    return x, y, d


def _align(low, high, box_low, box_high, open_low, open_high) -> Tensor:
    """Offset that puts the interval low..high onto the ROI's, by its middle or by the side that is not cut."""
    middle = 0.5 * (box_low + box_high - low - high)
    offset = torch.where(open_high & ~open_low, box_low - low, middle)
    return torch.where(open_low & ~open_high, box_high - high, offset)


def distinct_views(score: Tensor, rotations: Tensor, angle: float, count: int, floor: float) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression in rotation space without looking at the result.

    Returns views [B, count] and whether there was one left [B, count] bool.
    """
    flat = rotations.reshape(-1, 9)
    same = 1.0 + 2.0 * math.cos(angle)  # trace(Ra^T Rb) = 1 + 2 cos(angle between)
    alive = score > (floor * score.amax(1, keepdim=True)).clamp(min=0.0)
    views, found = [], []
    for _ in range(count):
        value, best = torch.where(alive, score, -1.0).max(1)
        views.append(best)
        found.append(value > 0)
        alive = alive & (flat[best] @ flat.T < same)
        alive = alive.scatter(1, best[:, None], False)
    return torch.stack(views, 1), torch.stack(found, 1)
