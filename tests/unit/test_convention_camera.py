# SPDX-License-Identifier: Apache-2.0
"""Pixels, ROIs, crops and feature cells: where each convention counts from. CONVENTIONS.md points here."""

import cv2
import numpy as np
import pytest

from dinemo_ros.camera.crop import BORDER_GREY, crop_camera, warp_crop
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import target_of
from dinemo_ros.geometry import ray_rotation

DISTORTED = [("", ()), ("plumb_bob", (-0.28, 0.09, 0.001, -0.0007, 0.0)),
             ("equidistant", (0.05, -0.01, 0.002, 0.0))]


def camera(model="", distortion=()):
    return Camera(240, 180, np.array([[210.0, 0, 118.0], [0, 205.0, 92.0], [0, 0, 1]]), model, distortion)


def coordinate_picture(width=240, height=180):
    """Red is x, green is y, so every colour says where it was seen."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 255)], axis=-1).astype(np.uint8)


def test_convention_integer_pixels_are_pixel_centres():
    """The picture covers -0.5 to width - 0.5, so its middle is (width - 1) / 2 and its edges span the field of view."""
    middle = Camera.from_hfov(640, 480, 60.0)
    np.testing.assert_allclose(middle.project([[0, 0, 1.0]]), [[319.5, 239.5]])
    left, right = middle.rays([[-0.5, 0], [639.5, 0]])[:, 0]
    assert np.rad2deg(np.arctan(right) - np.arctan(left)) == pytest.approx(60.0)
    assert middle.hfov_deg == pytest.approx(60.0)


def test_convention_optical_frame_is_right_down_forward():
    c = Camera.from_hfov(640, 480, 60.0)
    u, v = c.project([[1.0, 0.5, 4.0]])[0] - 0.5 * np.array([639, 479])
    assert u > v > 0  # to the right and down
    assert (u, v) == pytest.approx((c.K[0, 0] / 4, c.K[1, 1] / 8))


@pytest.mark.parametrize(("model", "distortion"), DISTORTED)
def test_rays_and_projection_are_inverses(model, distortion):
    c = camera(model, distortion)
    pixels = np.random.default_rng(0).uniform([0, 0], [239, 179], (100, 2))
    rays = c.rays(pixels)
    np.testing.assert_array_equal(rays[:, 2], 1)
    np.testing.assert_allclose(c.project(7.0 * rays), pixels, atol=0.02)


@pytest.mark.parametrize("factor", [2, 4])
def test_convention_resizing_keeps_the_corner_and_not_the_first_pixel(factor):
    """A block of factor x factor pixels becomes one: its centre (factor - 1) / 2 becomes 0."""
    c = camera()
    small = c.scaled(240 // factor, 180 // factor)
    point = np.array([[0.3, -0.2, 2.0]])
    np.testing.assert_allclose((small.project(point) + 0.5) * factor, c.project(point) + 0.5)
    x = cv2.resize(coordinate_picture(), (240 // factor, 180 // factor), interpolation=cv2.INTER_AREA)[0, 5, 0]
    assert x == pytest.approx((5 + 0.5) * factor - 0.5, abs=0.5)


def test_convention_roi_is_given_by_pixel_edges():
    """(0, 0, width, height) is the whole picture; the box in crop pixels counts centres."""
    c = Camera(240, 180, np.array([[2000.0, 0, 119.5], [0, 2000.0, 89.5], [0, 0, 1]]))
    whole = crop_camera(c, np.array([0, 0, 240, 180]), 256, 1.0)
    np.testing.assert_allclose(whole.box[[0, 2]], [-0.5, 255.5], atol=1e-3)
    assert whole.open_sides == (True, True, True, True)
    # A white square from column 100 to 139 and row 60 to 99 has the edges 100, 60, 140, 100.
    image = np.zeros((180, 240, 3), np.uint8)
    image[60:100, 100:140] = 255
    crop = crop_camera(c, np.array([100, 60, 140, 100]), 256, 1.25)
    out = np.empty((256, 256, 3), np.uint8)
    warp_crop(image, c, crop, out)
    bright = out[128, :, 0] / 255.0
    left = np.interp(0.5, bright[:128], np.arange(128))  # where brightness crosses one half: the edge
    right = np.interp(-0.5, -bright[128:], np.arange(128, 256))
    assert (left, right) == pytest.approx((crop.box[0], crop.box[2]), abs=0.15)
    assert 0.5 * (crop.box[0] + crop.box[2]) == pytest.approx(crop.centre, abs=0.01)
    assert crop.box[2] - crop.box[0] == pytest.approx(256 / 1.25, rel=1e-3)


@pytest.mark.parametrize(("model", "distortion"), DISTORTED)
@pytest.mark.parametrize("roi", [(30, 20, 110, 90), (140, 60, 230, 170)])
def test_convention_crop_is_a_pinhole_camera_that_looks_at_the_roi(model, distortion, roi):
    """Crop pixel p shows what lies on the ray R_cam_crop K^-1 p of the real camera, lens distortion gone."""
    c, out = camera(model, distortion), np.empty((128, 128, 3), np.uint8)
    crop = crop_camera(c, np.array(roi, float), 128, 1.1)
    middle = 0.5 * (np.array(roi[:2]) + roi[2:]) - 0.5
    np.testing.assert_allclose(crop.R_cam_crop, ray_rotation(c.rays(middle)[0]), atol=1e-9)
    warp_crop(coordinate_picture(), c, crop, out)
    v, u = np.mgrid[8:120:7, 8:120:7].reshape(2, -1)
    rays = np.stack([u, v, np.ones_like(u)], 1) @ np.linalg.inv(crop.K).T @ crop.R_cam_crop.T
    expected = c.project(rays)
    inside = ((expected > 1) & (expected < [238, 178])).all(1) & (out[v, u, 2] == 255)
    assert inside.sum() > 100
    np.testing.assert_allclose(out[v, u, :2][inside], expected[inside], atol=0.8)


def test_convention_outside_of_the_image_is_grey_114():
    c, out = camera(), np.empty((128, 128, 3), np.uint8)
    warp_crop(coordinate_picture(), c, crop_camera(c, np.array([0, 0, 60, 60]), 128, 1.5), out)
    assert BORDER_GREY == (114, 114, 114)
    assert (out[:10, :10] == 114).all()


def test_convention_feature_cells_are_centred_between_their_pixels():
    """Cell j of the stride-8 map stands for the crop pixels 8 j to 8 j + 7, so it is centred on 8 j + 3.5."""
    c = camera()
    crop = crop_camera(c, np.array([60, 50, 150, 120]), 256, 1.15)
    target = target_of(crop, 8)
    point = np.array([0.05, -0.02, 1.0])  # in the crop camera
    pixel = crop.focal * point[:2] / point[2] + crop.centre
    cell = target.focal * point[:2] / point[2] + target.centre
    np.testing.assert_allclose(8 * cell + 3.5, pixel)
    np.testing.assert_allclose(8 * np.asarray(target.box) + 3.5, crop.box)
    assert target.centre == 15.5  # 32 cells: the middle lies between the 16th and the 17th
