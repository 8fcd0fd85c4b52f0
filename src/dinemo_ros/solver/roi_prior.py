# SPDX-License-Identifier: Apache-2.0
"""What an observed ROI says about a pose: the four sides of the object's box, as soft observations.

Render-and-compare asks whether the cells inside the outline look right; an outline that is a little too small, or
turned so that it leaves part of the object uncovered, loses nothing by it. The sides of the box see that. Each is one
residual r = (side - projected extreme) / sigma with the robust cost of Cauchy, k^2/2 log(1 + r^2 / k^2) (Holland and
Welsch, 1977), since a detector errs now and then and an occluder cuts a side; the extreme vertex carries the
derivative.
"""

from __future__ import annotations

import math

import numpy as np

from .coarse import Target
from .jit import kernel
from .likelihood import projection_jacobian
from .linear import transform
from .workspace import CAUCHY_TAIL, MIN_DEPTH, PARAMETERS

_LOOSE = 0.05  # sigma of a side as a share of the box; sides wrong by so much leave an IoU of 0.85
_ROUNDING = 0.25  # cells


def roi_sides(target: Target) -> np.ndarray:
    """[2, 4] sides (x_min, y_min, x_max, y_max) in cells, and 1/sigma of each; 0 where a side says nothing.

    The box of a pose of our own is no evidence, and a side on the image border does not tell where the object ends.
    """
    x_min, y_min, x_max, y_max = box = target.box.tolist()
    width, height = max(x_max - x_min, 1.0), max(y_max - y_min, 1.0)
    trust = [1.0 / (_LOOSE * length + _ROUNDING) if target.box_is_observed and not is_open else 0.0
             for length, is_open in zip((width, height) * 2, target.open_sides, strict=True)]
    return np.array([box, trust])


def tells_extent(target: Target) -> bool:
    """Whether the ROI says how wide or how high the object looks: two opposite sides of it are known."""
    known = roi_sides(target)[1] > 0
    return bool((known[:2] & known[2:]).any())


@kernel
def add_roi_prior(sides, vertices, state, camera, unit, equations, work):
    """Add the sides' gradient and Gauss-Newton matrix, times ``unit``, to ``equations``; returns their log-likelihood.

    sides: of :func:`roi_sides`. vertices [V, 3] metres at mean size. Nothing where part of the object is beside the
    camera.
    """
    J, X, scaled, size, extreme = work.J, work.X, work.scaled, work.size, work.extreme
    R, t, focal, gradient, normal = state.R, state.t, camera.focal, equations.gradient, equations.normal
    if sides[1, 0] + sides[1, 1] + sides[1, 2] + sides[1, 3] == 0.0:
        return 0.0
    for k in range(3):
        size[k] = math.exp(state.log_size[k])
    low_x = low_y = math.inf
    high_x = high_y = -math.inf
    for n in range(vertices.shape[0]):
        x, y, z = size[0] * vertices[n, 0], size[1] * vertices[n, 1], size[2] * vertices[n, 2]
        depth = R[2, 0] * x + R[2, 1] * y + R[2, 2] * z + t[2]
        if depth < MIN_DEPTH:
            return 0.0
        u = (R[0, 0] * x + R[0, 1] * y + R[0, 2] * z + t[0]) / depth
        v = (R[1, 0] * x + R[1, 1] * y + R[1, 2] * z + t[1]) / depth
        if u < low_x:
            low_x, extreme[0] = u, n
        if u > high_x:
            high_x, extreme[2] = u, n
        if v < low_y:
            low_y, extreme[1] = v, n
        if v > high_y:
            high_y, extreme[3] = v, n
    value = 0.0
    for side in range(4):
        trust = sides[1, side]
        if trust == 0.0:
            continue
        for k in range(3):
            scaled[k] = size[k] * vertices[extreme[side], k]
        transform(R, t, scaled, X)
        axis = side % 2
        residual = (sides[0, side] - focal * X[axis] / X[2] - camera.centre) * trust
        tail = 1.0 + (residual / CAUCHY_TAIL) ** 2
        value -= 0.5 * CAUCHY_TAIL**2 * math.log(tail)
        projection_jacobian(X, t, R, scaled, focal, J)
        weight = unit * trust / tail
        for a in range(PARAMETERS):
            gradient[a] += weight * residual * J[axis, a]
            for b in range(PARAMETERS):
                normal[a, b] += weight * trust * J[axis, a] * J[axis, b]
    return value
