# SPDX-License-Identifier: Apache-2.0
"""The camera that a photograph tells of itself."""

import math

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

from photographs import exif  # noqa: E402

from dinemo_ros.io.sources import open_source  # noqa: E402


def photograph(path, focal_mm, size=(400, 300), orientation=1):
    picture = Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8))
    picture.save(path, exif=exif(focal_mm, orientation))
    return path


def frame_of(path):
    (frame,) = open_source(path)
    return frame


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_focal_length_is_relative_to_the_diagonal(tmp_path, suffix):
    """26 mm, as of a telephone's main camera: 43.27 mm would see the diagonal of 500 pixels at 500 pixels' distance."""
    frame = frame_of(photograph(tmp_path / f"a{suffix}", 26))
    assert frame.camera.K == pytest.approx(np.array([[300.46, 0, 199.5], [0, 300.46, 149.5], [0, 0, 1]]), abs=0.01)
    assert not frame.calibrated
    full_frame = frame_of(photograph(tmp_path / f"b{suffix}", 50, (360, 240)))
    assert full_frame.camera.hfov_deg == pytest.approx(2 * math.degrees(math.atan(18 / 50)))


def test_picture_turned_upright(tmp_path):
    frame = frame_of(photograph(tmp_path / "a.jpg", 26, orientation=6))
    assert frame.image_rgb.shape == (400, 300, 3)
    assert (frame.camera.width, frame.camera.height, round(frame.camera.K[0, 0])) == (300, 400, 300)


@pytest.mark.parametrize("focal_mm", [0, 1, 65535], ids=["unknown", "too short", "too long"])
def test_focal_lengths_that_cannot_be(tmp_path, focal_mm):
    assert frame_of(photograph(tmp_path / "a.jpg", focal_mm)).camera is None


def test_damaged_data_is_no_reason_to_fail(tmp_path):
    path = photograph(tmp_path / "a.jpg", 26)
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif\0\0") + 6
    data[start:start + 8] = b"II*\0\xff\xff\xff\x7f"  # the first directory lies far behind the end
    path.write_bytes(data)
    assert frame_of(path).camera is None


def test_calibration_goes_first(tmp_path):
    photograph(tmp_path / "a.jpg", 26)
    (tmp_path / "camera_info.yaml").write_text(
        "{image_width: 400, image_height: 300, camera_matrix: {data: [350, 0, 200, 0, 350, 150, 0, 0, 1]}}")
    (frame,) = open_source(tmp_path)
    assert frame.calibrated and frame.camera.K[0, 0] == 350
