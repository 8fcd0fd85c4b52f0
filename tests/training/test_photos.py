# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Preparing photographs: padded squares, bad files named, nothing done twice."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "tqdm"):
    pytest.importorskip(_module, reason="training extra is not installed")

from shared_data import shared_data
from teacher_models import require_models

from dinemo_ros.errors import BundleError
from dinemo_training.data.foreground import SaliencyMask, mask_box
from dinemo_training.data.photographs import (
    PHOTO_MARGIN,
    by_detector,
    by_saliency,
    crop_photo,
    load_photo,
    prepare,
)
from dinemo_training.data.posed_crops import CROP_SIDE

TESTS = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "photographs"
    images.mkdir()
    orange = np.full((150, 300, 3), (255, 140, 0), np.uint8)[..., ::-1]
    cv2.imwrite(str(images / "wide.png"), orange)
    cv2.imwrite(str(images / "tall.jpg"), cv2.rotate(orange, cv2.ROTATE_90_CLOCKWISE))
    (images / "broken.jpg").write_bytes((images / "tall.jpg").read_bytes()[:60])
    (images / "readme.txt").write_text("no picture")
    return images


def test_photographs_are_padded_to_squares_that_they_fill(folder, tmp_path, capsys):
    assert prepare(folder, tmp_path / "out") == ["tall", "wide"]
    assert "broken.jpg: 60 bytes are a JPEG picture" in capsys.readouterr().out
    wide = cv2.imread(str(tmp_path / "out/images/wide.jpg"))[..., ::-1].astype(int)
    assert wide.shape == (CROP_SIDE, CROP_SIDE, 3)
    photo = np.abs(wide - [255, 140, 0]).sum(-1) < np.abs(wide - 114).sum(-1)
    rows, columns = np.flatnonzero(photo.any(1)), np.flatnonzero(photo.any(0))
    assert np.ptp(columns) + 1 == pytest.approx(CROP_SIDE / PHOTO_MARGIN, abs=2)
    assert np.ptp(rows) + 1 == pytest.approx(CROP_SIDE / PHOTO_MARGIN / 2, abs=2)
    assert columns[0] + columns[-1] == pytest.approx(CROP_SIDE - 1, abs=1)
    border = np.abs(wide - 114).max(-1) < 8
    assert border[:40].all() and border[:, :20].all()  # the grey of the runtime's crops


def test_half_a_picture_and_one_of_a_single_pixel_are_left_out(folder, tmp_path, capsys):
    """OpenCV would read the one with grey for its missing rows, and the other as it is."""
    noise = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))[1].tobytes()
    (folder / "half.jpg").write_bytes(noise[: len(noise) // 2])
    cv2.imwrite(str(folder / "one.png"), np.zeros((1, 1, 3), np.uint8))
    assert prepare(folder, tmp_path / "out") == ["tall", "wide"]
    said = capsys.readouterr().out
    assert "half.jpg: JPEG of" in said and "one.png: 1x1 pixels are too few" in said and "2 of 5 photographs" in said


def test_a_second_run_does_nothing_again(folder, tmp_path):
    prepare(folder, tmp_path / "out")
    (tmp_path / "out/images/wide.jpg").unlink()
    cv2.imwrite(str(folder / "new.png"), np.zeros((60, 60, 3), np.uint8))
    assert prepare(folder, tmp_path / "out") == ["new", "tall", "wide"]
    assert (tmp_path / "out/images/new.jpg").is_file()
    assert not (tmp_path / "out/images/wide.jpg").exists()  # recorded as done, so not touched


def test_the_objects_own_box_is_kept(folder, tmp_path):
    """A wide car is not square: the labeller gets its box, not the padding."""
    out = tmp_path / "out"
    prepare(folder, out)
    side = CROP_SIDE / PHOTO_MARGIN
    low, high = (CROP_SIDE - side) / 2, (CROP_SIDE + side) / 2
    middle = (CROP_SIDE / 2 - side / 4, CROP_SIDE / 2 + side / 4)
    np.testing.assert_allclose(load_photo(out, "wide").box, (low, middle[0], high, middle[1]))
    np.testing.assert_allclose(load_photo(out, "tall").box, (middle[0], low, middle[1], high))
    assert load_photo(out, "wide").mask is None
    inside = load_photo(out, "wide").box_mask() > 0
    assert inside.sum() == pytest.approx(side * side / 2, rel=0.02)
    with pytest.raises(FileNotFoundError, match="no photograph broken"):
        load_photo(out, "broken")


def test_a_mask_tells_the_box(tmp_path):
    image, mask = np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200), np.uint8)
    image[40:60, 50:150], mask[40:60, 50:150] = 255, 255
    photo = crop_photo(image, mask)
    side = CROP_SIDE / PHOTO_MARGIN
    np.testing.assert_allclose(photo.box, [CROP_SIDE / 2 + s * side / 2 for s in (-1, -0.2, 1, 0.2)])
    shown = np.argwhere(photo.image[..., 0] > 127)[:, ::-1]
    np.testing.assert_allclose([*(shown.min(0) - 0), *(shown.max(0) + 1)], photo.box, atol=1)
    assert ((photo.mask > 127) == (photo.image[..., 0] > 127)).mean() > 0.99


