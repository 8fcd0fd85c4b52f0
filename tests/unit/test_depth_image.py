# SPDX-License-Identifier: Apache-2.0
"""Depth images: units and holes, and the depth that each feature cell of a crop is given, against planes with truth."""

import math

import numpy as np
import pytest

from dinemo_ros.camera.crop import crop_camera
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import SceneError
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.scene.depth_image import DepthImage

SMALL = Camera.from_hfov(8, 6, 60.0)
CAMERA = Camera.from_hfov(640, 480, 60.0)
LENS = Camera(640, 480, CAMERA.K, "plumb_bob", (-0.28, 0.09, 0.001, -0.0007, 0.0))
NORMAL, OFFSET = np.array([0.3, -0.5, -math.sqrt(0.66)]), -1.4  # a tilted plane before the camera
CORNER, STRIDE, SIZE = np.array([400.0, 40.0, 620.0, 260.0]), 8, 256  # a ROI far off the axis
CELLS = SIZE // STRIDE


def plane_depth(camera: Camera, normal=NORMAL, offset=OFFSET) -> np.ndarray:
    """float32 [H, W] metres of the plane normal @ x == offset."""
    y, x = np.mgrid[:camera.height, :camera.width]
    rays, seen = camera.seen_rays(np.stack([x.ravel(), y.ravel()], axis=1))
    assert seen.all() and (rays @ normal < 0).all()
    return (offset / (rays @ normal)).reshape(y.shape).astype(np.float32)


