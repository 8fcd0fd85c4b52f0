# SPDX-License-Identifier: Apache-2.0
"""What observed ROIs say about poses, all at once; see ``dinemo_ros.solver.roi_prior``."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from .category import DeviceCategory
from .coarse import DeviceTarget
from .poses import Poses


def roi_prior(target: DeviceTarget, category: DeviceCategory, poses: Poses,
              loops: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihood [H] of the boxes' sides, its gradient [H, 9] and Gauss-Newton matrix [H, 9, 9].

    The nine are metres, radians and log-sizes. loops: ``kernels`` or ``twins``.
    """
    return loops.box_sides(category.vertices, poses.R, poses.t, poses.log_size, poses.crop, target.box, target.trust,
                           target.camera)
