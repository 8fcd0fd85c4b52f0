# SPDX-License-Identifier: Apache-2.0
"""Occlusion levels: as much is covered as the level says, the same on every machine, and nothing else is touched."""

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.cutouts import DrawnCutOuts, FolderCutOuts
from dinemo_ros.evaluation.occlusion import LEVELS, Occluder


@pytest.fixture(scope="module")
def picture():
    """A picture and an object in it that is no box and not in the middle."""
    image = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    mask = np.zeros((180, 320), np.uint8)
    cv2.ellipse(mask, (130, 100), (80, 35), 15, 0, 360, 1, -1)
    cv2.rectangle(mask, (90, 50), (150, 100), 1, -1)
    return image, mask > 0


@pytest.mark.parametrize("level", LEVELS.values(), ids=str)
def test_levels_are_reached(picture, level):
    image, mask = picture
    occluder = Occluder(DrawnCutOuts())
    for name in "abcdefgh":
        result = occluder(image, mask, level, name)
        assert level.object[0] <= result.coverage <= level.object[1]
        assert level.surroundings[0] <= result.surroundings <= level.surroundings[1]
        assert result.coverage == pytest.approx(result.covered[mask].mean())
        assert result.surroundings == pytest.approx(result.covered[~mask].mean())


def test_goals_spread_over_the_range(picture):
    reached = [Occluder(DrawnCutOuts())(*picture, LEVELS["L2"], str(k)).coverage for k in range(12)]
    assert np.ptp(reached) > 0.08


def test_same_name_and_seed_same_picture(picture):
    first = Occluder(DrawnCutOuts(), seed=3)(*picture, LEVELS["L1"], "cx5/000.jpg")
    again = Occluder(DrawnCutOuts(), seed=3)(*picture, LEVELS["L1"], "cx5/000.jpg")
    assert np.array_equal(first.image, again.image)
    others = [Occluder(DrawnCutOuts(), seed=4)(*picture, LEVELS["L1"], "cx5/000.jpg"),
              Occluder(DrawnCutOuts(), seed=3)(*picture, LEVELS["L1"], "cx5/001.jpg")]
    assert all(not np.array_equal(first.covered, other.covered) for other in others)


def test_nothing_changes_outside_of_the_cut_outs(picture):
    image, mask = picture
    before = image.copy()
    result = Occluder(DrawnCutOuts())(image, mask, LEVELS["L2"], "frame")
    assert np.array_equal(image, before)
    edge = cv2.dilate(result.covered.astype(np.uint8), np.ones((7, 7))) > 0  # soft borders reach a little further
    assert np.array_equal(result.image[~edge], image[~edge])
    assert (result.image[result.covered] != image[result.covered]).any(axis=1).mean() > 0.98


def test_object_that_fills_the_picture_or_is_tiny():
    image = np.full((96, 96, 3), 90, np.uint8)
    full = np.ones((96, 96), bool)
    result = Occluder(DrawnCutOuts())(image, full, LEVELS["L3"], "full")
    assert 0.6 <= result.coverage <= 0.8
    assert result.surroundings == 0.0
    tiny = np.zeros((96, 96), bool)
    tiny[40:52, 40:56] = True
    assert 0.2 <= Occluder(DrawnCutOuts())(image, tiny, LEVELS["L1"], "tiny").coverage <= 0.4


@pytest.mark.parametrize("area", [30, 2000, 40_000])
def test_drawn_cut_outs_have_the_area_asked_for(area):
    rng = np.random.default_rng(1)
    for _ in range(20):
        colour, opacity = DrawnCutOuts()(rng, area)
        assert colour.shape == (*opacity.shape, 3)
        assert opacity.sum() == pytest.approx(area, rel=0.3)


def test_own_pictures_are_cut_by_their_alpha_channel(tmp_path):
    cut = np.zeros((40, 60, 4), np.uint8)
    cut[10:30, 20:50] = (10, 20, 200, 255)  # a red box in blue-green-red order
    cv2.imwrite(str(tmp_path / "box.png"), cut)
    (tmp_path / "notes.txt").write_text("no picture")
    colour, opacity = FolderCutOuts(tmp_path)(np.random.default_rng(0), 600)
    assert opacity.shape == (20, 30)
    assert opacity.min() == pytest.approx(1.0)
    assert colour[10, 15].tolist() == [200, 20, 10]


def test_own_pictures_without_alpha_get_an_outline(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 70), 77, np.uint8))
    colour, opacity = FolderCutOuts(tmp_path)(np.random.default_rng(0), 900)
    assert opacity.sum() == pytest.approx(900, rel=0.3)
    assert np.unique(colour).tolist() == [77]


def test_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no picture to cut occluders from"):
        FolderCutOuts(tmp_path)
    with pytest.raises(DatasetError, match="no picture to cut occluders from"):
        FolderCutOuts(tmp_path / "absent")
    (tmp_path / "broken.png").write_bytes(b"no png")
    with pytest.raises(DatasetError, match="broken.png: not an 8-bit picture"):
        FolderCutOuts(tmp_path)(np.random.default_rng(0), 100)
