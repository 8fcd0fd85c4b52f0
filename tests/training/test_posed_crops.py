# SPDX-License-Identifier: Apache-2.0

"""Posed crops on disk: what is saved comes back, and a kill never leaves half a label file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="training extra is not installed")

from bombs import black_png
from posed_car import draw, intrinsics, random_pose

from dinemo_ros.errors import DatasetError
from dinemo_training.data.foreground import mask_box
from dinemo_training.data.posed_crops import load_posed_crops, save_labels, save_picture, square_around

ROOT = Path(__file__).resolve().parents[2]


def test_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    poses = [random_pose(rng) for _ in range(3)]
    pictures = [draw(T) for T in poses]
    names = ["a", "b_2", "c"]
    for name, (image, mask) in zip(names, pictures, strict=True):
        save_picture(tmp_path, name, image, mask if name != "c" else None)
    K, sizes, weight = rng.normal(size=(3, 3, 3)), rng.uniform(1, 5, (3, 3)), np.array([1.0, 0.25, 0.0])
    save_labels(tmp_path, names, K, np.array(poses), sizes, weight)
    crops = load_posed_crops(tmp_path)
    assert [c.name for c in crops] == names
    assert [c.weight for c in crops] == weight.tolist()
    for i, crop in enumerate(crops):
        np.testing.assert_array_equal(crop.K, K[i])
        np.testing.assert_array_equal(crop.T_cam_obj, poses[i])
        np.testing.assert_array_equal(crop.size, sizes[i])
        image = crop.image()
        assert image.shape == pictures[i][0].shape and image.dtype == np.uint8
        assert np.abs(image.astype(int) - pictures[i][0]).mean() < 2  # JPEG, with the channels in their order
    np.testing.assert_array_equal(crops[0].foreground(), pictures[0][1])
    assert crops[2].foreground() is None


def test_weights_default_to_one_and_the_limit_takes_the_first(tmp_path):
    names = ["x", "y", "z"]
    for name in names:
        save_picture(tmp_path, name, np.zeros((8, 8, 3), np.uint8))
    save_labels(tmp_path, names, np.tile(intrinsics(8), (3, 1, 1)), np.tile(np.eye(4), (3, 1, 1)), np.ones((3, 3)))
    crops = load_posed_crops(tmp_path, limit=2)
    assert [(c.name, c.weight) for c in crops] == [("x", 1.0), ("y", 1.0)]


def stored(folder, name="a", picture=None):
    """One crop whose picture is ``picture``, a file's bytes."""
    (folder / "images").mkdir(exist_ok=True)
    save_labels(folder, [name], intrinsics(8)[None], np.eye(4)[None], np.ones((1, 3)))
    if picture is not None:
        (folder / "images" / f"{Path(name).name}.jpg").write_bytes(picture)
    return folder


@pytest.mark.parametrize("picture", [black_png(30_000, 30_000), b"", b"text", black_png(16, 16)[:40]])
def test_what_is_no_picture_or_a_bomb_is_a_sentence(tmp_path, picture):
    stored(tmp_path, picture=picture)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(picture)
    crop = load_posed_crops(tmp_path)[0]
    for read in (crop.image, crop.foreground):
        with pytest.raises(DatasetError, match="the picture a of posed crops .*; make these pictures again"):
            read()


@pytest.mark.parametrize("name", ["../a", "/etc/a", "", "a\0", "x" * 300])
def test_names_lead_to_no_other_folder(tmp_path, name):
    (tmp_path / "a.jpg").write_bytes(b"secret")
    stored(tmp_path, name if "\0" not in name else "a/../../b")
    with pytest.raises(DatasetError, match="is no name of a picture|cannot be read"):
        load_posed_crops(tmp_path)


def test_pictures_that_are_missing_endless_or_pipes(tmp_path):
    stored(tmp_path)
    with pytest.raises(DatasetError, match=r"a\.jpg: cannot be read \(No such file"):
        load_posed_crops(tmp_path)
    os.mkfifo(tmp_path / "images" / "a.jpg")
    with pytest.raises(DatasetError, match=r"a\.jpg: cannot be read \(it is a pipe"):
        load_posed_crops(tmp_path)
    (tmp_path / "images" / "a.jpg").unlink()
    with (tmp_path / "images" / "a.jpg").open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(DatasetError, match="is larger than 8 MiB"):
        load_posed_crops(tmp_path)


def test_labels_of_different_lengths(tmp_path):
    np.savez(tmp_path / "labels.npz", names=np.array(["a", "b"]), K=np.zeros((1, 3, 3)), T_cam_obj=np.zeros((2, 4, 4)),
             size=np.ones((2, 3)))
    with pytest.raises(DatasetError, match="arrays of different lengths"):
        load_posed_crops(tmp_path)


WRITER = """
import sys
import numpy as np
from pathlib import Path
from dinemo_training.data.posed_crops import save_labels
folder, n = Path(sys.argv[1]), 3000
rng = np.random.default_rng(0)
K, T, size = rng.normal(size=(n, 3, 3)), rng.normal(size=(n, 4, 4)), rng.normal(size=(n, 3))
for turn in range(10**6):
    save_labels(folder, [f"{i:06d}" for i in range(n)], K, T, size, np.full(n, float(turn)))
"""


def test_a_kill_while_writing_leaves_whole_labels(tmp_path):
    labels = tmp_path / "labels.npz"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for attempt in range(3):
        labels.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], env=environment)
        try:
            deadline = time.monotonic() + 60
            while not labels.is_file() and time.monotonic() < deadline:
                assert writer.poll() is None, "the writer ended by itself"
                time.sleep(0.01)
            time.sleep(0.03 + 0.037 * attempt)  # somewhere inside a later write
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        with np.load(labels, allow_pickle=False) as data:
            assert len(data["names"]) == len(data["K"]) == len(data["T_cam_obj"]) == len(data["size"]) == 3000
            assert len(np.unique(data["weight"])) == 1  # all from one turn


def test_square_around_centres_the_box():
    picture = np.zeros((120, 200), np.uint8)
    picture[30:70, 50:130] = 255  # 80 wide, 40 high
    side, margin = 160, 1.25
    A = square_around(mask_box(picture), side, margin)
    x0, y0, x1, y1 = mask_box(np.where(cv2.warpAffine(picture, A, (side, side)) > 127, 255, 0).astype(np.uint8))
    assert x1 - x0 == pytest.approx(side / margin, abs=1.01)
    assert y1 - y0 == pytest.approx(side / margin / 2, abs=1.01)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((side / 2, side / 2), abs=0.51)
    # Exactly: the middle of the box in pixel-centre coordinates lands in the middle of the square.
    np.testing.assert_allclose(A @ [89.5, 49.5, 1], [(side - 1) / 2] * 2, atol=1e-9)
