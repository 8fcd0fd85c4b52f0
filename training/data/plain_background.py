# SPDX-License-Identifier: Apache-2.0
"""Masks of an object before a plain background, such as the cloth of a turntable.

A saliency network works on 224 pixels and leaves thin handles out; where everything along the rim of a picture has one
colour, what differs from that colour is the object, too. Parts as dark as a dark cloth (a green stripe, a shadow) are
what that misses and saliency finds, so the two are joined.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

_RIM = 0.03         # width of the rim that is looked at, share of the larger side
_PLAIN = 12.0       # deviation (of 255) of all but the worst twentieth of the rim, up to which a background is plain
_LEAST = 24.0       # difference (of 255) in any channel from which a pixel is the object's
_TIMES = 2.5        # the same, times the rim's own deviation


def differing(image: np.ndarray) -> np.ndarray | None:
    """uint8 [H, W], 255 where an RGB picture [H, W, 3] uint8 differs from its background; None where that is not plain.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8).astype(np.float32)
    width = max(2, round(_RIM * max(image.shape[:2])))
    rim = np.concatenate([part.reshape(-1, 3) for part in (smooth[:width], smooth[-width:], smooth[:, :width],
                                                           smooth[:, -width:])])
    colour = np.median(rim, axis=0)
    spread = float(np.quantile(np.abs(rim - colour).max(axis=1), 0.95))
    if spread > _PLAIN:
        return None
    different = np.abs(smooth - colour).max(axis=2) > max(_LEAST, _TIMES * spread)
    return np.where(different, 255, 0).astype(np.uint8)


class ObjectMask:
    """Callable as :class:`dinemo_training.data.foreground.SaliencyMask`, whose mask it completes before a plain
    background."""

    def __init__(self, saliency: Callable[[np.ndarray], np.ndarray]) -> None:
        self.saliency = saliency

    def __call__(self, image: np.ndarray) -> np.ndarray:
        mask, more = self.saliency(image), differing(image)
        return mask if more is None else _largest(mask | more)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest part of a mask, without hairs and pinholes."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel), cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return np.zeros_like(mask)
    return np.where(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), 255, 0).astype(np.uint8)
