# SPDX-License-Identifier: Apache-2.0
"""Folders of renders: what is read, and what is refused by name."""

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import DatasetError, ImageError
from dinemo_ros.evaluation.synthetic import read_synthetic, require_unit, synthetic_entries

K = np.array([[80.0, 0, 31.5], [0, 80, 23.5], [0, 0, 1]])


def write_labels(folder, **changes):
    T = np.tile(np.eye(4), (2, 1, 1))
    T[:, 2, 3] = 9.0
    labels = {"names": np.array(["000000", "000001"]), "K": np.tile(K, (2, 1, 1)), "T_cam_obj": T,
              "size": np.tile([4.0, 1.7, 1.5], (2, 1)), "asset": np.array(["beetle", "p406"])} | changes
    np.savez_compressed(folder / "labels.npz", **{key: value for key, value in labels.items() if value is not None})


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50], mask[10:30, 50:56] = 255, 64  # the right end is covered by something rendered
    for k, suffix in enumerate(("jpg", "png")):
        cv2.imwrite(str(tmp_path / "images" / f"00000{k}.{suffix}"), np.full((48, 64, 3), 99, np.uint8))
        cv2.imwrite(str(tmp_path / "masks" / f"00000{k}.png"), mask)
    write_labels(tmp_path)
    return tmp_path


def test_renders_are_read_with_everything_known_about_them(folder):
    frames = read_synthetic(folder)
    assert [(f.asset, f.image.name) for f in frames] == [("beetle", "000000.jpg"), ("p406", "000001.png")]
    entry = synthetic_entries(frames)[1]
    assert (entry.group, entry.name, entry.occlusion) == ("p406", "000001.png", "L0")
    sample = entry.load()
    assert sample.roi == sample.box == (20.0, 10.0, 56.0, 30.0)  # of the whole object
    assert sample.mask.sum() == 20 * 30  # only what is seen can be covered
    assert np.array_equal(sample.camera.K, K)
    assert sample.truth.T_cam_obj[2, 3] == 9.0
    assert synthetic_entries(frames, "auto")[0].load().roi is None
    assert len(read_synthetic(folder, limit=1)) == 1


def test_names_of_models_are_optional(folder):
    write_labels(folder, asset=None)
    assert {frame.asset for frame in read_synthetic(folder)} == {folder.name}


def test_names_may_be_bytes_and_pictures_of_any_known_kind(folder):
    write_labels(folder, names=np.array([b"000000", b"000001"]), asset=np.array([b"beetle", b"p406"]))
    (folder / "images" / "000000.jpg").rename(folder / "images" / "000000.JPEG")
    (folder / "masks" / "000001.png").rename(folder / "masks" / "000001.PNG")
    frames = read_synthetic(folder)
    assert [(f.asset, f.image.name, f.mask.name) for f in frames] == [
        ("beetle", "000000.JPEG", "000000.png"), ("p406", "000001.png", "000001.PNG")]


def changed(key, index, value):
    """Labels whose entry ``index`` of ``key`` is ``value``."""
    T = np.tile(np.eye(4), (2, 1, 1))
    T[:, 2, 3] = 9.0
    array = {"K": np.tile(K, (2, 1, 1)), "T_cam_obj": T, "size": np.tile([4.0, 1.7, 1.5], (2, 1))}[key].copy()
    array[index] = value
    return {key: array}


