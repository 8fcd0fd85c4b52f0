# SPDX-License-Identifier: Apache-2.0
"""Render-and-compare, cell by cell, readable; part of ``twins``. The Triton kernel is in ``compare_kernel.py``."""

from __future__ import annotations

import torch
from torch import Tensor

from .category import DeviceCategory
from .rendered import Rendered


def compare_cells(rendered: Rendered, category: DeviceCategory, cells: Tensor, background_score: Tensor,
                  log_size: Tensor, crop: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What every cell that is drawn says; see ``dinemo_ros.solver.compare``.

    Args:
        cells: [B, P, D] features. background_score: [B, P]. log_size [H, 3], crop [H]: of the poses.

    Returns:
        cosine [H, P] of what is drawn with what is seen; probability gamma [H, P] that the object is seen; the point
        of the surface scaled [H, P, 3] in the object's frame, metres; for :func:`normal_equations` pull [H, P, 2] and
        matrix [H, P, 2, 2]. What counts is 0 where nothing is drawn.
    """
    shown, face = rendered.face >= 0, rendered.face.clamp(min=0)
    screen = torch.gather(rendered.screen, 1, face[..., None, None].expand(-1, -1, 3, 3))
    slope = _slopes(screen, rendered.bary, rendered.depth, shown)
    corners = category.faces[face]                                                           # [H, P, 3]
    s, g, A = _cell_terms(cells[crop], category, corners, rendered.bary, slope, face)
    gamma = torch.where(shown, torch.sigmoid((s - background_score[crop]) / category.temperature), 0.0)
    # Where a cell's ray meets the surface is R scaled + t: barycentric weights are perspective.
    scaled = (rendered.bary[..., None] * category.vertices[corners]).sum(2) * torch.exp(log_size)[:, None]
    # The cosine falls from s, not from 1, as the surface moves away.
    return s, gamma, scaled, -gamma[..., None] * g, (gamma * s.clamp(min=0.1))[..., None, None] * A


def _slopes(screen: Tensor, bary: Tensor, depth: Tensor, shown: Tensor) -> Tensor:
    """[H, P, 3, 2]: change of the perspective barycentric weights per cell in x and y; screen [H, P, 3, 3]."""
    x, y, z = screen.unbind(-1)
    qx, rx, qy, ry = x.roll(-1, 2), x.roll(-2, 2), y.roll(-1, 2), y.roll(-2, 2)
    origin = x[..., :1], y[..., :1]  # differences first: float32 would lose the area of a small face far from zero
    area = ((x[..., 1:2] - origin[0]) * (y[..., 2:] - origin[1]) - (x[..., 2:] - origin[0]) * (y[..., 1:2] - origin[1]))
    out = torch.stack([(qy - ry) / z, (rx - qx) / z], -1) / torch.where(shown, area[..., 0], 1.0)[..., None, None]
    total = out.sum(2, keepdim=True)
    return torch.where(shown[..., None, None], (out - bary[..., None] * total) * depth[..., None, None], 0.0)


def _cell_terms(cells: Tensor, category: DeviceCategory, corners: Tensor, bary: Tensor, slope: Tensor,
                face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine [H, P] of each cell, its picture gradient [H, P, 2], the Gauss-Newton matrix of that [H, P, 2, 2]."""
    s = (category.features[corners] @ cells[..., None])[..., 0]                              # [H, P, 3]
    ij, jk, ki = category.gram[face].unbind(-1)
    one = torch.ones_like(ij)
    gram = torch.stack([one, ij, ki, ij, one, jk, ki, jk, one], -1).reshape(*ij.shape, 3, 3)
    rendered = torch.cat([bary[..., None], slope], -1)                                       # value, d/dx, d/dy
    dots, products = (s[..., None] * rendered).sum(2), rendered.transpose(-1, -2) @ gram @ rendered
    norm = products[..., 0, 0].clamp(min=1e-6).sqrt()
    cosine, along = dots[..., 0] / norm, products[..., 0, 1:] / norm[..., None]
    gradient = (dots[..., 1:] - cosine[..., None] * along) / norm[..., None]
    matrix = (products[..., 1:, 1:] - along[..., :, None] * along[..., None, :]) / (norm**2)[..., None, None]
    return cosine, gradient, matrix
