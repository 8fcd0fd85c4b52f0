# SPDX-License-Identifier: Apache-2.0
"""Regions of interest from the neural mesh itself, for when no detector is there.

The backbone runs over the whole frame at several scales; cells that some vertex explains better than clutter are
foreground, and connected foreground becomes a box. Every scale trusts boxes of the sizes the crops were trained with.
The pose solver has the last word: a box without a car gets a low score.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .bundle import Bundle
from .camera import Camera
from .crop import BORDER_GREY
from .features import FeatureExtractor
from .pose import ObjectPose

_LONG_SIDES = (384, 640, 1024)  # pixels the frame's longer side is scaled to
_BOX_CELLS = (5, 40)  # longer side of a box at the scale it is found in, cells
_FOREGROUND = 0.5  # probability
_OVERLAP = 0.5  # intersection over union above which two boxes are one object
_LIMIT = 12  # boxes per frame that are handed to the solver
_VERTICES = 256  # evenly spread vertices suffice to tell foreground from background


class Proposer:
    """Finds candidate boxes of the bundle's category in a frame."""

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        step = max(1, len(bundle.mesh.vertices) // _VERTICES)
        self._features, self._clutter = bundle.mesh.features[::step], bundle.mesh.clutter
        self._temperature, self._stride = bundle.card.features.temperature, bundle.card.image.stride

    def __call__(self, image: np.ndarray) -> list[tuple[float, float, float, float]]:
        """(x_min, y_min, x_max, y_max) pixels in ``image`` uint8 [H, W, 3], the most convincing first."""
        longest = max(image.shape[:2])
        sides = [side for side in _LONG_SIDES if side < 1.5 * longest] or [_LONG_SIDES[0]]
        boxes, scores = [], []
        for side in sides:
            for box, score in self._boxes(self.foreground(image, side / longest)):
                boxes.append(box * self._stride * longest / side)
                scores.append(score)
        keep = distinct_boxes(np.array(boxes).reshape(-1, 4), np.array(scores))[:_LIMIT]
        size = np.array(image.shape[1::-1] * 2)
        return [tuple(np.clip(boxes[k], 0, size).tolist()) for k in keep]

    def foreground(self, image: np.ndarray, scale: float) -> np.ndarray:
        """Probability [h, w] that a cell of the frame scaled by ``scale`` shows the object."""
        height, width = (max(1, round(scale * n)) for n in image.shape[:2])
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        padded = cv2.copyMakeBorder(resized, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=BORDER_GREY)
        F = self._extractor(padded[None])[0]
        cells = F.reshape(len(F), -1)
        margin = (self._features @ cells).max(axis=0) - (self._clutter @ cells).max(axis=0)
        probability = (1.0 / (1.0 + np.exp(-margin / self._temperature))).reshape(F.shape[1:])
        return probability[:-(-height // self._stride), :-(-width // self._stride)]

    def _boxes(self, foreground: np.ndarray):
        """(box [4] in cells with edges at integers, score) of every connected piece of foreground of a fitting size."""
        mask = (foreground > _FOREGROUND).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for label in range(1, count):
            x, y, w, h, area = stats[label]
            if _BOX_CELLS[0] <= max(w, h) <= _BOX_CELLS[1] and area >= 0.3 * w * h:
                yield np.array([x, y, x + w, y + h], dtype=float), float(foreground[labels == label].mean() * area**0.5)

    def without_duplicates(self, poses: Sequence[ObjectPose], camera: Camera) -> list[ObjectPose]:
        """Of poses, best first, that project onto the same place, the best."""
        boxes = np.array([projected_box(pose, camera) for pose in poses]).reshape(-1, 4)
        return [poses[k] for k in distinct_boxes(boxes, -np.arange(len(poses), dtype=float))]


def projected_box(pose: ObjectPose, camera: Camera) -> np.ndarray:
    """[4] pixels: bounding box in the image of the object's eight box corners, clipped to the image."""
    corners = 0.5 * pose.size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    points = corners @ pose.T_cam_obj[:3, :3].T + pose.T_cam_obj[:3, 3]
    points[:, 2] = np.maximum(points[:, 2], 0.1)
    pixels = camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return np.clip(np.r_[low, high], 0, [camera.width, camera.height] * 2)


def distinct_boxes(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression: indices of boxes [N, 4] by falling score [N], pairwise overlap below 0.5."""
    kept: list[int] = []
    for k in np.argsort(-scores):
        if all(overlap(boxes[k], boxes[other]) < _OVERLAP for other in kept):
            kept.append(int(k))
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (x_min, y_min, x_max, y_max)."""
    side = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0)
    common = float(side[0] * side[1])
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return common / max(areas - common, 1e-9)
