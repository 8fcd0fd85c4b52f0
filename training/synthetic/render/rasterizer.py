# SPDX-License-Identifier: Apache-2.0
"""A z-buffer triangle rasteriser for pinhole cameras.

Pixel (i, j) is sampled at its centre, image coordinates (x, y) = (j, i), the convention of
``dinemo_ros.camera.pinhole``. Barycentric weights are perspective correct: they interpolate in 3-D, not in the image.
Triangles that reach behind ``NEAR`` are dropped whole; nothing here looks from inside an object.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dinemo_ros.solver.jit import kept

NEAR = 0.05  # metres


class Fragments(NamedTuple):
    """What each pixel sees; a tuple, because the shading kernel takes it whole.

    Attributes:
        depth: [H, W] float32, z in the camera optical frame in metres, inf where nothing is hit.
        face: [H, W] int32 index of the face, -1 where nothing is hit.
        weights: [H, W, 3] float32 barycentric weights of the face's corners in 3-D.
    """

    depth: np.ndarray
    face: np.ndarray
    weights: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        return self.face >= 0


def rasterize(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, T_cam_obj: np.ndarray,
              size: tuple[int, int]) -> Fragments:
    """Draw a mesh; both sides of a triangle are drawn.

    Args:
        vertices: [V, 3] metres, object frame.
        faces: [F, 3] vertex indices.
        K: [3, 3] pixels, no skew.
        T_cam_obj: [4, 4] object frame to camera optical frame, metres.
        size: (width, height) pixels.
    """
    width, height = size
    points = np.asarray(vertices, dtype=np.float64) @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    depth = np.full((height, width), np.inf, dtype=np.float32)
    face = np.full((height, width), -1, dtype=np.int32)
    weights = np.zeros((height, width, 3), dtype=np.float32)
    _fill(points, np.ascontiguousarray(faces, dtype=np.int32), K[0, 0], K[1, 1], K[0, 2], K[1, 2], depth, face, weights)
    return Fragments(depth, face, weights)


@kept(error_model="numpy")
def _fill(points, faces, fx, fy, cx, cy, depth, face, weights):
    """Half-space rasterisation: 1/z and weight/z are affine in the image (Blinn, 'Hyperbolic Interpolation')."""
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = points[a, 2], points[b, 2], points[c, 2]
        if za < NEAR or zb < NEAR or zc < NEAR:
            continue
        xa, ya = fx * points[a, 0] / za + cx, fy * points[a, 1] / za + cy
        xb, yb = fx * points[b, 0] / zb + cx, fy * points[b, 1] / zb + cy
        xc, yc = fx * points[c, 0] / zc + cx, fy * points[c, 1] / zc + cy
        area = (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa)
        if area == 0.0 or not np.isfinite(area):
            continue
        x0 = max(0, int(np.ceil(min(xa, xb, xc))))
        x1 = min(width - 1, int(np.floor(max(xa, xb, xc))))
        y0 = max(0, int(np.ceil(min(ya, yb, yc))))
        y1 = min(height - 1, int(np.floor(max(ya, yb, yc))))
        inv_area = 1.0 / area
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                wa = ((xb - x) * (yc - y) - (yb - y) * (xc - x)) * inv_area
                wb = ((xc - x) * (ya - y) - (yc - y) * (xa - x)) * inv_area
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                qa, qb, qc = wa / za, wb / zb, wc / zc
                z = 1.0 / (qa + qb + qc)
                if z < depth[y, x]:
                    depth[y, x] = z
                    face[y, x] = f
                    weights[y, x, 0] = qa * z
                    weights[y, x, 1] = qb * z
                    weights[y, x, 2] = qc * z


def visible_vertices(points: np.ndarray, depth: np.ndarray, K: np.ndarray, T_cam_obj: np.ndarray,
                     tolerance: float = 0.03) -> np.ndarray:
    """Which ``points`` [N, 3] (metres, object frame) lie inside the picture and on the surface seen in ``depth``.

    A point counts when it is at most ``tolerance`` metres behind the largest depth of the 3 x 3 pixels around its
    projection: at a silhouette the nearest pixel may just miss the surface. Returns bool [N].
    """
    height, width = depth.shape
    camera_points = points @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    z = camera_points[:, 2]
    in_front = z > NEAR
    pixels = camera_points[:, :2] / np.where(in_front, z, 1.0)[:, None] * [K[0, 0], K[1, 1]] + K[:2, 2]
    column, row = np.round(pixels).astype(int).T
    inside = in_front & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    finite = np.pad(np.where(np.isfinite(depth), depth, 0.0), 1)
    column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    around = np.stack([finite[row + i, column + j] for i in range(3) for j in range(3)]).max(axis=0)
    return inside & (z <= around + tolerance)
