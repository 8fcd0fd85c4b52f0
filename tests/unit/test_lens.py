# SPDX-License-Identifier: Apache-2.0
"""Rays of strong lenses, and what lies beyond them."""

import cv2
import numpy as np
import pytest

from dinemo_ros.camera.crop import check_seen, crop_camera, lens_shows, warp_crop
from dinemo_ros.camera.lens import lens_of
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError, RoiError

K = np.array([[420.0, 0, 322.0], [0, 424.0, 236.0], [0, 0, 1]])
WHOLE = {  # lenses that show something at every pixel of 640 x 480
    "ordinary": ("plumb_bob", (-0.28, 0.09, 0.001, -0.0007, 0.0)),
    "barrel": ("plumb_bob", (-0.33, 0.14, 0.0005, -0.0003, -0.025)),
    "pincushion": ("plumb_bob", (0.25, 0.1, 0.002, -0.001, 0.05)),
    "rational": ("rational_polynomial", (5.26, 3.6, -1e-4, 4e-5, 0.19, 5.6, 5.2, 1.1)),  # 120 degrees
    "prism": ("rational_polynomial", (-0.28, 0.09, 0.001, -0.0007, 0, 0.1, 0.01, 0, 0.01, 0.002, -0.008, 0.001)),
    "tilted": ("rational_polynomial", (-0.28, 0.09, 0.001, -0.0007, 0, 0.1, 0.01, 0, 0, 0, 0, 0, 0.12, -0.08)),
    "fisheye": ("equidistant", (0.05, -0.01, 0.002, 0.0)),
    "strong fisheye": ("equidistant", (-0.12, 0.03, -0.004, 0.0003)),
}
FOLDED = Camera(640, 480, K, "plumb_bob", (-0.45, 0, 0.001, -0.0005, 0))  # turns back 241 pixels from the centre


def grid(step=6.0, width=640, height=480):
    x, y = np.meshgrid(np.append(np.arange(-0.5, width - 0.5, step), width - 0.5),
                       np.append(np.arange(-0.5, height - 0.5, step), height - 0.5))
    return np.stack([x.ravel(), y.ravel()], axis=1)


@pytest.mark.parametrize("name", WHOLE)
def test_every_pixel_comes_out_where_it_was(name):
    camera = Camera(640, 480, K, *WHOLE[name])
    rays = camera.rays(grid())
    assert camera.sees_all and camera.notes == ()
    np.testing.assert_allclose(camera.project(3.0 * rays), grid(), atol=1e-6)
    # By OpenCV's own projection too, so that both directions are not wrong alike.
    zero, D = np.zeros(3), np.array(camera.distortion)
    project = cv2.fisheye.projectPoints if camera.distortion_model == "equidistant" else cv2.projectPoints
    pixels = project(rays[:, None], zero, zero, K, D)[0].reshape(-1, 2)
    np.testing.assert_allclose(pixels, grid(), atol=1e-3)


def test_rays_of_one_pixel_and_of_none():
    camera = Camera(640, 480, K, *WHOLE["barrel"])
    assert camera.rays([322.0, 236.0]) == pytest.approx(np.array([[0, 0, 1.0]]), abs=1e-12)
    assert camera.rays(np.zeros((0, 2))).shape == camera.project(np.zeros((0, 3)))[:, :1].repeat(3, 1).shape == (0, 3)


def test_rays_of_an_ideal_fisheye_are_those_of_the_closed_form():
    camera = Camera(640, 480, K, "fisheye", [0.0] * 4)
    angle = np.hypot(*((grid() - K[:2, 2]) / K.diagonal()[:2]).T)
    np.testing.assert_allclose(np.hypot(*camera.rays(grid())[:, :2].T), np.tan(angle), atol=1e-9)


def test_rays_of_a_telephoto_lens_with_large_coefficients():
    """A narrow image has small radii, so its coefficients are large and no harm."""
    K = np.array([[9000.0, 0, 320], [0, 9000.0, 240], [0, 0, 1]])
    camera = Camera(640, 480, K, "plumb_bob", (-2.0, 900.0, 0.001, 0.001, -4000.0))
    np.testing.assert_allclose(camera.project(camera.rays(grid())), grid(), atol=1e-6)


# ------------------------------------------------------------------------------------------------- beyond the lens
@pytest.mark.parametrize(("lens", "at", "largest"), [  # largest radius, and the undistorted radius where it is
    ((-0.45, 0, 0, 0, 0), (1 / (3 * 0.45)) ** (1 / 2), 2 / 3), ((0, -0.4, 0, 0, 0), (1 / (5 * 0.4)) ** (1 / 4), 4 / 5),
    ((0, 0, 0, 0, -0.5), (1 / (7 * 0.5)) ** (1 / 6), 6 / 7), ((0, 0, 0, 0, 0, 0.6, 0, 0), (1 / 0.6) ** (1 / 2), 1 / 2)])
