# SPDX-License-Identifier: Apache-2.0
"""Arrays that the kernels write into, made once, so that a solve allocates nothing on its way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .problem import NormalEquations, Rendering

PARAMETERS = 9
MIN_DEPTH = 0.1  # metres; what is nearer to the camera, or behind it, is not seen
CAUCHY_TAIL = 2.0  # sigmas: the priors' cost k^2/2 log(1 + r^2 / k^2) believes ever less of what lies beyond
LONGEST_WINDOW = 32  # cells along one side of a matching window
DIRECTIONS = 32  # in which the outline of the foreground is looked at
BLOCK = 2  # cells along a side of a block that counts as one independent match: neighbours share receptive fields


class Work(NamedTuple):
    """Small float64 arrays of one vertex, one cell or one step; a tuple, because numba reads its fields by name."""

    moments: np.ndarray  # [6] of a window
    profile: np.ndarray  # [LONGEST_WINDOW] of a window along x
    J: np.ndarray  # [2, 9] projection Jacobian
    X: np.ndarray  # [3] point, camera frame
    scaled: np.ndarray  # [3] point, object frame, instance size
    camera: np.ndarray  # [3] camera centre, object frame
    size: np.ndarray  # [3] factors of the mean size
    extreme: np.ndarray  # [4] int64, vertices at the sides of the projected box
    slope: np.ndarray  # [3, 2] of the barycentric weights
    A: np.ndarray  # [9, 9] system that is solved for a step
    b: np.ndarray  # [9]
    step: np.ndarray  # [9]


class Scratch(NamedTuple):
    """What the refinement of one hypothesis writes besides the pose itself; flat, see ``problem.FeatureMap``."""

    work: Work
    index: np.ndarray  # type: ignore[assignment]  # [limit] int64, chosen vertices; hides tuple.index
    weight: np.ndarray  # [limit]
    hit: np.ndarray  # [h / BLOCK + 1, w / BLOCK + 1] uint8
    gradient: np.ndarray  # [9]
    normal: np.ndarray  # [9, 9]
    new_gradient: np.ndarray  # after a step
    new_normal: np.ndarray
    new_R: np.ndarray  # [3, 3]
    new_t: np.ndarray  # [3]
    new_log_size: np.ndarray  # [3]
    screen: np.ndarray  # [V, 3] and what follows: see ``problem.Rendering``
    face_of: np.ndarray  # [h, w] int32
    barycentric: np.ndarray  # [h, w, 3]
    depth: np.ndarray  # [h, w] metres
    seen: np.ndarray  # [h, w]
    extreme: np.ndarray  # [DIRECTIONS] int64 vertices on the outline, see ``outline_term.py``
    highest: np.ndarray  # [DIRECTIONS] cells


def make_work() -> Work:
    """Undefined until a kernel writes it."""
    P = PARAMETERS
    return Work(np.empty(6), np.empty(LONGEST_WINDOW), np.empty((2, P)), np.empty(3), np.empty(3), np.empty(3),
                np.empty(3), np.empty(4, np.int64), np.empty((3, 2)), np.empty((P, P)), np.empty(P), np.empty(P))


def make_scratch(vertices: int, cells: tuple[int, int], limit: int) -> Scratch:
    """For a mesh of ``vertices``, a feature map of ``cells`` (h, w), and up to ``limit`` chosen vertices."""
    h, w = cells
    return Scratch(make_work(), np.empty(limit, np.int64), np.empty(limit),
                   np.empty((h // BLOCK + 1, w // BLOCK + 1), np.uint8), *make_equations(), *make_equations(),
                   np.empty((3, 3)), np.empty(3), np.empty(3), *make_rendering(vertices, cells),
                   np.zeros(DIRECTIONS, np.int64), np.zeros(DIRECTIONS))


def make_equations() -> NormalEquations:
    """Of zeros."""
    return NormalEquations(np.zeros(PARAMETERS), np.zeros((PARAMETERS, PARAMETERS)))


def make_rendering(vertices: int, cells: tuple[int, int]) -> Rendering:
    """Room for a mesh of ``vertices`` in a feature map of ``cells`` (h, w); undefined until it is rasterised."""
    return Rendering(np.empty((vertices, 3)), np.empty(cells, np.int32), np.empty((*cells, 3)), np.empty(cells),
                     np.zeros(cells))
