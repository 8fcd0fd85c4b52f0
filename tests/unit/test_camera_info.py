# SPDX-License-Identifier: Apache-2.0
"""CameraInfo messages as drivers publish them, without ROS."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dinemo_ros.camera.camera_info import camera_from_info
from dinemo_ros.errors import CameraError

POINTS = np.random.default_rng(0).uniform([-1, -0.5, 2], [1, 0.5, 4], (50, 3))
ORBBEC = [-0.030605049803853035, 0.03520144522190094, -0.0001380552421323955, -0.0001458827027818188,
          -0.012040487490594387]


def info(**changes):
    known = {"width": 1280, "height": 800, "k": [690.0, 0, 640, 0, 691, 400, 0, 0, 1], "p": [0.0] * 12, "d": [],
             "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0, "roi": region()}
    return SimpleNamespace(**{**known, **changes})


def region(x=0, y=0, width=0, height=0, do_rectify=False):
    return SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height, do_rectify=do_rectify)


def opencv(D, points=POINTS):
    K = np.reshape(info().k, (3, 3))
    return cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(D))[0].reshape(-1, 2)


def test_the_cameras_of_orbbec_publish_eight_coefficients_as_plumb_bob():
    camera = camera_from_info(info(d=[*ORBBEC, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(camera.project(POINTS), opencv(ORBBEC), atol=1e-9)
    assert camera.K[0, 0] == 690 and camera.notes == ()
    told = camera_from_info(info(d=[*ORBBEC, 0.1, 0.01, 0.001]))
    np.testing.assert_allclose(told.project(POINTS), opencv([*ORBBEC, 0.1, 0.01, 0.001]), atol=1e-9)
    assert "taken as those of rational_polynomial" in told.notes[0]


@pytest.mark.parametrize("lens", [[], ORBBEC, [*ORBBEC, 0.1, 0.01, 0.001]])
@pytest.mark.parametrize("do_rectify", [False, True])
def test_binning_and_region_of_interest_apply_behind_the_lens(lens, do_rectify):
    """do_rectify speaks of the rectified image: what of the sensor was read is the same."""
    model = "plumb_bob" if len(lens) <= 5 else "rational_polynomial"
    camera = camera_from_info(info(d=lens, distortion_model=model, binning_x=2, binning_y=4,
                                   roi=region(100, 40, 800, 600, do_rectify)))
    assert (camera.width, camera.height) == (400, 150)
    expected = (opencv(lens or [0.0] * 5) - [100, 40] + 0.5) / [2, 4] - 0.5
    np.testing.assert_allclose(camera.project(POINTS), expected, atol=1e-9)
    pixels = np.array([[0.0, 0], [399, 149], [200, 75]])
    np.testing.assert_allclose(camera.project(camera.rays(pixels)), pixels, atol=1e-6)


def test_rectified_images_take_p_and_where_it_is_empty_k():
    P = [650.0, 0, 630, -39.0, 0, 651, 410, 0, 0, 0, 1, 0]
    lens = {"d": [0.1, 0.1, 0.1], "distortion_model": "mystery"}  # of no concern to a rectified image
    filled, empty = camera_from_info(info(p=P, **lens), rectified=True), camera_from_info(info(**lens), rectified=True)
    assert filled.K.tolist() == [[650, 0, 630], [0, 651, 410], [0, 0, 1]] and filled.distortion == filled.notes == ()
    assert empty.K.ravel().tolist() == info().k and empty.distortion == ()
    assert "P of the camera_info is empty" in empty.notes[0]
    cut = camera_from_info(info(p=P, binning_x=2, binning_y=2, roi=region(10, 20, 400, 300)), rectified=True)
    assert cut.K[:2, 2].tolist() == [(630 - 10 + 0.5) / 2 - 0.5, (410 - 20 + 0.5) / 2 - 0.5] and cut.K[0, 0] == 325


def test_a_camera_from_numpy_fields_leaves_the_message_alone():
    message = info(k=np.array(info().k), d=np.array(ORBBEC), binning_x=2, binning_y=2)
    assert camera_from_info(message).K[0, 0] == 345.0
    assert message.k[0] == 690.0


@pytest.mark.parametrize(("changes", "says"), [
    ({"k": [-400.0, 0.0, 320.0, 0.0, -401.0, 240.0, 0.0, 0.0, 1.0]}, "got fx=-400"),
    ({"k": [0.0] * 9}, "focal lengths must be positive.*uncalibrated"), ({"d": [50.0, 0, 0, 0, 0]}, "stretch"),
    ({"d": [-9.0, 0, 0, 0, 0]}, "fold the image"), ({"distortion_model": "double_sphere"}, "'double_sphere' is not"),
    ({"d": [0.1] * 7}, r"takes \(0, 4, 5\) finite coefficients"), ({"binning_x": 5000}, "image size is 0x800"),
])
def test_impossible_messages_are_refused(changes, says):
    with pytest.raises(CameraError, match=says):
        camera_from_info(info(**changes))
