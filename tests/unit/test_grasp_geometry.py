# SPDX-License-Identifier: Apache-2.0
"""Grasps of shapes whose answer is known: a can, a thin wall, and a jaw that is shifted by a known amount."""

import numpy as np
import pytest

from dinemo_ros.evaluation.grasp_geometry import Jaw, fit
from dinemo_ros.geometry import se3, turn
from dinemo_ros.model.grasps import Grasp

RADIUS, HEIGHT = 0.03, 0.12
FROM_SIDE = np.column_stack([[0, 0, 1.0], [0, 1.0, 0], [-1.0, 0, 0]])  # approach -x, closing y
BODY = Grasp("body", se3(FROM_SIDE, np.zeros(3)), 0.1, 2 * RADIUS + 0.02)


@pytest.fixture(scope="module")
def can() -> tuple[np.ndarray, np.ndarray]:
    """The wall of an upright can: points and outward normals [N, 3]."""
    angle, z = np.meshgrid(np.linspace(0, 2 * np.pi, 180, endpoint=False), np.linspace(-0.5, 0.5, 121) * HEIGHT)
    normals = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1).reshape(-1, 3)
    points = normals * RADIUS
    points[:, 2] = z.ravel()
    return points, normals


def moved(x=0.0, y=0.0, z=0.0) -> np.ndarray:
    return se3(np.eye(3), np.array([x, y, z]))


def test_a_can_is_held_in_the_middle_from_any_side(can):
    for angle in np.linspace(0, 2 * np.pi, 7):
        side = Grasp("body", se3(turn(angle), np.zeros(3)) @ BODY.T_obj_grasp, 0.1, BODY.opening_m)
        assert fit(*can, side).success


@pytest.mark.parametrize(("shift", "why"), [
    ({"y": 0.009}, ""),  # there is a centimetre of room on either side, and the jaw centres what it closes on
    ({"y": 0.012}, "clear"), ({"x": 0.045}, "between"), ({"x": 0.024}, "held"), ({"z": 0.05}, ""),
    ({"z": 0.08}, "between"), ({"x": -0.04}, "clear")])
def test_an_error_of_the_pose_spoils_what_it_has_to(can, shift, why):
    """Across the fingers the room decides, along the approach the friction cone and the bar, upwards the height."""
    found = fit(*can, BODY, moved(**shift))
    assert found.success == (not why)
    if why:
        assert not getattr(found, why)


def test_fingers_that_graze_on_the_way_are_seen(can):
    """A disc before the object, no wider than the fingers are apart at the end of the way."""
    y = np.linspace(-0.06, 0.06, 241)
    bar = np.stack([np.full_like(y, 0.09), y, 0 * y], axis=1)
    points, normals = np.concatenate([can[0], bar]), np.concatenate([can[1], np.tile([1.0, 0, 0], (len(y), 1))])
    assert fit(*can, BODY).clear and not fit(points, normals, BODY).clear


def test_a_can_too_wide_for_the_jaw_is_not_taken(can):
    assert fit(*can, BODY, jaw=Jaw(widest_m=0.085)).success
    assert not fit(*can, BODY, jaw=Jaw(widest_m=0.075)).clear


def test_a_wall_is_taken_from_above_with_one_finger_inside(can):
    """The rim of an open can: from above, across its wall; from the middle the wall is beside the fingers."""
    down = np.column_stack([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])
    rim = Grasp("rim", se3(down, np.array([0, RADIUS, HEIGHT / 2 - 0.015])), 0.1, 0.04)
    assert fit(*can, rim).success
    assert not fit(*can, rim, moved(z=0.014)).between  # a millimetre of wall is not enough
    assert not fit(*can, rim, moved(y=0.022)).clear  # a finger meets the wall
