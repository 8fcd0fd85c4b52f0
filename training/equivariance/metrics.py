# SPDX-License-Identifier: Apache-2.0
"""APE and PCDP: how far off the nearest neighbour in the other view lies (arXiv 2411.19458 section 2).

The normaliser is the longer side of the object's box in the second picture, as in PCK.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SHARES = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Equivariance:
    """Average pixel error in percent of the normaliser, and the share of points within 5, 10 and 20 % of it."""

    ape: float
    pcdp: tuple[float, float, float]


def nearest_pixels(first: Tensor, second: Tensor, pixels: np.ndarray, side: int, dense: int = 4) -> np.ndarray:
    """Where a point's nearest neighbour lies in the second picture.

    Args:
        first, second: [D, h, w] unit-norm feature maps of two square pictures.
        pixels: [N, 2] points in the first picture, pixel centres at integers. side: of both pictures, pixels.
        dense: the second map is interpolated to this many times its resolution first.

    Returns:
        [N, 2] pixels.
    """
    queries = sample(first[None], torch.from_numpy(pixels).float()[None], side)[0]
    fine = F.normalize(F.interpolate(second[None], scale_factor=dense, mode="bilinear", align_corners=False)[0], dim=0)
    height, width = fine.shape[1:]
    best = (queries @ fine.flatten(1)).argmax(dim=1)
    cell = torch.stack([best % width, best // width], dim=1).double()
    return ((cell + 0.5) * side / torch.tensor([width, height]) - 0.5).numpy()


def sample(maps: Tensor, pixels: Tensor, side: int) -> Tensor:
    """Unit-norm features [B, N, D] of maps [B, D, h, w] at pixels [B, N, 2] of square pictures."""
    grid = ((2 * pixels + 1) / side - 1).unsqueeze(2)
    return F.normalize(F.grid_sample(maps, grid, align_corners=False)[..., 0].transpose(1, 2), dim=-1)


def summarise(errors: np.ndarray) -> Equivariance:
    """Mean and shares in percent, from errors [N] in units of the normaliser."""
    return Equivariance(100 * float(np.mean(errors)), tuple(100 * float(np.mean(errors < s)) for s in SHARES))
