# SPDX-License-Identifier: Apache-2.0
"""All crops of a frame in one warp on the device: crop, undistort, shrink; see ``dinemo_ros.camera.crop``.

The network normalises what it is given itself, so crops are bytes here as there. OpenCV rounds source coordinates to
1/32 pixel and weights to 15 bits, this does not; otherwise the two are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..camera.crop import _GRID_STEP, BORDER_GREY, CropCamera, _node_pixels, shrink_of
from ..camera.pinhole import Camera
from ..gpu.full_float32 import full_float32
from .staging import Staging


def warp_crops(image: Tensor, camera: Camera, crops: Sequence[CropCamera], loops: ModuleType,
               staging: Staging | None = None) -> Tensor:
    """uint8 [B, S, S, 3] what each of ``crops`` sees of ``image`` uint8 [H, W, 3], on its device.

    loops: ``kernels`` or ``twins``. staging: by which the crops' numbers get to the device.
    """
    staging = staging or Staging(image.device)
    shrink = np.array([shrink_of(camera, crop) for crop in crops])
    if camera.distortion:
        seen = np.array([_node_pixels(camera, crop) for crop in crops])
    else:
        seen = np.array([camera.K @ crop.R_cam_crop @ np.linalg.inv(crop.K) for crop in crops])
    shrink, seen = staging.upload_numbers("crops", shrink, seen)
    x, y = (_distorted if camera.distortion else _pinhole)(seen, crops[0].size)
    return loops.sample_crops(image.contiguous(), x.contiguous(), y.contiguous(), shrink.to(torch.int32),
                              BORDER_GREY[0])


def _pinhole(H: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Image x and y [B, S, S] that every pixel of each crop sees; H [B, 3, 3] crop pixels to image pixels."""
    at = torch.arange(size, dtype=torch.float32, device=H.device)
    x, y, z = (H[:, k, 0, None, None] * at + H[:, k, 1, None, None] * at[:, None] + H[:, k, 2, None, None]
               for k in range(3))
    return x / z, y / z


@full_float32()
def _distorted(nodes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same through a lens: rays traced at every 16th pixel [B, n, n, 2], on the host, and bilinear between."""
    at = torch.arange(size, dtype=torch.float32, device=nodes.device)[:, None] / _GRID_STEP
    W = (1 - (at - torch.arange(nodes.shape[1], device=nodes.device)).abs()).clamp(min=0)    # [S, n]
    return W @ nodes[..., 0] @ W.T, W @ nodes[..., 1] @ W.T
