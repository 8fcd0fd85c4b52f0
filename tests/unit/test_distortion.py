# SPDX-License-Identifier: Apache-2.0
"""Lens models as drivers and tools publish them: the right lens under every name, a sentence for what is none."""

import cv2
import numpy as np
import pytest

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError

K = np.array([[500.0, 0, 318.0], [0, 505.0, 241.0], [0, 0, 1]])
FIVE = (-0.28, 0.09, 0.001, -0.0007, -0.01)
EIGHT = (0.3, 0.05, 0.0004, -0.0002, 0.01, 0.6, 0.1, 0.02)
TWELVE = (*EIGHT, 0.002, -0.001, 0.0015, 0.0005)
FOURTEEN = (*TWELVE, 0.02, -0.01)
FISHEYE = (0.05, -0.01, 0.004, -0.001)
POINTS = np.random.default_rng(0).uniform([-1.0, -0.8, 2.0], [1.0, 0.8, 4.0], (200, 3))


def camera(model, distortion):
    return Camera(640, 480, K, model, distortion)


def by_opencv(coefficients):
    return cv2.projectPoints(POINTS, np.zeros(3), np.zeros(3), K, np.array(coefficients))[0].reshape(-1, 2)


def by_closed_form(k1, k2, k3, k4):
    """An equidistant lens: the radius is the angle from the axis times 1 + k1 angle^2 + ..."""
    x, y, z = POINTS.T
    angle = np.arctan2(np.hypot(x, y), z)
    radius = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
    return np.stack([radius * x, radius * y], 1) / np.hypot(x, y)[:, None] * K.diagonal()[:2] + K[:2, 2]


NONE = POINTS[:, :2] / POINTS[:, 2:] * K.diagonal()[:2] + K[:2, 2]


@pytest.mark.parametrize(("name", "coefficients", "used"), [
    ("plumb_bob", FIVE, FIVE), ("plumb_bob", FIVE[:4], FIVE[:4]), ("Plumb Bob", FIVE, FIVE), ("PLUMB_BOB", FIVE, FIVE),
    ("radtan", FIVE[:4], FIVE[:4]), ("radial-tangential", FIVE, FIVE), ("brown_conrady", FIVE, FIVE),
    ("distortion.brown_conrady", FIVE, FIVE), ("RS2_DISTORTION_BROWN_CONRADY", FIVE, FIVE),
    ("plumb_bob", (*FIVE, 0, 0, 0), FIVE), ("plumb_bob", (*FIVE, *9 * [0.0]), FIVE), ("plumb_bob", (*FIVE, 0), FIVE),
    ("plumb_bob", (*FIVE, 0, 0, 0, 0), FIVE),
    ("rational_polynomial", EIGHT, EIGHT), ("rational_polynomial", FIVE, FIVE), ("rational_polynomial", FIVE[:4], FIVE),
    ("rational_polynomial", (*EIGHT, 0, 0, 0, 0, 0, 0), EIGHT), ("rational_polynomial", TWELVE, TWELVE),
    ("rational_polynomial", FOURTEEN, FOURTEEN), ("rational_polynomial", (*FOURTEEN, 0, 0), FOURTEEN),
    ("thin_prism", TWELVE, TWELVE), ("tilted", FOURTEEN, FOURTEEN), ("pinhole-radtan8", EIGHT, EIGHT),
])
def test_polynomial_models_project_as_opencv(name, coefficients, used):
    if name == "rational_polynomial" and len(coefficients) == 4:
        used = coefficients
    c = camera(name, coefficients)
    np.testing.assert_allclose(c.project(POINTS), by_opencv(used), atol=1e-9)
    assert c.notes == (), "a driver's habit, nothing to worry about"
    assert c.distortion_model == ("plumb_bob" if len(used) < 8 else "rational_polynomial")


@pytest.mark.parametrize(("coefficients", "model"), [
    (FIVE[:4], "plumb_bob"), (FIVE, "plumb_bob"), (EIGHT, "rational_polynomial"), (TWELVE, "rational_polynomial"),
    (FOURTEEN, "rational_polynomial")])
@pytest.mark.parametrize("name", ["", "none", "None", "pinhole", "plumb_bob"])
def test_more_coefficients_than_the_name_has_are_opencvs_and_told(name, coefficients, model):
    c = camera(name, coefficients)
    assert (c.distortion_model, c.distortion) == (model, coefficients)
    np.testing.assert_allclose(c.project(POINTS), by_opencv(coefficients), atol=1e-9)
    told = name != "plumb_bob" or len(coefficients) > 5
    assert len(c.notes) == told
    if told:
        assert f"distortion model {name!r}" in c.notes[0] and f"{len(coefficients)} coefficients" in c.notes[0]
        assert model in c.notes[0] and "OpenCV's order" in c.notes[0]


@pytest.mark.parametrize("name", ["inverse_brown_conrady", "modified_brown_conrady",
                                  "distortion.inverse_brown_conrady"])
