# SPDX-License-Identifier: Apache-2.0
"""What a declared symmetry means: equivalent poses, their distance, the one that is reported, and the covariance."""

import math

import numpy as np
import pytest
from unit.planted import car_card, car_mesh

from dinemo_ros.geometry import (
    ray_rotation,
    rotation_angle,
    rotation_from_viewpoint,
    se3,
    so3_exp,
    turn,
    viewpoint_from_rotation,
)
from dinemo_ros.model.bundle import load_bundle, write_bundle
from dinemo_ros.model.symmetry import UNIFORM_VARIANCE, Symmetry, axis_variance, with_axis_variance

BOTTLE, BOX, CUP, CAR = Symmetry("z", 0), Symmetry("z", 4), Symmetry("z", 1), Symmetry()


def random_rotations(count: int, seed: int = 0):
    return [so3_exp(w) for w in np.random.default_rng(seed).uniform(-1.8, 1.8, (count, 3))]


def test_convention_a_turn_is_right_handed_about_object_z():
    assert np.allclose(turn(math.pi / 2) @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(turn(0.3), so3_exp([0, 0, 0.3]))


def test_convention_a_turned_object_is_seen_from_a_smaller_azimuth():
    """R Rz(a) shows the object from azimuth minus a: the camera stands still while the object turns."""
    azimuth, elevation, theta = viewpoint_from_rotation(rotation_from_viewpoint(1.0, 0.3, 0.1) @ turn(0.4))
    assert np.allclose([azimuth, elevation, theta], [0.6, 0.3, 0.1])


@pytest.mark.parametrize("symmetry", [BOTTLE, BOX, CUP, CAR])
def test_the_yaml_value_is_read_back(symmetry, tmp_path):
    assert Symmetry.parse(symmetry.document()) == symmetry
    write_bundle(tmp_path, car_card(symmetry=symmetry), b"bytes", car_mesh())
    assert load_bundle(tmp_path).card.symmetry == symmetry


@pytest.mark.parametrize("document", [
    "z", None, {}, {"axis": "z"}, {"axis": "y", "order": 0}, {"axis": "none", "order": 0}, {"axis": "z", "order": 1.0},
    {"axis": "z", "order": 37}, {"axis": "z", "n": 2}])
def test_what_is_no_symmetry_is_refused(document):
    with pytest.raises(ValueError, match=r"allowed: 'none' or \{axis: z, order: n\}"):
        Symmetry.parse(document)


def test_which_kind_it_is():
    assert BOTTLE.exact and BOTTLE.continuous and not BOTTLE.uncertain_azimuth
    assert BOX.exact and not BOX.continuous and not BOX.uncertain_azimuth
    assert not CUP.exact and CUP.uncertain_azimuth
    assert not CAR.exact and not CAR.uncertain_azimuth


@pytest.mark.parametrize("symmetry, steps", [(BOTTLE, 1), (BOX, 12), (CUP, 48), (CAR, 48)])
def test_the_search_covers_every_azimuth_that_differs(symmetry, steps):
    assert symmetry.search_azimuths(48) == steps


def test_nearest_is_the_best_of_all_turns():
    """Against a brute-force search over the group; 3600 samples of the circle are 0.1 degrees apart."""
    for R, reference in zip(random_rotations(20), random_rotations(20, seed=1), strict=True):
        for symmetry, tolerance in ((BOTTLE, 2e-3), (BOX, 1e-9)):
            brute = min(rotation_angle(R @ T, reference) for T in symmetry.turns(3600))
            assert symmetry.distance(R, reference) == pytest.approx(brute, abs=tolerance)
            assert symmetry.distance(R, reference) <= brute + 1e-9


def test_distance_does_not_see_the_turns_of_the_group():
    for R in random_rotations(10):
        assert BOTTLE.distance(R @ turn(1.234), R) == pytest.approx(0, abs=1e-7)
        assert BOX.distance(R @ turn(math.pi / 2), R) == pytest.approx(0, abs=1e-7)
        assert BOX.distance(R @ turn(math.pi / 3), R) == pytest.approx(math.pi / 6)
        assert CUP.distance(R @ turn(1.234), R) == CAR.distance(R @ turn(1.234), R) == pytest.approx(1.234)


def test_distance_under_a_continuous_symmetry_is_the_angle_between_the_axes():
    for a, b in zip(random_rotations(20), random_rotations(20, seed=1), strict=True):
        assert BOTTLE.distance(a, b) == pytest.approx(math.acos(a[:, 2] @ b[:, 2]))
        assert BOTTLE.distance(a, b) == pytest.approx(BOTTLE.distance(b, a))


def test_the_reported_pose_is_the_same_for_all_equivalent_ones():
    for R in random_rotations(20):
        T = se3(R, np.array([0.3, -0.2, 1.5]))
        canonical = BOTTLE.canonical(T)
        assert np.allclose(canonical[:, 2:], T[:, 2:]), "axis and position must not change"
        for angle in (0.5, 2.0, -3.0):
            assert np.allclose(BOTTLE.canonical(se3(R @ turn(angle), T[:3, 3])), canonical)
        assert np.allclose(BOX.canonical(se3(R @ turn(math.pi / 2), T[:3, 3])), BOX.canonical(T))
        assert np.array_equal(CUP.canonical(T), T)


@pytest.mark.parametrize("elevation", [0.0, 0.5, 1.2])
def test_convention_x_of_a_bottle_points_to_the_camera(elevation):
    """An upright bottle is reported with azimuth zero along the ray to it, wherever in the picture it stands."""
    position = np.array([0.4, 0.2, 1.0])
    R = ray_rotation(position) @ rotation_from_viewpoint(2.2, elevation, 0.0)
    canonical = BOTTLE.canonical(se3(R, position))[:3, :3]
    azimuth, found, theta = viewpoint_from_rotation(ray_rotation(position).T @ canonical)
    assert np.allclose([math.sin(azimuth), found, theta], [0, elevation, 0], atol=1e-9)


def test_the_frame_does_not_spin():
    """A degree of noise in any direction moves the reported frame by about a degree, from above as well."""
    rng = np.random.default_rng(0)
    for elevation in np.radians([0, 30, 60, 85, 90, 95]):
        R = rotation_from_viewpoint(rng.uniform(0, 6), elevation, 0.2)
        before = BOTTLE.canonical(se3(R, np.array([0, 0, 1.0])))[:3, :3]
        for _ in range(10):
            noisy = so3_exp(rng.normal(0, math.radians(1), 3)) @ R @ turn(rng.uniform(0, 6))
            after = BOTTLE.canonical(se3(noisy, np.array([0, 0, 1.0])))[:3, :3]
            assert rotation_angle(before, after) < math.radians(6)


def test_length_and_width_of_a_round_object_are_one():
    assert np.allclose(BOTTLE.size(np.array([0.09, 0.04, 0.3])), [0.06, 0.06, 0.3])
    assert np.allclose(Symmetry("z", 2).size(np.array([0.09, 0.04, 0.3])), [0.09, 0.04, 0.3])


def random_covariance(seed: int = 0):
    A = np.random.default_rng(seed).normal(size=(6, 6))
    return A @ A.T * 0.01


def test_convention_nothing_is_known_about_the_azimuth_of_a_bottle():
    """The variance about the axis is that of a uniform angle, (pi / sqrt 3)^2 or 104 degrees; the rest stays."""
    assert math.degrees(math.sqrt(UNIFORM_VARIANCE)) == pytest.approx(103.9, abs=0.1)
    R, covariance = random_rotations(1)[0], random_covariance()
    result = BOTTLE.covariance(covariance, R)
    assert axis_variance(result, R) == pytest.approx(UNIFORM_VARIANCE)
    assert np.allclose(result[:3, :3], covariance[:3, :3])
    for across in (R[:, 0], R[:, 1]):
        assert across @ result[3:, 3:] @ across == pytest.approx(across @ covariance[3:, 3:] @ across)
        assert across @ result[3:, 3:] @ R[:, 2] == pytest.approx(0, abs=1e-12)
    assert np.linalg.eigvalsh(result).min() > 0


def test_a_covariance_stays_a_covariance_whatever_the_variance_about_the_axis():
    for seed, R in enumerate(random_rotations(10)):
        for variance in (1e-4, 0.3, 9.0):
            result = with_axis_variance(random_covariance(seed), R, variance)
            assert np.allclose(result, result.T) and np.linalg.eigvalsh(result).min() > -1e-12
            assert axis_variance(result, R) == pytest.approx(variance)


def test_other_categories_keep_the_solvers_covariance():
    R, covariance = random_rotations(1)[0], random_covariance()
    for symmetry in (BOX, CUP, CAR):
        assert np.array_equal(symmetry.covariance(covariance, R), covariance)
