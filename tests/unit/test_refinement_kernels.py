# SPDX-License-Identifier: Apache-2.0
"""The pieces of the refinement against plain numpy: steps, weights, priors, and both Gauss-Newton matrices."""

import numpy as np
import pytest

from dinemo_ros.geometry import rotation_from_viewpoint, so3_exp
from dinemo_ros.solver import reference
from dinemo_ros.solver.compare import compare, rasterise
from dinemo_ros.solver.likelihood import accumulate, choose_vertices, information
from dinemo_ros.solver.problem import FeatureMap, NormalEquations, Pinhole, State
from dinemo_ros.solver.refine import log_prior, moved, noise_variance, solve_damped, take_state, weigh
from dinemo_ros.solver.surface import Surface, edge_products
from dinemo_ros.solver.upright_prior import add_upright_prior
from dinemo_ros.solver.workspace import make_equations, make_rendering, make_work

FOCAL, CENTRE, CELLS = 30.0, 15.5, 32
CAMERA = Pinhole(FOCAL, CENTRE)
LONGEST_MOVE, LONGEST_TURN, LONGEST_GROWTH = 0.25, 0.35, 0.1  # share of the distance, radians, logarithm
STEPS = 1e-6 * np.eye(9)


def cube():
    """Vertices [24, 3], outward normals, faces [12, 3] of a cube with sides of two metres, each side on its own."""
    vertices, normals, faces = [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            across = np.roll(np.array([[0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1.0]]), axis, axis=1)
            normal = sign * np.eye(3)[axis]
            first = 4 * len(faces) // 2
            vertices.append(across + normal)
            normals.append(np.tile(normal, (4, 1)))
            order = (0, 1, 2, 3) if sign > 0 else (3, 2, 1, 0)
            faces += [[first + order[k] for k in corners] for corners in ((0, 1, 2), (0, 2, 3))]
    return np.concatenate(vertices), np.concatenate(normals), np.array(faces, np.int32)


def pose():
    return (rotation_from_viewpoint(0.6, 0.4, 0.1), np.array([0.1, -0.05, 4.2]), np.array([0.05, -0.03, 0.02]))


def at(distance: float, log_size=None) -> State:
    return State(np.eye(3), np.array([0.0, 0.0, distance]), np.zeros(3) if log_size is None else log_size)


def surface_of(features, visible) -> Surface:
    """The cube with features [24, D], of which ``visible`` [40, 24] can be seen from 8 azimuths and 5 elevations."""
    vertices, normals, faces = cube()
    return Surface(vertices, normals, faces, features, edge_products(features, faces), visible, 8, 5)


def system(seed: int, size: float):
    """Normal matrix, gradient, prior, log-sizes."""
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(9, 9))
    return B @ B.T + 0.5 * np.eye(9), size * rng.normal(size=9), rng.uniform(1, 9, 3), 0.1 * rng.normal(size=3)


def plain_step(N, g, data, prior, log_size, damping):
    A = data * N + np.diag(np.r_[np.zeros(6), prior])
    return np.linalg.solve(A + damping * np.diag(np.diag(A)), data * g - np.r_[np.zeros(6), prior * log_size])