def write_mask(folder, mask):
    cv2.imwrite(str(folder / "masks" / "000001.png"), np.asarray(mask, np.uint8))


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda d: (d / "labels.npz").unlink(), "labels.npz: cannot be read"),
    (lambda d: (d / "labels.npz").write_bytes(b"no npz"), "labels.npz: cannot be read"),
    (lambda d: write_labels(d, K=None), "lacks K; expected"),
    (lambda d: write_labels(d, K=np.eye(3)), r"K has the shape \[3, 3\], expected \[N, 3, 3\]"),
    (lambda d: write_labels(d, names=np.array([])), "names has the shape"),
    (lambda d: write_labels(d, size=np.full((2, 3), np.nan)), "size holds numbers that are not finite"),
    (lambda d: write_labels(d, asset=np.array([{}, {}])), "asset holds Python objects"),  # would need pickles
    (lambda d: write_labels(d, asset=np.array("beetle")), r"asset has the shape \[\], expected \[2\]"),
    (lambda d: write_labels(d, asset=np.array(["beetle"])), r"asset has the shape \[1\], expected \[2\]"),
    (lambda d: write_labels(d, names=np.array(["000000"] * 2)), "names has .*000000.* 2 times"),
    (lambda d: write_labels(d, K=np.tile(K, (2, 1, 1)).astype(str)), "K has the type <U32, expected numbers"),
    (lambda d: write_labels(d, **changed("K", (1, 0, 0), 0)), r"000001 \(row 1 of 2\): K is .*; expected \[\[fx, 0"),
    (lambda d: write_labels(d, **changed("K", (1, 0, 1), 20)), "000001 .*: K is "),
    (lambda d: write_labels(d, **changed("size", (1, 2), 0)), "000001 .*: size is .*4.0, 1.7, 0.0"),
    (lambda d: write_labels(d, **changed("T_cam_obj", (1, 2, 3), 0)), "000001 .* not before the camera"),
    (lambda d: write_labels(d, **changed("T_cam_obj", (1, 2, 3), -9)), "000001 .* not before the camera"),
    (lambda d: write_labels(d, **changed("T_cam_obj", (1, 0, 0), 2)), "000001 .* rotation in T_cam_obj is none"),
    (lambda d: write_labels(d, **changed("T_cam_obj", (1, 0, 0), -1)), "000001 .* rotation in T_cam_obj is none"),
    (lambda d: write_labels(d, **changed("T_cam_obj", (1, 3, 0), 1)), "000001 .* last row of T_cam_obj"),
    (lambda d: write_labels(d, **changed("T_cam_obj", (1, 2, 3), 9000)),
     r"000001.png: the object is 36 pixels large around \(38, 20\), but by labels.npz 0.0356 pixels around \(32, 24\)"),
    (lambda d: write_labels(d, **changed("size", (1,), [4000, 1700, 1500])), "000001.png: .* but by labels.npz 3.56e"),
    (lambda d: write_labels(d, **changed("T_cam_obj", (1, 0, 3), 20)), "000001.png: .* around .209, 24."),
    (lambda d: write_mask(d, np.zeros((48, 64))), r"000001.png: has no pixel of 255, .* \(values there: 0\)"),
    (lambda d: write_mask(d, np.eye(48, 64)), r"000001.png: has no pixel of 255, .* \(values there: 0, 1\)"),
    (lambda d: write_mask(d, np.full((5, 5), 255)), "masks.000001.png: is 5x5 pixels, its picture 64x48"),
    (lambda d: (d / "masks" / "000001.png").write_bytes(b"no image"), "masks.000001.png: cannot be read as an image"),
    (lambda d: (d / "images" / "000001.png").unlink(),
     "1 pictures or masks .* missing, the first is .*images.000001.jpg; names has"),
    (lambda d: (d / "masks" / "000000.png").unlink(), "the first is .*masks.000000.png"),
])
def test_folder_of_another_layout_is_refused_by_name(folder, spoil, says):
    spoil(folder)
    with pytest.raises(DatasetError, match=says):
        read_synthetic(folder)


def test_a_picture_that_cannot_be_read_is_left_to_the_evaluation(folder):
    (folder / "images" / "000001.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="000001.png: "):
        synthetic_entries(read_synthetic(folder))[1].load()


def test_a_mask_that_goes_away_meanwhile_is_told_of_by_name(folder):
    frames = read_synthetic(folder)
    frames[0].mask.unlink()
    with pytest.raises(DatasetError, match=f"{frames[0].mask.name}: cannot be read as an image"):
        synthetic_entries(frames)[0].load()


def test_an_object_that_the_picture_cuts_off_is_no_mistake(folder):
    """A third of the car is seen at the left border, its origin lies outside of the picture."""
    mask = np.zeros((48, 64))
    mask[18:30, :12] = 255
    write_mask(folder, mask)
    write_labels(folder, **changed("T_cam_obj", (1, 0, 3), -4.2))
    assert len(read_synthetic(folder)) == 2


def test_lengths_in_millimetres_are_noticed_by_the_size_of_the_category(folder):
    frames = read_synthetic(folder)
    require_unit(frames, [4.4, 1.8, 1.5])
    require_unit(frames, [12.0, 2.5, 3.0])
    with pytest.raises(DatasetError, match="longest side of an object is 4 m .* of the bundle's category 0.1 m; write"):
        require_unit(frames, [0.1, 0.08, 0.09])


def test_no_model_may_be_called_as_the_row_of_all_of_them(folder):
    write_labels(folder, asset=np.array(["all", "beetle"]))
    with pytest.raises(DatasetError, match="a set is called 'all'"):
        synthetic_entries(read_synthetic(folder))
