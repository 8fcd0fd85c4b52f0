# SPDX-License-Identifier: Apache-2.0
"""How far objects are expected to lean, for all hypotheses at once; see ``dinemo_ros.solver.upright_prior``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..solver.workspace import CAUCHY_TAIL
from .category import DeviceCategory
from .poses import Poses


def upright_prior(category: DeviceCategory, poses: Poses) -> tuple[Tensor, Tensor]:
    """Gradient [H, 9] and Gauss-Newton matrix [H, 9, 9] of the log-likelihood by metres, radians and log-sizes."""
    lean, along, across = poses.R[:, 0, 2], poses.R[:, 2, 2], -poses.R[:, 1, 2]
    weight = category.covariance_scale * category.upright / (1 + category.upright * (lean / CAUCHY_TAIL) ** 2)
    J = F.pad(torch.stack([along, across], 1), (4, 3))
    return -(weight * lean)[:, None] * J, weight[:, None, None] * J[:, :, None] * J[:, None]