@pytest.mark.parametrize("data, damping", [(1.0, 1e-2), (3.0, 0.5), (0.2, 0.0)])
def test_a_short_step_is_that_of_levenberg_and_marquardt(data, damping):
    N, g, prior, log_size = system(0, 0.05)
    step = np.empty(9)
    solve_damped(NormalEquations(g, N), data, prior, at(4.0, log_size), damping, step, make_work())
    np.testing.assert_allclose(step, plain_step(N, g, data, prior, log_size, damping), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("part, limit", [(slice(0, 3), 4.0 * LONGEST_MOVE), (slice(3, 6), LONGEST_TURN),
                                         (slice(6, 9), LONGEST_GROWTH)])
def test_a_long_step_keeps_its_direction_and_no_part_is_too_long(part, limit):
    """What must go farther than a linear model reaches goes there in several steps; the distance is 4 m."""
    weak, step = np.full(9, 1e4), np.empty(9)
    weak[part] = 1.0
    g = np.array([1.0, -2.0, 3.0] * 3)
    g[part] *= 50.0
    solve_damped(NormalEquations(g, np.diag(weak)), 1.0, np.zeros(3), at(4.0), 0.0, step, make_work())
    found = np.linalg.norm(step[part]) if part.start == 3 else np.abs(step[part]).max()
    assert found == pytest.approx(limit, rel=1e-5)
    wanted = g / weak
    np.testing.assert_allclose(step / np.linalg.norm(step), wanted / np.linalg.norm(wanted), atol=1e-6)


def test_near_the_camera_a_step_is_still_of_some_length():
    step = np.empty(9)
    equations = NormalEquations(np.r_[np.ones(3), np.zeros(6)], np.eye(9))
    solve_damped(equations, 1.0, np.zeros(3), at(0.01), 0.0, step, make_work())
    assert step[0] == pytest.approx(0.1 * LONGEST_MOVE, rel=1e-5)


def test_a_system_without_a_solution_moves_nothing():
    step = np.ones(9)
    solve_damped(NormalEquations(np.ones(9), -np.eye(9)), 1.0, np.zeros(3), at(4.0), 0.0, step, make_work())
    assert not step.any()


def test_a_step_turns_about_the_objects_origin():
    R, t, log_size = pose()
    step = np.array([0.1, -0.2, 0.3, 0.2, -0.1, 0.3, 0.01, 0.02, -0.03])
    new = State(np.empty((3, 3)), np.empty(3), np.empty(3))
    moved(State(R, t, log_size), step, new)
    for found, expected in zip(new, reference.moved(R, t, log_size, step), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    taken = State(np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    take_state(new, taken)
    for found, expected in zip(taken, new, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_prior_of_the_sizes_is_a_gaussian():
    assert log_prior(np.array([1.0, 4.0, 9.0]), np.array([0.1, 0.2, -0.3])) == pytest.approx(
        -0.5 * (0.01 + 4 * 0.04 + 9 * 0.09))


def test_noise_of_a_feature_is_its_residual_shared_among_the_directions_and_never_nothing():
    assert noise_variance(0.75, 20.0) == pytest.approx(2 * 0.25 / 20)
    assert noise_variance(0.99, 20.0) == pytest.approx(2 * 0.01 / 20)
    assert noise_variance(1.0, 20.0) == pytest.approx(0.01 / 20)


def test_weights_are_trust_and_add_up_to_the_blocks_that_are_hit():
    """Blocks of two by two cells; nothing behind the camera; what lies off the map has the trust of its border."""
    rng = np.random.default_rng(0)
    R, t, log_size = pose()
    t = np.array([0.3, -0.2, 1.4])  # so near that some vertices lie behind and beside
    vertices = rng.uniform(-1.5, 1.5, (80, 3))
    index, weight = np.arange(80)[::-1].copy(), rng.uniform(0.2, 1.0, 80)
    inside = rng.uniform(0.1, 1.0, (CELLS, CELLS)).astype(np.float32)
    points = reference.transform(vertices[index], R, t, log_size)
    before = points[:, 2] > 0.0
    cells = np.round(np.clip(reference.project(points[before], FOCAL, CENTRE), -1, CELLS)).astype(int)
    on = ((cells >= 0) & (cells < CELLS)).all(axis=1)
    assert 10 < on.sum() < before.sum() < 80
    trust = np.zeros(80)
    x, y = np.clip(cells, 0, CELLS - 1).T
    trust[before] = weight[before] * inside[y, x]
    blocks = len({(a // 2, b // 2) for a, b in cells[on]})

    found, hit = weight.copy(), np.full((CELLS // 2 + 1,) * 2, 7, np.uint8)
    weigh(vertices, index, found, State(R, t, log_size), CAMERA, inside, hit, make_work())
    np.testing.assert_allclose(found, trust * blocks / trust.sum(), rtol=1e-6)
    assert hit.sum() == blocks


def test_vertices_are_chosen_that_are_visible_and_face_the_camera():
    vertices, normals, _ = cube()
    R, t, log_size = pose()
    camera = -(R.T @ t) / np.exp(log_size)
    ray = camera - vertices
    facing = np.sum(ray * normals, axis=1) / np.linalg.norm(ray, axis=1)
    visible = np.ones((8 * 5, 24), np.uint8)
    visible[:, 5] = 0
    expected = [v for v in range(22) if facing[v] > 0 and v != 5]
    index, weight = np.empty(24, np.int64), np.empty(24)
    for limit in (24, 4):
        surface = surface_of(np.zeros((24, 4), np.float32), visible)
        count = choose_vertices(surface, State(R, t, log_size), 22, index[:limit], weight, make_work())
        assert index[:count].tolist() == expected[:limit]
        np.testing.assert_allclose(weight[:count], np.minimum(facing[expected[:limit]] / 0.3, 1.0))


def jacobian(function) -> np.ndarray:
    """[N, 9] of a function of a step [9] that returns [N]."""
    return np.stack([(function(h) - function(-h)) / (2 * h.sum()) for h in STEPS], axis=-1)


def test_matrix_of_the_matching_is_that_of_its_windows():
    """Sum of weight times share of the object times J^T A J, A the information of the match under the window."""
    rng = np.random.default_rng(1)
    vertices, _, _ = cube()
    R, t, log_size = pose()
    odds = rng.exponential(size=(24, CELLS, CELLS)) ** 3
    index, weight, sigma = np.array([3, 7, 11, 20]), rng.uniform(0.3, 1.0, 4), 2.0
    equations, expected, pull = NormalEquations(np.full(9, 7.0), np.full((9, 9), 7.0)), np.zeros((9, 9)), np.zeros(9)
    value = accumulate(odds, vertices, index, weight, State(R, t, log_size), CAMERA, sigma, equations, make_work())
    for v, w in zip(index, weight, strict=True):
        def place(step, v=v):
            return reference.project(reference.transform(vertices[v][None], *reference.moved(R, t, log_size, step)),
                                     FOCAL, CENTRE)[0]

        Z, mean, C = reference.window(odds[v], *place(np.zeros(9)), sigma)
        J, share = jacobian(place), Z / (1 + Z)
        a, b, c = information(C[0, 0], C[0, 1], C[1, 1], sigma)
        expected += w * share * J.T @ np.array([[a, b], [b, c]]) @ J
        pull += w * share * J.T @ mean / sigma**2
    assert value == pytest.approx(reference.log_likelihood(odds, vertices, index, weight, R, t, log_size, FOCAL, CENTRE,
                                                           sigma))
    np.testing.assert_allclose(equations.normal, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(equations.gradient, pull, rtol=1e-4, atol=1e-4 * np.abs(pull).max())


@pytest.mark.parametrize("C", [(0.5, 0.2, 1.2), (7.0, 1.0, 0.3), (1.0, 0.0, 1.0), (9.0, 0.0, 8.0)])
def test_information_of_a_match_has_its_eigenvalues_kept_between_two_bounds(C):
    sigma = 1.6
    values, vectors = np.linalg.eigh(np.eye(2) - np.array([[C[0], C[1]], [C[1], C[2]]]) / sigma**2)
    expected = vectors @ np.diag(np.clip(values, 0.02, 1.0)) @ vectors.T / sigma**2
    np.testing.assert_allclose(information(*C, sigma), [expected[0, 0], expected[0, 1], expected[1, 1]], atol=1e-12)


def rendered(C, steps):
    """Unit features [h, w, 4] and faces [h, w] of the cube at its pose after each step."""
    vertices, _, faces = cube()
    for step in steps:
        channels = [reference.rendered_cosines(np.tile(e, (CELLS, CELLS, 1)), C, vertices, faces,
                                               *reference.moved(*pose(), step), FOCAL, CENTRE) for e in np.eye(4)]
        yield np.stack([channel[0] for channel in channels], axis=-1), channels[0][1]


def test_matrix_of_render_and_compare_is_that_of_the_rendered_features():
    """Gauss-Newton: the products of the derivatives of all unit features, by the trust in their cells."""
    rng = np.random.default_rng(2)
    vertices, _, _ = cube()
    C = 1.0 + 0.5 * rng.normal(size=(24, 4))
    C /= np.linalg.norm(C, axis=1, keepdims=True)
    surface, state = surface_of(C.astype(np.float32), np.ones((40, 24), np.uint8)), State(*pose())
    (seen, face), = rendered(C, [np.zeros(9)])
    cells = seen + 0.3 * rng.normal(size=seen.shape)
    cells /= np.linalg.norm(cells, axis=2, keepdims=True)
    derivative, same = [], face >= 0
    for h in STEPS:
        ends = list(rendered(C, (h, -h)))
        derivative.append((ends[0][0] - ends[1][0]) / (2 * h.sum()))
        same &= (ends[0][1] == face) & (ends[1][1] == face)
    derivative = np.stack(derivative, axis=-1)  # [h, w, 4, 9]

    drawn = make_rendering(len(vertices), (CELLS, CELLS))
    rasterise(vertices, surface.faces, state, CAMERA, drawn, make_work())
    assert np.array_equal(drawn.face_of, face) and same.sum() > 0.9 * (face >= 0).sum()
    background_score, temperature = rng.uniform(0.3, 0.9, (CELLS, CELLS)), 0.3
    crop, equations = FeatureMap(cells.astype(np.float32), background_score, *CAMERA, temperature,
                                 20.0), make_equations()
    drawn.face_of[~same] = -1
    sums = compare(crop, surface, drawn, state, equations, make_work())
    s = np.sum(cells * seen, axis=2)[same]
    gamma = 1.0 / (1.0 + np.exp((background_score[same] - s) / temperature))
    expected = np.einsum("n,nda,ndb->ab", gamma * np.maximum(s, 0.1), derivative[same], derivative[same])
    np.testing.assert_allclose(equations.normal, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(equations.gradient, np.einsum("n,nd,nda->a", gamma, cells[same], derivative[same]),
                               rtol=1e-3, atol=1e-3 * np.abs(equations.gradient).max())
    np.testing.assert_allclose(sums, [np.maximum(s - background_score[same], 0).sum(), gamma.sum(), np.sum(gamma * s)
                                      / gamma.sum(), same.sum()], rtol=1e-4)


def test_what_is_too_near_or_behind_is_not_drawn():
    """A face with one corner nearer than ten centimetres is left out, the others of the cube stay."""
    vertices, _, faces = cube()
    for distance, some in ((1.5, True), (0.5, False), (-4.0, False)):
        drawn = make_rendering(len(vertices), (CELLS, CELLS))
        state = State(rotation_from_viewpoint(0.0, 0.0, 0.0), np.array([0, 0, distance]), np.zeros(3))
        rasterise(vertices, faces, state, CAMERA, drawn, make_work())
        shown = drawn.face_of >= 0
        assert shown.any() == some and np.allclose(drawn.depth[shown], distance - 1.0)


@pytest.mark.parametrize("lean", [0.0, 0.3, -1.2])
def test_matrix_of_the_prior_against_leaning_is_that_of_gauss_and_newton(lean):
    """The residual is how far the object's z axis points sideways; Cauchy's weights, two sigmas wide."""
    R, precision, claim, unit = rotation_from_viewpoint(0.6, 0.4, lean), 25.0, 3.0, 0.2
    gradient, normal = np.full(9, 0.5), np.full((9, 9), 0.25)
    add_upright_prior(np.array([precision, claim]), R, unit, NormalEquations(gradient, normal))
    J = np.zeros(9)
    for k in range(3):
        J[3 + k] = ((so3_exp(STEPS[k, :3]) @ R)[0, 2] - (so3_exp(-STEPS[k, :3]) @ R)[0, 2]) / 2e-6
    weight = unit * claim * precision / (1.0 + precision * R[0, 2] ** 2 / 4.0)
    np.testing.assert_allclose(gradient - 0.5, -weight * R[0, 2] * J, atol=1e-6)
    np.testing.assert_allclose(normal - 0.25, weight * np.outer(J, J), atol=1e-6)