def test_pixels_where_the_polynomial_turned_back_have_no_ray(lens, at, largest):
    """One coefficient alone: r + k1 r^3, r + k2 r^5, r + k3 r^7, r / (1 + k4 r^2)."""
    camera = Camera(640, 480, K, "rational_polynomial" if len(lens) == 8 else "plumb_bob", lens)
    largest = largest * at
    _, seen = camera.seen_rays(grid(2.0))
    radius = np.hypot(*((grid(2.0) - K[:2, 2]) / K.diagonal()[:2]).T)
    np.testing.assert_array_equal(seen, radius < largest)
    rays = camera.rays(grid(2.0)[seen])
    np.testing.assert_allclose(camera.project(rays), grid(2.0)[seen], atol=1e-3)
    assert np.hypot(*rays[:, :2].T).max() < at + 1e-3, "of the two directions the inner one"
    with pytest.raises(RoiError, match=r"pixel \(0.0, 0.0\) lies beyond what the lens shows: .* look nearer"):
        camera.rays([[320.0, 240], [0, 0]])


def test_no_ray_leads_through_what_the_lens_shows_mirrored():
    """Behind a fold of the tangential part the image is mirrored; the radial part alone does not tell."""
    lens = lens_of("rational_polynomial", (0.381, -0.4589, -0.03353, -0.2166, 0.4241, -0.06751, 0.5315, 0.2086, -0.2185,
                                           -0.01121, 0.2007, -0.216))
    points, seen = lens.undistort(0.5 * (grid() - [320, 240]) / 240)
    step = 1e-6
    along = np.stack([lens.distort(points + [step, 0]) - lens.distort(points),
                      lens.distort(points + [0, step]) - lens.distort(points)], axis=2) / step
    assert (np.linalg.det(along)[seen] > 0).all() and 0.5 < seen.mean() < 1.0
    assert not lens.undistort(np.array([[-0.48, 0.72]]))[1].any()


def test_half_of_the_image_is_enough_by_its_area():
    """A circle of 228 pixels in 640 x 480: 53 % of the area, fewer of the places on a grid that has the border."""
    assert not Camera(640, 480, K, "plumb_bob", (-0.5, 0, 0, 0, 0)).sees_all


def test_fisheye_sees_to_89_degrees_and_to_where_it_turns_back():
    wide = Camera(640, 480, np.array([[150.0, 0, 320], [0, 150.0, 240], [0, 0, 1]]), "fisheye", [0.0] * 4)
    radius = np.hypot(*(grid(2.0) - [320, 240]).T) / 150.0
    np.testing.assert_array_equal(wide.seen_rays(grid(2.0))[1], radius < np.radians(89.0))
    assert wide.notes == Camera(640, 480, K, "fisheye", [0.0] * 4).notes, "black corners are what a fisheye has"
    # angle + k1 angle^3 is largest at sqrt(-1 / (3 k1)).
    turned = Camera(640, 480, np.array([[250.0, 0, 320], [0, 250.0, 240], [0, 0, 1]]), "fisheye", (-0.2, 0, 0, 0))
    radius = np.hypot(*(grid(2.0) - [320, 240]).T) / 250.0
    rays, seen = turned.seen_rays(grid(2.0))
    np.testing.assert_array_equal(seen, radius < 2 / 3 * np.sqrt(1 / 0.6))
    np.testing.assert_allclose(turned.project(rays[seen]), grid(2.0)[seen], atol=1e-3)


@pytest.mark.parametrize("model", [("plumb_bob", (-0.45, 0, 0, 0, 0)), ("fisheye", (-0.2, 0, 0, 0)),
                                   ("rational_polynomial", (0, 0, 0, 0, 0, -0.3, 0, 0)),
                                   ("rational_polynomial", (-0.45, 0, 0, 0, 0, 0.02, 0, 0))])
def test_what_the_lens_does_not_reach_is_not_projected_back_into_the_image(model):
    """Farther out stays farther out, without a jump inwards."""
    camera = Camera(640, 480, K, *model)
    tangents = np.linspace(0, 20, 4001)
    x = camera.project(np.stack([tangents, 0 * tangents, 1 + 0 * tangents], axis=1))[:, 0]
    assert (np.diff(x) > -1e-9).all() and np.diff(x)[:10].min() > 0.5
    assert x[-1] > 4000


