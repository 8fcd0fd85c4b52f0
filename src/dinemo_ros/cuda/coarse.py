# SPDX-License-Identifier: Apache-2.0
"""Coarse search on the device: views, distances and image shifts at once; see ``dinemo_ros.solver.coarse``."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..solver.coarse import SHIFT, Target
from ..solver.roi_prior import roi_sides
from ..solver.similarity import UNIT
from .category import DeviceCategory
from .similarity import DeviceVolume


@dataclass(frozen=True)
class DeviceTarget:
    """B targets, fields as in :class:`dinemo_ros.solver.coarse.Target`.

    box [B, 4] cells, open_sides [B, 4] bool, camera [B, 2] focal length and principal point in cells, trust [B, 4]
    1/sigma of the box's sides as in :func:`dinemo_ros.solver.roi_prior.roi_sides`.
    """

    box: Tensor
    open_sides: Tensor
    camera: Tensor
    trust: Tensor

    @staticmethod
    def of(rows: Tensor) -> DeviceTarget:
        """From rows [B, 14] as :func:`target_row` writes them."""
        return DeviceTarget(rows[:, :4].contiguous(), rows[:, 4:8] > 0, rows[:, 8:10].contiguous(),
                            rows[:, 10:].contiguous())


def target_row(target: Target) -> np.ndarray:
    """[14] a target as numbers: box [4] in cells, open sides [4] 0 or 1, focal length and principal point in cells, and
    1/sigma [4] of the sides as in :func:`dinemo_ros.solver.roi_prior.roi_sides`.
    """
    return np.concatenate([target.box, target.open_sides, [target.focal, target.centre], roi_sides(target)[1]])


def coarse_search(volume: DeviceVolume, category: DeviceCategory, target: DeviceTarget, first: int, second: int,
                  loops: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
    """The ``second`` best of all views [B, second], their scores [B, second] and positions [B, second, 3] metres.

    All views are compared by their ``first`` vertices, the best of them by all. loops: ``kernels`` or ``twins``.
    """
    x, y, d = place(category.outline, target)
    everything = torch.arange(len(category.outline), device=x.device).expand(len(x), -1).contiguous()
    score, _ = _search(volume, category, target, everything, first, (x, y, d), loops)
    best = score.topk(min(second, score.shape[1]), dim=1).indices
    samples = category.index.shape[1]
    placed = tuple(values.gather(1, best) for values in (x, y, d))
    return best, *_search(volume, category, target, best, samples, placed, loops)


def _search(volume: DeviceVolume, category: DeviceCategory, target: DeviceTarget, chosen: Tensor, samples: int,
            placed: tuple[Tensor, Tensor, Tensor], loops: ModuleType) -> tuple[Tensor, Tensor]:
    """Scores [B, C] and positions [B, C, 3] of the views ``chosen`` [B, C] where the ROI puts them."""
    x, y, d = placed
    z = d[..., None] * category.scales                                                       # [B, C, S]
    at = torch.stack([x[..., None] * z, y[..., None] * z, z], dim=-1).contiguous()
    total, shift = loops.gather_scores(volume.evidence, category.index, category.points, category.weight, chosen,
                                       samples, at, target.camera, volume.pad, SHIFT)
    best, scale = total.max(dim=-1)
    z, shift = (torch.gather(values, 2, scale[..., None])[..., 0] for values in (z, shift))
    focal, side = target.camera[:, :1], 2 * SHIFT + 1
    dx, dy = (shift % side - SHIFT) / focal, (shift // side - SHIFT) / focal
    seen = category.weight[:, :samples].sum(1)[chosen].clamp(min=1)
    return best / (UNIT * seen), torch.stack([(x + dx) * z, (y + dy) * z, z], dim=-1)


def place(outline: Tensor, target: DeviceTarget) -> tuple[Tensor, Tensor, Tensor]:
    """(x/z, y/z, z), each [B, G], at which rotated points ``outline`` [G, M, 3] or [B, G, M, 3] metres fill the ROI.

    A side on the image border says nothing about where the object ends, so it is left out.
    """
    box, is_open, focal, centre = target.box, target.open_sides, target.camera[:, :1], target.camera[:, 1:]
    use_x, use_y = ~(is_open[:, 0] | is_open[:, 2])[:, None], ~(is_open[:, 1] | is_open[:, 3])[:, None]
    width, height = (box[:, 2:3] - box[:, 0:1]).clamp(min=1.0), (box[:, 3:4] - box[:, 1:2]).clamp(min=1.0)
    nearest = outline[..., 2].amin(-1).clamp(max=0.0)                                        # [G] or [B, G]
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


def _align(low: Tensor, high: Tensor, box_low: Tensor, box_high: Tensor, open_low: Tensor,
           open_high: Tensor) -> Tensor:
    """Offset that puts the interval low..high onto the ROI's, by its middle or by the side that is not cut."""
    middle = 0.5 * (box_low + box_high - low - high)
    offset = torch.where(open_high & ~open_low, box_low - low, middle)
    return torch.where(open_low & ~open_high, box_high - high, offset)
