# SPDX-License-Identifier: Apache-2.0
"""How far an object reaches in a picture for which nobody drew a mask: the silhouette of an estimated pose."""

from __future__ import annotations

import cv2
import numpy as np

from ..camera.pinhole import Camera
from ..drawing.overlay import NEAR_M
from ..pose import Hypothesis
from .truth import ReferenceObject, transform


def silhouette(pose: Hypothesis, reference: ReferenceObject, camera: Camera) -> np.ndarray:
    """Mask bool [H, W] of the pixels that the mesh at ``pose`` fills."""
    points = transform(pose.T_cam_obj, reference.unit * pose.size)
    mask = np.zeros((camera.height, camera.width), np.uint8)
    before = points[:, 2] > NEAR_M
    pixels = np.zeros((len(points), 2))
    pixels[before] = camera.project(points[before])
    corners = np.round(pixels[reference.faces[before[reference.faces].all(axis=1)]] * 16)
    for triangle in np.clip(corners, -(1 << 24), 1 << 24).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1, cv2.LINE_8, 4)
    return mask > 0
