# SPDX-License-Identifier: Apache-2.0
"""The sides of an observed ROI as observations: derivatives, whom they concern, and what they do to a pose."""

from dataclasses import replace

import numpy as np
import pytest
from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.geometry import rotation_angle
from dinemo_ros.solver import PoseSolver, prepare_category
from dinemo_ros.solver.coarse import Target
from dinemo_ros.solver.problem import State
from dinemo_ros.solver.refine import moved
from dinemo_ros.solver.roi_prior import add_roi_prior, roi_sides
from dinemo_ros.solver.surface import prepare_surface
from dinemo_ros.solver.workspace import make_equations, make_work

VERTICES = prepare_surface(car_mesh()).vertices


def box_of(scene) -> np.ndarray:
    points = VERTICES @ scene.T[:3, :3].T + scene.T[:3, 3]
    pixels = scene.target.focal * points[:, :2] / points[:, 2:] + scene.target.centre
    return np.r_[pixels.min(axis=0), pixels.max(axis=0)]


def evaluate(sides, scene, step, unit=1.0):
    """Value, gradient [9] and matrix [9, 9] at the scene's pose after a step [9]."""
    state, equations = State(np.empty((3, 3)), np.empty(3), np.empty(3)), make_equations()
    moved(State(scene.T[:3, :3].copy(), scene.T[:3, 3].copy(), np.zeros(3)), step, state)
    value = add_roi_prior(sides, VERTICES, state, scene.target.camera, unit, equations, make_work())
    return value, equations.gradient, equations.normal


def test_gradient_is_that_of_finite_differences():
    scene = planted_scene(50.0, elevation_deg=14.0)
    sides = roi_sides(replace(scene.target, box=box_of(scene) + [0.6, -0.4, 1.5, 0.3]))
    _, gradient, _ = evaluate(sides, scene, np.zeros(9))
    numeric = [(evaluate(sides, scene, h)[0] - evaluate(sides, scene, -h)[0]) / 2e-6 for h in 1e-6 * np.eye(9)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-5)


def test_matrix_is_that_of_gauss_newton_where_the_box_fits():
    """At residual zero the second derivative of the cost is J^T J / sigma^2 exactly."""
    scene = planted_scene(50.0, elevation_deg=14.0)
    sides = roi_sides(replace(scene.target, box=box_of(scene)))
    value, gradient, normal = evaluate(sides, scene, np.zeros(9))
    assert value == pytest.approx(0.0, abs=1e-12) and np.abs(gradient).max() < 1e-9
    step = 1e-4 * np.array([1.0, -2.0, 3.0, 0.5, 0.2, -0.3, 0.4, 0.1, -0.2])
    assert evaluate(sides, scene, step)[0] == pytest.approx(-0.5 * step @ normal @ step, rel=0.02)


def test_unit_scales_the_derivatives_only():
    scene = planted_scene(50.0)
    sides = roi_sides(replace(scene.target, box=box_of(scene) + 0.5))
    whole, half = (evaluate(sides, scene, np.zeros(9), unit) for unit in (1.0, 0.5))
    assert whole[0] == half[0]
    np.testing.assert_allclose(half[1], 0.5 * whole[1])
    np.testing.assert_allclose(half[2], 0.5 * whole[2])


def test_a_side_on_the_border_and_a_box_of_our_own_say_nothing():
    target = Target(np.array([4.0, 6, 24, 18]), np.array([0, 0, 1, 0], np.uint8), 40.0, 15.5)
    sides = roi_sides(target)
    assert sides[1, 2] == 0.0 and (sides[1, [0, 1, 3]] > 0).all()
    assert sides[1, 1] > sides[1, 0]  # the box is lower than wide: the same share is fewer cells
    assert not roi_sides(replace(target, box_is_observed=False))[1].any()


def test_a_side_that_is_far_off_hardly_pulls():
    """An occluder cut the box: of a side ten sigmas away no more is believed than of one that is half a sigma away."""
    scene = planted_scene(50.0)
    sides = roi_sides(replace(scene.target, box=box_of(scene)))

    def pull(sigmas: float) -> float:
        moved_side = sides.copy()
        moved_side[0, 0] += sigmas / sides[1, 0]
        return float(np.abs(evaluate(moved_side, scene, np.zeros(9))[1]).max())

    assert pull(10.0) < pull(0.5) < pull(1.5)


def test_the_box_turns_a_pose_right_that_the_features_hardly_tell():
    """Features drowned in noise: the outline's box still tells how wide and how high the object looks."""
    medians = []
    for observed in (True, False):
        solver, off = PoseSolver(prepare_category(car_mesh(), car_card())), []
        for seed in range(8):
            scene = planted_scene(145.0, noise=10.0, seed=seed)
            best = solver.solve(scene.features, replace(scene.target, box_is_observed=observed))[0]
            off.append(rotation_angle(best.T_crop_obj[:3, :3], scene.T[:3, :3]))
        medians.append(np.median(off))
    assert medians[0] < 0.75 * medians[1]
