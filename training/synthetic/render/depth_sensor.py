# SPDX-License-Identifier: Apache-2.0
"""What a depth camera makes of true depth: noise that grows with distance, whole millimetres, holes, and glass.

The model is that of a structured-light or time-of-flight camera of a robot: noise with a standard deviation of 3 mm at
one metre, growing with the square of the distance and half of it shared by neighbouring pixels; a fifth of the pixels
missing, mostly along edges and in patches; clear glass is missed for the most part, elsewhere what stands behind it is
measured, now and then its surface.
"""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np

NOISE = 0.003  # standard deviation at one metre, metres
HOLES = (0.12, 0.28)  # least and largest share of missing pixels of a picture
GLASS_HOLES = (0.5, 0.7)  # the same, of clear glass
_GLASS_SURFACE = 0.15  # share of the measured pixels of clear glass that show its surface
_NEAREST = 0.2  # metres; what is nearer is not measured


def measured(depth: np.ndarray, behind: np.ndarray, clear: np.ndarray, target: np.ndarray,
             rng: np.random.Generator) -> np.ndarray:
    """Depth image [H, W] uint16 in millimetres, 0 where nothing is measured.

    Args:
        depth: [H, W] metres along the optical axis of the first surface, infinite where there is none.
        behind: [H, W] the same as if there were no clear glass. clear: [H, W] bool, pixels that show clear glass.
        target: [H, W] bool, pixels that show the object: it has its share of holes whatever the rest has.
    """
    height, width = depth.shape
    surface = clear & (_patches(height, width, 10, rng) > NormalDist().inv_cdf(1 - _GLASS_SURFACE))
    seen = np.where(clear & ~surface, behind, depth)
    sigma = NOISE * np.where(np.isfinite(seen), seen, 0.0) ** 2
    error = np.sqrt(0.5) * (rng.normal(size=seen.shape) + _patches(height, width, 2, rng))
    millimetres = np.rint(1000 * (np.where(np.isfinite(seen), seen, 0.0) + sigma * error))
    holes = _holes(seen, clear, target, rng) | ~np.isfinite(seen) | (seen < _NEAREST)
    return np.where(holes | (millimetres > 65535), 0, millimetres).astype(np.uint16)


def _holes(seen: np.ndarray, clear: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which pixels [H, W] are missing: those that score highest, each region to its own share."""
    height, width = seen.shape
    score = _patches(height, width, 7, rng) + 0.5 * _patches(height, width, 1.2, rng) + 1.5 * _edges(seen)
    holes = np.zeros((height, width), bool)
    for region, share in ((target & ~clear, rng.uniform(*HOLES)), (~target, rng.uniform(*HOLES)),
                          (clear, rng.uniform(*GLASS_HOLES))):
        if region.any():
            holes |= region & (score > np.quantile(score[region], 1 - share))
    return holes


def _edges(depth: np.ndarray) -> np.ndarray:
    """[H, W] in [0, 1]: one along steps of depth, falling off within three pixels."""
    finite = np.where(np.isfinite(depth), depth, 20.0).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    step = cv2.dilate(finite, kernel) - cv2.erode(finite, kernel) > 0.02 * finite
    return np.clip(2 * cv2.GaussianBlur(step.astype(np.float32), (0, 0), 1.2), 0, 1)


def _patches(height: int, width: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Noise [H, W] of zero mean and unit deviation, smooth over ``sigma`` pixels."""
    coarse = max(1, int(sigma // 3))
    small = cv2.GaussianBlur(rng.normal(size=(-(-height // coarse), -(-width // coarse))), (0, 0), sigma / coarse)
    noise = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return noise / noise.std()
