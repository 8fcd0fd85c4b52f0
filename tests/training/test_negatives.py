# SPDX-License-Identifier: Apache-2.0

"""Pictures without the object teach clutter and nothing else."""

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="training extra is not installed")
pytest.importorskip("tqdm", reason="training extra is not installed")

from posed_car import car_shape

from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler
from dinemo_training.data.negatives import facade, photo_window, write_negatives
from dinemo_training.data.posed_crops import CROP_SIDE, load_posed_crops


def test_negatives_have_background_and_no_vertices(tmp_path):
    write_negatives(tmp_path, 3, None)
    crops = load_posed_crops(tmp_path)
    assert [c.weight for c in crops] == [0, 0, 0]
    assert not any(c.foreground().any() for c in crops)
    sampler, rng = CorrespondenceSampler(car_shape(), AugmentConfig(size=64)), np.random.default_rng(0)
    empty = np.zeros((64, 64, 3), np.uint8)
    example = sampler.sample(rng, crops[0], empty, empty)
    assert (example["weights"] == 0).all()
    assert (example["background_weight"] == 1).all()
    spread = np.ptp(example["background"], axis=0)
    assert (spread > 1.5).all()  # of 2: all over the picture, the nominal pose keeps no place free


def test_photographs_are_used_for_about_half(tmp_path):
    photographs = tmp_path / "photographs" / "deeper"
    photographs.mkdir(parents=True)
    cv2.imwrite(str(photographs / "magenta.png"), np.full((90, 120, 3), (255, 0, 255), np.uint8))
    write_negatives(tmp_path / "out", 24, tmp_path / "photographs")
    magenta = [np.abs(c.image().astype(int) - [255, 0, 255]).max() < 10 for c in load_posed_crops(tmp_path / "out")]
    assert 6 <= sum(magenta) <= 18


def test_pictures_vary_and_keep_their_size():
    rng = np.random.default_rng(1)
    scenes = [facade(rng) for _ in range(4)]
    assert all(s.shape == (CROP_SIDE, CROP_SIDE, 3) and s.dtype == np.uint8 and s.std() > 3 for s in scenes)
    assert all((a != b).mean() > 0.5 for a, b in zip(scenes, scenes[1:], strict=False))
    for _ in range(50):
        assert photo_window(rng, np.zeros((40, 90, 3), np.uint8)).shape == (CROP_SIDE, CROP_SIDE, 3)
