# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Training examples: vertices lie where the picture shows them, background lies off the object."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")

from posed_car import car_shape, intrinsics, look_at, posed_crop, random_pose
from torch.nn import functional as F
from unit.planted import SIZE

from dinemo_ros.camera.pinhole import Camera
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import BatchConfig, CorrespondenceSampler, camera_centre, grid_coordinates, project
from dinemo_training.synthetic.render.rasterizer import rasterize

SHAPE = car_shape()
SIDE = 128


@pytest.fixture(scope="module")
def sampler():
    config = AugmentConfig(size=SIDE, coverage=(0.6, 1.0), low_resolution=0.0, occlude=0.0, background=0.0)
    return CorrespondenceSampler(SHAPE, config)


def test_projection_agrees_with_the_runtime_camera():
    rng = np.random.default_rng(0)
    for _ in range(20):
        K, T = intrinsics(200, rng.uniform(0.8, 5)), random_pose(rng)
        K[:2, 2] += rng.uniform(-40, 40, 2)
        expected = Camera(200, 200, K).project(SHAPE.vertices @ T[:3, :3].T + T[:3, 3])
        np.testing.assert_allclose(project(SHAPE.vertices, K, T), expected, atol=1e-9)


def test_points_behind_the_camera_are_far_outside():
    T = look_at(0, centre=(0, 0, 1.0))  # the camera stands inside the car
    uv = project(SHAPE.vertices, intrinsics(200), T)
    behind = (SHAPE.vertices @ T[:3, :3].T + T[:3, 3])[:, 2] < 0
    assert behind.any()
    assert (np.abs(uv[behind]).max(1) > 1e4).all()


