# SPDX-License-Identifier: Apache-2.0
"""A depth image as a term of the refinement: its slope at fixed weights, and which cells have a say."""

import math
from dataclasses import replace

import numpy as np
import pytest
from unit.planted import SIZE, car_card, car_mesh

from dinemo_ros.geometry import rotation_from_viewpoint, so3_exp
from dinemo_ros.solver.category import prepare_category
from dinemo_ros.solver.compare import rasterise
from dinemo_ros.solver.depth_term import add_depth, depth_noise, spread
from dinemo_ros.solver.problem import NO_DEPTH, NO_DEPTH_NOISE, Pinhole, State
from dinemo_ros.solver.workspace import make_equations, make_rendering, make_work

CELLS, CAMERA = 32, Pinhole(60.0, 15.5)
R, T, LOG_SIZE = rotation_from_viewpoint(0.8, 0.5, 0.05), np.array([0.2, -0.1, 9.0]), np.array([0.05, -0.03, 0.08])
CORRELATED, TAIL, GRAZING = 12.0, 3.0, 0.2  # cells that err alike; sigmas; cosine between surface and ray


@pytest.fixture(scope="module")
def category():
    return prepare_category(car_mesh(), car_card())


@pytest.fixture(scope="module")
def drawn(category):
    return rendering_of(category)


def rendering_of(category):
    rendering = make_rendering(len(category.surface.vertices), (CELLS, CELLS))
    rasterise(category.surface.vertices, category.surface.faces, moved(np.zeros(9)), CAMERA, rendering, make_work())
    rendering.seen[:] = np.random.default_rng(0).uniform(0.2, 1.0, (CELLS, CELLS))
    return rendering


def moved(step) -> State:
    return State(so3_exp(step[3:6]) @ R, T + step[:3], LOG_SIZE + step[6:])


def added(depth, category, drawn, noise=None, unit=1.0, state=None):
    equations = make_equations()
    noise = depth_noise(category) if noise is None else noise
    fitting = add_depth(depth, noise, category.surface, drawn, state or moved(np.zeros(9)), CAMERA, unit, equations,
                        make_work())
    return equations, fitting


def exact(drawn):
    return np.where(drawn.face_of >= 0, drawn.depth, 0.0)


