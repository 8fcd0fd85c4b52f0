# SPDX-License-Identifier: Apache-2.0
"""The similarity volume on the device; the maths is that of ``dinemo_ros.solver.similarity``, background_score
"clutter"."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..solver.similarity import MOST, UNIT
from .category import DeviceCategory


@dataclass(frozen=True)
class DeviceVolume:
    """B crops at once; fields as in :class:`dinemo_ros.solver.similarity.SimilarityVolume`.

    cells [B, P, D] features, similarity [B, V, P], background_score [B, P], foreground [B, h, w], evidence
    [B, V, h + 2 pad, w + 2 pad] uint8, odds [B, V, h, w]; P = h w.
    """

    cells: Tensor
    similarity: Tensor
    background_score: Tensor
    foreground: Tensor
    evidence: Tensor
    odds: Tensor
    pad: int


def similarity_volume(maps: Tensor, category: DeviceCategory, pad: int) -> DeviceVolume:
    """Volume of feature maps [B, D, h, w] of unit norm over D."""
    B, D, h, w = maps.shape
    flat = maps.reshape(B, D, h * w)
    S = category.search_features @ flat                                                      # [B, V, P]
    background = category.clutter @ flat                                                     # [B, K, P]
    peak, clutter = S.amax(1), background.amax(1)                                            # [B, P]
    foreground = torch.sigmoid((peak - clutter) / category.temperature)
    if category.posterior:
        background_score = _log_mean(S, background, torch.maximum(peak, clutter), category.temperature)
        level = background_score[:, None]
    else:
        background_score = clutter
        # One level for all cells: where a match lies must not depend on how much a cell looks like clutter.
        level = ((background_score * foreground).sum(1) / foreground.sum(1))[:, None, None]
    odds = foreground[:, None] * torch.exp(((S - level) / category.temperature).clamp(-80, 80))
    # In the host's units, rounded as there: sums of whole numbers are the same in any order.
    evidence = torch.floor(UNIT * (S - background_score[:, None]).clamp(0, float(MOST)) + 0.5).to(torch.uint8)
    evidence = F.pad(evidence.reshape(B, -1, h, w), (pad, pad, pad, pad))
    return DeviceVolume(flat.transpose(1, 2).contiguous(), S, background_score, foreground.reshape(B, h, w),
                        evidence.contiguous(), odds.reshape(B, -1, h, w).contiguous(), pad)


def _log_mean(S: Tensor, background: Tensor, peak: Tensor, temperature: float) -> Tensor:
    """[B, P]; see :func:`dinemo_ros.solver.similarity.log_mean`."""
    vertices, clutter = (torch.exp((x - peak[:, None]) / temperature).mean(1) for x in (S, background))
    return peak + temperature * torch.log(vertices + clutter)
