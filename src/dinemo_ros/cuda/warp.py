# SPDX-License-Identifier: Apache-2.0
"""All crops of a frame in one warp on the device: crop, undistort, shrink; see ``dinemo_ros.crop``.

The network normalises what it is given itself, so crops are bytes here as there. OpenCV rounds source coordinates to
1/32 pixel and weights to 15 bits, this does not; otherwise the two are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..crop import _GRID_STEP, BORDER_GREY, CropCamera, _node_pixels, shrink_of


def warp_crops(image: Tensor, camera: Camera, crops: Sequence[CropCamera], loops) -> Tensor:
    """uint8 [B, S, S, 3] what each of ``crops`` sees of ``image`` uint8 [H, W, 3], on its device.

    loops: ``kernels`` or ``twins``.
    """
    shrink = torch.tensor([shrink_of(camera, crop) for crop in crops], dtype=torch.int32)
    x, y = _distorted(camera, crops, image.device) if camera.distortion else _pinhole(camera, crops, image.device)
    return loops.sample_crops(image.contiguous(), x.contiguous(), y.contiguous(), shrink.to(image.device),
                              BORDER_GREY[0])


def _pinhole(camera: Camera, crops: Sequence[CropCamera], device: torch.device) -> tuple[Tensor, Tensor]:
    """Image x and y [B, S, S] that every pixel of each crop sees."""
    H = np.array([camera.K @ crop.R_cam_crop @ np.linalg.inv(crop.K) for crop in crops])
    rows = torch.as_tensor(H, dtype=torch.float32).to(device)[..., None, None]               # [B, 3, 3, 1, 1]
    at = torch.arange(crops[0].size, dtype=torch.float32, device=device)
    x, y, z = (rows[:, k, 0] * at + rows[:, k, 1] * at[:, None] + rows[:, k, 2] for k in range(3))
    return x / z, y / z


def _distorted(camera: Camera, crops: Sequence[CropCamera], device: torch.device) -> tuple[Tensor, Tensor]:
    """The same through a lens: rays traced at every 16th pixel, on the host, and bilinear between."""
    nodes = torch.as_tensor(np.array([_node_pixels(camera, crop) for crop in crops]), dtype=torch.float32).to(device)
    at = torch.arange(crops[0].size, dtype=torch.float32, device=device)[:, None] / _GRID_STEP
    W = (1 - (at - torch.arange(nodes.shape[1], device=device)).abs()).clamp(min=0)          # [S, n]
    return W @ nodes[..., 0] @ W.T, W @ nodes[..., 1] @ W.T