def test_photographs_prepared_without_boxes_are_prepared_again(folder, tmp_path):
    out = tmp_path / "out"
    prepare(folder, out)
    (out / "prepared.json").write_text('{"wide": true, "tall": true, "broken": false}')
    with pytest.raises(ValueError, match="prepare it again"):
        load_photo(out, "wide")
    assert prepare(folder, out) == ["tall", "wide"]
    assert load_photo(out, "wide").box[0] > 0


def test_an_empty_folder_is_an_error_that_names_the_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no photographs \(.*\.jpg"):
        prepare(tmp_path, tmp_path / "out")


def test_saliency_finds_the_car_and_leaves_out_where_it_is_small(tmp_path):
    require_models()
    car = cv2.imread(str(sorted((shared_data("cars_spin") / "kadjar").glob("*.jpg"))[10]))
    height, width = car.shape[:2]
    scene = np.full((900, 1200, 3), 240, np.uint8)
    scene[350 : 350 + height, 480 : 480 + width] = car
    x0, y0, x1, y1 = mask_box(SaliencyMask(threads=1)(scene[..., ::-1]))
    assert 480 < x0 < x1 < 480 + width and 350 < y0 < y1 < 350 + height
    assert x1 - x0 > 0.5 * width
    images = tmp_path / "photographs"
    images.mkdir()
    cv2.imwrite(str(images / "far.png"), scene)
    cv2.imwrite(str(images / "near.png"), car)
    assert prepare(images, tmp_path / "out", by_saliency()) == ["near"]
    mask = cv2.imread(str(tmp_path / "out/masks/near.png"), cv2.IMREAD_GRAYSCALE)
    x0, y0, x1, y1 = mask_box(np.where(mask > 127, 255, 0).astype(np.uint8))
    assert max(x1 - x0, y1 - y0) == pytest.approx(CROP_SIDE / PHOTO_MARGIN, abs=3)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((CROP_SIDE / 2, CROP_SIDE / 2), abs=2)


def test_the_detector_finds_the_one_object_and_leaves_out_where_there_are_several_or_none(tmp_path):
    images = tmp_path / "photographs"
    images.mkdir()
    espresso = cv2.imread(str(TESTS / "unit" / "real_photographs" / "espresso.jpg"))
    height, width = espresso.shape[:2]
    cv2.imwrite(str(images / "one.png"), espresso)
    cv2.imwrite(str(images / "two.png"), np.hstack([espresso, espresso]))
    cv2.imwrite(str(images / "none.png"), np.full((200, 300, 3), 120, np.uint8))
    cv2.imwrite(str(images / "small.png"), cv2.copyMakeBorder(espresso, 0, 3 * height, 0, 3 * width,
                                                              cv2.BORDER_CONSTANT, value=(120, 120, 120)))
    assert prepare(images, tmp_path / "out", by_detector(["cup"])) == ["one"]
    photo = load_photo(tmp_path / "out", "one")
    x0, y0, x1, y1 = photo.box
    assert max(x1 - x0, y1 - y0) == pytest.approx(CROP_SIDE / PHOTO_MARGIN, abs=3) and photo.mask is None
    with pytest.raises(BundleError, match="knows none of anvil"):
        by_detector(["anvil"])


def test_mask_box_holds_exactly_the_mask():
    mask = np.zeros((20, 30), np.uint8)
    assert mask_box(mask) is None
    mask[4:9, 11] = 255
    assert mask_box(mask) == (11, 4, 12, 9)
