# SPDX-License-Identifier: Apache-2.0
"""Both refinements step by step: what ``climb`` and ``polish`` do, told by the pieces that have tests of their own."""

import numpy as np
import pytest
from unit.planted import car_mesh
from unit.scenes import planted_scene

from dinemo_ros.geometry import so3_exp
from dinemo_ros.solver.compare import compare, rasterise
from dinemo_ros.solver.crop_solver import inside_maps
from dinemo_ros.solver.likelihood import accumulate, choose_vertices
from dinemo_ros.solver.refine import CORRELATED, Refined, climb, log_prior, noise_variance, polish, solve_damped, weigh
from dinemo_ros.solver.roi_prior import add_roi_prior, roi_sides
from dinemo_ros.solver.similarity import Similarity
from dinemo_ros.solver.surface import prepare_surface
from dinemo_ros.solver.upright_prior import add_upright_prior
from dinemo_ros.solver.workspace import make_scratch

PRIOR, UPRIGHT, TEMPERATURE, DIMENSION, LIMIT = np.array([150.0, 400.0, 150.0]), np.array([30.0, 2.0]), 0.07, 20.0, 60


@pytest.fixture(scope="module")
def setting():
    """Surface, scene, volume, work space."""
    surface, scene = prepare_surface(car_mesh()), planted_scene(75.0, noise=0.6, box_error=(0.05, -0.04, 0.03, 0.06))
    volume = Similarity(surface.features[:400], car_mesh().clutter, TEMPERATURE, "clutter", 4)(scene.features)
    return surface, scene, volume, make_scratch(len(surface.vertices), (32, 32), LIMIT)


def start_of(scene) -> Refined:
    return Refined(so3_exp(np.array([0.05, -0.12, 0.04])) @ scene.T[:3, :3], scene.T[:3, 3] + [0.1, -0.1, 0.5],
                   np.array([0.02, -0.01, 0.03]))


def stepped(pose: Refined, step) -> Refined:
    return Refined(so3_exp(step[3:6]) @ pose.R, pose.t + step[:3], pose.log_size + step[6:])


def climbed(setting, pose: Refined, schedule, inside) -> Refined:
    """Levenberg and Marquardt on the windowed likelihood, its sizes' prior and its ROI; a step that loses is undone."""
    surface, scene, volume, scratch = setting
    sides, focal, centre = roi_sides(scene.target), scene.target.focal, scene.target.centre
    index, weight, work = np.empty(LIMIT, np.int64), np.empty(LIMIT), scratch.work
    for (sigma, steps), trust in zip(schedule, inside, strict=True):
        count = choose_vertices(surface.vertices, surface.normals, surface.visible, surface.azimuths,
                                surface.elevations, pose.R, pose.t, pose.log_size, len(volume.odds), LIMIT, index,
                                weight, work)
        weigh(surface.vertices, index, weight, count, pose.R, pose.t, pose.log_size, focal, centre, trust, scratch.hit,
              work)

        def evaluated(p, sigma=sigma, count=count):
            gradient, normal = np.empty(9), np.empty((9, 9))
            value = accumulate(volume.odds, surface.vertices, index, weight, count, p.R, p.t, p.log_size, focal, centre,
                               sigma, gradient, normal, work) + log_prior(PRIOR, p.log_size)
            value += add_roi_prior(sides, surface.vertices, p.R, p.t, np.exp(p.log_size), focal, centre, 1.0, gradient,
                                   normal, work)
            return value, gradient, normal

        damping, (value, gradient, normal) = 1e-2, evaluated(pose)
        for _ in range(int(steps)):
            step = np.empty(9)
            solve_damped(normal, gradient, 1.0, PRIOR, pose.log_size, damping, pose.t[2], step, work)
            moved = stepped(pose, step)
            found = evaluated(moved)
            if found[0] > value:
                pose, (value, gradient, normal), damping = moved, found, max(damping / 5, 1e-4)
            else:
                damping = min(damping * 10, 1e3)
    return pose


