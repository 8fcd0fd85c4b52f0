# SPDX-License-Identifier: Apache-2.0
"""Damped Newton refinement of one pose and size on the similarity volume (see ``likelihood.py`` for the objective)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .jit import kernel
from .likelihood import PARAMETERS, accumulate, choose_vertices
from .linear import rotate, solve_positive, transform

_BLOCK = 2  # cells; matches closer than this share their receptive field and are one measurement, not several
_MAX_ROTATION, _MAX_TRANSLATION, _MAX_LOG_SIZE = 0.35, 0.25, 0.1  # per step: radians, share of the depth, log


@dataclass
class Refined:
    """A refined pose in the crop camera frame; the arrays are changed in place by :func:`refine`.

    Attributes:
        R: [3, 3]; t: [3] metres; log_size: [3] log of size over the category's mean.
        normal: [9, 9] data part of the Newton matrix at the end, order as in ``likelihood.py``.
        value: log evidence per independent measurement at the end.
        misfit: see ``likelihood.accumulate``.
        score: mean evidence of the visible vertices; visible: share of them that the object explains.
    """

    R: np.ndarray
    t: np.ndarray
    log_size: np.ndarray
    normal: np.ndarray
    value: float = 0.0
    misfit: float = 1.0
    score: float = 0.0
    visible: float = 0.0


@dataclass(frozen=True)
class Surface:
    """What the refinement needs of the mesh: [V, 3] float64 vertices and normals, and the visibility table."""

    vertices: np.ndarray
    normals: np.ndarray
    visible: np.ndarray
    azimuths: int
    elevations: int


def refine(odds: np.ndarray, evidence: np.ndarray, pad: int, surface: Surface, prior: np.ndarray, focal: float,
           centre: float, pose: Refined, schedule: np.ndarray, limit: int,
           inside: np.ndarray) -> None:
    """Move ``pose`` uphill.

    schedule [stages, 2]: window sigma in cells, Newton steps. prior [3]: 1/sigma^2 of the log-sizes. limit: vertices.
    inside [stages, h, w] float32: trust in a vertex at a cell, see :func:`trust_inside`.
    """
    pose.value, pose.misfit, pose.score, pose.visible = _refine(
        odds, evidence, pad, surface.vertices, surface.normals, surface.visible, surface.azimuths, surface.elevations,
        prior, focal, centre, pose.R, pose.t, pose.log_size, pose.normal, schedule, limit, inside)


@kernel
def _refine(odds, evidence, pad, vertices, normals, visible, azimuths, elevations, prior, focal, centre, R, t, log_size,
            normal, schedule, limit, inside):
    index, weight = np.empty(limit, np.int64), np.empty(limit)
    gradient, step = np.empty(PARAMETERS), np.empty(PARAMETERS)
    new_gradient, new_normal = np.empty(PARAMETERS), np.empty((PARAMETERS, PARAMETERS))
    new_R, new_t, new_size = R.copy(), t.copy(), log_size.copy()
    value = misfit = 0.0
    count = 0
    for stage in range(schedule.shape[0]):
        sigma, damping = schedule[stage, 0], 1e-2
        count = choose_vertices(vertices, normals, visible, azimuths, elevations, R, t, log_size, limit, index, weight)
        trust_inside(vertices, index, weight, count, R, t, log_size, focal, centre, inside[stage])
        normalise_weights(vertices, index, weight, count, R, t, log_size, focal, centre, evidence.shape[1] - 2 * pad)
        value, misfit = accumulate(odds, vertices, index, weight, count, R, t, log_size, focal, centre, sigma, gradient,
                                   normal)
        value -= 0.5 * np.sum(prior * log_size**2)
        for _ in range(int(schedule[stage, 1])):
            solve_damped(normal, gradient, prior, log_size, damping, t[2], step)
            new_R[:] = rotate(step[3:6], R)
            new_t[:] = t + step[:3]
            new_size[:] = log_size + step[6:]
            new_value, new_misfit = accumulate(odds, vertices, index, weight, count, new_R, new_t, new_size, focal,
                                               centre, sigma, new_gradient, new_normal)
            new_value -= 0.5 * np.sum(prior * new_size**2)
            if new_value <= value:
                damping = min(damping * 10.0, 1e3)
                continue
            damping = max(damping * 0.2, 1e-4)
            R[:], t[:], log_size[:] = new_R, new_t, new_size
            gradient[:], normal[:] = new_gradient, new_normal
            small = new_value - value < 1e-4 * abs(value)
            value, misfit = new_value, new_misfit
            if small:
                break
    mass = 0.0
    for n in range(count):
        mass += weight[n]
    score, seen = judge(evidence, pad, vertices, index, weight, count, R, t, log_size, focal, centre)
    return value / max(mass, 1e-9), misfit, score, seen


@kernel
def trust_inside(vertices, index, weight, count, R, t, log_size, focal, centre, inside):
    """Multiply the weights by ``inside`` [h, w], read at each vertex: is the whole window on the object?

    Near the silhouette or an occluder's edge the window holds only the inner half of the match, whose mean lies inwards
    of the truth; such vertices would shrink the object.
    """
    size = np.exp(log_size)
    X = np.empty(3)
    h, w = inside.shape
    for n in range(count):
        transform(R, t, vertices[index[n]] * size, X)
        if X[2] <= 0.0:
            continue
        u, v = focal * X[0] / X[2] + centre, focal * X[1] / X[2] + centre
        j, i = min(max(int(math.floor(u)), 0), w - 2), min(max(int(math.floor(v)), 0), h - 2)
        a, b = min(max(u - j, 0.0), 1.0), min(max(v - i, 0.0), 1.0)
        weight[n] *= ((1 - b) * ((1 - a) * inside[i, j] + a * inside[i, j + 1])
                      + b * ((1 - a) * inside[i + 1, j] + a * inside[i + 1, j + 1]))


@kernel
def normalise_weights(vertices, index, weight, count, R, t, log_size, focal, centre, cells):
    """Scale the weights so that they sum to the number of independent measurements: distinct blocks of cells hit."""
    size = np.exp(log_size)
    side = cells // _BLOCK + 1
    hit = np.zeros((side, side), np.uint8)
    X = np.empty(3)
    blocks = mass = 0.0
    for n in range(count):
        transform(R, t, vertices[index[n]] * size, X)
        mass += weight[n]
        if X[2] <= 0.0:
            continue
        j = int(math.floor((focal * X[0] / X[2] + centre + 0.5) / _BLOCK))
        i = int(math.floor((focal * X[1] / X[2] + centre + 0.5) / _BLOCK))
        if 0 <= i < side and 0 <= j < side and hit[i, j] == 0:
            hit[i, j] = 1
            blocks += 1.0
    for n in range(count):
        weight[n] *= blocks / max(mass, 1e-9)


@kernel
def solve_damped(normal, gradient, prior, log_size, damping, depth, step):
    """Levenberg-Marquardt step [9] of the penalised problem, limited in length."""
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
                  np.sqrt(np.sum(step[3:6] ** 2)) / _MAX_ROTATION, np.max(np.abs(step[6:])) / _MAX_LOG_SIZE)
    if longest > 1.0:
        step /= longest


@kernel
def judge(evidence, pad, vertices, index, weight, count, R, t, log_size, focal, centre):
    """(score, visible): weighted mean of the bilinear evidence, and of "the object beats clutter here"."""
    size = np.exp(log_size)
    X = np.empty(3)
    total = seen = 0.0
    mass = 1e-9
    for n in range(count):
        mass += weight[n]
        transform(R, t, vertices[index[n]] * size, X)
        if X[2] <= 0.0:
            continue
        u, v = focal * X[0] / X[2] + centre + pad, focal * X[1] / X[2] + centre + pad
        j, i = int(math.floor(u)), int(math.floor(v))
        if i < 0 or j < 0 or i >= evidence.shape[1] - 1 or j >= evidence.shape[2] - 1:
            continue
        a, b = u - j, v - i
        plane = evidence[index[n]]
        e = ((1 - b) * ((1 - a) * plane[i, j] + a * plane[i, j + 1])
             + b * ((1 - a) * plane[i + 1, j] + a * plane[i + 1, j + 1]))
        total += weight[n] * e
        if e > 0.0:
            seen += weight[n]
    return total / mass, seen / mass
