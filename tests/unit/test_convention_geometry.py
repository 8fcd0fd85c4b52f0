# SPDX-License-Identifier: Apache-2.0
"""Frames, transforms and viewpoints, pinned by pictures one can imagine. CONVENTIONS.md points here."""

import numpy as np
import pytest

from dinemo_ros.geometry import (
    HALF_TURN,
    allocentric,
    mirror_rotation,
    pinhole_matrix,
    ray_rotation,
    rotation_angle,
    rotation_from_viewpoint,
    se3,
    skew,
    so3_exp,
    so3_log,
    turn,
    viewpoint_from_rotation,
    wrapped,
)
from dinemo_ros.pose import Hypothesis

FRONT, LEFT, TOP = np.eye(3)  # object frame: x forward, y left, z up
RIGHT_OF_PICTURE, DOWN_IN_PICTURE, AWAY = np.eye(3)  # optical frame: x right, y down, z forward


def seen(azimuth_deg, elevation_deg=0.0, theta_deg=0.0):
    return rotation_from_viewpoint(*np.deg2rad([azimuth_deg, elevation_deg, theta_deg]))


def random_rotations(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        yield Q * np.sign(np.linalg.det(Q))


# Object frame and viewpoint ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("azimuth", "towards_camera", "on_the_left"), [
    (0, FRONT, -LEFT),  # face to face: the car's left side is on my right
    (90, LEFT, FRONT),  # its left side, driving to the left of the picture
    (180, -FRONT, LEFT),  # its rear
    (270, -LEFT, -FRONT),  # its right side, driving to the right of the picture
])
def test_convention_azimuth(azimuth, towards_camera, on_the_left):
    R = seen(azimuth)
    np.testing.assert_allclose(R @ towards_camera, -AWAY, atol=1e-12)
    np.testing.assert_allclose(R @ on_the_left, -RIGHT_OF_PICTURE, atol=1e-12)
    np.testing.assert_allclose(R @ TOP, -DOWN_IN_PICTURE, atol=1e-12)


def test_convention_elevation_is_positive_above_the_object():
    R = seen(0, 30)
    assert (R @ TOP) @ AWAY == pytest.approx(-np.sin(np.deg2rad(30)))  # the roof leans towards the camera
    assert (R @ FRONT) @ DOWN_IN_PICTURE > 0  # and the bonnet points down in the picture
    np.testing.assert_allclose(seen(0, 90) @ TOP, -AWAY, atol=1e-12)


def test_convention_theta_turns_the_picture_counter_clockwise():
    R = seen(90, 0, 10)  # from its left side the rear is on the right of the picture; it goes up
    angle = np.deg2rad(10)
    expected = np.cos(angle) * RIGHT_OF_PICTURE - np.sin(angle) * DOWN_IN_PICTURE
    np.testing.assert_allclose(R @ -FRONT, expected, atol=1e-12)


def test_convention_viewpoint_is_the_camera_model_of_pascal3d():
    """Camera centre and projection as PASCAL3D+ (and NeMo, NOVUM) compute them, in CAD axes, OpenGL camera."""
    rng = np.random.default_rng(0)
    cad_from_object = np.stack([LEFT, -FRONT, TOP])  # x_cad is the object's left, y_cad its rear, z_cad up
    for a, e, theta in zip(*rng.uniform([[0], [-1.5], [-3]], [[6.28], [1.5], [3]], (3, 50)), strict=True):
        d, f, (px, py) = rng.uniform(3, 9), 3000.0, rng.uniform(100, 400, 2)
        C = d * np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])
        ca, sa, b = np.cos(-a), np.sin(-a), e - np.pi / 2
        R_z = np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]])
        R_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        X = rng.normal(size=(20, 3)) * 0.3
        x, y, z = (R_x @ R_z @ (X @ cad_from_object.T - C).T)
        x, y = f * x / -z, f * y / -z
        u = np.cos(theta) * x - np.sin(theta) * y + px
        v = -(np.sin(theta) * x + np.cos(theta) * y) + py
        p = X @ rotation_from_viewpoint(a, e, theta).T + [0, 0, d]
        np.testing.assert_allclose(f * p[:, :2] / p[:, 2:] + [px, py], np.stack([u, v], 1), rtol=1e-9)


