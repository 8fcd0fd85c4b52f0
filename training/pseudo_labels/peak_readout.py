# SPDX-License-Identifier: Apache-2.0
"""Where a similarity map has its maximum, finer than its cells."""

from __future__ import annotations

import torch
from torch import Tensor


def window_soft_argmax(maps: Tensor, window: int, temperature: float) -> Tensor:
    """Sub-cell maxima [N, 2] as (x, y) of similarity maps [N, h, w].

    The mean cell of a softmax in a window around the arg-max (Zhang et al., Telling Left from Right, CVPR 2024): fine
    as a soft-argmax, and undisturbed by a second maximum far away, such as the other wheel.

    Args:
        window: half width in cells; 0 is the plain arg-max.
        temperature: of the softmax, cosine units.
    """
    N, h, w = maps.shape
    top = maps.flatten(1).argmax(1)
    cy, cx = (top // w)[:, None, None], (top % w)[:, None, None]
    y, x = torch.arange(h)[None, :, None], torch.arange(w)[None, None, :]
    inside = ((y - cy).abs() <= window) & ((x - cx).abs() <= window)
    weight = torch.softmax((maps / temperature).masked_fill(~inside, -1e4).flatten(1), 1).reshape(N, h, w)
    return torch.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], 1)
