# SPDX-License-Identifier: Apache-2.0
"""What the outline of the foreground says about a pose: how far the object reaches in many directions of the picture.

Render-and-compare asks whether the cells inside the outline look right. On a body without marks, a cup or a bottle,
features say little about its width: a mesh that is too narrow loses nothing, and its foot then stands elsewhere. The
features know where the object ends to a quarter of a cell, though. So the convex hull of the foreground is compared
with that of the mesh, by their support functions: for each direction u one residual, the largest u . p of the
foreground's cells p less that of the projected vertices, with the robust cost of Cauchy, since an occluder cuts the
foreground. The extreme vertex carries the derivative, as in ``roi_prior.py``, whose box is the same in four directions.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from .jit import kernel
from .likelihood import projection_jacobian
from .linear import transform
from .problem import NO_OUTLINE
from .workspace import CAUCHY_TAIL, DIRECTIONS, MIN_DEPTH, PARAMETERS

_FINER = 8  # points per cell along which the foreground's border is looked for
_FOREGROUND = 0.7  # probability at the border; at a half it lies half a cell outside the object ...
_OUTSIDE = 0.25  # ... and at this one a quarter, on renders of cups and bottles
_SIGMA = 0.5  # cells
_BORDER = 0.75  # cells from the map's border at which the object may go on


def outline_term(foreground: np.ndarray) -> np.ndarray:
    """[4, D] unit vectors (x, y), how far the foreground [h, w] reaches along them (cells), and 1/sigma.

    A direction in which the foreground touches the border of the map says nothing; nor does a picture without
    any, or with nothing else.
    """
    h, w = foreground.shape
    fine = cv2.resize(foreground, (w * _FINER, h * _FINER), interpolation=cv2.INTER_LINEAR)
    count, label, stats, _ = cv2.connectedComponentsWithStats((fine > _FOREGROUND).astype(np.uint8))
    if count < 2:
        return NO_OUTLINE
    part = label == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    outer = part & ~cv2.erode(part.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    if not outer.any():  # the object fills the whole map
        return NO_OUTLINE
    y, x = np.nonzero(outer)
    points = (np.stack([x, y], axis=1) + 0.5) / _FINER - 0.5
    reach = points @ _UNITS.T
    farthest = points[reach.argmax(0)]
    at_border = ((farthest < _BORDER - 0.5) | (farthest > np.array([w, h]) - 0.5 - _BORDER)).any(1)
    trust = np.where(at_border, 0.0, 1.0 / _SIGMA)
    return np.ascontiguousarray(np.stack([_UNITS[:, 0], _UNITS[:, 1], reach.max(0) + 0.5 / _FINER - _OUTSIDE, trust]))


def _units() -> np.ndarray:
    angle = 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


_UNITS = _units()


@kernel
def add_outline(outline, vertices, state, camera, unit, equations, work, extreme, highest):
    """Add the outline's gradient and Gauss-Newton matrix, times ``unit``, to ``equations``.

    Args:
        outline: [4, D], see :func:`outline_term`. vertices: [V, 3] metres at mean size.
        extreme, highest: [D] work space. Nothing where part of the object is beside the camera.
    """
    count = outline.shape[1]
    if count == 0:
        return
    J, X, scaled, size = work.J, work.X, work.scaled, work.size
    R, t, focal, centre, gradient, normal = (state.R, state.t, camera.focal, camera.centre, equations.gradient,
                                             equations.normal)
    for k in range(3):
        size[k] = math.exp(state.log_size[k])
    for d in range(count):
        highest[d] = -math.inf
    for n in range(vertices.shape[0]):
        x, y, z = size[0] * vertices[n, 0], size[1] * vertices[n, 1], size[2] * vertices[n, 2]
        depth = R[2, 0] * x + R[2, 1] * y + R[2, 2] * z + t[2]
        if depth < MIN_DEPTH:
            return
        u = focal * (R[0, 0] * x + R[0, 1] * y + R[0, 2] * z + t[0]) / depth + centre
        v = focal * (R[1, 0] * x + R[1, 1] * y + R[1, 2] * z + t[1]) / depth + centre
        for d in range(count):
            reach = outline[0, d] * u + outline[1, d] * v
            if reach > highest[d]:
                highest[d], extreme[d] = reach, n
    for d in range(count):
        trust = outline[3, d]
        if trust == 0.0:
            continue
        for k in range(3):
            scaled[k] = size[k] * vertices[extreme[d], k]
        transform(R, t, scaled, X)
        residual = (outline[2, d] - highest[d]) * trust
        projection_jacobian(X, t, R, scaled, focal, J)
        weight = unit * trust / (1.0 + (residual / CAUCHY_TAIL) ** 2)
        for a in range(PARAMETERS):
            along = outline[0, d] * J[0, a] + outline[1, d] * J[1, a]
            gradient[a] += weight * residual * along
            for b in range(PARAMETERS):
                normal[a, b] += weight * trust * along * (outline[0, d] * J[0, b] + outline[1, d] * J[1, b])
