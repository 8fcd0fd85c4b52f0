# SPDX-License-Identifier: Apache-2.0
"""Whether two backends compute the same features.

TensorRT 10.3 in FP16, and 10.4 even in FP32, have given wrong features of vision transformers (NVIDIA/TensorRT#4723,
#4742), and int8 products saturate on CPUs without VNNI: nothing but ONNX Runtime in fp32 is trusted unchecked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from .protocol import LARGEST_SIDE

#: Smallest cosine of any feature cell with that of ONNX Runtime in fp32.
THRESHOLD = {"fp32": 0.999, "fp16": 0.99, "bf16": 0.99, "int8": 0.95}


def smallest_cosine(reference: Callable, candidate: Callable, pictures: Sequence[np.ndarray]) -> float:
    """Over all cells of all ``pictures`` (uint8 [N, H, W, 3] each); NaN if any feature is NaN, 0 if shapes differ.

    Computed as 1 - |a - b|^2 / 2, which is the cosine of features of unit norm and less for features that are not.
    """
    worst = []
    for images in pictures:
        expected, found = reference(images), candidate(images)
        if expected.shape != found.shape:
            return 0.0
        worst.append(1.0 - 0.5 * np.square(expected - found).sum(axis=1).max())
    return float(np.min(worst))  # not the built-in min, which passes over NaN


def sample_pictures(size: int, batch: int = 2) -> list[np.ndarray]:
    """Pictures uint8 [N, H, W, 3] with edges, ramps and texture, in the shape of crops and of a frame.

    They are the same on every machine.

    Args:
        size: side of the bundle's crops, pixels.
    """
    # Never the shape of a crop, and never larger than what engines are built for.
    frame = (1, min(2 * size, 3 * LARGEST_SIDE // 4), min(3 * size, LARGEST_SIDE))
    shapes = ((1, size, size), (batch, size, size), frame)
    return [sample_picture(*shape) for shape in shapes]


def sample_picture(n: int, height: int, width: int) -> np.ndarray:
    """uint8 [n, height, width, 3], each another."""
    return np.stack([_picture(height, width, seed) for seed in range(n)])


def _picture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth colours at three scales, hard-edged shapes, a little noise: what photographs consist of."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cells, strength in ((3, 90), (12, 40), (40, 20)):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        image += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image += 120
    for _ in range(12):
        x, y = rng.integers(0, [width, height])
        half = rng.integers(4, max(5, min(height, width) // 4), 2)
        colour = rng.uniform(0, 255, 3).tolist()
        cv2.ellipse(image, (int(x), int(y)), half.tolist(), float(rng.uniform(0, 180)), 0, 360, colour, -1)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
