# SPDX-License-Identifier: Apache-2.0
"""Starts by template matching on the device: all templates at once; see ``dinemo_ros.solver.nearest_view``."""

from __future__ import annotations

import torch
from torch import Tensor

from .category import DeviceNearest
from .coarse import DeviceTarget, place
from .distinct import distinct_views
from .similarity import DeviceVolume


def nearest_starts(volume: DeviceVolume, views: DeviceNearest, target: DeviceTarget, angle: float, count: int,
                   floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Starts, likeliest first: rotations [B, count, 3, 3], positions [B, count, 3] metres, whether there is one.

    angle: radians within which two views are one. floor: share of the best score that a start must have.
    """
    score = view_scores(volume, views, target.box)
    chosen, found = distinct_views(score, views.rotations, angle, count, floor)
    x, y, z = place(views.outline[chosen], target)
    return views.rotations[chosen], torch.stack([x * z, y * z, z], -1), found


def view_scores(volume: DeviceVolume, views: DeviceNearest, box: Tensor) -> Tensor:
    """[B, N] mean similarity of each view's cells, the view's larger side being that of ``box`` [B, 4] cells."""
    B, (h, w) = len(box), volume.foreground.shape[1:]
    middle = 0.5 * (box[:, :2] + box[:, 2:])
    side = (box[:, 2:] - box[:, :2]).amax(1)
    at = torch.round(middle[:, None, None] + views.place * side[:, None, None, None]).long()  # [B, N, E, 2]
    j, i = at.unbind(-1)
    inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
    entry = (views.vertex * h + i.clamp(0, h - 1)) * w + j.clamp(0, w - 1)
    S = torch.gather(volume.similarity.reshape(B, -1), 1, entry.reshape(B, -1)).reshape(entry.shape)
    return (S * inside * views.weight).sum(-1)
