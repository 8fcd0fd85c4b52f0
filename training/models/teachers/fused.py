# SPDX-License-Identifier: Apache-2.0
"""Two teachers side by side (Zhang et al., A Tale of Two Features, NeurIPS 2023: Stable Diffusion and DINOv2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .protocol import Teacher


class FusedTeacher:
    """Concatenation of two unit-norm features with weights alpha and 1 - alpha, on the finer of their grids.

    The cosine of two fused features is the mean of the parts' cosines with weights alpha^2 and (1 - alpha)^2.

    Args:
        first, second: teachers. alpha: weight of ``first``, 0..1; the paper takes 0.5.
    """

    def __init__(self, first: Teacher, second: Teacher, alpha: float = 0.5) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"fused teacher: alpha is {alpha:g}; give the first part's weight, 0 to 1")
        self.first, self.second, self.alpha = first, second, alpha

    def __call__(self, images: Tensor) -> Tensor:
        a, b = self.first(images), self.second(images)
        grid = max(a.shape[-2:], b.shape[-2:])
        return F.normalize(torch.cat([self.alpha * _on_grid(a, grid), (1 - self.alpha) * _on_grid(b, grid)], 1), dim=1)


def _on_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == grid:
        return maps
    return F.normalize(F.interpolate(maps, size=grid, mode="bilinear", align_corners=False), dim=1)
