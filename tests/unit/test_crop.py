# SPDX-License-Identifier: Apache-2.0
"""The crop camera sees what the real camera sees."""

import numpy as np
import pytest

from dinemo_ros.camera.crop import BORDER_GREY, check_roi, crop_camera, warp_crop
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import RoiError

PLAIN = Camera.from_hfov(640, 480, 70.0)
CAMERAS = {
    "plain": PLAIN,
    "plumb_bob": Camera(640, 480, PLAIN.K, "plumb_bob", (-0.25, 0.08, 0.001, -0.0005, -0.01)),
    "rational": Camera(640, 480, PLAIN.K, "rational_polynomial", (0.3, 0.05, 0.0, 0.0, 0.01, 0.6, 0.1, 0.02)),
    "equidistant": Camera(640, 480, PLAIN.K, "equidistant", (0.02, -0.01, 0.004, -0.001)),
}
ROIS = [(250, 180, 420, 300), (5, 10, 120, 90), (400, 300, 640, 480), (0, 0, 640, 480)]


def picture_of(camera: Camera) -> np.ndarray:
    """A picture whose red and green are linear in its pixel coordinates: a colour names its place."""
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    colour = np.stack([x * 255.0 / camera.width, y * 255.0 / camera.height, np.full(x.shape, 60.0)], axis=-1)
    return colour.round().astype(np.uint8)


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("roi", ROIS[:3])
@pytest.mark.parametrize("scale", [1, 5], ids=["", "shrunk first"])
def test_crop_shows_what_its_camera_says(name, roi, scale):
    """The colour at a crop pixel is the image's colour where the real camera projects that pixel's ray."""
    size = scale * np.array([640, 480])
    camera = CAMERAS[name].scaled(*size.tolist())
    crop = crop_camera(camera, scale * np.array(roi, float), 256, 1.15)
    out = np.empty((256, 256, 3), np.uint8)
    warp_crop(picture_of(camera), camera, crop, out)
    rng = np.random.default_rng(0)
    pixels = rng.integers(8, 248, size=(300, 2))
    points = np.column_stack([(pixels - crop.centre) / crop.focal, np.ones(300)]) * rng.uniform(2, 30, size=(300, 1))
    image = camera.project(points @ crop.R_cam_crop.T)
    inside = (image > 2 * scale).all(axis=1) & (image < size - 3 * scale).all(axis=1)
    assert inside.sum() > 100
    seen = out[pixels[inside, 1], pixels[inside, 0], :2] * size / 255.0
    # One grey level is 2.5 pixels of the image, rounded twice (picture and warp), plus the interpolated lens map.
    assert np.abs(seen - image[inside]).max() < 3.0 * scale
    assert np.abs((seen - image[inside]).mean(axis=0)).max() < 0.5 * scale


@pytest.mark.parametrize(("width", "height"), [(10000, 50), (50, 10000)])
def test_picture_much_longer_than_wide_is_seen_as_a_whole(width, height):
    """Shrunk by its long side alone it would have no pixel left across."""
    camera, out = Camera.from_hfov(width, height, 60.0), np.empty((256, 256, 3), np.uint8)
    image = np.full((height, width, 3), (200, 40, 90), np.uint8)
    warp_crop(image, camera, crop_camera(camera, np.array([0, 0, width, height]), 256, 1.15), out)
    out = out if width > height else out.swapaxes(0, 1)
    assert out[127:129, 20:236, 0].max(axis=0).min() > 135, "along the middle, mixed with the grey beside it"
    assert (out[:100] == 114).all() and (out[156:] == 114).all()


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("roi", ROIS)
def test_the_roi_fills_the_crop_up_to_the_margin(name, roi):
    crop = crop_camera(CAMERAS[name], np.array(roi, float), 256, 1.25)
    outwards = np.abs(crop.box - crop.centre).max()
    assert outwards == pytest.approx(128 / 1.25)
    assert (crop.box[:2] < crop.centre).all() and (crop.box[2:] > crop.centre).all()


@pytest.mark.parametrize("name", CAMERAS)
def test_roi_sides_and_centre_project_where_they_were(name):
    camera, (x0, y0, x1, y1) = CAMERAS[name], ROIS[1]
    crop = crop_camera(camera, np.array(ROIS[1], float), 256, 1.15)
    assert np.linalg.det(crop.R_cam_crop) == pytest.approx(1.0)
    assert np.allclose(crop.R_cam_crop @ crop.R_cam_crop.T, np.eye(3))
    centre = camera.project(crop.R_cam_crop[:, 2][None])[0]
    assert np.allclose(centre, [0.5 * (x0 + x1) - 0.5, 0.5 * (y0 + y1) - 0.5], atol=1e-6)
    sides = camera.rays(np.array([[x0 - 0.5, centre[1]], [x1 - 0.5, centre[1]]])) @ crop.R_cam_crop
    assert np.allclose(crop.focal * sides[:, 0] / sides[:, 2] + crop.centre, crop.box[[0, 2]], atol=1e-2)


def test_outside_of_the_image_is_grey():
    crop = crop_camera(PLAIN, np.array([0.0, 0.0, 60.0, 60.0]), 128, 1.5)
    out = np.empty((128, 128, 3), np.uint8)
    warp_crop(np.full((480, 640, 3), 250, np.uint8), PLAIN, crop, out)
    assert (out[0, 0] == BORDER_GREY).all() and (out[64, 64] == 250).all()


def test_a_large_roi_is_averaged_not_sampled():
    """Stripes of one pixel, nine pixels to one of the crop, are grey in it; sampling would show moire."""
    camera = Camera.from_hfov(2304, 2304, 50.0)
    image = np.zeros((2304, 2304, 3), np.uint8)
    image[:, ::2] = 200
    crop = crop_camera(camera, np.array([0.0, 0.0, 2304.0, 2304.0]), 256, 1.0)
    out = np.empty((256, 256, 3), np.uint8)
    warp_crop(image, camera, crop, out)
    assert np.abs(out[20:-20, 20:-20].astype(float) - 100).max() < 25


@pytest.mark.parametrize("roi, sides", [((0, 50, 90, 120), (True, False, False, False)),
                                        ((10, 0, 640, 120), (False, True, True, False)),
                                        ((10, 50, 90, 480), (False, False, False, True)),
                                        ((10, 50, 90, 120), (False, False, False, False))])
def test_open_sides_touch_the_border(roi, sides):
    assert crop_camera(PLAIN, np.array(roi, float), 256, 1.15).open_sides == sides


@pytest.mark.parametrize("roi, reason", [
    ((1, 2, 3), "four finite numbers"), ((1, 2, float("nan"), 4), "four finite numbers"),
    ((1, 2, float("inf"), 4), "four finite numbers"), ("abcd", "four finite numbers"), (None, "four finite numbers"),
    ((30, 10, 20, 40), "is empty"), ((30, 10, 30, 40), "is empty"), ((-50, 10, -5, 40), "lies outside the 640x480"),
    ((700, 10, 800, 40), "lies outside the 640x480"), ((10, 479.5, 100, 700), "lies outside the 640x480")])
def test_bad_roi(roi, reason):
    with pytest.raises(RoiError, match=reason):
        check_roi(roi, 640, 480)


def test_a_roi_across_the_border_is_clipped():
    assert check_roi((-20, 30, 100, 500), 640, 480).tolist() == [0, 30, 100, 480]
