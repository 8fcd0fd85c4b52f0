# SPDX-License-Identifier: Apache-2.0
"""What single lines of the crop are for: how much a large image is averaged first, which sides are open."""

import numpy as np
import pytest

from dinemo_ros.camera.crop import crop_camera, shrink_of
from dinemo_ros.camera.pinhole import Camera


def camera(width: int, height: int, fx: float, fy: float) -> Camera:
    return Camera(width, height, np.array([[fx, 0, (width - 1) / 2], [0, fy, (height - 1) / 2], [0, 0, 1.0]]))


@pytest.mark.parametrize("fx, fy", [(1000.0, 1000.0), (1000.0, 800.0), (800.0, 1000.0)])
def test_an_image_is_averaged_over_the_pixels_of_a_crops_pixel_along_its_finer_axis(fx, fy):
    """Along the other one it would be averaged away. A crop pixel in the middle spans f / crop.focal image pixels."""
    wide = camera(2000, 1600, fx, fy)
    for side in (150, 700, 1500):
        roi = np.array([1000 - side / 2, 800 - side / 2, 1000 + side / 2, 800 + side / 2])
        crop = crop_camera(wide, roi, 256, 1.15)
        assert shrink_of(wide, crop) == max(1, int(min(fx, fy) / crop.focal * (1 - 1e-6) + 1e-6))


def test_no_more_is_averaged_than_there_are_pixels():
    strip = camera(3000, 3, 2000.0, 2000.0)
    crop = crop_camera(strip, np.array([0.0, 0.0, 3000.0, 3.0]), 64, 1.15)
    assert shrink_of(strip, crop) == 3


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("distance, expected", [(0.0, True), (0.9, True), (2.1, False)])
def test_a_side_at_the_border_is_open_and_only_that_one(side, distance, expected):
    """Detectors clip boxes to the image, not always to the last digit."""
    roi = np.array([100.0, 100.0, 500.0, 400.0])
    roi[side] = distance if side < 2 else (640, 480)[side - 2] - distance
    found = crop_camera(camera(640, 480, 500.0, 500.0), roi, 256, 1.15).open_sides
    assert list(found) == [k == side and expected for k in range(4)]
