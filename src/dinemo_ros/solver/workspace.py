# SPDX-License-Identifier: Apache-2.0
"""Arrays that the kernels write into, made once, so that a solve allocates nothing on its way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PARAMETERS = 9
LONGEST_WINDOW = 32  # cells along one side of a matching window
BLOCK = 2  # cells along a side of a block that counts as one independent match: neighbours share receptive fields


class Work(NamedTuple):
    """Small float64 arrays of one vertex, one cell or one step; a tuple, because numba reads its fields by name."""

    moments: np.ndarray  # [6] of a window
    profile: np.ndarray  # [LONGEST_WINDOW] of a window along x
    J: np.ndarray  # [2, 9] projection Jacobian
    X: np.ndarray  # [3] point, camera frame
    scaled: np.ndarray  # [3] point, object frame, instance size
    camera: np.ndarray  # [3] camera centre, object frame
    size: np.ndarray  # [3] exp(log_size)
    extreme: np.ndarray  # [4] int64, vertices at the sides of the projected box
    slope: np.ndarray  # [3, 2] of the barycentric weights
    A: np.ndarray  # [9, 9] system that is solved for a step
    b: np.ndarray  # [9]
    step: np.ndarray  # [9]


class Scratch(NamedTuple):
    """What the refinement of one hypothesis writes besides the pose itself."""

    work: Work
    index: np.ndarray  # type: ignore[assignment]  # [limit] int64, chosen vertices; hides tuple.index
    weight: np.ndarray  # [limit]
    hit: np.ndarray  # [h / BLOCK + 1, w / BLOCK + 1] uint8
    gradient: np.ndarray  # [9]
    normal: np.ndarray  # [9, 9]
    new_gradient: np.ndarray
    new_normal: np.ndarray
    new_R: np.ndarray  # [3, 3]
    new_t: np.ndarray  # [3]
    new_size: np.ndarray  # [3] logarithms
    screen: np.ndarray  # [V, 3] where the vertices are seen, see ``compare.rasterise``
    depth: np.ndarray  # [h, w] metres
    face_of: np.ndarray  # [h, w] int32
    barycentric: np.ndarray  # [h, w, 3]


def make_work() -> Work:
    P = PARAMETERS
    return Work(np.empty(6), np.empty(LONGEST_WINDOW), np.empty((2, P)), np.empty(3), np.empty(3), np.empty(3),
                np.empty(3), np.empty(4, np.int64), np.empty((3, 2)), np.empty((P, P)), np.empty(P), np.empty(P))


def make_scratch(vertices: int, cells: tuple[int, int], limit: int) -> Scratch:
    """For a mesh of ``vertices``, a feature map of ``cells`` (h, w), and up to ``limit`` chosen vertices."""
    P, (h, w) = PARAMETERS, cells
    return Scratch(make_work(), np.empty(limit, np.int64), np.empty(limit),
                   np.empty((h // BLOCK + 1, w // BLOCK + 1), np.uint8), np.empty(P), np.empty((P, P)), np.empty(P),
                   np.empty((P, P)), np.empty((3, 3)), np.empty(3), np.empty(3), np.empty((vertices, 3)),
                   np.empty((h, w)), np.empty((h, w), np.int32), np.empty((h, w, 3)))
