# SPDX-License-Identifier: Apache-2.0
"""The posterior over turns against plain loops: what a turn explains, what hiding costs, what it widens."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from unit.planted import box_surface

from dinemo_ros.geometry import rotation_from_viewpoint, turn
from dinemo_ros.model.azimuth import NOT_FITTED, AzimuthSpec
from dinemo_ros.model.symmetry import UNIFORM_VARIANCE, axis_variance
from dinemo_ros.solver.ambiguity import (
    azimuth_of,
    azimuth_posterior,
    surface_area,
    turn_likelihoods,
    turned_evidence,
    widened,
)
from dinemo_ros.solver.visibility import visibility_table, visible_row
from dinemo_ros.turns import TURNS, angles, deviation

FOCAL, CENTRE, CELLS, LEVEL = 24.0, 9.5, 20, 0.12
SIZE = np.array([1.1, 0.9, 1.05])
POSE = rotation_from_viewpoint(0.7, 0.3, 0.1), np.array([0.4, -0.3, 2.6])


@pytest.fixture(scope="module")
def surface():
    vertices, normals, faces = box_surface((-0.6, -0.5, -0.4), (0.6, 0.5, 0.4))
    table = visibility_table(vertices, faces, normals, azimuths=12, elevations=7)
    return SimpleNamespace(vertices=vertices, normals=normals, faces=faces, visible=table.visible, azimuths=12,
                           elevations=7)


@pytest.fixture(scope="module")
def volume(surface):
    """Cosines of all of the object's vertices but the last ten; half of the cells are covered and say little."""
    rng, count = np.random.default_rng(0), len(surface.vertices) - 10
    similarity = rng.uniform(-0.2, 0.7, (count, CELLS, CELLS)) * (rng.random((CELLS, CELLS)) < 0.5)
    return SimpleNamespace(similarity=similarity.reshape(count, -1), background_score=np.empty((CELLS, CELLS)))


def interpolated(plane, x, y):
    """Bilinear, zeros outside of the map."""
    total = 0.0
    for i in (math.floor(y), math.floor(y) + 1):
        for j in (math.floor(x), math.floor(x) + 1):
            if 0 <= i < CELLS and 0 <= j < CELLS:
                total += (1 - abs(x - j)) * (1 - abs(y - i)) * plane[i, j]
    return total


def plainly(volume, surface, R, t) -> float:
    camera = -R.T @ t / SIZE
    azimuth = math.atan2(camera[1], camera[0])
    row = visible_row(surface, azimuth, math.atan2(camera[2], math.hypot(camera[0], camera[1])))
    total = 0.0
    for v in range(len(volume.similarity)):
        ray = camera - surface.vertices[v]
        facing = ray @ surface.normals[v] / np.linalg.norm(ray)
        X = R @ (SIZE * surface.vertices[v]) + t
        x, y = FOCAL * X[0] / X[2] + CENTRE, FOCAL * X[1] / X[2] + CENTRE
        if not row[v] or facing <= 0 or X[2] <= 0 or not (-1 < x < CELLS and -1 < y < CELLS):
            continue
        value = interpolated(volume.similarity[v].reshape(CELLS, CELLS) - LEVEL, x, y)
        total += value * facing * (FOCAL / X[2]) ** 2
    return total