def test_camera_centre_maps_to_the_origin_of_the_camera():
    T = random_pose(np.random.default_rng(1))
    np.testing.assert_allclose(T @ [*camera_centre(T), 1], [0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("size", [SIZE, (3.6, 2.1, 1.9)])
def test_visible_vertices_face_the_camera_and_are_not_hidden(sampler, size):
    rng = np.random.default_rng(2)
    points = SHAPE.at_size(size)
    normals = SHAPE.normals / (np.array(size) / SHAPE.size)  # normals scale inversely
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    hidden, missed = [], []
    for _ in range(25):
        T = random_pose(rng)
        visible = sampler.visible(T, np.array(size))
        assert 0.05 < visible.mean() < 0.7  # head-on, little of a car is seen
        ray = camera_centre(T) - points
        facing = (ray * normals).sum(1) / np.linalg.norm(ray, axis=1)
        assert (facing[visible] > 0).all()
        # Judge by the depth of the rasterised mesh, another implementation than the visibility table. The table knows
        # 7.5-degree steps of direction: whole sides of this box flip at grazing angles, which decide nothing here.
        K, clear = intrinsics(400, 1.2), facing > 0.15
        depth = rasterize(points, SHAPE.faces, K, T, (400, 400)).depth
        x, y = project(points, K, T).round().astype(int).T
        seen = (points @ T[:3, :3].T + T[:3, 3])[:, 2] < depth[y, x] + 0.12
        hidden.append((visible & clear & ~seen).sum() / (visible & clear).sum())
        missed.append((~visible & clear & seen).sum() / (clear & seen).sum())
    assert np.mean(hidden) < 0.02  # 0.15 if only the normals decided
    assert np.mean(missed) < 0.07


def test_grid_coordinates_are_those_of_grid_sample():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    picture = torch.stack([x, y])[None]
    uv = np.random.default_rng(3).uniform(0, 63, (200, 2))
    sampled = F.grid_sample(picture, torch.from_numpy(grid_coordinates(uv, 64))[None, :, None], align_corners=False)
    np.testing.assert_allclose(sampled[0, :, :, 0].T.numpy(), uv, atol=1e-4)


def test_grid_coordinates_hit_the_centres_of_feature_cells():
    """Cell (i, j) of a stride-8 map is centred on pixel (8 j + 3.5, 8 i + 3.5)."""
    centres = 8 * torch.arange(16.0) + 3.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    uv = np.random.default_rng(4).uniform(3.5, 8 * 15 + 3.5, (200, 2))
    grid = torch.from_numpy(grid_coordinates(uv, 128))[None, :, None]
    sampled = F.grid_sample(torch.stack([x, y])[None], grid, align_corners=False)
    np.testing.assert_allclose(sampled[0, :, :, 0].T.numpy(), uv, atol=1e-4)


def small_white_car(masked: bool, rng) -> object:
    """A white car on black that is small in its picture, so that no framing shows the picture's border."""
    T = look_at(rng.uniform(0, 360), rng.uniform(-5, 30))
    return posed_crop(T, side=480, focal=0.45, masked=masked, white=True)


def brightness_at(example, key, weight, tolerance=0):
    """Brightness around the example's points, 0 for its darkest and 1 for its brightest pixel; the best of some."""
    grey = cv2.dilate(example["image"].mean(-1), np.ones((2 * tolerance + 1,) * 2))
    low, high = np.percentile(grey, [1, 99.9])
    pixels = ((example[key] + 1) * SIDE - 1) / 2
    x, y = pixels[example[weight] > 0].round().astype(int).clip(0, SIDE - 1).T
    return (grey[y, x] - low) / (high - low)


@pytest.mark.parametrize("masked", [True, False])
def test_vertices_lie_on_the_object_and_background_off_it(sampler, masked):
    rng = np.random.default_rng(5)
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    on, off = [], []
    for _ in range(20):
        example = sampler.sample(rng, small_white_car(masked, rng), black, black)
        on.append(brightness_at(example, "pixels", "weights", tolerance=1))  # the outline rounds either way
        off.append(brightness_at(example, "background", "background_weight"))
    on, off = np.concatenate(on), np.concatenate(off)
    assert len(on) > 20 * 50 and len(off) == 20 * 64
    assert (on > 0.3).mean() > 0.98
    assert (off < 0.5).mean() > 0.997


def test_vertices_behind_an_occluder_are_left_out():
    rng = np.random.default_rng(6)
    config = AugmentConfig(size=SIDE, coverage=(0.6, 1.0), low_resolution=0.0, occlude=1.0, background=0.0)
    sampler = CorrespondenceSampler(SHAPE, config)
    black = np.zeros((SIDE, SIDE, 3), np.uint8)  # 7 of 10 occluders are cut from this
    examples = [sampler.sample(rng, small_white_car(True, rng), black, black) for _ in range(25)]
    on = np.concatenate([brightness_at(example, "pixels", "weights", 1) for example in examples])
    assert (on > 0.3).mean() > 0.97  # 0.85 if occluders were ignored


def test_example_carries_the_trust_of_the_crop_and_fixed_shapes():
    config = BatchConfig(vertices=300, background=10)  # more than are ever visible
    sampler = CorrespondenceSampler(SHAPE, AugmentConfig(size=SIDE, occlude=0.0), config)
    rng = np.random.default_rng(7)
    crop = small_white_car(True, rng)
    crop.weight = 0.3
    empty = np.zeros((SIDE, SIDE, 3), np.uint8)
    example = sampler.sample(rng, crop, empty, empty)
    assert example["image"].shape == (SIDE, SIDE, 3) and example["image"].dtype == np.uint8
    assert example["pixels"].shape == (300, 2) and example["background"].shape == (10, 2)
    assert set(np.unique(example["weights"])) == {np.float32(0.0), np.float32(0.3)}
    used = example["vertex_ids"][example["weights"] > 0]
    assert len(used) == len(set(used.tolist()))
    assert np.abs(example["pixels"][example["weights"] > 0]).max() <= 1


def test_what_is_pasted_over_the_object_counts_as_background():
    """A white car in the dark behind red shapes: red inside the car's outline is background, and no white is."""
    rng = np.random.default_rng(8)
    config = AugmentConfig(size=SIDE, coverage=(0.8, 1.0), shift=0.0, low_resolution=0.0, occlude=1.0, background=0.0)
    sampler = CorrespondenceSampler(SHAPE, config, BatchConfig(background=400))
    black, red = np.zeros((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE, 3), (255, 0, 0), np.uint8)
    over = []
    for _ in range(20):
        example = sampler.sample(rng, small_white_car(True, rng), black, red)
        x, y = (((example["background"] + 1) * SIDE - 1) / 2).round().astype(int).clip(0, SIDE - 1).T
        middle = (np.abs(np.stack([x, y]) - SIDE / 2) < 0.12 * SIDE).all(0)  # the car fills it
        over.append(middle.sum())
    assert np.count_nonzero(over) >= 4  # none without the rule; not every draw hides the middle


def test_a_neighbour_is_background_wherever_it_stands():
    """A red car beside or half in front of the white one: no vertex looks for itself in red, background does."""
    rng = np.random.default_rng(9)
    config = AugmentConfig(size=SIDE, coverage=(0.4, 0.5), low_resolution=0.0, occlude=0.0, background=0.0,
                           neighbour=1.0)
    sampler = CorrespondenceSampler(SHAPE, config, BatchConfig(background=400))
    black, neighbour = np.zeros((SIDE, SIDE, 3), np.uint8), small_white_car(True, rng)
    red = np.full((*neighbour.image().shape[:2], 3), (0, 0, 255), np.uint8)
    neighbour.picture = cv2.imencode(".png", red)[1].tobytes()

    def redness(example, key, weight):
        x, y = (((example[key][example[weight] > 0] + 1) * SIDE - 1) / 2).round().astype(int).clip(0, SIDE - 1).T
        r, g, _ = example["image"][y, x].astype(int).T
        return (r > 2 * g + 40).mean()

    examples = [sampler.sample(rng, small_white_car(True, rng), black, black, neighbour) for _ in range(20)]
    assert np.mean([redness(e, "pixels", "weights") for e in examples]) < 0.02
    assert np.mean([redness(e, "background", "background_weight") for e in examples]) > 0.01
