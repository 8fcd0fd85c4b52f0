# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Crops made on the device are those that OpenCV makes on the host; on a GPU where there is one, else by the twin."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dinemo_ros.camera.crop import crop_camera, warp_crop
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cuda.solver import best_loops
from dinemo_ros.cuda.warp import warp_crops

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PINHOLE = Camera.from_hfov(320, 240, 60.0)
K = np.array([[300.0, 0, 158.0], [0, 295.0, 121.0], [0, 0, 1]])
LENS = Camera(320, 240, K, "plumb_bob", (-0.3, 0.1, 0.001, -0.002, 0.0))
BOXES = [(100.0, 60, 180, 120), (0.0, 0, 90, 60), (10.0, 5, 310, 235), (250.0, 150, 320, 240)]


def picture() -> np.ndarray:
    """Smooth noise, so that the slope bounds what a shifted sample can differ by."""
    noise = np.random.default_rng(0).normal(size=(240, 320, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("camera", [PINHOLE, LENS], ids=["pinhole", "lens"])
@pytest.mark.parametrize("size", [64, 32])
def test_crops_are_those_of_the_host(camera, size):
    """Inside the image, over its border, and large ones that are averaged over 2 to 8 pixels first.

    OpenCV rounds coordinates to 1/32 pixel, so a sample lies up to 1/64 off each way; besides that both round once.
    """
    image = picture()
    crops = [crop_camera(camera, np.array(box), size, 1.15) for box in BOXES]
    expected = np.empty((len(crops), size, size, 3), np.uint8)
    for crop, out in zip(crops, expected, strict=True):
        warp_crop(image, camera, crop, out)
    found = warp_crops(torch.from_numpy(image).to(DEVICE), camera, crops, best_loops(DEVICE)).cpu().numpy()
    assert found.dtype == np.uint8 and found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    slope = max(np.abs(np.diff(image.astype(int), axis=axis)).max() for axis in (0, 1))
    assert difference.max() <= 2 + 2 * max(slope, 255 - 114) / 64  # at the border the slope is that to the grey outside
    assert difference.mean() < 0.5 and np.percentile(difference, 99) <= 2 + 2 * slope / 64


def test_a_picture_that_lies_on_a_line_comes_out_exactly():
    """Colour channels and axes are not swapped: red grows to the right, green downwards."""
    y, x = np.mgrid[:240, :320]
    image = np.stack([x // 2, y, np.full_like(x, 7)], -1).astype(np.uint8)
    crop = crop_camera(PINHOLE, np.array((60.0, 40, 260, 200)), 32, 1.0)
    red, green, blue = warp_crops(torch.from_numpy(image).to(DEVICE), PINHOLE, [crop],
                                  best_loops(DEVICE))[0].cpu().numpy().astype(int).transpose(2, 0, 1)
    inner = slice(6, 26)  # the box is wider than high: above and below is grey
    assert (np.diff(red, axis=1)[inner] > 0).all() and (np.diff(green, axis=0)[inner] > 0).all()
    assert (blue[inner] == 7).all()
