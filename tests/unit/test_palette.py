# SPDX-License-Identifier: Apache-2.0
"""Colours that mean something stay apart for eyes without red or green cones, and everything drawn takes them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.drawing import grasps, palette
from dinemo_ros.drawing.overlay import box_corners, draw_poses
from dinemo_ros.drawing.palette import object_colour, pose_colour
from dinemo_ros.geometry import se3
from dinemo_ros.pose import ObjectPose

# Of linear RGB, whole dichromacy: Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of
# Color Vision Deficiency, 2009, table 1, severity 1.
EYES = {
    "trichromat": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
}
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                 [0.0193339, 0.1191920, 0.9503041]])  # of linear sRGB
_D65 = np.array([0.95047, 1.0, 1.08883])
# CIELAB distance (CIE 1976). About 2 can just be told apart side by side; the colours of before had 10 (axes x and y of
# the markers, deuteranopia) and 13 (two grasps).
APART = {"shipped categories in all shades": 20.0, "all categories": 17.0, "axes": 40.0, "length": 50.0, "grasps": 20.0}
SETS = {
    "shipped categories in all shades": [object_colour(name, k) for name in ("car", "cup", "bottle") for k in range(3)],
    "all categories": [*palette._OF_CATEGORY.values(), *palette._OF_OTHERS],
    "axes": palette.AXES,
    "length": palette.LENGTH,
    "grasps": palette.GRASPS,
}


def lab(colour, eye: np.ndarray) -> np.ndarray:
    """CIELAB of an sRGB colour, 0 to 255, as that eye has it."""
    encoded = np.asarray(colour) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    x = _XYZ @ np.clip(eye @ linear, 0, 1) / _D65
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours, eye: str) -> float:
    seen = [lab(colour, EYES[eye]) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("name", SETS)
def test_pairs_stay_apart(name, eye):
    assert nearest(SETS[name], eye) >= APART[name]


def test_the_measure_is_right_and_would_notice_red_and_green():
    assert lab((255, 255, 255), np.eye(3)) == pytest.approx([100, 0, 0], abs=0.02)
    assert lab((255, 0, 0), np.eye(3)) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    before = [(255, 0, 0), (0, 204, 0), (51, 102, 255)]  # of the markers' axes
    assert nearest(before, "trichromat") > 100 and nearest(before, "deuteranopia") < 11
    for eye in EYES.values():
        assert eye.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5), "grey stays grey"


def test_axes_are_still_red_green_and_blue():
    assert [int(np.argmax(colour)) for colour in palette.AXES] == [0, 1, 2]


def test_an_object_keeps_its_colour_by_its_track():
    pose = ObjectPose(np.eye(4), 0.5, np.ones(3), category="car", covariance=np.eye(6), roi=(0, 0, 1, 1), track_id=4)
    assert pose_colour(pose, 0) == pose_colour(pose, 7) == object_colour("car", 4) == object_colour("car", 1)
    assert object_colour("mug") == object_colour("mug", 3) != object_colour("mug", 1)


def test_the_overlay_draws_each_box_in_the_colour_of_its_object():
    camera = Camera.from_hfov(640, 480, 60)
    grey = np.full((480, 640, 3), 128, np.uint8)
    poses = [ObjectPose(se3(np.eye(3), np.array([x, 0.0, 6.0])), 0.5, np.array([1.2, 1.2, 1.2]), category=category,
                        covariance=np.eye(6), roi=(0, 0, 1, 1))
             for x, category in ((-1.4, "cup"), (0.0, "car"), (1.4, "cup"))]
    drawn = draw_poses(grey, camera, poses)
    for rank, pose in enumerate(poses):
        corners = camera.project(box_corners(pose))
        (left, top), (right, bottom) = corners.min(axis=0).astype(int) - 3, corners.max(axis=0).astype(int) + 3
        found = (drawn[top:bottom, left:right] == pose_colour(pose, rank)).all(axis=-1).sum()
        assert found > 50, f"{pose.category} {rank}"
    assert pose_colour(poses[0], 0) != pose_colour(poses[2], 2)


def test_there_is_one_place_for_colours():
    """No other module that draws has numbers of its own."""
    assert grasps.GRASPS is palette.GRASPS
    assert not [name for name, value in vars(grasps).items() if name.startswith("_") and isinstance(value, tuple)
                and np.shape(value)[-1:] == (3,)]
