# SPDX-License-Identifier: Apache-2.0
"""What every teacher offers."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor


class Teacher(Protocol):
    """Pictures [N, 3, H, W] RGB 0..255 float -> features [N, D, h, w], unit norm over D.

    Cell (i, j) of a map is centred on pixel ((j + 0.5) W / w - 0.5, (i + 0.5) H / h - 0.5).
    """

    def __call__(self, images: Tensor) -> Tensor: ...


def prepare_picture(image: np.ndarray, side: int) -> Tensor:
    """RGB uint8 [S, S, 3] -> [1, 3, side, side] float 0..255, averaged where it shrinks."""
    shrinks = side < image.shape[0]
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return torch.from_numpy(small).permute(2, 0, 1)[None].float()
