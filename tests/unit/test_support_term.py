# SPDX-License-Identifier: Apache-2.0
"""The support plane as a term of the refinement: its slope, its scales, and where a planted object ends up."""

import math
from dataclasses import replace

import numpy as np
import pytest
from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.geometry import rotation_angle, rotation_from_viewpoint, so3_exp
from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_ros.solver.category import prepare_category
from dinemo_ros.solver.problem import NO_SUPPORT, FeatureNoise, Priors, State
from dinemo_ros.solver.refine import Refined, gauss_newton_refinement
from dinemo_ros.solver.roi_prior import roi_sides
from dinemo_ros.solver.similarity import Similarity
from dinemo_ros.solver.support_term import add_support, foot, lowest, support_term
from dinemo_ros.solver.workspace import make_equations, make_scratch

R, T, LOG_SIZE = rotation_from_viewpoint(0.8, 0.5, 0.05), np.array([0.2, -0.1, 9.0]), np.array([0.05, -0.03, 0.08])
LOW = -0.75  # metres, bottom of the planted car


@pytest.fixture(scope="module")
def category():
    return prepare_category(car_mesh(), car_card())


def scaled(category, depth_scale=1.0, covariance_scale=1.0):
    return replace(category, depth_scale=depth_scale, covariance_scale=covariance_scale)


def moved(step) -> State:
    return State(so3_exp(step[3:6]) @ R, T + step[:3], LOG_SIZE + step[6:])


def added(plane, category, unit=1.0):
    equations = make_equations()
    add_support(support_term(plane, category), moved(np.zeros(9)), unit, equations)
    return equations


def test_the_foot_is_the_middle_of_the_bottom(category):
    assert lowest(category) == pytest.approx(LOW)
    np.testing.assert_allclose(foot(R, T, LOG_SIZE, scaled(category, 1.1)),
                               1.1 * T + R @ [0.0, 0.0, LOW * math.exp(LOG_SIZE[2])], atol=1e-7)


@pytest.mark.parametrize("depth_scale, covariance_scale, unit", [(1.0, 1.0, 1.0), (1.15, 1.0, 1.0), (0.9, 2.5, 0.3)])
def test_gradient_and_matrix_are_those_of_the_stated_cost(category, depth_scale, covariance_scale, unit):
    """Half the squares of height and tilt over their sigmas; true distances are ``depth_scale`` times the solver's."""
    known = scaled(category, depth_scale, covariance_scale)
    normal = so3_exp(np.array([0.03, 0.01, -0.05])) @ R[:, 2]
    plane = SupportPlane(normal, float(normal @ (depth_scale * T)) - 0.5, normal_sigma=0.04, offset_sigma=0.02)

    def height(step):
        state = moved(step)
        at = depth_scale * state.t + math.exp(state.log_size[2]) * LOW * state.R[:, 2]
        return (normal @ at - plane.offset_m) / 0.02

    def cost(step):
        chord = np.linalg.norm(moved(step).R[:, 2] - normal) / 0.04  # its slope is that of the sine
        return -0.5 * unit * covariance_scale * (height(step)**2 + chord**2)

    def slope(value, unit_vector):
        return (value(1e-6 * unit_vector) - value(-1e-6 * unit_vector)) / 2e-6

    equations = added(plane, known, unit)
    np.testing.assert_allclose(equations.gradient, [slope(cost, e) for e in np.eye(9)], rtol=1e-5, atol=1e-2)
    along = np.array([slope(height, e) for e in np.eye(9)])
    across = np.zeros((9, 9))
    across[3:6, 3:6] = (np.eye(3) - np.outer(R[:, 2], R[:, 2])) / 0.04**2
    expected = unit * covariance_scale * (np.outer(along, along) + across)
    np.testing.assert_allclose(equations.normal, expected, rtol=1e-5, atol=1e-4 * np.abs(expected).max())


def test_an_object_that_stands_there_is_not_moved(category):
    plane = SupportPlane(R[:, 2], float(R[:, 2] @ foot(R, T, LOG_SIZE, category)))
    assert np.abs(added(plane, category).gradient).max() < 1e-6


def test_without_a_plane_nothing_is_added():
    equations = make_equations()
    add_support(NO_SUPPORT, moved(np.zeros(9)), 1.0, equations)
    assert not equations.gradient.any() and not equations.normal.any()


@pytest.mark.parametrize("depth_scale", [1.0, 1.1])
def test_a_planted_object_ends_with_its_foot_on_the_plane(category, depth_scale):
    """The pose begins at nine tenths of distance and size, as a picture alone might have it."""
    scene, known = planted_scene(60.0, 20.0, noise=0.3), scaled(category, depth_scale)
    truth, up = scene.T[:3, 3] / depth_scale, scene.T[:3, 2]
    plane = SupportPlane(up, float(up @ (scene.T[:3, 3] + LOW * up)))
    volume = Similarity(category.search_features, category.clutter, category.temperature, "clutter", 4)(scene.features)
    found = {}
    for name, term in (("none", NO_SUPPORT), ("plane", support_term(plane, known))):
        pose = Refined(scene.T[:3, :3].copy(), 0.9 * truth, np.full(3, math.log(0.9 / depth_scale)))
        gauss_newton_refinement(
            volume, category.surface, FeatureNoise(category.temperature, category.dimension),
            Priors(np.full(3, 1e-3), roi_sides(scene.target), np.array([0.0, 0.0]), term), scene.target.camera, pose, 8,
            make_scratch(len(category.surface.vertices), (32, 32), 10))
        found[name] = pose
    pose = found["plane"]
    assert abs(plane.height(foot(pose.R, pose.t, pose.log_size, known))) < 0.01
    assert depth_scale * pose.t[2] == pytest.approx(scene.T[2, 3], rel=0.02)
    assert rotation_angle(pose.R, scene.T[:3, :3]) < math.radians(1.5)
    assert found["none"].t[2] < 0.94 * truth[2]  # nothing else in the picture tells
