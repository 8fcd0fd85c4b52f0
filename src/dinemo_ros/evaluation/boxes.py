# SPDX-License-Identifier: Apache-2.0
"""Overlap and assignment of 2-D boxes (x_min, y_min, x_max, y_max)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area [N, M], square pixels, of boxes [N, 4] and [M, 4] (x_min, y_min, x_max, y_max)."""
    a, b = np.reshape(a, (-1, 1, 4)).astype(float), np.reshape(b, (1, -1, 4)).astype(float)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.prod(np.maximum(sides, 0.0), axis=-1)


def area(boxes: np.ndarray) -> np.ndarray:
    """Area [N], square pixels, of boxes [N, 4]."""
    boxes = np.reshape(boxes, (-1, 4)).astype(float)
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=-1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union [N, M], 0 to 1, of boxes [N, 4] and [M, 4] in pixels."""
    common = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - common
    return common / np.maximum(union, 1e-12)


def match_greedily(truth: np.ndarray, found: np.ndarray, scores: Sequence[float],
                   threshold: float = 0.5) -> dict[int, int]:
    """Assign found boxes to true ones, best score first, each at most once.

    Args:
        truth: [N, 4].
        found: [M, 4].
        scores: [M].
        threshold: smallest IoU of a match.

    Returns:
        Index of ``truth`` -> index of ``found``.
    """
    overlap = iou(truth, found)
    matches: dict[int, int] = {}
    for candidate in np.argsort(-np.asarray(scores, dtype=float), kind="stable"):
        free = [t for t in range(len(overlap)) if t not in matches and overlap[t, candidate] >= threshold]
        if free:
            matches[max(free, key=lambda t: overlap[t, candidate])] = int(candidate)
    return matches
