# SPDX-License-Identifier: Apache-2.0
"""Of poses that several boxes have led to, one for each object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..camera.pinhole import Camera
from ..pose import ObjectPose
from .regions import covered_share, distinct_boxes, projected_box

_HIDDEN, _LOW_CONFIDENCE = 0.6, 0.75  # a pose of which so much lies over a better one needs so much of its score


def without_duplicates(poses: Sequence[ObjectPose], camera: Camera, unit: np.ndarray) -> list[ObjectPose]:
    """Of ``poses``, best first, that project onto the same place, the best; their ROI becomes that place.

    One that lies mostly over a better one is kept if it is nearly as good: a car half behind another, no second reading
    of the same one.

    Args:
        unit: [V, 3] vertices of the mesh in a box of side one.
    """
    boxes = np.array([projected_box(pose, camera, unit) for pose in poses]).reshape(-1, 4)
    kept: list[int] = []
    for k in distinct_boxes(boxes, -np.arange(len(poses), dtype=float)):
        if all(covered_share(boxes[k], boxes[better]) < _HIDDEN
               or poses[k].score > _LOW_CONFIDENCE * poses[better].score for better in kept):
            kept.append(k)
    return [replace(poses[k], roi=tuple(boxes[k].tolist())) for k in kept]
