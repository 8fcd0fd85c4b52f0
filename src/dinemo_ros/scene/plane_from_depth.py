# SPDX-License-Identifier: Apache-2.0
"""The plane that an object stands on, found in a depth image: nobody has to measure the table."""

from __future__ import annotations

import math

import numpy as np

from ..camera.pinhole import Camera
from .depth_image import NEAREST, DepthImage
from .support_plane import SupportPlane

_POINTS, _TRIALS, _FEWEST = 2000, 100, 60
_STEEPEST = math.cos(math.radians(50.0))  # of the normal against ``up``
_FRONTAL = 0.15  # least share of the normal against y down, where ``up`` is not known


def find_support(depth: DepthImage, box: np.ndarray, camera: Camera, up: np.ndarray | None = None
                 ) -> SupportPlane | None:
    """The plane round the foot of ``box`` [4] (edges, pixels of ``camera``), None where there is none.

    up: [3] unit vector against gravity, frame of ``camera``, where it is known.
    """
    points = _ring(depth, np.asarray(box, dtype=np.float64), camera)
    if len(points) < _FEWEST:
        return None
    draw = np.random.default_rng(0)
    corners = points[draw.integers(0, len(points), (_TRIALS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals, corners = normals[lengths > 1e-9] / lengths[lengths > 1e-9, None], corners[lengths > 1e-9]
    offsets = (normals * corners[:, 0]).sum(1)
    normals = np.where(offsets[:, None] > 0.0, -normals, normals)
    offsets = -np.abs(offsets)
    right = -normals[:, 1] > _FRONTAL if up is None else normals @ up > _STEEPEST
    normals, offsets = normals[right], offsets[right]
    if not len(normals):
        return None
    within = 0.004 + 0.004 * float(np.median(points[:, 2]))
    count = (np.abs(points @ normals.T - offsets) < within).sum(0)
    best = int(count.argmax())
    near = points[np.abs(points @ normals[best] - offsets[best]) < within]
    return _fitted(near, up) if len(near) >= max(_FEWEST, 0.2 * len(points)) else None


def _ring(depth: DepthImage, box: np.ndarray, camera: Camera) -> np.ndarray:
    """[N, 3] metres, frame of ``camera``: what was measured round the lower half of the box."""
    points = depth.points()
    points = points[:: max(1, len(points) // (20 * _POINTS))]
    if depth.T_cam_depth is not None:
        points = points @ depth.T_cam_depth[:3, :3].T + depth.T_cam_depth[:3, 3]
    points = points[points[:, 2] > NEAREST]
    x, y = camera.project(points).T
    x0, y0, x1, y1 = box
    wide, high = x1 - x0, y1 - y0
    near = (x > x0 - wide) & (x < x1 + wide) & (y > y0 + 0.5 * high) & (y < y1 + high)
    whole = wide * high > 0.8 * camera.width * camera.height
    points = points[near if whole else near & ~((x > x0) & (x < x1) & (y < y1))]
    return points[:: max(1, -(-len(points) // _POINTS))]


def _fitted(points: np.ndarray, up: np.ndarray | None) -> SupportPlane | None:
    """Least squares through the points [N, 3], unless it is a wall."""
    middle = points.mean(0)
    _, spread, axes = np.linalg.svd(points - middle, full_matrices=False)
    normal = axes[2] if axes[2] @ middle < 0.0 else -axes[2]
    offset = float(normal @ middle)
    if offset >= -NEAREST or (-normal[1] <= _FRONTAL if up is None else normal @ up <= _STEEPEST):
        return None
    sigma = float(spread[2]) / math.sqrt(len(points))
    return SupportPlane(normal, offset, normal_sigma=max(math.radians(0.5), sigma / max(float(spread[1]), 1e-6)),
                        offset_sigma=max(0.002, sigma))
