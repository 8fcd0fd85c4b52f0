# SPDX-License-Identifier: Apache-2.0
"""A drawn jaw ends where the card says that the fingertips are."""

import numpy as np

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.drawing.grasps import FINGER_M, draw_grasps, jaw_lines
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.grasps import Grasp, GraspSpec

CAMERA = Camera.from_hfov(640, 480, 40)
T = se3(rotation_from_viewpoint(*np.radians([30.0, 25.0, 0.0])), np.array([0.02, 0.01, 0.5]))
BODY, = GraspSpec("body", (0, 0, 0), (-1, 0, 0), (0, 1, 0), opening=1.0, opening_m=0.02, pregrasp_m=0.1).frames(
    np.array([0.06, 0.06, 0.12]))
BEHIND = Grasp("behind", se3(np.eye(3), np.array([0, 0, 0.8])), 0.1, 0.05)


def changed(grasps, names=False) -> np.ndarray:
    grey = np.full((480, 640, 3), 128, np.uint8)
    return np.any(draw_grasps(grey, CAMERA, T, grasps, names) != 128, axis=2)


def test_the_jaw_is_as_wide_as_the_grasp_needs_and_the_way_as_long():
    jaw, stem = jaw_lines(BODY)
    np.testing.assert_allclose(jaw[[0, 3]], [[0, -0.04, 0], [0, 0.04, 0]], atol=1e-12)
    np.testing.assert_allclose(jaw[[1, 2], 0], FINGER_M, atol=1e-12)  # back along the approach, -x
    np.testing.assert_allclose(stem, [[0.1, 0, 0], [FINGER_M, 0, 0]], atol=1e-12)


def test_fingertips_are_drawn_where_the_camera_sees_them():
    drawn = changed([BODY])
    for point in jaw_lines(BODY)[0]:
        x, y = np.rint(CAMERA.project((T[:3, :3] @ point + T[:3, 3])[None])[0]).astype(int)
        assert drawn[y - 1:y + 2, x - 1:x + 2].any()
    assert not drawn[:, :150].any() and not drawn[:60].any()


def test_names_are_written_and_may_be_left_out():
    assert changed([BODY], names=True).sum() > changed([BODY]).sum() + 50


def test_the_picture_is_left_as_it_is_and_no_grasp_draws_nothing():
    grey = np.full((480, 640, 3), 128, np.uint8)
    drawn = draw_grasps(grey, CAMERA, T, [BODY])
    assert drawn is not grey and (grey == 128).all()
    assert not changed([]).any()


def test_a_grasp_behind_the_camera_is_no_error():
    back = T.copy()
    back[2, 3] = -0.5
    grey = np.full((480, 640, 3), 128, np.uint8)
    assert (draw_grasps(grey, CAMERA, back, [BODY, BEHIND]) == 128).all()
