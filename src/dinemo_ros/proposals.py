# SPDX-License-Identifier: Apache-2.0
"""Regions of interest from the neural mesh itself, for when no detector is there.

The backbone runs over the whole frame at several scales; cells that some vertex explains better than clutter are
foreground. Neighbouring foreground cells belong to one object where their best vertices are neighbours on the mesh: a
row of parked cars is one blob of foreground, but from one car's tail to the next one's bonnet the vertex jumps.
Every scale trusts boxes of the sizes the crops were trained with. The pose solver has the last word: a box without the
object gets a low score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from .bundle import Bundle
from .camera import Camera
from .crop import BORDER_GREY
from .features import FeatureExtractor
from .pose import ObjectPose
from .regions import distinct_boxes, projected_box
from .solver.jit import kernel

_LONG_SIDES = (384, 640, 1024)  # pixels the frame's longer side is scaled to
_BOX_CELLS = (5, 40)  # longer side of a box at the scale it is found in, cells
_FOREGROUND = 0.5  # probability
_SAME_OBJECT = 0.3  # of the mesh diagonal: how far apart the vertices of neighbouring cells of one object may lie
_LIMIT = 12  # boxes per frame that are handed to the solver
_VERTICES = 256  # evenly spread vertices suffice to tell foreground from background


class Proposer:
    """Finds candidate boxes of the bundle's category in a frame."""

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        step = max(1, len(bundle.mesh.vertices) // _VERTICES)
        self._features, self._clutter = bundle.mesh.features[::step], bundle.mesh.clutter
        self._vertices = bundle.mesh.vertices[::step]
        self._unit = bundle.mesh.vertices / bundle.mesh.extent
        self._jump = _SAME_OBJECT * float(np.linalg.norm(bundle.mesh.extent))
        self._temperature, self._stride = bundle.card.features.temperature, bundle.card.image.stride

    def __call__(self, image: np.ndarray) -> list[tuple[float, float, float, float]]:
        """(x_min, y_min, x_max, y_max) pixels in ``image`` uint8 [H, W, 3], the most convincing first."""
        longest = max(image.shape[:2])
        sides = [side for side in _LONG_SIDES if side < 1.5 * longest] or [_LONG_SIDES[0]]
        boxes, scores = [], []
        for side in sides:
            for box, score in self._boxes(*self.surface(image, side / longest)):
                boxes.append(box * self._stride * longest / side)
                scores.append(score)
        keep = distinct_boxes(np.array(boxes).reshape(-1, 4), np.array(scores))[:_LIMIT]
        size = np.array(image.shape[1::-1] * 2)
        return [tuple(np.clip(boxes[k], 0, size).tolist()) for k in keep]

    def surface(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """What each cell of the frame scaled by ``scale`` shows.

        Returns:
            foreground: [h, w] probability that it is the object.
            points: [h, w, 3] metres, object frame, the vertex that fits best.
        """
        height, width = (max(1, round(scale * n)) for n in image.shape[:2])
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        padded = cv2.copyMakeBorder(resized, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=BORDER_GREY)
        F = self._extractor(padded[None])[0][:, :-(-height // self._stride), :-(-width // self._stride)]
        cells = F.reshape(len(F), -1)
        similarity = self._features @ cells
        margin = similarity.max(axis=0) - (self._clutter @ cells).max(axis=0)
        foreground = (1.0 / (1.0 + np.exp(-margin / self._temperature))).reshape(F.shape[1:])
        return foreground, self._vertices[similarity.argmax(axis=0)].reshape(*F.shape[1:], 3)

    def _boxes(self, foreground: np.ndarray, points: np.ndarray):
        """(box [4] in cells with edges at integers, score) of every piece of one object of a fitting size."""
        labels = np.zeros(foreground.shape, np.int32)
        for label in range(1, 1 + label_objects(foreground > _FOREGROUND, points, self._jump, labels)):
            rows, columns = np.nonzero(labels == label)
            x, y, w, h = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
            if _BOX_CELLS[0] <= max(w, h) <= _BOX_CELLS[1] and len(rows) >= 0.3 * w * h:
                score = float(foreground[rows, columns].mean() * len(rows) ** 0.5)
                yield np.array([x, y, x + w, y + h], dtype=float), score

    def without_duplicates(self, poses: Sequence[ObjectPose], camera: Camera) -> list[ObjectPose]:
        """Of poses, best first, that project onto the same place, the best; their ROI becomes that place."""
        boxes = np.array([projected_box(pose, camera, self._unit) for pose in poses]).reshape(-1, 4)
        return [replace(poses[k], roi=tuple(boxes[k].tolist()))
                for k in distinct_boxes(boxes, -np.arange(len(poses), dtype=float))]


@kernel
def label_objects(mask, points, jump, labels):
    """Fill ``labels`` int32 [h, w]: 1, 2, ... per piece of ``mask``, neighbours' points nearer than ``jump``.

    Flood fill over the four neighbours; returns the number of pieces.
    """
    h, w = mask.shape
    stack = np.empty((h * w, 2), np.int32)
    count = 0
    for i0 in range(h):
        for j0 in range(w):
            if not mask[i0, j0] or labels[i0, j0]:
                continue
            count += 1
            labels[i0, j0] = count
            stack[0, 0], stack[0, 1] = i0, j0
            top = 1
            while top:
                top -= 1
                i, j = stack[top, 0], stack[top, 1]
                for k in range(4):
                    a, b = i + (k == 0) - (k == 1), j + (k == 2) - (k == 3)
                    if a < 0 or b < 0 or a >= h or b >= w or not mask[a, b] or labels[a, b]:
                        continue
                    x = points[a, b, 0] - points[i, j, 0]
                    y = points[a, b, 1] - points[i, j, 1]
                    z = points[a, b, 2] - points[i, j, 2]
                    if x * x + y * y + z * z < jump * jump:
                        labels[a, b] = count
                        stack[top, 0], stack[top, 1] = a, b
                        top += 1
    return count