def cell_rays(crop) -> np.ndarray:
    """[h, w, 3] frame of the real camera, what the middle of each cell looks along; one metre along the crop's axis."""
    at = (STRIDE * np.arange(crop.size // STRIDE) + (STRIDE - 1) / 2 - crop.centre) / crop.focal
    x, y = np.meshgrid(at, at)
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ crop.R_cam_crop.T


def cell_depth(crop) -> np.ndarray:
    """[h, w] metres along the crop's axis at which the middle of each cell sees the plane."""
    return OFFSET / (cell_rays(crop) @ NORMAL)


def test_16_bits_are_millimetres_and_floats_metres():
    mm = np.arange(100, 148, dtype=np.uint16).reshape(6, 8) * 10
    depth = DepthImage.from_array(mm, SMALL)
    np.testing.assert_allclose(depth.metres, mm / 1000.0, rtol=1e-6)
    assert depth.metres.dtype == np.float32 and depth.note == "" and depth.camera is SMALL
    for kind in (np.float32, np.float64):
        depth = DepthImage.from_array((mm / 1000.0).astype(kind), SMALL)
        np.testing.assert_allclose(depth.metres, mm / 1000.0, rtol=1e-6)
        assert depth.metres.dtype == np.float32 and depth.note == ""


def test_holes_are_zero():
    metres = np.full((6, 8), 1.5, np.float32)
    metres[0, :5] = 0.0, math.nan, math.inf, -math.inf, -1.5
    found = DepthImage.from_array(metres, SMALL).metres
    assert (found[0, :5] == 0.0).all() and (found.ravel()[5:] == 1.5).all()
    assert metres[0, 4] == -1.5  # the caller's array stays


@pytest.mark.parametrize("metres, told", [(99.0, False), (101.0, True), (850.0, True)])
def test_floats_that_can_only_be_millimetres_are_divided(metres, told):
    depth = DepthImage.from_array(np.full((6, 8), metres, np.float32), SMALL)
    assert depth.metres[0, 0] == pytest.approx(metres / 1000.0 if told else metres)
    assert ("median of " in depth.note and "a factor of 1000" in depth.note) == told


def test_16_bits_that_hold_metres_are_refused():
    assert DepthImage.from_array(np.full((6, 8), 20, np.uint16), SMALL).metres[0, 0] == pytest.approx(0.02)
    with pytest.raises(SceneError, match="median of 19, which is no distance in millimetres: by a factor of 1000"):
        DepthImage.from_array(np.full((6, 8), 19, np.uint16), SMALL)


def test_a_few_pixels_tell_no_unit():
    """15 of them are left as they are; the 16th decides."""
    few, floats = np.zeros((6, 8), np.uint16), np.zeros((6, 8), np.float32)
    few.ravel()[:15], floats.ravel()[:15] = 2, 850.0
    assert DepthImage.from_array(few, SMALL).metres.max() == pytest.approx(0.002)
    assert DepthImage.from_array(floats, SMALL).metres.max() == 850.0
    few.ravel()[15], floats.ravel()[15] = 2, 850.0
    assert DepthImage.from_array(floats, SMALL).note
    with pytest.raises(SceneError):
        DepthImage.from_array(few, SMALL)


def test_a_picture_without_any_depth_is_no_error():
    assert not DepthImage.from_array(np.full((6, 8), math.nan, np.float32), SMALL).metres.any()


@pytest.mark.parametrize("array, told", [
    (np.ones((6, 8), np.int32), r"int32 \[6, 8\]; it must be uint16"), (np.ones((6, 8), np.uint8), "uint8"),
    (np.ones((6, 8, 1), np.float32), r"float32 \[6, 8, 1\]"), (np.ones(48, np.float32), r"float32 \[48\]"),
    (np.ones((6, 8), bool), "bool"), (np.full((6, 8), "1"), "must be uint16"),
    (np.ones((8, 6), np.float32), "is 6x8 pixels and its camera 8x6; give the calibration of the depth image")])
def test_what_is_no_depth_image_is_refused(array, told):
    with pytest.raises(SceneError, match=told):
        DepthImage.from_array(array, SMALL)


@pytest.mark.parametrize("T", [np.eye(3), np.full((4, 4), np.nan), np.zeros(16)])
def test_the_place_of_the_depth_camera_is_a_transform(T):
    with pytest.raises(SceneError, match=r"T_cam_depth must be finite numbers \[4, 4\]"):
        DepthImage.from_array(np.ones((6, 8), np.float32), SMALL, T)


def test_points_lie_on_the_plane():
    depth = plane_depth(LENS)
    depth[:100] = 0.0
    points = DepthImage.from_array(depth, LENS).points
    assert len(points) == 380 * 640
    np.testing.assert_allclose(points @ NORMAL, OFFSET, atol=1e-5)
    np.testing.assert_allclose(points[:, 2], depth[100:].ravel(), rtol=1e-6)


@pytest.mark.parametrize("camera", [CAMERA, LENS], ids=["pinhole", "lens"])
def test_cells_have_the_depth_of_the_plane_along_the_crops_own_axis(camera):
    crop = crop_camera(camera, CORNER, SIZE, 1.1)
    found, truth = DepthImage.from_array(plane_depth(camera), camera).in_crop(crop, STRIDE), cell_depth(crop)
    assert found.shape == (CELLS, CELLS)
    seen = found > 0
    assert seen.mean() > 0.9
    assert np.abs(found / truth - 1.0)[seen].max() < 0.007  # a sample is rounded to a pixel
    assert abs(np.median(found[seen] / truth[seen]) - 1.0) < 2e-4
    camera_z = truth * crop.R_cam_crop[2, 2]  # what it would be along the camera's axis is another number
    assert abs(np.median(camera_z / truth) - 1.0) > 0.05


@pytest.mark.parametrize("normal", [(0.6, 0.0, -0.8), (0.0, 0.6, -0.8)], ids=["x", "y"])
@pytest.mark.parametrize("T", [None, np.eye(4)], ids=["aligned", "registered"])
def test_cells_are_looked_up_in_their_middle(T, normal):
    """Of a crop that is coarser than the picture: half a pixel of it is more than one of the picture."""
    crop = crop_camera(CAMERA, np.array([0.0, 0.0, 640.0, 480.0]), SIZE, 1.0)
    depth = DepthImage.from_array(plane_depth(CAMERA, np.array(normal)), CAMERA, T)
    error = (depth.in_crop(crop, STRIDE) * (cell_rays(crop) @ normal) / OFFSET - 1.0)[6:-6]
    assert np.abs(error).max() < 0.02 and abs(error.mean()) < 9e-4


def test_what_lies_behind_this_camera_is_not_seen():
    """The depth camera looks back from two metres ahead, past this one at a wall, and at something between the two."""
    back = se3(so3_exp(np.array([0.0, math.pi, 0.0])), np.array([0.0, 0.0, 2.0]))
    metres = np.full((480, 640), 30.0, np.float32)
    crop = crop_camera(CAMERA, np.array([220.0, 140.0, 420.0, 340.0]), SIZE, 1.0)
    assert not DepthImage.from_array(metres, CAMERA, back).in_crop(crop, STRIDE).any()
    metres[::2] = 0.5
    between = DepthImage.from_array(metres, CAMERA, back).in_crop(crop, STRIDE)
    middle = between[CELLS // 2 - 4:CELLS // 2 + 4, CELLS // 2 - 4:CELLS // 2 + 4]
    np.testing.assert_allclose(middle[middle > 0.0], 1.5, atol=1e-3)
    assert (middle > 0.0).all()


def test_beside_the_picture_nothing_was_measured():
    """A crop about the left border: half its cells look past it, and no pixel of the other side gets there."""
    crop = crop_camera(CAMERA, np.array([0.0, 200.0, 40.0, 280.0]), SIZE, 2.0)
    found = DepthImage.from_array(plane_depth(CAMERA), CAMERA).in_crop(crop, STRIDE)
    column = CAMERA.project(cell_rays(crop).reshape(-1, 3))[:, 0].reshape(CELLS, CELLS)
    step = 80 * 2.0 / CELLS  # pixels along a cell
    assert 0.2 < (column < -step).mean() < 0.6
    assert not found[column < -step].any() and found[column > step].all()


def test_a_cell_has_the_median_of_what_was_measured_in_it():
    """One row in three of something nearer has no say; cells with less than half of them measured are holes."""
    crop = crop_camera(CAMERA, np.array([200.0, 120.0, 440.0, 360.0]), 240, 1.0)  # a pixel of it is one of the picture
    depth, first = np.full((480, 640), 2.0, np.float32), int(round(120 - 0.5))
    rows = (np.arange(480) - first) % STRIDE
    depth[rows < 2] = 1.0  # the upper third of each cell
    near = DepthImage.from_array(depth, CAMERA).in_crop(crop, STRIDE)
    np.testing.assert_allclose(near, 2.0, atol=0.03)
    depth[rows < 2] = 0.0
    holes = DepthImage.from_array(depth, CAMERA).in_crop(crop, STRIDE)
    np.testing.assert_allclose(holes, 2.0, atol=0.03)
    depth[rows < 5] = 0.0
    assert not DepthImage.from_array(depth, CAMERA).in_crop(crop, STRIDE).any()


BESIDE = se3(so3_exp(np.array([0.02, -0.12, 0.05])), np.array([0.12, 0.02, -0.05]))  # T_cam_depth


def in_depth_camera() -> tuple[np.ndarray, float]:
    """The plane in the frame of the depth camera: normal and offset."""
    return BESIDE[:3, :3].T @ NORMAL, OFFSET - float(NORMAL @ BESIDE[:3, 3])


def test_an_image_of_another_camera_is_seen_from_this_one():
    crop = crop_camera(LENS, np.array([250.0, 160.0, 430.0, 340.0]), SIZE, 1.1)
    depth = DepthImage.from_array(plane_depth(CAMERA, *in_depth_camera()), CAMERA, BESIDE)
    found, truth = depth.in_crop(crop, STRIDE), cell_depth(crop)
    assert found.all() and np.abs(found / truth - 1.0).max() < 0.01
    assert abs(np.median(found / truth) - 1.0) < 1e-3
    unmoved = DepthImage(depth.metres, CAMERA).in_crop(crop, STRIDE)
    assert np.median(np.abs(unmoved / truth - 1.0)) > 0.01


def test_of_another_cameras_points_the_nearer_hides_the_farther():
    """A post 0.6 m away: the depth camera sees the wall behind it, which this camera does not."""
    depth = np.full((480, 640), 2.0, np.float32)
    shift = se3(np.eye(3), np.array([0.15, 0.0, 0.0]))  # the depth camera stands 15 cm to the right
    f, c = CAMERA.K[0, 0], CAMERA.K[0, 2]
    post = np.array([-0.04, 0.04])  # metres, this camera's frame
    columns = np.round(f * (post - 0.15) / 0.6 + c).astype(int)
    depth[:, columns[0]:columns[1] + 1] = 0.6
    crop = crop_camera(CAMERA, np.array([220.0, 140.0, 420.0, 340.0]), SIZE, 1.0)
    found = DepthImage.from_array(depth, CAMERA, shift).in_crop(crop, STRIDE)
    at = (STRIDE * np.arange(CELLS) + (STRIDE - 1) / 2 - crop.centre) / crop.focal
    inner = np.abs(at * 0.6) < 0.04 - 0.6 * STRIDE / crop.focal  # columns of cells that the post fills
    assert inner.sum() > 8
    np.testing.assert_allclose(found[:, inner], 0.6, atol=0.02)


def test_a_coarse_image_of_another_camera_leaves_holes_and_no_wrong_numbers():
    coarse = Camera.from_hfov(40, 30, 60.0)
    crop = crop_camera(CAMERA, np.array([250.0, 160.0, 430.0, 340.0]), SIZE, 1.1)
    found = DepthImage.from_array(plane_depth(coarse, *in_depth_camera()), coarse, BESIDE).in_crop(crop, STRIDE)
    assert 20 < (found > 0).sum() < 0.5 * CELLS**2
    assert np.abs(found / cell_depth(crop) - 1.0)[found > 0].max() < 0.03
