# SPDX-License-Identifier: Apache-2.0
"""Both refinements step by step: what ``coarse_refinement`` and ``gauss_newton_refinement`` do, told by the pieces that
have tests of their own."""

import numpy as np
import pytest
from unit.planted import car_mesh
from unit.scenes import planted_scene

from dinemo_ros.geometry import so3_exp
from dinemo_ros.solver.compare import compare, rasterise
from dinemo_ros.solver.crop_solver import inside_maps
from dinemo_ros.solver.likelihood import accumulate, choose_vertices
from dinemo_ros.solver.problem import FeatureMap, FeatureNoise, Priors, State
from dinemo_ros.solver.refine import (
    CORRELATED,
    Refined,
    coarse_refinement,
    gauss_newton_refinement,
    log_prior,
    noise_variance,
    solve_damped,
    weigh,
)
from dinemo_ros.solver.roi_prior import add_roi_prior, roi_sides
from dinemo_ros.solver.similarity import Similarity
from dinemo_ros.solver.surface import prepare_surface
from dinemo_ros.solver.upright_prior import add_upright_prior
from dinemo_ros.solver.workspace import make_equations, make_rendering, make_scratch

PRIOR, UPRIGHT, TEMPERATURE, DIMENSION, LIMIT = np.array([150.0, 400.0, 150.0]), np.array([30.0, 2.0]), 0.07, 20.0, 60


@pytest.fixture(scope="module")
def setting():
    """Surface, scene, volume, work space."""
    surface, scene = prepare_surface(car_mesh()), planted_scene(75.0, noise=0.6, box_error=(0.05, -0.04, 0.03, 0.06))
    volume = Similarity(surface.features[:400], car_mesh().clutter, TEMPERATURE, "clutter", 4)(scene.features)
    return surface, scene, volume, make_scratch(len(surface.vertices), (32, 32), LIMIT)


def priors_of(scene) -> Priors:
    return Priors(PRIOR, roi_sides(scene.target), UPRIGHT)


def state_of(pose: Refined) -> State:
    return State(pose.R, pose.t, pose.log_size)


def start_of(scene) -> Refined:
    return Refined(so3_exp(np.array([0.05, -0.12, 0.04])) @ scene.T[:3, :3], scene.T[:3, 3] + [0.1, -0.1, 0.5],
                   np.array([0.02, -0.01, 0.03]))


def stepped(pose: Refined, step) -> Refined:
    return Refined(so3_exp(step[3:6]) @ pose.R, pose.t + step[:3], pose.log_size + step[6:])


def coarse_twin(setting, pose: Refined, schedule, inside) -> Refined:
    """Levenberg and Marquardt on the windowed likelihood, its sizes' prior and its ROI; a step that loses is undone."""
    surface, scene, volume, scratch = setting
    sides, camera = roi_sides(scene.target), scene.target.camera
    index, weight, work = np.empty(LIMIT, np.int64), np.empty(LIMIT), scratch.work
    for (sigma, steps), trust in zip(schedule, inside, strict=True):
        count = choose_vertices(surface, state_of(pose), len(volume.odds), index, weight, work)
        weigh(surface.vertices, index[:count], weight[:count], state_of(pose), camera, trust, scratch.hit, work)

        def evaluated(p, sigma=sigma, count=count):
            equations = make_equations()
            value = accumulate(volume.odds, surface.vertices, index[:count], weight[:count], state_of(p), camera, sigma,
                               equations, work) + log_prior(PRIOR, p.log_size)
            value += add_roi_prior(sides, surface.vertices, state_of(p), camera, 1.0, equations, work)
            return value, equations

        damping, (value, equations) = 1e-2, evaluated(pose)
        for _ in range(int(steps)):
            step = np.empty(9)
            solve_damped(equations, 1.0, PRIOR, state_of(pose), damping, step, work)
            moved = stepped(pose, step)
            found = evaluated(moved)
            if found[0] > value:
                pose, (value, equations), damping = moved, found, max(damping / 5, 1e-4)
            else:
                damping = min(damping * 10, 1e3)
    return pose


def same(found: Refined, expected: Refined, tolerance: float) -> None:
    for a, b in ((found.R, expected.R), (found.t, expected.t), (found.log_size, expected.log_size)):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.parametrize("schedule", [[[2.5, 1]], [[2.5, 4]], [[2.5, 3], [1.2, 5]], [[0.4, 6]]])
def test_coarse_refinement_equals_its_twin(setting, schedule):
    surface, scene, volume, scratch = setting
    schedule = np.array(schedule, float)
    inside = inside_maps(volume.foreground, schedule[:, 0])
    pose, before = start_of(scene), start_of(scene)
    pose.evaluated = True
    coarse_refinement(volume, surface, priors_of(scene), scene.target.camera, pose, schedule, inside, scratch)
    expected = coarse_twin(setting, start_of(scene), schedule, inside)
    assert np.abs(pose.t - before.t).max() > 1e-3 and not pose.evaluated
    same(pose, expected, 1e-6)


def evaluated(setting, pose: Refined):
    """Sums and normal equations of render-and-compare at a pose, priors in its units."""
    surface, scene, volume, scratch = setting
    state, camera, equations = state_of(pose), scene.target.camera, make_equations()
    rendering = make_rendering(len(surface.vertices), (32, 32))
    rasterise(surface.vertices, surface.faces, state, camera, rendering, scratch.work)
    crop = FeatureMap(volume.cells, volume.background_score, *camera, TEMPERATURE, DIMENSION)
    sums = compare(crop, surface, rendering, state, equations, scratch.work)
    unit = noise_variance(sums[2], DIMENSION) * CORRELATED
    add_roi_prior(roi_sides(scene.target), surface.vertices, state, camera, unit, equations, scratch.work)
    add_upright_prior(UPRIGHT, pose.R, unit, equations)
    return sums, equations, unit


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_gauss_newton_refinement_equals_its_twin(setting, steps):
    surface, scene, volume, scratch = setting
    pose, expected = start_of(scene), start_of(scene)
    gauss_newton_refinement(volume, surface, FeatureNoise(TEMPERATURE, DIMENSION), priors_of(scene),
                            scene.target.camera, pose, steps, scratch)
    for _ in range(steps):
        _, equations, unit = evaluated(setting, expected)
        step = np.empty(9)
        solve_damped(equations, 1.0 / unit, PRIOR, state_of(expected), 1e-3, step, scratch.work)
        expected = stepped(expected, step)
    same(pose, expected, 1e-6)
    (evidence, explained, cosine, covered), (gradient, normal), _ = evaluated(setting, expected)
    np.testing.assert_allclose([pose.evidence, pose.score, pose.cosine, pose.visible],
                               [evidence, evidence / covered, cosine, explained / covered], rtol=1e-4)
    np.testing.assert_allclose(pose.normal, normal, rtol=1e-3, atol=1e-4 * np.abs(normal).max())
    np.testing.assert_allclose(pose.gradient, gradient, atol=1e-3 * np.sqrt(np.diag(normal).max()))
    assert pose.evaluated


def test_what_is_not_in_the_picture_is_evaluated_as_nothing_and_not_moved(setting):
    surface, scene, volume, scratch = setting
    pose = start_of(scene)
    pose.t = np.array([500.0, 0.0, 9.0])
    gauss_newton_refinement(volume, surface, FeatureNoise(TEMPERATURE, DIMENSION), priors_of(scene),
                            scene.target.camera, pose, 4, scratch)
    assert pose.score == pose.visible == pose.evidence == 0.0 and pose.t.tolist() == [500.0, 0.0, 9.0]
