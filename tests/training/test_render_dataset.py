# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Synthetic pictures: the labels must describe exactly what was drawn."""

import cv2
import numpy as np
import pytest

for _module in ("numba", "trimesh", "skimage", "tqdm", "PIL"):
    pytest.importorskip(_module, reason="training extra is not installed")

from shared_data import shared_data

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.synthetic.assets.asset import GLASS, PAINT, RUBBER, Part, assemble
from dinemo_training.synthetic.assets.car_catalogue import fleet, load_fleet
from dinemo_training.synthetic.assets.wheel import wheel_parts
from dinemo_training.synthetic.render.background import Photos
from dinemo_training.synthetic.render.dataset import COVERED, Pose, Synthesizer, draw, write_dataset
from dinemo_training.synthetic.render.environment import Environment
from dinemo_training.synthetic.render.shading import material_table

COUNT = 8


def slab(lower, upper, material):
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (np.array(upper) - lower) + lower
    quads = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return Part(corners, faces, material)


@pytest.fixture(scope="module")
def car():
    """A car of blocks: longer bonnet in front, so that it is neither symmetric nor convex."""
    wheels = [wheel for x in (1.3, -1.3) for y in (0.75, -0.75)
              for wheel in wheel_parts(np.array([x, y, 0.35]), 0.35, 0.2, axle=1, outward=float(np.sign(y)))]
    return assemble("blocks", [slab([-2.1, -0.85, 0.3], [2.1, 0.85, 0.9], PAINT),
                               slab([-1.9, -0.7, 0.9], [0.6, 0.7, 1.5], GLASS),
                               slab([-2.12, -0.8, 0.35], [-2.1, 0.8, 0.5], RUBBER), *wheels], np.eye(3))


@pytest.fixture(scope="module")
def dataset(car, tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic")
    write_dataset(out, Synthesizer([car], np.ones(1), 1, Photos([], [])), COUNT)
    with np.load(out / "labels.npz", allow_pickle=False) as labels:
        return out, {key: labels[key] for key in labels}


def silhouette(asset, K, T, size):
    """Mask of the projected triangles, drawn by OpenCV; ``size`` [3] stretches the asset."""
    vertices = asset.vertices * (size / asset.size)
    pixels = Camera(CROP_SIDE, CROP_SIDE, K).project(vertices @ T[:3, :3].T + T[:3, 3])
    mask = np.zeros((CROP_SIDE, CROP_SIDE), np.uint8)
    for face in asset.faces:  # 4 binary digits of sub-pixel precision
        cv2.fillConvexPoly(mask, np.round(pixels[face] * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    return mask > 0


def test_labels_reproject_onto_the_mask(car, dataset):
    out, labels = dataset
    for k in range(COUNT):
        mask = cv2.imread(str(out / "masks" / f"{labels['names'][k]}.png"), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(mask)) <= {0, COVERED, 255}
        drawn = silhouette(car, labels["K"][k], labels["T_cam_obj"][k], labels["size"][k])
        # The masks are thresholded at half coverage, OpenCV fills whole border pixels: about half a pixel of rim.
        iou = (drawn & (mask > 0)).sum() / (drawn | (mask > 0)).sum()
        assert iou > 0.95, k


def test_the_car_is_centred_and_fills_70_to_80_percent(dataset):
    out, labels = dataset
    for name in labels["names"]:
        rows, columns = np.nonzero(cv2.imread(str(out / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED))
        larger = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 0.68 * CROP_SIDE < larger < 0.82 * CROP_SIDE
        centre = np.array([rows.max() + rows.min(), columns.max() + columns.min()]) / 2
        assert (np.abs(centre - (CROP_SIDE - 1) / 2) < 0.05 * CROP_SIDE).all()


def test_poses_are_rigid_and_the_car_stands_in_front_of_the_camera(dataset):
    _, labels = dataset
    for K, T, size in zip(labels["K"], labels["T_cam_obj"], labels["size"], strict=True):
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
        assert 1.2 * size[0] < T[2, 3] < 13 * size[0]
        assert K[0, 0] == K[1, 1] > 0


def test_a_killed_run_goes_on_and_gives_the_same_pictures(car, dataset):
    out, before = dataset
    kept, lost = out / "images/000000.jpg", out / "images/000003.jpg"
    first, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    (out / "labels.npz").unlink()
    write_dataset(out, Synthesizer([car], np.ones(1), 1, Photos([], [])), COUNT)
    assert lost.read_bytes() == first
    assert kept.stat().st_mtime_ns == stamp
    with np.load(out / "labels.npz", allow_pickle=False) as labels:
        for key, values in before.items():
            np.testing.assert_array_equal(labels[key], values)


def test_unknown_car_is_named_with_the_known_ones():
    with pytest.raises(SystemExit, match="not available: batmobile.*hatchback"):
        load_fleet({}, ["batmobile"])


def test_held_out_cars_exist():
    assert set(fleet().held_out) < {entry.name for entry in fleet().cars}


def red_pixels(asset, azimuth_deg):
    """Red pixels of the car in its own colours under even white light."""
    white = np.ones((8, 16, 3), np.float32)
    light = Environment(white, white, np.array([0, 0, 1.0]), np.zeros(3), *np.ones((3, 3)))
    look = material_table(asset.materials)
    look.paint[:, 3] = 0
    T = se3(rotation_from_viewpoint(np.radians(azimuth_deg), 0.1, 0), [0, 0, 12.0])
    colour, _ = draw(asset, look, Pose(Camera.from_hfov(500, 500, 16).K, T), (500, 500), light, factor=1)
    red, green, blue = np.moveaxis(colour, -1, 0)
    return ((red > 0.1) & (red > 3 * green) & (red > 3 * blue)).sum()


@pytest.mark.parametrize("name", ["hatchback", "suv"])  # the lamps of the others are too small to count
def test_red_tail_lamps_are_seen_from_behind_only(name):
    """A car that faces the wrong way would teach the network that front is rear."""
    asset = load_fleet({"gazebo": shared_data("meshes/gazebo_cars")}, [name])[0][0]
    behind, ahead = red_pixels(asset, 180), red_pixels(asset, 0)
    assert behind > 30
    assert behind > 5 * ahead
