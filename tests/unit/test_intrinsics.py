# SPDX-License-Identifier: Apache-2.0
"""Camera files and matrices that are wrong: one sentence each, with the file and what to do."""

import numpy as np
import pytest

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError

GOOD = [500.0, 0, 319.5, 0, 500, 239.5, 0, 0, 1]


def document(K=GOOD, distortion="{data: [0.1, 0, 0, 0, 0]}", name="cam") -> str:
    return (f"image_width: 640\nimage_height: 480\ncamera_name: {name}\ncamera_matrix: {{data: {list(K)}}}\n"
            f"distortion_model: plumb_bob\ndistortion_coefficients: {distortion}\n")


@pytest.mark.parametrize(("K", "says"), [
    ([500.0, 0, 0, 0, 500, 0, 319.5, 239.5, 1], "last row of the camera matrix K is 319.5, 239.5, 1.*transposed"),
    ([500.0, 0, 319.5, 0, 500, 239.5, 0, 0, 2], "must be 0, 0, 1"),
    ([1.2, 0, 0.5, 0, 1.2, 0.5, 0, 0, 1], "fx=1.2, fy=1.2 pixels are too short for an image of 640x480"),
    ([500.0, 40, 319.5, 0, 500, 239.5, 0, 0, 1], "has a skew"),
    ([500.0, 0, 5000, 0, 500, 239.5, 0, 0, 1], "cx=5000, cy=239.5 is far outside of the image of 640x480"),
    ([500.0, 0, 319.5, 0, 500, -1200, 0, 0, 1], "cy=-1200 is far outside"),
])
def test_matrix_that_is_no_camera_is_refused(K, says):
    with pytest.raises(CameraError, match=says):
        Camera(640, 480, np.reshape(K, (3, 3)))


@pytest.mark.parametrize(("width", "height", "hfov"), [(640, 480, 170.0), (50, 10000, 170.0), (10000, 50, 1.0)])
def test_every_allowed_field_of_view_passes(width, height, hfov):
    assert Camera.from_hfov(width, height, hfov).hfov_deg == pytest.approx(hfov)


def test_a_part_of_a_larger_image_may_lie_beside_its_centre_and_a_file_may_not(tmp_path):
    K = [900.0, 0, 1500, 0, 900, 239.5, 0, 0, 1]
    Camera(640, 480, np.reshape(K, (3, 3)))
    (tmp_path / "c.yaml").write_text(document(K))
    with pytest.raises(CameraError, match="c.yaml: .*cx=1500.*far outside"):
        Camera.from_yaml(tmp_path / "c.yaml")


@pytest.mark.parametrize(("text", "says"), [
    (None, "cannot be read .No such file"), ("", "not a camera_info YAML"), ("[1, 2]", "not a camera_info YAML"),
    (document([0.0] * 9), "focal lengths must be positive"),
    (document(distortion="{data: [1, 2, 3]}"), r"takes \(0, 4, 5\) finite"),
    ("camera_matrix:\n\tdata: [1]\n", "cannot be read as YAML .line 2: found character"),
    (document(name="cam\tera: x: y"), "cannot be read as YAML .line 3"),
])
def test_file_that_is_no_camera_is_named(tmp_path, text, says):
    path = tmp_path / "front.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CameraError, match=f"front.yaml: .*{says}") as caught:
        Camera.from_yaml(path)
    assert "\n" not in str(caught.value) and "Mark" not in str(caught.value)


@pytest.mark.parametrize("distortion", ["", "{}", "{data: }", "{data: []}", "{data: [0, 0, 0, 0, 0]}"])
def test_empty_distortion_is_none(tmp_path, distortion):
    (tmp_path / "c.yaml").write_text(document(distortion=distortion))
    assert Camera.from_yaml(tmp_path / "c.yaml").distortion == ()


def test_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "c.yaml").write_text(document(), encoding="utf-8-sig")
    assert Camera.from_yaml(tmp_path / "c.yaml").width == 640


def test_numbers_in_lists_are_a_matrix_too():
    camera = Camera(640, 480, [[500, 0, 320], [0, 501, 240], [0, 0, 1]])
    assert isinstance(camera.K, np.ndarray) and camera.K.dtype == np.float64 and camera.K.shape == (3, 3)
    np.testing.assert_allclose(camera.project(np.array([[0.1, 0.2, 1.0]])), [[370.0, 340.2]])
