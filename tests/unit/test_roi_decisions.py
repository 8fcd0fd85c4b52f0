# SPDX-License-Identifier: Apache-2.0
"""The sides of a ROI one at a time: each counts by itself, as plain numpy has it."""

import numpy as np
import pytest

from dinemo_ros.geometry import rotation_from_viewpoint
from dinemo_ros.solver import reference
from dinemo_ros.solver.coarse import Target
from dinemo_ros.solver.problem import NormalEquations, Pinhole, State
from dinemo_ros.solver.roi_prior import add_roi_prior, roi_sides, tells_extent
from dinemo_ros.solver.workspace import make_work

FOCAL, CENTRE, TAIL = 30.0, 15.5, 2.0
POSE = rotation_from_viewpoint(0.7, 0.3, 0.1), np.array([0.2, -0.1, 6.0]), np.array([0.05, -0.02, 0.03])
VERTICES = np.random.default_rng(0).uniform([-2, -0.9, -0.7], [2, 0.9, 0.7], (60, 3))


def projected_sides(step) -> np.ndarray:
    cells = reference.project(reference.transform(VERTICES, *reference.moved(*POSE, step)), FOCAL, CENTRE)
    return np.r_[cells.min(axis=0), cells.max(axis=0)]


def added(sides, t=POSE[1], unit=1.0):
    equations = NormalEquations(np.full(9, 0.5), np.full((9, 9), 0.25))  # something is there already
    value = add_roi_prior(sides, VERTICES, State(POSE[0], t, POSE[2]), Pinhole(FOCAL, CENTRE), unit, equations,
                          make_work())
    return value, equations.gradient - 0.5, equations.normal - 0.25


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("off", [0.4, -3.0])
def test_one_side_alone_pulls_at_its_outermost_vertex(side, off):
    """Cauchy's cost k^2/2 log(1 + r^2/k^2) and its weights, in Gauss and Newton's matrix."""
    trust = 1.7
    sides = np.zeros((2, 4))
    sides[0], sides[1, side] = projected_sides(np.zeros(9)), trust
    sides[0, side] += off
    r = off * trust
    J = np.array([(projected_sides(h) - projected_sides(-h))[side] / 2e-6 for h in 1e-6 * np.eye(9)])
    weight = 1.0 / (1.0 + (r / TAIL) ** 2)
    for unit in (1.0, 0.3):
        value, gradient, normal = added(sides, unit=unit)
        assert value == pytest.approx(-0.5 * TAIL**2 * np.log(1.0 + (r / TAIL) ** 2))
        np.testing.assert_allclose(gradient, unit * weight * trust * r * J, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(normal, unit * weight * trust**2 * np.outer(J, J), rtol=1e-5, atol=1e-5)


def test_sides_add_up():
    sides = np.stack([projected_sides(np.zeros(9)) + [0.5, -0.3, 0.2, 0.8], [1.0, 0.5, 2.0, 1.5]])
    alone = [added(np.stack([sides[0], np.where(np.arange(4) == k, sides[1], 0.0)])) for k in range(4)]
    for together, parts in zip(added(sides), zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(together, sum(parts), rtol=1e-9, atol=1e-12)


def test_nothing_is_said_of_an_object_beside_the_camera_or_by_a_roi_that_is_unknown():
    sides = np.stack([projected_sides(np.zeros(9)) + 1.0, np.ones(4)])
    for found in (added(sides, t=np.array([0.0, 0.0, 1.0])), added(sides * [[1.0], [0.0]])):
        assert found[0] == 0.0 and not found[1].any() and not found[2].any()


@pytest.mark.parametrize("open_sides, expected", [
    ((0, 0, 0, 0), True), ((1, 0, 0, 0), True), ((1, 0, 1, 0), True), ((1, 1, 0, 0), False), ((0, 1, 1, 0), False),
    ((1, 1, 1, 1), False)])
def test_an_extent_is_told_by_two_opposite_sides(open_sides, expected):
    target = Target(np.array([4.0, 6.0, 24.0, 18.0]), np.array(open_sides, np.uint8), FOCAL, CENTRE)
    assert tells_extent(target) == expected
    assert not tells_extent(Target(target.box, target.open_sides, FOCAL, CENTRE, box_is_observed=False))


def test_a_side_is_trusted_to_a_twentieth_of_its_length_and_a_quarter_of_a_cell():
    sides = roi_sides(Target(np.array([4.0, 6.0, 24.0, 18.0]), np.zeros(4, np.uint8), FOCAL, CENTRE))
    np.testing.assert_allclose(1.0 / sides[1], [1.25, 0.85, 1.25, 0.85])
    np.testing.assert_array_equal(sides[0], [4.0, 6.0, 24.0, 18.0])