def same(found: Refined, expected: Refined, tolerance: float) -> None:
    for a, b in ((found.R, expected.R), (found.t, expected.t), (found.log_size, expected.log_size)):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.parametrize("schedule", [[[2.5, 1]], [[2.5, 4]], [[2.5, 3], [1.2, 5]], [[0.4, 6]]])
def test_climbing_equals_its_twin(setting, schedule):
    surface, scene, volume, scratch = setting
    schedule = np.array(schedule, float)
    inside = inside_maps(volume.foreground, schedule[:, 0])
    pose, before = start_of(scene), start_of(scene)
    pose.judged = True
    climb(volume, surface, PRIOR, roi_sides(scene.target), scene.target.focal, scene.target.centre, pose, schedule,
          inside, scratch)
    expected = climbed(setting, start_of(scene), schedule, inside)
    assert np.abs(pose.t - before.t).max() > 1e-3 and not pose.judged
    same(pose, expected, 1e-6)


def judged(setting, pose: Refined):
    """Sums, gradient and matrix of render-and-compare at a pose, priors in its units."""
    surface, scene, volume, scratch = setting
    focal, centre, size = scene.target.focal, scene.target.centre, np.exp(pose.log_size)
    screen, depth = np.empty_like(surface.vertices), np.empty((32, 32))
    face, bary, gradient, normal = np.empty((32, 32), np.int32), np.empty((32, 32, 3)), np.empty(9), np.empty((9, 9))
    rasterise(surface.vertices, surface.faces, pose.R, pose.t, size, focal, centre, screen, face, bary, depth,
              scratch.work)
    sums = compare(volume.cells, volume.rival, TEMPERATURE, surface.features, surface.gram, surface.vertices,
                   surface.faces, screen, face, bary, depth, pose.R, pose.t, size, focal, centre, gradient, normal,
                   scratch.work)
    unit = noise_variance(sums[2], DIMENSION) * CORRELATED
    sides = roi_sides(scene.target)
    add_roi_prior(sides, surface.vertices, pose.R, pose.t, size, focal, centre, unit, gradient, normal, scratch.work)
    add_upright_prior(UPRIGHT, pose.R, unit, gradient, normal)
    return sums, gradient, normal, unit


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_polishing_equals_its_twin(setting, steps):
    surface, scene, volume, scratch = setting
    pose, expected = start_of(scene), start_of(scene)
    polish(volume, surface, PRIOR, roi_sides(scene.target), UPRIGHT, scene.target.focal, scene.target.centre, pose,
           TEMPERATURE, DIMENSION, steps, scratch)
    for _ in range(steps):
        _, gradient, normal, unit = judged(setting, expected)
        step = np.empty(9)
        solve_damped(normal, gradient, 1.0 / unit, PRIOR, expected.log_size, 1e-3, expected.t[2], step, scratch.work)
        expected = stepped(expected, step)
    same(pose, expected, 1e-6)
    (evidence, explained, cosine, covered), gradient, normal, _ = judged(setting, expected)
    np.testing.assert_allclose([pose.evidence, pose.score, pose.cosine, pose.visible],
                               [evidence, evidence / covered, cosine, explained / covered], rtol=1e-4)
    np.testing.assert_allclose(pose.normal, normal, rtol=1e-3, atol=1e-4 * np.abs(normal).max())
    np.testing.assert_allclose(pose.gradient, gradient, atol=1e-3 * np.sqrt(np.diag(normal).max()))
    assert pose.judged


def test_what_is_not_in_the_picture_is_judged_as_nothing_and_not_moved(setting):
    surface, scene, volume, scratch = setting
    pose = start_of(scene)
    pose.t = np.array([500.0, 0.0, 9.0])
    polish(volume, surface, PRIOR, roi_sides(scene.target), UPRIGHT, scene.target.focal, scene.target.centre, pose,
           TEMPERATURE, DIMENSION, 4, scratch)
    assert pose.score == pose.visible == pose.evidence == 0.0 and pose.t.tolist() == [500.0, 0.0, 9.0]
