# SPDX-License-Identifier: Apache-2.0
"""Refinement of one pose and size: windowed matching with a wide basin, then render-and-compare for the last digit.

``coarse_refinement`` is a damped Newton method on the objective of ``likelihood.py``, ``gauss_newton_refinement``
Gauss-Newton on that of ``compare.py``. Both work on the same nine unknowns with a Gaussian prior on the three
log-sizes, which is what gives a metric distance to a single picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .compare import compare, rasterise
from .depth_term import add_depth
from .jit import kernel
from .likelihood import accumulate, choose_vertices
from .linear import rotate, solve_positive, transform
from .outline_term import add_outline
from .problem import FeatureMap, FeatureNoise, NormalEquations, Pinhole, Priors, Rendering, State
from .roi_prior import add_roi_prior
from .similarity import SimilarityVolume
from .support_term import add_support
from .surface import Surface
from .upright_prior import add_upright_prior
from .workspace import BLOCK, MIN_DEPTH, PARAMETERS, Scratch

# Rendered cells per independent measurement: neighbours share their receptive field. Fitted to a half-trained model's
# errors.
CORRELATED = 16
_MAX_ROTATION, _MAX_TRANSLATION, _MAX_LOG_SIZE = 0.35, 0.25, 0.1  # per step: radians, share of the depth, log


@dataclass
class Refined:
    """A pose in the crop camera frame; the functions below move it in place.

    Attributes:
        R: [3, 3]; t: [3] metres; log_size: [3] log of size over the category's mean.
        gradient, normal: [9] and [9, 9], gradient and Gauss-Newton matrix of the sum of cosines and, in its units, of
            the priors; order as in ``likelihood.py``.
        evidence: sum over the object's rendered cells of max(cosine - background_score, 0): the objective of NeMo
            (arXiv 2101.12378), up to what does not depend on the pose.
        score: its mean, 0 to 1.
        cosine: mean over the explained cells; visible: share of the rendered cells that are explained.
        evaluated: all this is of where the pose stands; sums: [4] what it is made of, see ``compare.compare``.
    """

    R: np.ndarray
    t: np.ndarray
    log_size: np.ndarray = field(default_factory=lambda: np.zeros(3))
    gradient: np.ndarray = field(default_factory=lambda: np.zeros(PARAMETERS))
    normal: np.ndarray = field(default_factory=lambda: np.zeros((PARAMETERS, PARAMETERS)))
    evidence: float = 0.0
    score: float = 0.0
    cosine: float = 0.0
    visible: float = 0.0
    evaluated: bool = False
    sums: np.ndarray = field(default_factory=lambda: np.zeros(4))


def coarse_refinement(volume: SimilarityVolume, surface: Surface, priors: Priors, camera: Pinhole, pose: Refined,
                      schedule: np.ndarray, inside: np.ndarray, scratch: Scratch) -> None:
    """Move ``pose`` uphill on the windowed likelihood, by as many visible vertices as ``scratch`` has room for.

    schedule [stages, 2]: window sigma in cells, Newton steps.
    inside [stages, h, w] float32: trust in a vertex at a cell, see :func:`weigh`.
    """
    _coarse_refinement(volume.odds, surface, priors, camera, State(pose.R, pose.t, pose.log_size), schedule, inside,
                       scratch)
    pose.evaluated = False


def gauss_newton_refinement(volume: SimilarityVolume, surface: Surface, noise: FeatureNoise, priors: Priors,
                            camera: Pinhole, pose: Refined, steps: int, scratch: Scratch) -> None:
    """Move ``pose`` by ``steps`` Gauss-Newton steps of render-and-compare, and evaluate it.

    A pose that is evaluated already goes on from there; it must be one of the same volume and target.
    """
    _gauss_newton_refinement(FeatureMap(volume.cells, volume.background_score, *camera, *noise), surface, priors,
                             State(pose.R, pose.t, pose.log_size), NormalEquations(pose.gradient, pose.normal),
                             pose.sums, pose.evaluated, steps, scratch)
    pose.evidence, explained, pose.cosine, covered = pose.sums.tolist()
    pose.score, pose.visible = pose.evidence / max(covered, 1.0), explained / max(covered, 1.0)
    pose.evaluated = True


@kernel
def _coarse_refinement(odds, surface, priors, camera, state, schedule, inside, scratch):
    work, step = scratch.work, scratch.work.step
    equations = NormalEquations(scratch.gradient, scratch.normal)
    new_equations = NormalEquations(scratch.new_gradient, scratch.new_normal)
    new = State(scratch.new_R, scratch.new_t, scratch.new_log_size)
    for stage in range(schedule.shape[0]):
        sigma, damping = schedule[stage, 0], 1e-2
        count = choose_vertices(surface, state, odds.shape[0], scratch.index, scratch.weight, work)
        index, weight = scratch.index[:count], scratch.weight[:count]
        weigh(surface.vertices, index, weight, state, camera, inside[stage], scratch.hit, work)
        value = _windowed(odds, surface.vertices, index, weight, priors, state, camera, sigma, equations, work)
        for _ in range(int(schedule[stage, 1])):
            solve_damped(equations, 1.0, priors.size, state, damping, step, work)
            moved(state, step, new)
            new_value = _windowed(odds, surface.vertices, index, weight, priors, new, camera, sigma, new_equations,
                                  work)
            if new_value <= value:
                damping = min(damping * 10.0, 1e3)
                continue
            damping = max(damping * 0.2, 1e-4)
            value = new_value
            take_state(new, state)
            for a in range(PARAMETERS):
                equations.gradient[a] = new_equations.gradient[a]
                for b in range(PARAMETERS):
                    equations.normal[a, b] = new_equations.normal[a, b]


@kernel
def _windowed(odds, vertices, index, weight, priors, state, camera, sigma, equations, work):
    """Windowed likelihood with the priors of size and ROI, see :func:`accumulate`."""
    value = accumulate(odds, vertices, index, weight, state, camera, sigma, equations, work)
    value += log_prior(priors.size, state.log_size)
    return value + add_roi_prior(priors.sides, vertices, state, camera, 1.0, equations, work)


@kernel
def _gauss_newton_refinement(crop, surface, priors, state, equations, sums, evaluated, steps, scratch):
    work, camera = scratch.work, Pinhole(crop.focal, crop.centre)
    new = State(scratch.new_R, scratch.new_t, scratch.new_log_size)
    rendering = Rendering(scratch.screen, scratch.face_of, scratch.barycentric, scratch.depth, scratch.seen)
    for k in range(steps + 1):
        if k > 0 or not evaluated:
            rasterise(surface.vertices, surface.faces, state, camera, rendering, work)
            sums[0], sums[1], sums[2], sums[3] = compare(crop, surface, rendering, state, equations, work)
            unit = noise_variance(sums[2], crop.dimension) * CORRELATED
            add_roi_prior(priors.sides, surface.vertices, state, camera, unit, equations, work)
            add_upright_prior(priors.upright, state.R, unit, equations)
            add_outline(priors.outline, surface.vertices, state, camera, unit, equations, work, scratch.extreme,
                        scratch.highest)
            add_support(priors.support, state, unit, equations)
            add_depth(priors.depth, priors.depth_noise, surface, rendering, state, camera, unit, equations, work)
        if k == steps or sums[1] < 1.0:
            break
        data = 1.0 / (noise_variance(sums[2], crop.dimension) * CORRELATED)
        solve_damped(equations, data, priors.size, state, 1e-3, work.step, work)
        moved(state, work.step, new)
        take_state(new, state)


@kernel
def moved(state, step, new):
    """The state after a step [9]: translation, rotation about the object's origin, log-sizes; ``new`` is not it."""
    rotate(step[3:6], state.R, new.R)
    for k in range(3):
        new.t[k], new.log_size[k] = state.t[k] + step[k], state.log_size[k] + step[6 + k]


