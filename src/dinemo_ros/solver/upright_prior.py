# SPDX-License-Identifier: Apache-2.0
"""Cameras and objects mostly stand upright: a weak prior on how far the object leans sideways in the picture.

The search's thetas are the leanings that the category's card expects. Where little of the object is seen, or it is far
away, the picture hardly tells a lean of a few degrees, and render-and-compare then takes whatever noise says. The
residual is the sideways component of the object's z axis in the crop camera, r = R_xz = sin(lean) cos(elevation), which
fades for views from above, where there is no lean; the cost is that of Cauchy: an object that really lies on its side
may.
"""

from __future__ import annotations

import math

import numpy as np

from ..model.bundle import SearchSpec
from .jit import kernel
from .workspace import CAUCHY_TAIL

_WIDER = 2.0  # than the search's thetas: those are where poses are looked for, not all there are
_NARROWEST, _WIDEST = math.radians(10.0), math.radians(60.0)  # a search that turns pictures about expects any lean


def upright_prior(search: SearchSpec, covariance_scale: float) -> np.ndarray:
    """[2]: 1/sigma^2 of the residual (a sine), and the factor by which the refinement's data claim too much.

    search: its thetas, degrees, are the leanings that are expected. covariance_scale: of the category's card.
    """
    sigma = max(_WIDER * math.radians(float(np.sqrt(np.mean(np.square(search.theta_deg))))), _NARROWEST)
    return np.array([0.0 if sigma > _WIDEST else 1.0 / math.sin(sigma) ** 2, covariance_scale])


@kernel
def add_upright_prior(upright, R, unit, equations):
    """Add the gradient and Gauss-Newton matrix of :func:`upright_prior`, times ``unit``, to ``equations``.

    R [3, 3]: object to crop camera.
    """
    gradient, normal = equations.gradient, equations.normal
    lean, along, across = R[0, 2], R[2, 2], -R[1, 2]  # d lean / d rotation about the camera's y and z axes
    weight = unit * upright[1] * upright[0] / (1.0 + upright[0] * (lean / CAUCHY_TAIL) ** 2)
    gradient[4] -= weight * lean * along
    gradient[5] -= weight * lean * across
    normal[4, 4] += weight * along * along
    normal[5, 5] += weight * across * across
    normal[4, 5] += weight * along * across
    normal[5, 4] += weight * along * across