@pytest.mark.parametrize("angle", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("shift", [0.0, 0.9])
def test_evidence_of_a_turn_is_what_its_visible_vertices_show(volume, surface, angle, shift):
    """Bilinear between cells, less where the surface is slanted, more where it is near; clutter is not asked."""
    R, t = POSE[0] @ turn(angle), POSE[1] + [shift, 0.5 * shift, 0.0]  # shifted, part of it is beside the picture
    found = turned_evidence(volume, surface, R, t, SIZE, FOCAL, CENTRE, LEVEL)
    assert found == pytest.approx(plainly(volume, surface, R, t), rel=1e-9)


def test_posterior_is_the_softmax_of_the_evidence_over_all_turns(volume, surface):
    """Each vertex stands for its share of the surface; unit is the variance of one independent cell."""
    unit = 3.0
    likelihoods = turn_likelihoods(volume, surface, *POSE, SIZE, FOCAL, CENTRE, LEVEL, unit)
    posterior = azimuth_posterior(likelihoods, azimuth_of(*POSE), NOT_FITTED)
    share = surface_area(surface, SIZE) / len(volume.similarity)
    logs = np.array([plainly(volume, surface, POSE[0] @ turn(2 * np.pi * k / TURNS), POSE[1])
                     for k in range(TURNS)]) * share / unit
    expected = np.exp(logs - logs.max())
    np.testing.assert_allclose(posterior, expected / expected.sum(), rtol=1e-6)
    assert posterior.max() < 0.9, "one turn has it all: the test sees little"


def test_area_of_a_box_is_that_of_its_sides(surface):
    a, b, c = SIZE * [1.2, 1.0, 0.8]
    assert surface_area(surface, SIZE) == pytest.approx(2 * (a * b + b * c + c * a))


def test_turns_go_once_around_and_begin_with_none():
    turns = angles()
    assert turns[0] == 0.0 and (-np.pi <= turns).all() and (turns < np.pi).all()
    np.testing.assert_allclose(np.diff(np.sort(turns)), 2 * np.pi / TURNS)


def one_of(*places: int) -> np.ndarray:
    posterior = np.zeros(TURNS)
    posterior[list(places)] = 1.0 / len(places)
    return posterior


def test_the_variance_about_the_axis_is_the_posteriors_where_that_is_wider():
    R = POSE[0]
    narrow = 1e-4 * np.eye(6)
    step = 2 * np.pi / TURNS
    wide = widened(narrow, R, one_of(0, 3, TURNS - 3))
    assert axis_variance(wide, R) == pytest.approx(2 / 3 * (3 * step) ** 2)
    np.testing.assert_allclose(np.diag(wide)[:3], 1e-4)
    across = R[:, 0]
    assert across @ wide[3:, 3:] @ across == pytest.approx(1e-4)


def test_where_one_turn_has_it_all_the_local_variance_stays():
    covariance = 1e-2 * np.eye(6)
    assert widened(covariance, POSE[0], one_of(0)) is covariance


def test_no_angle_is_less_known_than_not_at_all():
    lost = 50.0 * np.eye(6)
    assert axis_variance(widened(lost, POSE[0], one_of(0)), POSE[0]) == pytest.approx(UNIFORM_VARIANCE)
    everywhere = widened(1e-4 * np.eye(6), POSE[0], np.full(TURNS, 1 / TURNS))
    assert axis_variance(everywhere, POSE[0]) == pytest.approx(UNIFORM_VARIANCE, rel=0.01)


FITTED = AzimuthSpec(scale=1.0)


def peaked(*places: int) -> np.ndarray:
    """Log likelihoods with peaks of e^6 at these turns."""
    likelihoods = np.zeros(TURNS)
    likelihoods[list(places)] = 6.0
    return likelihoods


def test_a_fitted_posterior_replaces_the_local_variance_however_wide_that_is():
    covariance = 0.2 * np.eye(6)
    posterior = one_of(0, 1)
    assert axis_variance(widened(covariance, POSE[0], posterior, True), POSE[0]) == pytest.approx(
        deviation(posterior) ** 2)


def test_the_deviation_holds_as_much_as_that_of_a_normal_error():
    """A normal posterior has its own; a little doubt about all turns hardly widens it; not to know is 104 degrees."""
    step, steps = 2 * np.pi / TURNS, angles()
    for sigma in np.radians([15.0, 40.0]):
        normal = np.exp(-0.5 * (steps / sigma) ** 2)
        normal /= normal.sum()
        assert deviation(normal) == pytest.approx(sigma, rel=0.03)
        assert deviation(0.95 * normal + 0.05 / TURNS) < 1.15 * sigma
    assert deviation(one_of(0)) == pytest.approx(0.6827 * 0.5 * step, rel=1e-3)
    assert deviation(one_of(18)) == deviation(np.full(TURNS, 1 / TURNS)) == pytest.approx(UNIFORM_VARIANCE**0.5)
    assert deviation(0.6 * one_of(0) + 0.4 * one_of(3)) == pytest.approx((3 - 0.5 + 0.0827 / 0.4) * step, rel=1e-3)


def test_a_part_that_is_seen_leaves_little_doubt_and_one_that_is_behind_leaves_every_turn():
    """The likeliest turn shows the part (azimuth 0) or has it straight behind."""
    spec = AzimuthSpec(scale=1.0, unseen=1.0)
    seen, behind = azimuth_posterior(peaked(0), 0.0, spec), azimuth_posterior(peaked(0), np.pi, spec)
    assert np.degrees(deviation(seen)) < 20 < 80 < np.degrees(deviation(behind))
    hidden = 1.0 * (np.exp(6.0) + 10) / 11  # 11 turns hide it, the mean of their likelihoods
    assert behind.min() == pytest.approx((1.0 + hidden) / (np.exp(6.0) + 35 + 36 * hidden))


def test_turns_that_hide_the_part_are_those_of_the_camera_that_is_behind():
    """A turn of the object by a takes a off the azimuth that the camera has about it."""
    spec = AzimuthSpec(scale=1.0, unseen=1.0)
    only_behind = peaked(18)  # of a camera at azimuth 0, half a turn puts the part behind
    assert azimuth_posterior(only_behind, 0.0, spec).min() > 5 * azimuth_posterior(only_behind, np.pi, spec).min()
    likelihoods = peaked(9)  # a quarter turn: of a camera at -90 degrees half way round, at 90 the part is in front
    assert azimuth_posterior(likelihoods, -np.pi / 2, spec).min() > 5 * azimuth_posterior(
        likelihoods, np.pi / 2, spec).min()
    R = rotation_from_viewpoint(1.1, 0.2, 0.0)
    assert azimuth_of(R, np.array([0, 0, 2.0])) == pytest.approx(1.1)
    assert azimuth_of(R @ turn(0.4), np.array([0, 0, 2.0])) == pytest.approx(0.7)


def test_blur_and_doubt_widen_by_as_much_as_they_say():
    sharp = np.where(np.arange(TURNS) == 0, 0.0, -50.0)
    wide = azimuth_posterior(sharp, 0.0, AzimuthSpec(scale=1.0, blur_deg=15.0))
    assert np.degrees(deviation(wide)) == pytest.approx(15.0, rel=0.03)
    doubted = azimuth_posterior(sharp, 0.0, AzimuthSpec(scale=1.0, doubt=0.1))
    np.testing.assert_allclose(doubted[1:], 0.1 / TURNS, rtol=1e-6)
    for posterior in (wide, doubted):
        assert posterior.sum() == pytest.approx(1.0) and (posterior >= 0).all()


def test_what_was_not_fitted_does_nothing():
    found = azimuth_posterior(peaked(3), 0.3, AzimuthSpec(unseen=5.0, blur_deg=30.0, doubt=0.5))
    np.testing.assert_array_equal(found, azimuth_posterior(peaked(3), 0.3, NOT_FITTED))