@kernel
def take_state(new, state):
    """Copy ``new`` into ``state``."""
    for k in range(3):
        state.t[k], state.log_size[k] = new.t[k], new.log_size[k]
        for m in range(3):
            state.R[k, m] = new.R[k, m]


@kernel
def log_prior(prior, log_size):
    """Logarithm of the Gaussian prior of the sizes, up to a constant; prior [3] is 1/sigma^2."""
    value = 0.0
    for k in range(3):
        value -= 0.5 * prior[k] * log_size[k] ** 2
    return value


@kernel
def noise_variance(cosine, dimension):
    """Variance of a feature along one direction: the residual f - c/|c| has the squared norm 2 (1 - cosine) in all."""
    return max(2.0 * (1.0 - cosine), 1e-2) / dimension


@kernel
def weigh(vertices, index, weight, state, camera, inside, hit, work):
    """Weights by trust, with the sum of the independent measurements: the distinct blocks of cells that are hit.

    Near the silhouette or an occluder's edge the window of a vertex holds only the inner half of its match, whose mean
    lies inwards of the truth; such vertices would shrink the object. ``inside`` [h, w] tells how much of a window is
    object, see ``crop_solver.inside_maps``.
    """
    h, w = inside.shape
    X, scaled, focal, centre = work.X, work.scaled, camera.focal, camera.centre
    for i in range(hit.shape[0]):
        for j in range(hit.shape[1]):
            hit[i, j] = 0
    blocks = mass = 0.0
    for n in range(index.shape[0]):
        for k in range(3):
            scaled[k] = math.exp(state.log_size[k]) * vertices[index[n], k]
        transform(state.R, state.t, scaled, X)
        if X[2] <= 0.0:
            weight[n] = 0.0
            continue
        x, y = focal * X[0] / X[2] + centre, focal * X[1] / X[2] + centre
        # Clamped before it becomes an integer: a point almost beside the camera projects to where no integer reaches.
        i, j = int(round(min(max(y, -1.0), h + 0.0))), int(round(min(max(x, -1.0), w + 0.0)))
        weight[n] *= inside[min(max(i, 0), h - 1), min(max(j, 0), w - 1)]
        mass += weight[n]
        if 0 <= i < h and 0 <= j < w and hit[i // BLOCK, j // BLOCK] == 0:
            hit[i // BLOCK, j // BLOCK] = 1
            blocks += 1.0
    for n in range(index.shape[0]):
        weight[n] *= blocks / max(mass, 1e-9)


@kernel
def solve_damped(equations, data, prior, state, damping, step, work):
    """Levenberg-Marquardt step [9] of ``data`` times the normal equations plus the size prior, limited in length.

    prior [3]: 1/sigma^2 of the log-sizes.
    """
    A, b = work.A, work.b
    for k in range(PARAMETERS):
        b[k] = data * equations.gradient[k]
        for m in range(PARAMETERS):
            A[k, m] = data * equations.normal[k, m]
    for k in range(3):
        A[6 + k, 6 + k] += prior[k]
        b[6 + k] -= prior[k] * state.log_size[k]
    for k in range(PARAMETERS):
        A[k, k] += damping * A[k, k] + 1e-9
    if not solve_positive(A, b, step):
        for k in range(PARAMETERS):
            step[k] = 0.0
        return
    along = turned = grown = 0.0
    for k in range(3):
        along, grown = max(along, abs(step[k])), max(grown, abs(step[6 + k]))
        turned += step[3 + k] ** 2
    longest = max(along / (_MAX_TRANSLATION * max(state.t[2], MIN_DEPTH)), math.sqrt(turned) / _MAX_ROTATION,
                  grown / _MAX_LOG_SIZE)
    if longest > 1.0:
        for k in range(PARAMETERS):
            step[k] /= longest
