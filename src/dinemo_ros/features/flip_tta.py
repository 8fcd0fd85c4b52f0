# SPDX-License-Identifier: Apache-2.0
"""Flip test-time augmentation of a backbone's pictures and features, see ``model/mirror.py``; arrays or tensors, as it
takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..model.mirror import HALF

if TYPE_CHECKING:
    import torch

    Batch = TypeVar("Batch", np.ndarray, torch.Tensor)


def flipped(images: Batch) -> Batch:
    """The mirror images of pictures [N, H, W, 3]."""
    return np.ascontiguousarray(images[:, :, ::-1]) if isinstance(images, np.ndarray) else images.flip(2)


def beside(seen: Batch, mirrored: Batch) -> Batch:
    """Of the features [N, D, h, w] of pictures and those of their mirror images, both in place: [N, 2 D, h, w]."""
    if isinstance(seen, np.ndarray):
        both = np.concatenate([seen, mirrored[..., ::-1]], axis=1)
    else:
        import torch

        both = torch.cat([seen, mirrored.flip(3)], dim=1)
    both *= float(HALF)
    return both