def test_a_lens_that_turns_back_in_the_corners_is_told_and_used():
    note, = FOLDED.notes
    assert "turns back inside the image" in note and "boxes there are refused" in note
    assert FOLDED.scaled(1280, 960).notes == FOLDED.notes
    assert not FOLDED.sees_all


def test_boxes_in_the_dark_are_refused_and_boxes_that_reach_into_it_are_cut():
    good, bad = np.array([260.0, 180, 380, 300]), np.array([0.0, 0, 60, 50])
    assert lens_shows(FOLDED, [good, bad]).tolist() == [True, False]
    check_seen(FOLDED, [good])
    with pytest.raises(RoiError, match=r"ROI \[0.0, 0.0, 60.0, 50.0\] cannot be looked at: pixel \(29.5, 24.5\) lies "
                                       "beyond what the lens shows"):
        check_seen(FOLDED, [good, bad])
    with pytest.raises(RoiError, match="lies beyond"):
        crop_camera(FOLDED, bad, 128, 1.15)
    crop = crop_camera(FOLDED, np.array([20.0, 180, 400, 300]), 128, 1.0)
    assert crop.open_sides == (True, False, False, False), "the object may go on where the lens ends"
    left = np.array([[(crop.box[0] - crop.centre) / crop.focal, 0, 1.0]]) @ crop.R_cam_crop.T
    radius = np.hypot(*((FOLDED.project(left)[0] - K[:2, 2]) / K.diagonal()[:2]))
    assert radius == pytest.approx(2 / 3 * np.sqrt(1 / 1.35), abs=2e-3), "cut at the edge of what is seen"


def test_the_crop_of_a_box_at_the_edge_shows_nothing_twice():
    """Every ray of the crop beyond the lens comes out at or outside of the circle where it turns back."""
    camera = Camera(640, 480, K, "plumb_bob", (-0.45, 0, 0, 0, 0))
    x, y = np.meshgrid(np.arange(640), np.arange(480))
    inner = np.hypot((x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1]) < 0.4  # all of it well inside the circle
    image = np.where(inner[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
    crop, out = crop_camera(camera, np.array([480.0, 190, 562, 280]), 128, 1.6), np.empty((128, 128, 3), np.uint8)
    warp_crop(image, camera, crop, out)
    v, u = np.mgrid[:128, :128].reshape(2, -1)
    rays = np.stack([(u - crop.centre) / crop.focal, (v - crop.centre) / crop.focal, np.ones(len(u))], 1)
    rays = rays @ crop.R_cam_crop.T
    tangent = np.hypot(rays[:, 0], rays[:, 1]) / rays[:, 2]
    beyond = (tangent > np.sqrt(1 / 1.35)) & (rays[:, 2] > 0)
    assert beyond.sum() > 1000
    assert not out.reshape(-1, 3)[beyond].any(), "what is inside the circle shows again beyond it"


@pytest.mark.parametrize(("model", "distortion", "says"), [
    ("plumb_bob", (50.0, 0, 0, 0, 0), "stretch the image's border 3.. times, which no lens does with fx=420"),
    ("plumb_bob", (0.0, 0, 0, 0, 80.0), "stretch the image's border"),
    ("plumb_bob", (-50.0, 0, 0, 0, 0), "fold the image: the polynomial turns back, and .*% of 640x480 pixels have no"),
    ("plumb_bob", (-1.5, 0, 0, 0, 0), "fold the image"), ("plumb_bob", (0, 0, 3.0, 0, 0), "fold|stretch"),
    ("rational_polynomial", (0, 0, 0, 0, 0, 50.0, 0, 0), "fold the image"),
    ("rational_polynomial", (0, 0, 0, 0, 0, -9.0, 0, 0), "stretch"),
    ("plumb_bob", (1e300, -1e300, 0, 0, 0), "fold|stretch"), ("equidistant", (50.0, 0, 0, 0), "stretch"),
    ("equidistant", (-50.0, 0, 0, 0), "fold the image"), ("plumb_bob", (-1e9, 1e3, 1e9, 0, 0), "fold"),
])
def test_coefficients_that_no_lens_has_are_refused(model, distortion, says):
    with pytest.raises(CameraError, match=says) as caught:
        Camera(640, 480, K, model, distortion)
    assert "\n" not in str(caught.value) and "calibrate anew" in str(caught.value)


def test_resizing_to_another_shape_is_refused():
    camera = Camera(640, 480, K, *WHOLE["ordinary"])
    assert camera.resized(320, 240).K[0, 0] == 210.0 and camera.resized(427, 320).width == 427
    with pytest.raises(CameraError, match="is of 640x480 and the image is 1280x720, of another shape"):
        camera.resized(1280, 720)
