# SPDX-License-Identifier: Apache-2.0
"""What the solver prepares once per bundle, as tensors on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..solver.category import Category


@dataclass(frozen=True)
class DeviceCategory:
    """The arrays of :class:`dinemo_ros.solver.category.Category` that the device reads, float32 or int64.

    Shapes as there: features [V, D], gram [F, 3], vertices, normals [V, 3], faces [F, 3], visible [directions, V'],
    search_features [V', D], clutter [K, D], rotations [G, 3, 3], index, weight [G, N], points [G, N, 3],
    outline [G, M, 3], scales [S], prior, mean_size [3].
    """

    features: Tensor
    gram: Tensor
    vertices: Tensor
    normals: Tensor
    faces: Tensor
    visible: Tensor
    search_features: Tensor
    clutter: Tensor
    rotations: Tensor
    index: Tensor
    weight: Tensor
    points: Tensor
    outline: Tensor
    scales: Tensor
    prior: Tensor
    temperature: float
    dimension: float
    azimuths: int
    elevations: int


def to_device(category: Category, device: torch.device) -> DeviceCategory:
    """Copy a category to ``device``."""
    surface, views, search = category.surface, category.views, len(category.search_features)

    def real(array) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32).to(device)

    def whole(array) -> Tensor:
        return torch.as_tensor(array, dtype=torch.int64).to(device)

    return DeviceCategory(
        real(surface.features), real(surface.gram), real(surface.vertices), real(surface.normals), whole(surface.faces),
        whole(surface.visible[:, :search]), real(category.search_features), real(category.clutter),
        real(views.rotations), whole(views.index), real(views.weight), real(views.points), real(views.outline),
        real(category.scales), real(category.prior), float(category.temperature), float(category.dimension),
        surface.azimuths, surface.elevations)
