# SPDX-License-Identifier: Apache-2.0
"""The plane that an object stands on, found in a depth image: nobody has to measure the table.

RANSAC (Fischler and Bolles, 1981) on what was measured round the foot of the object, then least squares. Of several
planes the one wins that most points agree with, those near the foot counting more: behind the edge of a table lies the
floor. An object in a hand or on a box gets the plane of the table; whether it stands there is for the solver to tell.
"""

from __future__ import annotations

import math

import numpy as np

from ..camera.pinhole import Camera
from .depth_image import NEAREST, DepthImage
from .support_plane import SupportPlane

_POINTS = 2000  # that are looked at: more do not make the plane more exact than the camera's calibration is
_TRIALS = 100  # with half of the points on the plane, all but one of a million draws have a triple of them
_FEWEST, _LEAST_SHARE = 60, 0.2  # points on the plane, and what share of all they have to be
_STEEPEST = math.cos(math.radians(50.0))  # of the normal against ``up``
_FRONTAL = 0.15  # least component of the normal against y down, where ``up`` is not known: a wall has none
_NOISE, _NOISE_SHARE = 0.004, 0.004  # metres and share of the depth that a point of the plane may lie off it
_LEAST_NORMAL, _LEAST_OFFSET = math.radians(0.5), 0.002  # of the sigmas: calibration, and no table is quite flat


def find_support(depth: DepthImage, box: np.ndarray, camera: Camera, up: np.ndarray | None = None
                 ) -> SupportPlane | None:
    """The plane round the foot of ``box``, None where there is none.

    Args:
        box: [4] x_min, y_min, x_max, y_max, edges in pixels of ``camera``; of the whole picture its lower half counts.
        up: [3] unit vector against gravity, frame of ``camera``, where it is known. Without it a camera that looks
            straight down finds nothing.
    """
    points, weight = _round_foot(depth, np.asarray(box, dtype=np.float64), camera)
    if len(points) < _FEWEST:
        return None
    normals, offsets = _candidates(points, up)
    if not len(normals):
        return None
    within = _NOISE + _NOISE_SHARE * points[:, 2]
    near = np.abs(points @ normals.T - offsets) < within[:, None]
    inliers = near[:, int((weight @ near).argmax())]
    if inliers.sum() < max(_FEWEST, _LEAST_SHARE * len(points)):
        return None
    return _fitted(points[inliers], up)


def _round_foot(depth: DepthImage, box: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """[N, 3] metres, frame of ``camera``: what was measured beside and below the box, and [N] how much it counts."""
    x0, y0, x1, y1 = box
    wide, high = x1 - x0, y1 - y0
    whole = wide * high > 0.8 * camera.width * camera.height
    ring = np.array([x0 - wide, y0 + 0.5 * high, x1 + wide, y1 + high])
    points = _sampled(depth, ring, camera)
    points = points[points[:, 2] > NEAREST]
    x, y = camera.project(points).T
    kept = (x > ring[0]) & (x < ring[2]) & (y > ring[1]) & (y < ring[3])
    if not whole:
        kept &= ~((x > x0) & (x < x1) & (y < y1))
    away = np.hypot((x - 0.5 * (x0 + x1)) / max(wide, 1.0), (y - y1) / max(high, 1.0))
    return points[kept], np.exp(-away[kept])


def _sampled(depth: DepthImage, ring: np.ndarray, camera: Camera) -> np.ndarray:
    """Some [N, 3] of the measured points, frame of ``camera``; of an aligned image only those in the ``ring`` [4]."""
    if depth.T_cam_depth is not None:
        points = depth.points[:: max(1, len(depth.points) // (20 * _POINTS))]
        return points @ depth.T_cam_depth[:3, :3].T + depth.T_cam_depth[:3, 3]
    height, width = depth.metres.shape
    scale = np.array([width / camera.width, height / camera.height] * 2)
    x0, y0, x1, y1 = np.clip(ring * scale, 0, [width, height] * 2).astype(int)
    step = max(1, int(math.sqrt(max(x1 - x0, 0) * max(y1 - y0, 0) / _POINTS)))
    rows, columns = np.meshgrid(np.arange(y0, y1, step), np.arange(x0, x1, step), indexing="ij")
    return depth.points_of(rows.ravel(), columns.ravel())


def _candidates(points: np.ndarray, up: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Planes through triples of the points: normals [T, 3] towards the camera and offsets [T] metres, without walls."""
    corners = points[np.random.default_rng(0).integers(0, len(points), (_TRIALS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    flat = lengths > 1e-9
    normals, corners = normals[flat] / lengths[flat, None], corners[flat]
    offsets = np.sum(normals * corners[:, 0], axis=1)
    normals = np.where(offsets[:, None] > 0.0, -normals, normals)
    level = np.array([_is_level(normal, up) for normal in normals], bool)
    return normals[level], -np.abs(offsets[level])


def _is_level(normal: np.ndarray, up: np.ndarray | None) -> bool:
    """Whether something can stand on a plane with this ``normal`` [3]."""
    return bool(-normal[1] > _FRONTAL if up is None else normal @ up > _STEEPEST)


def _fitted(points: np.ndarray, up: np.ndarray | None) -> SupportPlane | None:
    """Least squares through the points [N, 3], metres; None where nothing can stand on it."""
    middle = points.mean(0)
    _, spread, axes = np.linalg.svd(points - middle, full_matrices=False)
    normal = axes[2] if axes[2] @ middle < 0.0 else -axes[2]
    offset = float(normal @ middle)
    if offset >= -NEAREST or not _is_level(normal, up):
        return None
    sigma = float(spread[2]) / math.sqrt(len(points))
    return SupportPlane(normal, offset, normal_sigma=max(_LEAST_NORMAL, sigma / max(float(spread[1]), 1e-6)),
                        offset_sigma=max(_LEAST_OFFSET, sigma))
