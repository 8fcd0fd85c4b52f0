# SPDX-License-Identifier: Apache-2.0
"""Refinement of one pose and size: windowed matching with a wide basin, then render-and-compare for the last digit.

``climb`` is a damped Newton method on the objective of ``likelihood.py``, ``polish`` Gauss-Newton on that of
``compare.py``. Both work on the same nine unknowns with a Gaussian prior on the three log-sizes, which is what gives a
metric distance to a single picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .compare import compare, rasterise
from .jit import kernel
from .likelihood import PARAMETERS, accumulate, choose_vertices
from .linear import rotate, solve_positive, transform
from .similarity import SimilarityVolume
from .surface import Surface

# Cells per independent measurement: neighbours share their receptive field. For matches (a side of the block), where it
# only balances the size prior, and for rendered cells, where it was fitted to a half-trained model's errors.
_BLOCK, CORRELATED = 2, 16
_MAX_ROTATION, _MAX_TRANSLATION, _MAX_LOG_SIZE = 0.35, 0.25, 0.1  # per step: radians, share of the depth, log


@dataclass
class Refined:
    """A pose in the crop camera frame; the functions below move it in place.

    Attributes:
        R: [3, 3]; t: [3] metres; log_size: [3] log of size over the category's mean.
        normal: [9, 9] Gauss-Newton matrix of the sum of cosines, order as in ``likelihood.py``.
        score: mean over the object's rendered cells of max(cosine - rival, 0), 0 to 1.
        cosine: mean over the explained cells; visible: share of the rendered cells that are explained.
    """

    R: np.ndarray
    t: np.ndarray
    log_size: np.ndarray = field(default_factory=lambda: np.zeros(3))
    normal: np.ndarray = field(default_factory=lambda: np.zeros((PARAMETERS, PARAMETERS)))
    score: float = 0.0
    cosine: float = 0.0
    visible: float = 0.0


def climb(volume: SimilarityVolume, surface: Surface, prior: np.ndarray, focal: float, centre: float, pose: Refined,
          schedule: np.ndarray, inside: np.ndarray, limit: int) -> None:
    """Move ``pose`` uphill on the windowed likelihood.

    prior [3]: 1/sigma^2 of the log-sizes. schedule [stages, 2]: window sigma in cells, Newton steps.
    inside [stages, h, w] float32: trust in a vertex at a cell, see :func:`weigh`. limit: number of vertices.
    """
    _climb(volume.odds, surface.vertices, surface.normals, surface.visible, surface.azimuths, surface.elevations, prior,
           focal, centre, pose.R, pose.t, pose.log_size, schedule, inside, limit)


def polish(volume: SimilarityVolume, surface: Surface, prior: np.ndarray, focal: float, centre: float, pose: Refined,
           temperature: float, dimension: float, steps: int) -> None:
    """Move ``pose`` by ``steps`` Gauss-Newton steps of render-and-compare, and judge it.

    dimension: in how many directions features vary, see :func:`noise_variance`.
    """
    pose.score, pose.cosine, pose.visible = _polish(
        volume.cells, volume.rival, temperature, dimension, surface.features, surface.gram, surface.vertices,
        surface.faces, prior, focal, centre, pose.R, pose.t, pose.log_size, pose.normal, steps)


@kernel
def _climb(odds, vertices, normals, visible, azimuths, elevations, prior, focal, centre, R, t, log_size, schedule,
           inside, limit):
    index, weight = np.empty(limit, np.int64), np.empty(limit)
    gradient, normal, step = np.empty(PARAMETERS), np.empty((PARAMETERS, PARAMETERS)), np.empty(PARAMETERS)
    new_gradient, new_normal = np.empty(PARAMETERS), np.empty((PARAMETERS, PARAMETERS))
    for stage in range(schedule.shape[0]):
        sigma, damping = schedule[stage, 0], 1e-2
        count = choose_vertices(vertices[:odds.shape[0]], normals, visible, azimuths, elevations, R, t, log_size, limit,
                                index, weight)
        weigh(vertices, index, weight, count, R, t, log_size, focal, centre, inside[stage])
        value = accumulate(odds, vertices, index, weight, count, R, t, log_size, focal, centre, sigma, gradient, normal)
        value -= 0.5 * np.sum(prior * log_size**2)
        for _ in range(int(schedule[stage, 1])):
            solve_damped(normal, gradient, prior, log_size, damping, t[2], step)
            new_R, new_t, new_size = rotate(step[3:6], R), t + step[:3], log_size + step[6:]
            new_value = accumulate(odds, vertices, index, weight, count, new_R, new_t, new_size, focal, centre, sigma,
                                   new_gradient, new_normal)
            new_value -= 0.5 * np.sum(prior * new_size**2)
            if new_value <= value:
                damping = min(damping * 10.0, 1e3)
                continue
            damping = max(damping * 0.2, 1e-4)
            R[:], t[:], log_size[:] = new_R, new_t, new_size
            gradient[:], normal[:] = new_gradient, new_normal
            value = new_value


@kernel
def _polish(cells, rival, temperature, dimension, features, gram, vertices, faces, prior, focal, centre, R, t, log_size,
            normal, steps):
    h, w = rival.shape
    points, depth = np.empty(vertices.shape), np.empty((h, w))
    face_of, barycentric = np.empty((h, w), np.int32), np.empty((h, w, 3))
    gradient, step = np.empty(PARAMETERS), np.empty(PARAMETERS)
    evidence = explained = cosine = covered = 0.0
    for k in range(steps + 1):
        size = np.exp(log_size)
        rasterise(vertices, faces, R, t, size, focal, centre, points, face_of, barycentric, depth)
        evidence, explained, cosine, covered = compare(
            cells, rival, temperature, features, gram, vertices, faces, points, face_of, barycentric, depth, R, t, size,
            focal, centre, gradient, normal)
        if k == steps or explained < 1.0:
            break
        unit = 1.0 / (noise_variance(cosine, dimension) * CORRELATED)
        solve_damped(unit * normal, unit * gradient, prior, log_size, 1e-3, t[2], step)
        R[:] = rotate(step[3:6], R)
        t += step[:3]
        log_size += step[6:]
    return evidence / max(covered, 1.0), cosine, explained / max(covered, 1.0)


@kernel
def noise_variance(cosine, dimension):
    """Variance of a feature along one direction: the residual f - c/|c| has the squared norm 2 (1 - cosine) in all."""
    return max(2.0 * (1.0 - cosine), 1e-2) / dimension


@kernel
def weigh(vertices, index, weight, count, R, t, log_size, focal, centre, inside):
    """Weights by trust, with the sum of the independent measurements: the distinct blocks of cells that are hit.

    Near the silhouette or an occluder's edge the window of a vertex holds only the inner half of its match, whose mean
    lies inwards of the truth; such vertices would shrink the object. ``inside`` [h, w] tells how much of a window is
    object, see ``solve.inside_maps``.
    """
    size = np.exp(log_size)
    h, w = inside.shape
    hit = np.zeros((h // _BLOCK + 1, w // _BLOCK + 1), np.uint8)
    X = np.empty(3)
    blocks = mass = 0.0
    for n in range(count):
        transform(R, t, vertices[index[n]] * size, X)
        if X[2] <= 0.0:
            weight[n] = 0.0
            continue
        i, j = int(round(focal * X[1] / X[2] + centre)), int(round(focal * X[0] / X[2] + centre))
        weight[n] *= inside[min(max(i, 0), h - 1), min(max(j, 0), w - 1)]
        mass += weight[n]
        if 0 <= i < h and 0 <= j < w and hit[i // _BLOCK, j // _BLOCK] == 0:
            hit[i // _BLOCK, j // _BLOCK] = 1
            blocks += 1.0
    for n in range(count):
        weight[n] *= blocks / max(mass, 1e-9)


@kernel
def solve_damped(normal, gradient, prior, log_size, damping, depth, step):
    """Levenberg-Marquardt step [9] of the problem with the size prior, limited in length."""
    A, b = normal.copy(), gradient.copy()
    for k in range(3):
        A[6 + k, 6 + k] += prior[k]
        b[6 + k] -= prior[k] * log_size[k]
    for k in range(PARAMETERS):
        A[k, k] += damping * A[k, k] + 1e-9
    if not solve_positive(A, b, step):
        step[:] = 0.0
        return
    longest = max(np.max(np.abs(step[:3])) / (_MAX_TRANSLATION * max(depth, 0.1)),
                  math.sqrt(np.sum(step[3:6] ** 2)) / _MAX_ROTATION, np.max(np.abs(step[6:])) / _MAX_LOG_SIZE)
    if longest > 1.0:
        step /= longest
