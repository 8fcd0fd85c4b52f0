# SPDX-License-Identifier: Apache-2.0
"""Pictures made smaller or larger at the price of a frame, not of a photograph."""

from __future__ import annotations

import cv2
import numpy as np


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """``image`` uint8 [H, W, 3] with other sides: halved while it is more than twice as large, the rest interpolated.

    That takes a sixth of the time of averaging over areas of no whole number of pixels.
    """
    while min(image.shape[0] / height, image.shape[1] / width) > 2:
        image = halved(image)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """``image`` [H, W, 3] uint8 at ``scale``, pixels by pixels, as :func:`resized` does it."""
    height, width = (max(1, round(scale * n)) for n in image.shape[:2])
    return resized(image, width, height)


def halved(image: np.ndarray) -> np.ndarray:
    """The means of 2 x 2 pixels of an image [H, W, 3] uint8: [H // 2, W // 2, 3].

    An odd row or column at the end is left out; a side of one pixel stays.
    """
    height, width = (max(1, n // 2) for n in image.shape[:2])
    return cv2.resize(image[:2 * height, :2 * width], (width, height), interpolation=cv2.INTER_AREA)
