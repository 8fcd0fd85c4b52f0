# SPDX-License-Identifier: Apache-2.0
"""The support plane in the camera's frame: from a camera's height, from a frame, turned; and what is no such plane."""

import math

import numpy as np
import pytest

from dinemo_ros.errors import SceneError
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.scene.support_plane import NORMAL_SIGMA, OFFSET_SIGMA, SupportPlane

UP = np.array([0.0, -1.0, 0.0])


def seen_from(height: float, pitch: float, roll: float, points: np.ndarray) -> np.ndarray:
    """Points [N, 3] of a world with z up in the optical frame of a camera above its origin that looks along world y."""
    forward = np.array([0.0, math.cos(pitch), -math.sin(pitch)])
    right, down = np.array([1.0, 0.0, 0.0]), np.array([0.0, -math.sin(pitch), -math.cos(pitch)])
    # Clockwise as it looks: its right side goes down, its lower side to the left.
    turned_right = math.cos(roll) * right + math.sin(roll) * down
    turned_down = math.cos(roll) * down - math.sin(roll) * right
    return (points - [0.0, 0.0, height]) @ np.stack([turned_right, turned_down, forward], axis=1)


@pytest.mark.parametrize("pitch_deg, roll_deg", [(0, 0), (35, 0), (90, 0), (20, 12), (-5, -30), (50, 170)])
def test_the_floor_below_a_camera(pitch_deg, roll_deg):
    pitch, roll = math.radians(pitch_deg), math.radians(roll_deg)
    plane = SupportPlane.from_camera_height(1.3, pitch, roll)
    floor = np.array([[0.0, 0, 0], [2, 1, 0], [-1, 3, 0], [0.5, 7, 0]])
    np.testing.assert_allclose(plane.height(seen_from(1.3, pitch, roll, floor)), 0.0, atol=1e-12)
    np.testing.assert_allclose(plane.height(seen_from(1.3, pitch, roll, floor + [0, 0, 0.2])), 0.2, atol=1e-12)
    assert plane.offset_m == -1.3 and (plane.normal_sigma, plane.offset_sigma) == (NORMAL_SIGMA, OFFSET_SIGMA)


def test_named_directions_of_the_optical_frame():
    """x right, y down, z forward: level, straight down, and turned clockwise, when left is up."""
    np.testing.assert_allclose(SupportPlane.from_camera_height(1.0).normal, UP, atol=1e-12)
    np.testing.assert_allclose(SupportPlane.from_camera_height(1.0, math.pi / 2).normal, [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(SupportPlane.from_camera_height(1.0, roll=math.pi / 2).normal, [-1, 0, 0], atol=1e-12)


def test_the_x_y_plane_of_a_frame():
    R, origin = so3_exp(np.array([2.0, 0.1, -0.3])), np.array([0.3, 0.4, 1.2])
    plane = SupportPlane.from_frame(se3(R, origin), normal_sigma=0.02, offset_sigma=0.01)
    on_it = origin + np.array([[0.0, 0], [1, 2], [-3, 0.5]]) @ R[:, :2].T
    np.testing.assert_allclose(plane.height(on_it), 0.0, atol=1e-12)
    np.testing.assert_allclose(plane.height(on_it + 0.07 * R[:, 2]), 0.07, atol=1e-12)
    assert (plane.normal_sigma, plane.offset_sigma) == (0.02, 0.01)


def test_turned_is_the_same_plane_in_other_axes():
    plane = SupportPlane.from_camera_height(0.9, 0.5, 0.1, normal_sigma=0.03, offset_sigma=0.02)
    R, points = so3_exp(np.array([0.2, -0.7, 0.4])), np.random.default_rng(0).normal(size=(20, 3))
    turned = plane.turned(R)
    np.testing.assert_allclose(turned.height(points @ R.T), plane.height(points), atol=1e-12)
    np.testing.assert_allclose(turned.normal, R @ plane.normal, atol=1e-12)
    assert (turned.normal_sigma, turned.offset_sigma) == (0.03, 0.02)


def test_a_normal_that_is_rounded_gets_length_one():
    plane = SupportPlane([0.0, -0.8004, -0.6003], -1.0)
    assert np.linalg.norm(plane.normal) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("normal, offset, told", [
    ([0, -1.0], -1.0, "must be three finite numbers"), ([[0, -1.0, 0]], -1.0, "must be three finite numbers"),
    ([0, math.nan, 0], -1.0, "must be three finite numbers"), ([0, -2.0, 0], -1.0, "length one"),
    ([0, -1.002, 0], -1.0, "length one"), ([0, 0, 0], -1.0, "length one"),
    (UP, 0.0, "must be below zero"), (UP, 0.8, "turn both signs otherwise"), (UP, math.nan, "must be below zero"),
    (UP, -math.inf, "must be below zero")])
def test_what_is_no_plane_below_the_camera_is_refused(normal, offset, told):
    with pytest.raises(SceneError, match=told):
        SupportPlane(normal, offset)


@pytest.mark.parametrize("name", ["normal_sigma", "offset_sigma"])
@pytest.mark.parametrize("sigma", [0.0, -0.1, math.inf, math.nan])
def test_a_standard_deviation_is_above_zero(name, sigma):
    with pytest.raises(SceneError, match=f"support plane's {name} is .*; it must be above zero"):
        SupportPlane(UP, -1.0, **{name: sigma})


@pytest.mark.parametrize("height", [0.0, -1.0, math.nan])
def test_a_camera_is_above_the_plane(height):
    with pytest.raises(SceneError, match="camera's height is .* above zero"):
        SupportPlane.from_camera_height(height)


@pytest.mark.parametrize("height, pitch", [(math.inf, 0.0), (1.0, math.nan)])
def test_a_height_and_an_angle_are_finite(height, pitch):
    with pytest.raises(SceneError, match="support plane's"):
        SupportPlane.from_camera_height(height, pitch)


@pytest.mark.parametrize("T, told", [
    (se3(np.eye(3), np.array([0.0, 0.0, 1.0])), "turn both signs otherwise"),  # z points away from the camera
    (np.diag([1.0, 1.0, -2.0, 1.0]) + 0.0, "length one"), (np.full((4, 4), np.nan), "three finite numbers"),
    (np.eye(3), r"\[4, 4\]"), (np.zeros(16), r"\[4, 4\]")])
def test_what_is_no_frame_is_refused(T, told):
    with pytest.raises(SceneError, match=told):
        SupportPlane.from_frame(T)
