# SPDX-License-Identifier: Apache-2.0

"""Augmentation: the returned camera and pose describe the picture that was made."""

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="training extra is not installed")

from posed_car import car_shape, intrinsics, mirror_partner, random_pose
from unit.planted import SIZE

from dinemo_training.data.augmentation import (
    AugmentConfig,
    add_neighbour,
    occlude,
    photometric,
    random_view,
    replace_background,
)
from dinemo_training.data.batches import project

SIDE = 240  # below 256, so that a picture can hold its own coordinates
SHAPE = car_shape()
PARTNER = mirror_partner(SHAPE.vertices)
BLACK = np.zeros((224, 224, 3), np.uint8)  # beyond the borders of a picture


def coordinate_picture() -> np.ndarray:
    """Red is x, green is y: wherever a pixel goes, its colour says where it came from."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([x, y, np.full_like(x, 255)], axis=-1).astype(np.uint8)


def read_coordinates(picture: np.ndarray, pixels: np.ndarray):
    """Original pixel [N, 2] that the warped picture shows at ``pixels`` [N, 2], and where that can be trusted."""
    at = pixels.astype(np.float32)[None]
    values = cv2.remap(picture.astype(np.float32), at, None, cv2.INTER_LINEAR)[0]
    origin = values[:, :2]
    inside = ((pixels >= 1) & (pixels <= picture.shape[0] - 2)).all(1)
    away_from_border = ((origin > 8) & (origin < SIDE - 9)).all(1)  # the border's colour bleeds in, blurred by up to 8
    return origin, inside & away_from_border & (values[:, 2] > 254.5)


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_projection_with_the_new_camera_lands_on_the_warped_pixels(mirror):
    rng = np.random.default_rng(1)
    config, K = AugmentConfig(mirror=mirror), intrinsics(SIDE)
    worst, checked = 0.0, 0
    for _ in range(100):
        T = random_pose(rng)
        uv = project(SHAPE.vertices, K, T)
        picture, _, K_new, T_new = random_view(rng, coordinate_picture(), None, K, T, uv, BLACK, config)
        origin, sure = read_coordinates(picture, project(SHAPE.vertices, K_new, T_new))
        expected = uv[PARTNER] if mirror else uv  # the mirrored picture shows a left wheel where the right one was
        sure &= ((expected > 8) & (expected < SIDE - 9)).all(1)
        worst = max(worst, np.abs(origin - expected)[sure].max())
        checked += sure.sum()
    assert checked > 20000
    assert worst < 0.75  # half a grey level of rounding, and OpenCV's 1/32 pixel


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_the_new_pose_is_rigid_and_in_front_of_the_camera(mirror):
    rng = np.random.default_rng(2)
    for _ in range(20):
        T = random_pose(rng)
        outline = project(SHAPE.vertices, intrinsics(SIDE), T)
        *_, K_new, T_new = random_view(rng, coordinate_picture(), None, intrinsics(SIDE), T, outline, BLACK,
                                       AugmentConfig(mirror=mirror))
        np.testing.assert_allclose(T_new[:3, :3] @ T_new[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(T_new[:3, :3]) == pytest.approx(1)
        assert T_new[2, 3] == T[2, 3]
        assert K_new[0, 0] > 0 and K_new[1, 1] > 0


def test_mirrored_pose_of_a_symmetric_mesh_projects_to_the_mirrored_outline():
    rng = np.random.default_rng(3)
    no_other_change = AugmentConfig(size=SIDE, coverage=(1.0, 1.0), shift=0.0, roll_deg=0.0, mirror=1.0)
    for _ in range(20):
        K, T = intrinsics(SIDE), random_pose(rng)
        uv = project(SHAPE.vertices, K, T)
        *_, K_new, T_new = random_view(rng, coordinate_picture(), None, K, T, uv, BLACK, no_other_change)
        mirrored = project(SHAPE.vertices, K_new, T_new)
        scale = SIDE / np.ptp(uv, axis=0).max()
        centred = scale * (uv - 0.5 * (uv.min(0) + uv.max(0))) + (SIDE - 1) / 2
        np.testing.assert_allclose(mirrored[PARTNER], [SIDE - 1, 0] + centred * [-1, 1], atol=1e-6)


def test_coverage_and_shift_stay_in_their_ranges():
    rng = np.random.default_rng(4)
    config = AugmentConfig(roll_deg=0.0)
    for _ in range(100):
        T = random_pose(rng)
        outline = project(SHAPE.vertices, intrinsics(SIDE), T)
        *_, K_new, T_new = random_view(rng, coordinate_picture(), None, intrinsics(SIDE), T, outline, BLACK, config)
        uv = project(SHAPE.vertices, K_new, T_new)
        share = np.ptp(uv, axis=0).max() / config.size
        assert config.coverage[0] - 1e-9 <= share <= config.coverage[1] + 1e-9
        offset = 0.5 * (uv.min(0) + uv.max(0)) - (config.size - 1) / 2
        assert np.abs(offset).max() <= config.shift * config.size + 1e-9


def test_mask_moves_with_the_picture():
    rng = np.random.default_rng(5)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[60:170, 40:200] = 255
    for _ in range(20):
        T = random_pose(rng)
        outline = project(SHAPE.vertices, intrinsics(SIDE), T)
        picture, moved, *_ = random_view(rng, coordinate_picture(), mask, intrinsics(SIDE), T, outline, BLACK,
                                         AugmentConfig())
        x, y = picture[..., 0].astype(float), picture[..., 1].astype(float)
        from_picture = picture[..., 2] == 255  # not the border colour
        well_inside = from_picture & (x > 44) & (x < 195) & (y > 64) & (y < 165)
        well_outside = from_picture & ((x < 36) | (x > 203) | (y < 56) | (y > 173)) & (x > 8) & (y > 8) & (x < 231)
        assert well_inside.sum() > 200
        assert (moved[well_inside] == 255).all() and (moved[well_outside] == 0).all()


def test_background_is_replaced_off_the_mask_only():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    image, other = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 10, np.uint8)
    out = replace_background(image, mask, other)
    assert (out[22:38, 22:38] == 200).all()
    away = cv2.dilate(mask, np.ones((7, 7))) == 0
    assert (out[away] == 10).all()


def test_occluders_change_exactly_what_they_report_as_hidden():
    rng = np.random.default_rng(6)
    image, other = np.full((96, 96, 3), 7, np.uint8), np.full((96, 96, 3), 250, np.uint8)
    shares = []
    for _ in range(50):
        out, hidden = occlude(rng, image, other)
        assert (out[hidden == 0] == 7).all()
        assert len(np.unique(out[hidden > 0], axis=0)) == 1  # the other picture, or one colour
        shares.append((hidden > 0).mean())
    assert 0.03 < np.mean(shares) < 0.4


def test_beyond_the_borders_of_a_picture_is_another_one_or_a_plain_colour():
    rng, K, T = np.random.default_rng(11), intrinsics(SIDE), random_pose(np.random.default_rng(9))
    other = np.tile(np.arange(224, dtype=np.uint8)[None, :, None], (224, 1, 3))  # a grey ramp
    picture, small = np.full((SIDE, SIDE, 3), 255, np.uint8), AugmentConfig(coverage=(0.2, 0.3), mirror=0.0)
    ramps = 0
    for _ in range(40):
        seen = random_view(rng, picture, None, K, T, project(SHAPE.vertices, K, T), other, small)[0]
        beyond = (seen != 255).any(-1)
        ramps += (seen[beyond] == other[beyond]).mean() > 0.9  # but for the seam
    assert 8 < ramps < 32  # half of the draws


def square(side: int, low: int, high: int) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[low:high, low:high] = 255
    return mask


def test_a_neighbour_stands_beside_the_object_and_says_what_it_hides():
    rng = np.random.default_rng(12)
    image, mask = np.full((96, 96, 3), 7, np.uint8), square(96, 30, 60)
    other, other_mask = np.full((80, 80, 3), 250, np.uint8), square(80, 20, 50)
    in_front = 0
    for _ in range(60):
        out, seen, hides = add_neighbour(rng, image, mask, other, other_mask)
        np.testing.assert_array_equal(out[..., 0] == 250, seen > 0)
        np.testing.assert_array_equal(hides, np.where(mask > 0, seen, 0))
        assert abs(np.flatnonzero(seen.any(0)).mean() - 44.5) > 6.0  # to one side
        assert (hides > 0).sum() < 0.8 * (mask > 0).sum()
        in_front += hides.any()
    assert 3 < in_front < 30


def test_there_is_no_neighbour_where_a_mask_is_empty():
    image, nothing = np.full((96, 96, 3), 7, np.uint8), np.zeros((96, 96), np.uint8)
    out, seen, hides = add_neighbour(np.random.default_rng(0), image, nothing, image, square(96, 30, 60))
    assert out is image and not seen.any() and not hides.any()


def test_photometric_change_keeps_shape_and_structure():
    ramp = np.repeat(np.linspace(30, 225, 96)[None, :, None], 96, 0).repeat(3, 2).astype(np.uint8)
    rng, changed = np.random.default_rng(7), 0
    for _ in range(100):
        out = photometric(rng, ramp, low_resolution=0.35)
        assert out.shape == ramp.shape and out.dtype == np.uint8
        assert np.corrcoef(out.mean(-1).ravel(), ramp.mean(-1).ravel())[0, 1] > 0.8  # nothing is inverted or moved
        changed += (out != ramp).any()
    assert changed > 90


def test_colour_channels_keep_their_order():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    rng = np.random.default_rng(8)
    # Hue turns freely in a quarter of the draws; in the others red stays red, through HSV and JPEG.
    stays = [photometric(rng, red, 0.0).reshape(-1, 3).mean(0).argmax() == 0 for _ in range(100)]
    assert np.mean(stays) > 0.6


def test_same_seed_same_picture():
    T = random_pose(np.random.default_rng(9))
    outline = project(SHAPE.at_size(np.array(SIZE)), intrinsics(SIDE), T)
    first, second = (random_view(np.random.default_rng(10), coordinate_picture(), None, intrinsics(SIDE), T, outline,
                                 BLACK, AugmentConfig()) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[2], second[2])
