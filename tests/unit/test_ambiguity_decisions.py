# SPDX-License-Identifier: Apache-2.0
"""The posterior over turns against plain loops: what a turn explains, what hiding costs, what it widens."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from unit.planted import box_surface

from dinemo_ros.geometry import rotation_from_viewpoint, turn
from dinemo_ros.model.symmetry import UNIFORM_VARIANCE, axis_variance
from dinemo_ros.solver.ambiguity import TURNS, angles, azimuth_posterior, surface_area, turned_evidence, widened
from dinemo_ros.solver.similarity import UNIT
from dinemo_ros.solver.visibility import visibility_table, visible_row

FOCAL, CENTRE, CELLS, PAD, OCCLUDED = 24.0, 9.5, 20, 2, 0.1
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
    """Evidence in half of the cells, all of the object's vertices but the last ten."""
    rng, count = np.random.default_rng(0), len(surface.vertices) - 10
    evidence = np.zeros((count + 1, CELLS + 2 * PAD, CELLS + 2 * PAD), np.uint8)
    some = rng.integers(1, 60, (count, CELLS, CELLS)) * (rng.random((count, CELLS, CELLS)) < 0.5)
    evidence[:-1, PAD:-PAD, PAD:-PAD] = some
    return SimpleNamespace(evidence=evidence, similarity=np.empty(count), background_score=np.empty((CELLS, CELLS)),
                           pad=PAD)


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
        value = interpolated(volume.evidence[v, PAD:-PAD, PAD:-PAD].astype(float), x, y)
        total += (value / UNIT if value > 0 else -OCCLUDED) * facing * (FOCAL / X[2]) ** 2
    return total


@pytest.mark.parametrize("angle", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("shift", [0.0, 0.9])
def test_evidence_of_a_turn_is_what_its_visible_vertices_show(volume, surface, angle, shift):
    """Bilinear between cells, less where the surface is slanted, more where it is near; hiding has its price."""
    R, t = POSE[0] @ turn(angle), POSE[1] + [shift, 0.5 * shift, 0.0]  # shifted, part of it is beside the picture
    found = turned_evidence(volume, surface, R, t, SIZE, FOCAL, CENTRE)
    assert found == pytest.approx(plainly(volume, surface, R, t), rel=1e-9)


def test_posterior_is_the_softmax_of_the_evidence_over_all_turns(volume, surface):
    """Each vertex stands for its share of the surface; unit is the variance of one independent cell."""
    unit = 3.0
    posterior = azimuth_posterior(volume, surface, *POSE, SIZE, FOCAL, CENTRE, unit)
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
