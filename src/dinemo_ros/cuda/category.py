# SPDX-License-Identifier: Apache-2.0
"""What the solver prepares once per bundle, as tensors on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..model.symmetry import Symmetry
from ..solver.category import Category
from ..solver.nearest_view import NearestViews


@dataclass(frozen=True)
class DeviceCategory:
    """The arrays of :class:`dinemo_ros.solver.category.Category` that the device reads, float32 or int64.

    Shapes as there: features [V, D], gram [F, 3], vertices, normals [V, 3], faces [F, 3], visible [directions, V'],
    search_features [V', D], clutter [K, D], rotations [G, 3, 3], index, weight [G, N], points [G, N, 3],
    outline [G, M, 3], scales [S], prior, mean_size [3]. ``nearest``: the templates, see :class:`DeviceNearest`.
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
    mean_size: Tensor
    nearest: DeviceNearest
    temperature: float
    dimension: float
    depth_scale: float
    covariance_scale: float
    turn_scale: float
    level: float  # of a cell's cosine, see ``solver/ambiguity.py``
    upright: float  # 1/sigma^2 of the residual in ``solver/upright_prior.py``
    azimuths: int
    elevations: int
    posterior: bool
    symmetry: Symmetry


@dataclass(frozen=True)
class DeviceNearest:
    """:class:`dinemo_ros.solver.nearest_view.NearestViews` with every view's list filled up to the longest.

    rotations [N, 3, 3], outline [N, M, 3], vertex [N, E] int64, place [N, E, 2], weight [N, E]: one over the number of
    a view's cells, 0 for what was filled up.
    """

    rotations: Tensor
    outline: Tensor
    vertex: Tensor
    place: Tensor
    weight: Tensor


def to_device(category: Category, device: torch.device) -> DeviceCategory:
    """Copy a category to ``device``."""
    surface, views, search = category.surface, category.views, len(category.search_features)

    def real(array: np.ndarray) -> Tensor:  # contiguous, as the kernels count addresses
        return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32).to(device)

    def whole(array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.int64).to(device)

    return DeviceCategory(
        real(surface.features), real(surface.gram), real(surface.vertices), real(surface.normals), whole(surface.faces),
        whole(surface.visible[:, :search]), real(category.search_features), real(category.clutter),
        real(views.rotations), whole(views.index), real(views.weight), real(views.points.transpose(0, 2, 1)),
        real(views.outline), real(category.scales), real(category.prior), real(category.mean_size),
        _nearest(category.nearest, real, whole), float(category.temperature), float(category.dimension),
        float(category.depth_scale), float(category.covariance_scale), float(category.turn_scale),
        float(category.azimuth.level), float(category.upright[0]), surface.azimuths, surface.elevations,
        category.evidence == "posterior", category.symmetry)


def _nearest(views: NearestViews, real: Callable[[np.ndarray], Tensor],
             whole: Callable[[np.ndarray], Tensor]) -> DeviceNearest:
    count = np.diff(views.first)
    listed = np.arange(count.max()) < count[:, None]                                        # [N, E]
    vertex, place = np.zeros(listed.shape, np.int64), np.zeros((*listed.shape, 2), np.float32)
    vertex[listed], place[listed] = views.vertex, views.place.T
    return DeviceNearest(real(views.rotations), real(views.outline), whole(vertex), real(place),
                         real(listed / np.maximum(count, 1)[:, None]))