def planes(category, drawn, step):
    """Of each shown cell: unit normal [N, 3] of the face it sees at the start, and depth [N] of that face's plane along
    the cell's ray [N, 3] after a step."""
    i, j = np.nonzero(drawn.face_of >= 0)
    rays = np.stack([(j - CAMERA.centre) / CAMERA.focal, (i - CAMERA.centre) / CAMERA.focal, np.ones(len(i))], axis=1)
    state = moved(step)
    X = (category.surface.vertices * np.exp(state.log_size)) @ state.R.T + state.t
    a, b, c = (X[category.surface.faces[drawn.face_of[i, j], k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals, np.sum(normals * a, axis=1) / np.sum(normals * rays, axis=1), rays


def test_sigma_is_a_share_of_the_diagonal(category):
    sigma = 0.04 * np.linalg.norm(SIZE)
    assert spread(category) == pytest.approx(sigma, rel=1e-6)
    known = replace(category, depth_scale=1.2, covariance_scale=3.0)
    np.testing.assert_allclose(depth_noise(known), [sigma**-2, 1.2, 3.0], rtol=1e-6)


@pytest.mark.parametrize("covariance_scale, unit, bumps_m", [(1.0, 1.0, 0.0), (2.5, 0.3, 0.0), (1.0, 1.0, 0.02)])
def test_gradient_and_matrix_are_those_of_the_point_to_plane_cost(category, drawn, covariance_scale, unit, bumps_m):
    """Half the squared distances from the faces' planes, at the weights that the start gives; with bumps every face has
    a plane of its own."""
    known = replace(category, covariance_scale=covariance_scale)
    if bumps_m:
        off = np.random.default_rng(2).normal(scale=bumps_m, size=category.surface.vertices.shape)
        category = known = replace(known, surface=known.surface._replace(vertices=known.surface.vertices + off))
        drawn = rendering_of(known)
    shown, rng = drawn.face_of >= 0, np.random.default_rng(1)
    depth = np.where(shown, drawn.depth + rng.normal(scale=0.15, size=shown.shape), 0.0)
    normals, z, rays = planes(category, drawn, np.zeros(9))
    along = np.sum(normals * rays, axis=1)
    sigma = spread(category)
    residual = along * (depth[shown] - z)
    fit = np.exp(-0.5 * (residual / sigma) ** 2)
    weight = drawn.seen[shown] * fit / (fit + math.exp(-0.5 * TAIL**2))
    weight[np.abs(along) < GRAZING * np.linalg.norm(rays, axis=1)] = 0.0

    def residuals(step):
        return along * (depth[shown] - planes(category, drawn, step)[1]) / sigma

    J = np.stack([(residuals(1e-6 * e) - residuals(-1e-6 * e)) / 2e-6 for e in np.eye(9)], axis=1)
    weight_of_all = unit * covariance_scale / CORRELATED * weight
    equations, fitting = added(depth, known, drawn, unit=unit)
    np.testing.assert_allclose(equations.gradient, -J.T @ (weight_of_all * residual / sigma), rtol=1e-4, atol=1e-4)
    expected = (J * weight_of_all[:, None]).T @ J
    np.testing.assert_allclose(equations.normal, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert fitting == pytest.approx(weight.sum(), rel=1e-5)


@pytest.mark.parametrize("depth_scale", [0.9, 1.2])
def test_true_distances_are_the_solvers_times_the_scale(category, drawn, depth_scale):
    known = replace(category, depth_scale=depth_scale)
    true = np.where(drawn.face_of >= 0, drawn.depth + (depth_scale - 1.0) * T[2], 0.0)
    flat, fitting = added(true, known, drawn)
    nearer, _ = added(np.where(true > 0, true - 0.1, 0.0), known, drawn)
    unscaled, _ = added(true, category, drawn)
    assert np.abs(flat.gradient).max() < 1e-6 * np.abs(nearer.gradient).max() and fitting > 50
    assert np.abs(unscaled.gradient).max() > 0.0
    # Along the axis the solver's metre is ``depth_scale`` true ones, for faces across it.
    assert nearer.gradient[2] == pytest.approx(depth_scale * added(exact(drawn) - 0.1, category, drawn)[0].gradient[2],
                                               rel=0.02)


@pytest.mark.parametrize("metres", [-3.0, 3.0, 40.0], ids=["occluder", "behind", "far wall"])
def test_what_is_not_near_the_surface_has_no_say(category, drawn, metres):
    shown = drawn.face_of >= 0
    left = shown & (np.arange(CELLS) < 14)
    depth = np.where(shown, drawn.depth - 0.05, 0.0)
    alone, few = added(np.where(left, 0.0, depth), category, drawn)
    beside, fitting = added(np.where(left, drawn.depth + metres, depth), category, drawn)
    np.testing.assert_allclose(beside.gradient, alone.gradient, atol=1e-4 * np.abs(alone.gradient).max())
    assert left.sum() > 50 and fitting == pytest.approx(few, rel=1e-4)


def test_a_point_at_the_tail_is_as_likely_of_something_else(category, drawn):
    """One cell at three standard deviations counts half of what it does on the surface."""
    normals, _, rays = planes(category, drawn, np.zeros(9))
    along, shown = np.sum(normals * rays, axis=1), np.flatnonzero(drawn.face_of.ravel() >= 0)
    best = int(np.argmax(np.abs(along)))
    cell, seen = np.unravel_index(shown[best], (CELLS, CELLS)), drawn.seen.ravel()[shown[best]]
    depth = np.zeros((CELLS, CELLS))
    depth[cell] = drawn.depth[cell] + TAIL * spread(category) / abs(along[best])
    assert added(depth, category, drawn)[1] == pytest.approx(0.5 * seen, rel=1e-3)


def test_holes_and_what_is_hidden_have_no_say(category, drawn):
    depth = exact(drawn) - 0.1 * (drawn.face_of >= 0)
    holes = np.random.default_rng(0).random((CELLS, CELLS)) < 0.2
    hidden = drawn._replace(seen=np.where(holes, 0.0, drawn.seen))
    (a, few), (b, fewer) = added(np.where(holes, 0.0, depth), category, drawn), added(depth, category, hidden)
    np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-9)
    assert few == pytest.approx(fewer) and few < 0.95 * added(depth, category, drawn)[1]


def test_cells_beside_the_object_have_no_say(category, drawn):
    """Not even of what is as near as the depth 0 that the rendering has there."""
    full, _ = added(np.where(drawn.face_of >= 0, drawn.depth - 0.05, 0.0), category, drawn)
    around, _ = added(np.where(drawn.face_of >= 0, drawn.depth - 0.05, 0.01), category, drawn)
    np.testing.assert_array_equal(full.gradient, around.gradient)


@pytest.mark.parametrize("depth, noise", [(NO_DEPTH, None), (None, NO_DEPTH_NOISE), (np.zeros((CELLS, CELLS)), None)])
def test_without_depth_nothing_is_added(category, drawn, depth, noise):
    equations, fitting = added(exact(drawn) - 0.1 if depth is None else depth, category, drawn, noise)
    assert fitting == 0.0 and not equations.gradient.any() and not equations.normal.any()


def test_surfaces_along_the_ray_have_no_say(category):
    """A car from straight ahead: its sides and its roof are all but edge-on, only what faces the camera is left."""
    state = State(rotation_from_viewpoint(0.0, 0.02, 0.0), np.array([0.0, 0.0, 9.0]), np.zeros(3))
    rendering = make_rendering(len(category.surface.vertices), (CELLS, CELLS))
    rasterise(category.surface.vertices, category.surface.faces, state, CAMERA, rendering, make_work())
    rendering.seen[:] = 1.0
    faces = category.surface.faces[np.maximum(rendering.face_of, 0)]
    across = np.abs(category.surface.normals[faces].mean(2)[..., 0]) > 0.9  # of the cells that see front or rear
    assert 5 < ((rendering.face_of >= 0) & ~across).sum()
    depth = np.where(rendering.face_of >= 0, rendering.depth, 0.0)
    assert added(depth, category, rendering, state=state)[1] == pytest.approx(
        added(np.where(across, depth, 0.0), category, rendering, state=state)[1])
