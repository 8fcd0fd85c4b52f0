# SPDX-License-Identifier: Apache-2.0
"""What a known support plane says about a pose: the object's foot lies on it, its axis along the normal.

Three residuals, each over its standard deviation: the foot's height above the plane, and the two components of the
object's z axis across the normal. The foot is the middle of the bottom of the object's box. In the picture an object
that is larger and farther away looks the same; its foot stands at another height, and that is what tells the distance.

Whether an object stands on the plane at all is decided beforehand (``observing.py``): one in a hand or on a box must
not be drawn down to the table, and a robust cost alone does not keep it from that, because the size prior that holds
against it is weak.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .jit import kernel
from .workspace import PARAMETERS

if TYPE_CHECKING:
    from ..scene.support_plane import SupportPlane
    from .category import Category

def support_term(plane: SupportPlane, category: Category) -> np.ndarray:
    """[9] of a ``plane`` in the crop camera frame, as :func:`add_support` reads it.

    1/sigma^2 of the offset (0: there is no plane) and of the normal, the normal, its offset, the object's lowest z at
    mean size, true over solved distance, and by how much the refinement's data claim too much.
    """
    return np.array([plane.offset_sigma**-2, plane.normal_sigma**-2, *plane.normal, plane.offset_m,
                     lowest(category), category.depth_scale, category.covariance_scale])


def lowest(category: Category) -> float:
    """z of the bottom of the object's box at mean size, metres."""
    return float(category.surface.vertices[:, 2].min())


def foot(R: np.ndarray, t: np.ndarray, log_size: np.ndarray, category: Category) -> np.ndarray:
    """[3] metres, crop camera frame: where an object of the solver's pose R [3, 3], t [3] touches what it stands on."""
    return R[:, 2] * lowest(category) * math.exp(log_size[2]) + category.depth_scale * t


@kernel
def add_support(term, state, unit, equations):
    """Add the gradient and Gauss-Newton matrix of the plane's residuals, times ``unit``, to ``equations``.

    term: [9], see :func:`support_term`.
    """
    gradient, normal, R, t = equations.gradient, equations.normal, state.R, state.t
    offset_trust, tilt_trust, scale = term[0], term[1], term[7]
    if offset_trust == 0.0:
        return
    nx, ny, nz = term[2], term[3], term[4]
    bottom = term[6] * math.exp(state.log_size[2])
    ax, ay, az = R[0, 2], R[1, 2], R[2, 2]
    down = bottom * (nx * ax + ny * ay + nz * az)  # of the foot below the origin, along the normal
    height = down + scale * (nx * t[0] + ny * t[1] + nz * t[2]) - term[5]
    # d height / d (translation, rotation, log-sizes); a rotation w moves the axis by w x a, n . (w x a) = w . (a x n)
    cx, cy, cz = ay * nz - az * ny, az * nx - ax * nz, ax * ny - ay * nx
    slope = (scale * nx, scale * ny, scale * nz, bottom * cx, bottom * cy, bottom * cz, 0.0, 0.0, down)
    weight = unit * term[8] * offset_trust
    for k in range(PARAMETERS):
        gradient[k] -= weight * height * slope[k]
        for m in range(PARAMETERS):
            normal[k, m] += weight * slope[k] * slope[m]
    # The sine of the tilt is |a x n|; turned about its direction by w the axis comes nearer. Its square has the matrix
    # of the two directions across the axis.
    weight = unit * term[8] * tilt_trust
    cross, axis = (cx, cy, cz), (ax, ay, az)
    for k in range(3):
        gradient[3 + k] += weight * cross[k]
        for m in range(3):
            normal[3 + k, 3 + m] += weight * ((1.0 if k == m else 0.0) - axis[k] * axis[m])
