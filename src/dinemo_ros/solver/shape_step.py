# SPDX-License-Identifier: Apache-2.0
"""A Gauss-Newton step of pose and shape together, by the outline.

A bundle may say how the objects of its category differ from the mean one: modes of shape, displacements of the vertices
per standard deviation, as in an active shape model (Cootes et al., 1995). In the picture alone a mode and the elevation
are one ambiguity (a cone seen level looks like a cylinder seen from above). A support plane settles the elevation, and
then the outline tells the shape; without it the foot of a cup that narrows downwards is sought too low.
"""

from __future__ import annotations

import numpy as np

from ..geometry import so3_exp
from .coarse import Target
from .refine import _MAX_LOG_SIZE, _MAX_ROTATION, _MAX_TRANSLATION, Refined
from .workspace import CAUCHY_TAIL, PARAMETERS

_DAMPING = 1e-3
_FARTHEST = 2.5  # standard deviations of a mode that are believed


def shaped(vertices: np.ndarray, modes: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """[V, 3] metres: ``vertices`` of the mean object, displaced by ``shape`` [K] standard deviations of ``modes``
    [K, V, 3]."""
    return vertices + np.tensordot(shape, modes, 1)


def shape_step(pose: Refined, shape: np.ndarray, vertices: np.ndarray, modes: np.ndarray, outline: np.ndarray,
               target: Target, data: float, prior: np.ndarray) -> np.ndarray:
    """Move ``pose`` in place by a step in which its shape changes as well; the new shape [K].

    Args:
        pose: evaluated with ``vertices`` [V, 3] metres, which have the ``shape`` [K].
        modes: [K, V, 3]. outline: [4, D], see ``outline_term.py``; D > 0.
        data: 1/sigma^2 of the refinement's sum of cosines. prior: [3] 1/sigma^2 of the log-sizes.
    """
    J, missing = _outline_jacobian(pose, vertices, modes, outline, target)
    trust = outline[3] ** 2 / (1.0 + (missing * outline[3] / CAUCHY_TAIL) ** 2)
    P, K = PARAMETERS, len(modes)
    A, b = np.zeros((P + K, P + K)), np.zeros(P + K)
    A[:P, :P], b[:P] = data * pose.normal, data * pose.gradient  # which has the outline's part of the pose
    A[range(6, P), range(6, P)] += prior
    b[6:P] -= prior * pose.log_size
    both = (J * trust[:, None]).T @ J
    A[P:], A[:P, P:] = both[P:], both[:P, P:]
    A[range(P, P + K), range(P, P + K)] += 1.0
    b[P:] = J[:, P:].T @ (trust * missing) - shape
    A[range(P + K), range(P + K)] *= 1.0 + _DAMPING
    A[range(P + K), range(P + K)] += 1e-9
    step = np.linalg.solve(A, b)
    step /= max(1.0, np.abs(step[:3]).max() / (_MAX_TRANSLATION * max(pose.t[2], 0.1)),
                float(np.linalg.norm(step[3:6])) / _MAX_ROTATION, np.abs(step[6:P]).max() / _MAX_LOG_SIZE)
    pose.t += step[:3]
    pose.R[:] = so3_exp(step[3:6]) @ pose.R
    pose.log_size += step[6:P]
    pose.evaluated = False
    return np.clip(shape + step[P:], -_FARTHEST, _FARTHEST)


def _outline_jacobian(pose: Refined, vertices: np.ndarray, modes: np.ndarray, outline: np.ndarray,
                      target: Target) -> tuple[np.ndarray, np.ndarray]:
    """[D, 9 + K] change of the mesh's reach per unknown, and [D] what it lacks of the outline, both in cells."""
    units, size = outline[:2].T, np.exp(pose.log_size)
    points = (vertices * size) @ pose.R.T  # about the origin, along the camera's axes
    X = points + pose.t
    reach = (target.focal * X[:, :2] / X[:, 2:] + target.centre) @ units.T
    extreme = reach.argmax(0)
    p, x = points[extreme], X[extreme]
    across = target.focal / x[:, 2:] * units
    by_place = np.concatenate([across, -np.sum(across * x[:, :2], axis=1, keepdims=True) / x[:, 2:]], axis=1)
    J = np.empty((len(units), PARAMETERS + len(modes)))
    J[:, :3], J[:, 3:6] = by_place, np.cross(p, by_place)
    J[:, 6:9] = (by_place @ pose.R) * (vertices[extreme] * size)
    for k, mode in enumerate(modes):
        J[:, PARAMETERS + k] = np.sum(((mode[extreme] * size) @ pose.R.T) * by_place, axis=1)
    return J, outline[2] - reach[extreme, np.arange(len(units))]