def test_realsense_variants_are_plumb_bob_within_a_tenth_of_a_pixel(name):
    """Their tangential part takes the radially distorted point (librealsense projects both alike)."""
    k1, k2, p1, p2, k3 = lens = (-0.0565, 0.0682, 0.000366, 0.000693, -0.0218)  # a D455
    c = camera(name, lens)
    assert c.distortion_model == "plumb_bob" and "is taken as plumb_bob" in c.notes[0]
    x, y = (POINTS[:, :2] / POINTS[:, 2:]).T
    r2 = x**2 + y**2
    f = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    x, y = x * f, y * f
    theirs = np.stack([x + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)], 1)
    np.testing.assert_allclose(c.project(POINTS), theirs * K.diagonal()[:2] + K[:2, 2], atol=0.1)


@pytest.mark.parametrize("name", ["equidistant", "fisheye", "Fisheye", "equi", "pinhole-equi", "kannala_brandt4",
                                  "KannalaBrandt4", "kb4", "distortion.kannala_brandt4", "kannala_brandt",
                                  "opencv_fisheye"])
@pytest.mark.parametrize("behind", [(), (0.0,), (0.0, 0.0, 0.0, 0.0)])
def test_fisheye_is_equidistant(name, behind):
    c = camera(name, (*FISHEYE, *behind))
    assert (c.distortion_model, c.distortion, c.notes) == ("equidistant", FISHEYE, ())
    np.testing.assert_allclose(c.project(POINTS), by_closed_form(*FISHEYE), atol=1e-9)
    fisheye = cv2.fisheye.projectPoints(POINTS[:, None], np.zeros(3), np.zeros(3), K, np.array(FISHEYE))[0][:, 0]
    np.testing.assert_allclose(c.project(POINTS), fisheye, atol=1e-6)


def test_fisheye_with_zeros_is_an_ideal_fisheye_and_told():
    """No lens would be another picture: pixels in proportion to the angle, not to its tangent."""
    c = camera("equidistant", [0.0] * 4)
    np.testing.assert_allclose(c.project(POINTS), by_closed_form(0, 0, 0, 0), atol=1e-9)
    assert "ideal fisheye" in c.notes[0]
    assert "without coefficients" in camera("fisheye", ()).notes[0] and not camera("fisheye", ()).distortion


@pytest.mark.parametrize("name", ["plumb_bob", "", "none", "rational_polynomial", "pinhole", "radtan", "rectified"])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 14])
def test_zeros_are_no_lens_under_every_name(name, count):
    c = camera(name, [0.0] * count)
    assert (c.distortion_model, c.distortion, c.notes) == ("", (), ())
    np.testing.assert_allclose(c.project(POINTS), NONE, atol=1e-9)


def test_zeros_under_an_unknown_name_are_no_lens_and_told():
    assert "'mystery' is not known" in camera("mystery", [0.0] * 5).notes[0]


@pytest.mark.parametrize("name", ["double_sphere", "ds", "eucm", "omni", "mei", "fov", "FTheta", "distortion.ftheta",
                                  "scaramuzza", "thin_prism_fisheye", "fisheyePolynomial", "stereographic"])
@pytest.mark.parametrize("coefficients", [(), (0.0,), (0.9,), FIVE])
def test_models_that_are_known_and_not_supported_are_named(name, coefficients):
    """With zeros too: their other numbers are elsewhere."""
    with pytest.raises(CameraError, match=f"distortion model '{name}' is not supported; known: .*plumb_bob.*: rectify"):
        camera(name, coefficients)


@pytest.mark.parametrize(("name", "coefficients", "says"), [
    ("mystery", FIVE, "unknown distortion model 'mystery'; known: equidistant, plumb_bob, rational_polynomial"),
    ("plumb_bob", (0.1, 0.1, 0.1), r"'plumb_bob' takes \(0, 4, 5\) finite coefficients \(or 8, 12 or 14 .*, got \[0.1"),
    ("plumb_bob", (0.1,) * 6, r"takes \(0, 4, 5\) finite"), ("plumb_bob", (*EIGHT, 0.1), r"takes \(0, 4, 5\) finite"),
    ("", (0.1,), r"'' takes \(0, 4, 5\) finite"), ("plumb_bob", (float("nan"),) * 5, "finite coefficients"),
    ("", (float("nan"),) * 5, "finite coefficients"), ("none", (float("inf"), 0, 0, 0, 0), "finite coefficients"),
    ("rational_polynomial", (0.1,) * 15, r"takes \(0, 8, 12, 14\) finite"),
    ("equidistant", (0.1,) * 3, r"takes \(0, 4\) finite"), ("fisheye", (0.01,) * 5, r"takes \(0, 4\) finite"),
    ("equidistant", (0.1, 0.1, 0.1, float("nan")), r"takes \(0, 4\) finite"),
])
def test_what_is_no_lens_is_refused_in_one_sentence(name, coefficients, says):
    with pytest.raises(CameraError, match=says) as caught:
        camera(name, coefficients)
    assert "\n" not in str(caught.value)
