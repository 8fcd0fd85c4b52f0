# SPDX-License-Identifier: Apache-2.0
"""Which texels of a car's texture are body paint, so that the car can be repainted and keep lamps and windows."""

from __future__ import annotations

import cv2
import numpy as np

Polygon = tuple[tuple[float, float], ...]  # corners (x, y) as shares of a texture's width and height
LARGEST_TEXTURE = 512  # pixels; finer detail only aliases in pictures of 300 pixels


def painted_texture(image: np.ndarray, windows: tuple[Polygon, ...] = ()) -> np.ndarray:
    """Texture [H, W, 4] uint8 from sRGB [H, W, 3]: the picture and the share of body paint.

    The most frequent colour that is not nearly black is taken for the body colour. Channel 3 is 255
    where the texel has about that colour (a darker shade counts: panels are drawn with shadows), else 0.
    """
    scale = LARGEST_TEXTURE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    bright = lab[..., 0] > 70
    if bright.sum() < 100:
        return np.dstack([image, np.zeros(image.shape[:2], np.uint8)])
    histogram, _ = np.histogramdd(lab[bright], bins=(6, 32, 32), range=((0, 256),) * 3)
    _, a, b = np.unravel_index(np.argmax(histogram), histogram.shape)
    chroma = np.hypot(lab[..., 1] - (a + 0.5) * 8, lab[..., 2] - (b + 0.5) * 8)
    inside = np.zeros(image.shape[:2], dtype=np.uint8)
    for polygon in windows:
        cv2.fillPoly(inside, [np.round(np.array(polygon) * image.shape[1::-1]).astype(np.int32)], 1)
    glass = (inside > 0) & (np.ptp(image.astype(int), axis=-1) < 18) & (image.max(axis=-1) < 228)
    image = np.where(glass[..., None], 0.15 * image, image).astype(np.uint8)
    mask = np.clip((24 - chroma) / 10, 0, 1) * np.clip((lab[..., 0] - 60) / 30, 0, 1)
    return np.dstack([image, np.where(glass, 0, 255 * mask).astype(np.uint8)])


def paint_luma(texture: np.ndarray) -> float:
    """Typical luma (0 to 1) of the painted texels of a texture [H, W, 4]; 0.6 where nothing is painted."""
    painted = texture[..., 3] > 200
    if painted.sum() < 50:
        return 0.6
    return float(np.percentile(texture[painted][:, :3] @ [0.299, 0.587, 0.114], 70) / 255)