def test_convention_camera_stands_where_azimuth_and_elevation_say():
    """In the object frame: azimuth counts from x (front) to y (left), like a longitude; elevation is the latitude."""
    T = se3(seen(30, 20), [0, 0, 7.0])
    a, e = np.deg2rad([30, 20])
    expected = 7 * np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    np.testing.assert_allclose(np.linalg.inv(T)[:3, 3], expected, atol=1e-12)


def test_viewpoint_round_trip_from_angles():
    rng = np.random.default_rng(1)
    for a, e, theta in zip(*rng.uniform([[0], [-1.55], [-3.1]], [[6.28], [1.55], [3.1]], (3, 500)), strict=True):
        found = viewpoint_from_rotation(rotation_from_viewpoint(a, e, theta))
        np.testing.assert_allclose(found, (a, e, theta), atol=1e-9)


def test_viewpoint_round_trip_from_any_rotation():
    for R in random_rotations(500):
        a, e, theta = viewpoint_from_rotation(R)
        assert 0 <= a < 2 * np.pi and abs(e) <= np.pi / 2 and abs(theta) <= np.pi
        np.testing.assert_allclose(rotation_from_viewpoint(a, e, theta), R, atol=1e-9)


@pytest.mark.parametrize("elevation", [90, -90])
@pytest.mark.parametrize("azimuth", [0, 100, 230])
def test_viewpoint_straight_from_above_or_below_is_still_the_same_rotation(azimuth, elevation):
    R = seen(azimuth, elevation, 15)
    np.testing.assert_allclose(rotation_from_viewpoint(*viewpoint_from_rotation(R)), R, atol=1e-7)


def test_convention_viewpoint_of_a_pose_is_taken_along_the_ray():
    """Allocentric: the same viewpoint looks the same wherever in the picture the object stands."""
    for centre in ([0, 0, 10.0], [6, 0, 10.0], [-3, 2, 8.0]):
        R_cam_obj = ray_rotation(centre) @ seen(40, 15, 3)
        viewpoint = Hypothesis(se3(R_cam_obj, centre), 1.0, np.ones(3)).viewpoint()
        np.testing.assert_allclose(np.rad2deg(viewpoint), (40, 15, 3), atol=1e-9)


def test_ray_rotation_is_the_smallest_that_turns_the_axis_onto_the_ray():
    for ray in np.random.default_rng(2).normal(size=(50, 3)):
        R, unit = ray_rotation(ray), ray / np.linalg.norm(ray)
        np.testing.assert_allclose(R @ AWAY, unit, atol=1e-12)
        assert rotation_angle(R, np.eye(3)) == pytest.approx(np.arccos(unit[2]))
    np.testing.assert_array_equal(ray_rotation([0, 0, 5.0]), np.eye(3))


# The mirror image ----------------------------------------------------------------------------------------------------

def test_convention_mirrored_picture_has_the_mirrored_viewpoint():
    a, e, theta = viewpoint_from_rotation(mirror_rotation(seen(40, 15, 7)))
    np.testing.assert_allclose(np.rad2deg([a, e, theta]), (320, 15, -7), atol=1e-9)


def test_mirror_rotation_describes_the_mirrored_picture():
    """A symmetric point set at pose (R, t), seen in a mirror, is the same set at (mirror(R), mirrored t)."""
    rng = np.random.default_rng(3)
    half = rng.uniform(0.1, 1, (20, 3))
    points, partner = np.concatenate([half, half * [1, -1, 1]]), np.r_[20:40, 0:20]
    for R in random_rotations(20):
        t = np.array([0.3, -0.2, 6.0])
        seen_plainly = points @ R.T + t
        seen_mirrored = points[partner] @ mirror_rotation(R).T + t * [-1, 1, 1]
        np.testing.assert_allclose(seen_mirrored, seen_plainly * [-1, 1, 1], atol=1e-12)
        assert np.linalg.det(mirror_rotation(R)) == pytest.approx(1)
        np.testing.assert_allclose(mirror_rotation(mirror_rotation(R)), R, atol=1e-15)


