# SPDX-License-Identifier: Apache-2.0
"""What a picture has to be before anything looks at it, whoever hands it over."""

from __future__ import annotations

import numpy as np

from ..errors import ImageError


def check_image(image: np.ndarray) -> None:
    """ImageError unless ``image`` is uint8 [H, W, 3] with at least 16 pixels a side."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"image must be a uint8 array [height, width, 3] in RGB order, got {found}")
    if min(image.shape[:2]) < 16:
        raise ImageError(f"image is {image.shape[1]}x{image.shape[0]} pixels; at least 16x16 are needed")
