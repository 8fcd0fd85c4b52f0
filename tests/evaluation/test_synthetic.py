# SPDX-License-Identifier: Apache-2.0
"""Folders of renders: what is read, and what is refused by name."""

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import DatasetError, ImageError
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries

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


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda d: (d / "labels.npz").unlink(), "labels.npz: cannot be read"),
    (lambda d: (d / "labels.npz").write_bytes(b"no npz"), "labels.npz: cannot be read"),
    (lambda d: write_labels(d, K=None), "lacks K; expected"),
    (lambda d: write_labels(d, K=np.eye(3)), r"K has the shape \[3, 3\], expected \[N, 3, 3\]"),
    (lambda d: write_labels(d, names=np.array([])), "names has the shape"),
    (lambda d: write_labels(d, size=np.full((2, 3), np.nan)), "size holds numbers that are not finite"),
    (lambda d: write_labels(d, asset=np.array([{}, {}])), "labels.npz: cannot be read"),  # would need pickles
    (lambda d: (d / "images" / "000001.png").unlink(), "1 pictures or masks .* missing, the first is .*000001.png"),
    (lambda d: (d / "masks" / "000000.png").unlink(), "the first is .*masks.000000.png"),
])
def test_folder_of_another_layout_is_refused_by_name(folder, spoil, says):
    spoil(folder)
    with pytest.raises(DatasetError, match=says):
        read_synthetic(folder)


def test_mask_of_another_size_counts_as_a_broken_picture(folder):
    cv2.imwrite(str(folder / "masks" / "000000.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(ImageError, match="000000.png: mask cannot be read or has another size"):
        synthetic_entries(read_synthetic(folder))[0].load()
