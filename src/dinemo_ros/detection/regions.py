# SPDX-License-Identifier: Apache-2.0
"""Boxes in the image: what an object covers, how two of them overlap. (x_min, y_min, x_max, y_max), pixel edges."""

from __future__ import annotations

import math

import numpy as np

from ..camera.pinhole import Camera
from ..pose import Hypothesis

_DUPLICATE = 0.5  # intersection over union above which two boxes are one object


def projected_box(pose: Hypothesis, camera: Camera, unit: np.ndarray) -> np.ndarray:
    """[4] pixels: bounding box in the image of the mesh, clipped to the image.

    Args:
        unit: [V, 3] vertices in a box of side one.
    """
    # Axis by axis in memory: long rows are three times as fast to project as many short ones.
    rows = (pose.T_cam_obj[:3, :3] * pose.size) @ unit.T + pose.T_cam_obj[:3, 3:]
    np.maximum(rows[2], 0.1, out=rows[2])
    pixels = camera.project(rows.T)
    box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]) + 0.5  # pixel centres to edges
    return np.clip(box, 0.0, (camera.width, camera.height) * 2)


def distinct_boxes(boxes: np.ndarray, scores: np.ndarray, common: float = _DUPLICATE,
                   inside: float = math.inf) -> list[int]:
    """Greedy non-maximum suppression: indices of boxes [N, 4] by falling score [N], without those that show what a
    better one does.

    Args:
        common: intersection over union with a better box from which a box shows the same.
        inside: share of a box in a better one from which it shows a part of that.
    """
    kept: list[int] = []
    rest = np.argsort(-scores, kind="stable")
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        others = boxes[rest]
        rest = rest[(overlaps(boxes[best], others) < common) & (covered_shares(others, boxes[best]) < inside)]
    return kept


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union [N] of ``box`` [4] and each of ``others`` [N, 4] (x_min, y_min, x_max, y_max)."""
    sides = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0.0)
    common = sides[:, 0] * sides[:, 1]
    areas = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    return common / np.maximum(areas - common, 1e-9)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union, 0 to 1, of two boxes [4] (x_min, y_min, x_max, y_max) in one unit."""
    return float(overlaps(a, b[None])[0])


def covered_share(a: np.ndarray, b: np.ndarray) -> float:
    """Share of box ``a`` [4] that lies in box ``b`` [4], 0 to 1; both x_min, y_min, x_max, y_max in one unit."""
    return float(covered_shares(a[None], b)[0])


def covered_shares(boxes: np.ndarray, other: np.ndarray) -> np.ndarray:
    """:func:`covered_share` [N], 0 to 1, of each of ``boxes`` [N, 4] in ``other`` [4], all in one unit."""
    sides = np.maximum(np.minimum(boxes[:, 2:], other[2:]) - np.maximum(boxes[:, :2], other[:2]), 0.0)
    return np.prod(sides, axis=1) / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)
