# SPDX-License-Identifier: Apache-2.0
"""The painter's algorithm (Newell, Newell and Sancha, 1972): which face of a mesh each pixel of an orthographic view
shows."""

from __future__ import annotations

import cv2
import numpy as np

_FRACTION_BITS = 4  # of the corners' fixed-point coordinates


def painted_faces(pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, side: int) -> np.ndarray:
    """[side, side] int32 index of the face that each pixel shows, -1 where there is none.

    Args:
        pixels: [V, 2] where the vertices lie, pixel centres at integers; depth: [V], larger is farther.
        faces: [F, 3]. Far ones are painted first; near ones cover them.
    """
    canvas = np.full((side, side), -1, np.int32)
    corners = np.round(pixels[faces] * 2**_FRACTION_BITS).astype(np.int32)
    order = np.argsort(-depth[faces].mean(axis=1))
    for face, triangle in zip(order.tolist(), corners[order], strict=True):
        cv2.fillConvexPoly(canvas, triangle, face, cv2.LINE_8, _FRACTION_BITS)
    return canvas
