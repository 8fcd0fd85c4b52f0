# SPDX-License-Identifier: Apache-2.0
"""A backbone that is shown every picture and its mirror image, see ``mirror.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..mirror import HALF
from .protocol import FeatureExtractor

if TYPE_CHECKING:
    import torch


class MirroredExtractor:
    """Features of pictures and of their mirror images, [N, 2 D, H/8, W/8] of unit norm, in one batch of the network.

    A :class:`dinemo_ros.features.FeatureExtractor` whose other attributes are those of ``extractor``.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor

    def __getattr__(self, name: str):
        return getattr(self._extractor, name)  # name, precision, device and the like may change while it runs

    def __call__(self, images: np.ndarray) -> np.ndarray:
        features = self._extractor(np.concatenate([images, images[:, :, ::-1]]))
        count, depth = len(images), features.shape[1]
        both = np.empty((count, 2 * depth, *features.shape[2:]), np.float32)
        np.multiply(features[:count], HALF, out=both[:, :depth])
        np.multiply(features[count:, :, :, ::-1], HALF, out=both[:, depth:])
        return both

    def on_device(self, images: torch.Tensor) -> torch.Tensor:
        """The same of tensors where the network takes them; uint8 [N, H, W, 3]."""
        import torch

        features = self._extractor.on_device(torch.cat([images, images.flip(2)]))
        seen, mirrored = features.split(len(images))
        return torch.cat([seen, mirrored.flip(3)], dim=1) * float(HALF)
