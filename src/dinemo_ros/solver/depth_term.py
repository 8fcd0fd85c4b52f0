# SPDX-License-Identifier: Apache-2.0
"""What a depth image says about a pose: the measured points lie on the rendered surface.

Per cell that sees the object one residual, point to plane (Chen and Medioni, 1992): the distance of the measured point
from the surface's tangent. It counts by the probability that the cell shows the object at all, which render-and-compare
knows from the features, and by how well it fits: what stands before the object, or behind one that is transparent, has
another depth and no say (a mixture of a Gaussian and a constant, as in Hampel's redescending estimators). So the fit
must begin near: ``observing.py`` looks for the scale at which most cells agree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .jit import kernel
from .linear import transform
from .workspace import PARAMETERS

if TYPE_CHECKING:
    from .category import Category

_SHAPE = 0.04  # of the mean object's diagonal: how far its surface lies from that of the mean shape
_CORRELATED = 12.0  # cells that err alike, because a wall of the object is thicker or thinner than the mean one
_TAIL = 3.0  # standard deviations at which a point is as likely to be of something else
_GRAZING = 0.2  # cosine between surface and ray below which a cell's depth says nothing of where the surface is


def depth_noise(category: Category) -> np.ndarray:
    """[3] 1/sigma^2 of a cell, true over solved distance, by how much the refinement's data claim too much."""
    sigma = spread(category)
    return np.array([sigma**-2, category.depth_scale, category.covariance_scale])


def spread(category: Category) -> float:
    """Standard deviation of a measured point from the surface, metres."""
    return _SHAPE * float(np.linalg.norm(np.ptp(category.surface.vertices, axis=0)))


@kernel
def add_depth(depth, noise, surface, rendering, state, camera, unit, equations, work):
    """Add the gradient and Gauss-Newton matrix of the depth's residuals, times ``unit``, to ``equations``.

    Args:
        depth: [h, w] metres, 0 where nothing was measured; of no size: there is none.
        noise: [3], see :func:`depth_noise`.
        rendering: of the state, with the probability that each cell shows the object.

    Returns the sum of the weights of the cells that fit.
    """
    fitting = 0.0
    if depth.shape[0] == 0 or noise[0] == 0.0:
        return fitting
    gradient, normal, R, t = equations.gradient, equations.normal, state.R, state.t
    X, A, scaled, slope = work.X, work.camera, work.scaled, work.step
    shift = (noise[1] - 1.0) * t[2]  # the solver's metres to true ones
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            face, measured = rendering.face_of[i, j], depth[i, j]
            if face < 0 or measured <= 0.0:
                continue
            corners, z = surface.faces[face], rendering.depth[i, j]
            for k in range(3):
                scaled[k] = math.exp(state.log_size[k]) * surface.vertices[corners[0], k]
            transform(R, t, scaled, A)
            for k in range(3):
                scaled[k] = math.exp(state.log_size[k]) * surface.vertices[corners[1], k]
            transform(R, t, scaled, X)
            ux, uy, uz = X[0] - A[0], X[1] - A[1], X[2] - A[2]
            for k in range(3):
                scaled[k] = math.exp(state.log_size[k]) * surface.vertices[corners[2], k]
            transform(R, t, scaled, X)
            vx, vy, vz = X[0] - A[0], X[1] - A[1], X[2] - A[2]
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            length = math.sqrt(nx * nx + ny * ny + nz * nz)
            if length < 1e-12:
                continue
            nx, ny, nz = nx / length, ny / length, nz / length
            rx, ry = (j - camera.centre) / camera.focal, (i - camera.centre) / camera.focal
            along = nx * rx + ny * ry + nz  # per metre of depth
            if abs(along) < _GRAZING * math.sqrt(rx * rx + ry * ry + 1.0):
                continue
            residual = along * (measured - z - shift)
            fit = math.exp(-0.5 * noise[0] * residual * residual)
            weight = rendering.seen[i, j] * fit / (fit + math.exp(-0.5 * _TAIL * _TAIL))
            fitting += weight
            weight *= unit * noise[2] * noise[0] / _CORRELATED
            X[0], X[1], X[2] = rx * z - t[0], ry * z - t[1], z - t[2]
            slope[0], slope[1], slope[2] = nx, ny, nz * noise[1]
            slope[3], slope[4], slope[5] = X[1] * nz - X[2] * ny, X[2] * nx - X[0] * nz, X[0] * ny - X[1] * nx
            for k in range(3):  # along the object's axis k the point lies R_k . X from the origin
                part = R[0, k] * X[0] + R[1, k] * X[1] + R[2, k] * X[2]
                slope[6 + k] = part * (nx * R[0, k] + ny * R[1, k] + nz * R[2, k])
            for k in range(PARAMETERS):
                gradient[k] += weight * residual * slope[k]
                for m in range(PARAMETERS):
                    normal[k, m] += weight * slope[k] * slope[m]
    return fitting
