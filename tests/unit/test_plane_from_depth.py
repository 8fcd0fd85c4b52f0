# SPDX-License-Identifier: Apache-2.0
"""The support plane in planted depth images: tables, walls, floors, holes, another camera."""

import math

import numpy as np
import pytest

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.scene.depth_image import DepthImage
from dinemo_ros.scene.plane_from_depth import find_support
from dinemo_ros.scene.support_plane import SupportPlane

CAMERA = Camera.from_hfov(320, 240, 60.0)
BOX = np.array([140.0, 90.0, 180.0, 150.0])
TABLE = SupportPlane.from_camera_height(0.5, math.radians(35))
FLOOR = SupportPlane.from_camera_height(1.2, math.radians(35))
WALL_M = 1.5


def rays(camera=CAMERA):
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return camera.rays(np.stack([x, y], axis=-1).reshape(-1, 2).astype(float)).reshape(camera.height, camera.width, 3)


def depth_of(plane, along=None):
    """[H, W] metres along the axis; infinite where a ray does not meet the plane."""
    along = rays() if along is None else along
    along = along / along[..., 2:]
    facing = along @ plane.normal
    return np.where(facing < -1e-6, plane.offset_m / np.minimum(facing, -1e-6), np.inf)


def wall():
    """Frontal, as seen by a level camera behind the table."""
    return np.full((CAMERA.height, CAMERA.width), WALL_M)


def found(metres, noise_m=0.0, holes=0.0, box=BOX, **known):
    rng = np.random.default_rng(1)
    metres = metres + noise_m * rng.normal(size=metres.shape)
    metres[rng.random(metres.shape) < holes] = 0.0
    return find_support(DepthImage.from_array(metres.astype(np.float32), CAMERA), box, CAMERA, **known)


def assert_is(plane, truth, degrees=0.3, metres=0.003):
    assert math.degrees(math.acos(min(1.0, float(plane.normal @ truth.normal)))) < degrees
    foot = truth.offset_m * truth.normal
    assert abs(plane.height(foot)) < metres


@pytest.mark.parametrize("noise_m, holes", [(0.0, 0.0), (0.002, 0.0), (0.002, 0.4)])
def test_a_table_before_a_wall(noise_m, holes):
    plane = found(np.minimum(depth_of(TABLE), wall()), noise_m, holes)
    assert_is(plane, TABLE)
    assert plane.normal_sigma == pytest.approx(math.radians(0.5)) and plane.offset_sigma == pytest.approx(0.002)


def test_the_table_and_not_the_floor_before_its_edge():
    """The floor has more of the ring, the table what is near the foot."""
    metres = np.where(np.arange(CAMERA.height)[:, None] < 170, depth_of(TABLE), depth_of(FLOOR))
    assert_is(found(metres), TABLE)


def test_a_wall_is_no_support():
    assert found(wall()) is None
    steep = SupportPlane(so3_exp(np.array([-0.1, 0.0, 0.0])) @ np.array([0.0, 0.0, -1.0]), -1.0)
    assert found(depth_of(steep)) is None


def test_where_up_is_known_a_camera_may_look_straight_down():
    down = SupportPlane.from_camera_height(0.8, math.radians(90))
    assert found(depth_of(down)) is None
    assert_is(found(depth_of(down), up=down.normal), down)
    assert found(depth_of(TABLE), up=np.array([1.0, 0.0, 0.0])) is None, "a side wall, by what is up"


def test_a_few_points_on_a_plane_are_chance():
    """A tenth of them: a stain of glare, the edge of a box."""
    rng = np.random.default_rng(2)
    metres = rng.uniform(0.4, 3.0, (CAMERA.height, CAMERA.width))
    flat = rng.random(metres.shape) < 0.1
    metres[flat] = depth_of(TABLE)[flat]
    assert found(metres) is None


def test_nothing_measured_is_no_plane():
    assert found(np.zeros((CAMERA.height, CAMERA.width))) is None
    assert found(np.random.default_rng(0).uniform(0.3, 2.0, (CAMERA.height, CAMERA.width))) is None
    assert found(depth_of(TABLE), box=np.array([-500.0, -500.0, -480.0, -470.0])) is None


def test_the_whole_picture_is_its_lower_half():
    whole = np.array([0.0, 0.0, CAMERA.width, CAMERA.height])
    assert_is(found(np.minimum(depth_of(TABLE), wall()), box=whole), TABLE)


def test_of_another_camera_the_plane_is_told_in_the_frame_of_the_picture():
    T_cam_depth = se3(so3_exp(np.array([0.05, -0.1, 0.02])), np.array([0.06, 0.01, -0.02]))
    normal = T_cam_depth[:3, :3].T @ TABLE.normal
    there = SupportPlane(normal, TABLE.offset_m - float(TABLE.normal @ T_cam_depth[:3, 3]))
    depth = DepthImage.from_array(depth_of(there).astype(np.float32), CAMERA, T_cam_depth)
    assert_is(find_support(depth, BOX, CAMERA), TABLE)


def test_the_same_picture_gives_the_same_plane():
    metres = np.minimum(depth_of(TABLE), wall())
    first, second = found(metres, 0.003), found(metres, 0.003)
    assert first.offset_m == second.offset_m and (first.normal == second.normal).all()