# Rigid motions -------------------------------------------------------------------------------------------------------

def test_convention_T_a_b_maps_points_of_b_into_a():
    T_cam_obj = se3(seen(90), [0, 0, 10.0])
    np.testing.assert_allclose(T_cam_obj @ [2, 0, 0, 1], [-2, 0, 10, 1], atol=1e-12)  # its front, left in the picture
    T_map_cam = se3(so3_exp([0, 0, np.pi / 2]), [5, 0, 0])
    T_map_obj = T_map_cam @ T_cam_obj
    np.testing.assert_allclose(T_map_obj @ [2, 0, 0, 1], T_map_cam @ [-2, 0, 10, 1], atol=1e-12)
    np.testing.assert_allclose(np.linalg.inv(T_map_obj) @ T_map_obj, np.eye(4), atol=1e-12)


def test_convention_rotation_vectors_are_right_handed():
    np.testing.assert_allclose(so3_exp([0, 0, np.pi / 2]) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(skew(np.array([1.0, 2, 3])) @ [4, 5, 6], np.cross([1, 2, 3], [4, 5, 6]))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-4, 1.0, 3.0, np.pi - 1e-6, np.pi])
def test_exponential_and_logarithm_are_inverses(angle):
    for axis in [*np.eye(3), *np.random.default_rng(4).normal(size=(10, 3))]:
        omega = angle * axis / np.linalg.norm(axis)
        R = so3_exp(omega)
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        found = so3_log(R)
        assert np.linalg.norm(found) == pytest.approx(angle, abs=1e-7)
        np.testing.assert_allclose(so3_exp(found), R, atol=1e-6)  # a half turn has two logarithms, one rotation


def test_convention_rotation_error_is_the_geodesic_angle():
    for R in random_rotations(30):
        other = so3_exp([0.1, -0.2, 0.05]) @ R
        angle = np.linalg.norm([0.1, -0.2, 0.05])
        assert rotation_angle(R, other) == pytest.approx(angle)
        assert rotation_angle(other, R) == pytest.approx(angle)
        # Frobenius norm of the logarithm over sqrt(2), as the benchmarks compute it.
        frobenius = np.linalg.norm(skew(so3_log(R.T @ other)), "fro") / np.sqrt(2)
        assert rotation_angle(R, other) == pytest.approx(frobenius)
    assert rotation_angle(np.eye(3), seen(0) @ seen(180).T) == pytest.approx(np.pi)


def test_convention_wrapped_angles_lie_in_minus_pi_to_pi():
    """Half a turn is -pi, and a wrapped angle is the same turn."""
    angles = np.linspace(-20.0, 20.0, 301)
    found = wrapped(angles)
    assert found.min() >= -np.pi and found.max() < np.pi
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * angles), atol=1e-12)
    assert wrapped(np.pi) == -np.pi and wrapped(0.25) == 0.25


def test_convention_allocentric_orientation_is_that_of_a_camera_that_looks_straight_at_the_object():
    """It does not change while the object moves along with its ray, and on the axis it is the pose's own."""
    R = rotation_from_viewpoint(0.7, 0.3, 0.1)
    np.testing.assert_allclose(allocentric(se3(R, [0.0, 0.0, 5.0])), R, atol=1e-12)
    for ray in ([1.0, 0.5, 4.0], [-2.0, 0.1, 3.0]):
        T = se3(ray_rotation(ray) @ R, ray)
        np.testing.assert_allclose(allocentric(T), R, atol=1e-12)
        np.testing.assert_allclose(ray_rotation(T[:3, 3]) @ allocentric(T), T[:3, :3], atol=1e-12)


def test_convention_camera_matrix_and_turn():
    np.testing.assert_array_equal(pinhole_matrix(500.0, 319.5, 239.5), [[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    np.testing.assert_allclose(turn(np.pi / 2) @ [1.0, 0.0, 2.0], [0.0, 1.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(HALF_TURN, turn(np.pi), atol=1e-12)
