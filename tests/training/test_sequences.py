# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Alignment of sequences: azimuths from votes, camera and box from silhouettes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "numba", "scipy"):
    pytest.importorskip(_module, reason="training extra is not installed")

from posed_car import car_shape
from shared_data import shared_data
from teacher_models import require_models

from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint, se3, viewpoint_from_rotation
from dinemo_training.data.batches import project
from dinemo_training.data.foreground import SaliencyMask
from dinemo_training.data.posed_crops import load_posed_crops
from dinemo_training.models.teachers import CnnTeacher
from dinemo_training.sequences.posed_templates import (
    BINS,
    Sequence,
    agreed_votes,
    align,
    azimuth_votes,
    equal_steps,
    read_reference_azimuths,
    read_sequence,
    smooth_path,
    write_templates,
)
from dinemo_training.sequences.silhouette import fit_sequence
from dinemo_training.synthetic.render.rasterizer import rasterize

SHAPE = car_shape()


def turn(n, start_deg, step_deg):
    return np.deg2rad(start_deg + step_deg * np.arange(n)) % (2 * np.pi)


def error_deg(a, b):
    return np.rad2deg(np.abs((np.asarray(a) - b + np.pi) % (2 * np.pi) - np.pi))


def votes_for(azimuths, rng, spread_deg=10.0, flipped=(), noise=0.3):
    """Votes [N, BINS] around the truth; the frames ``flipped`` vote for the car turned round."""
    flip = np.isin(np.arange(len(azimuths)), flipped)
    centres = np.arange(BINS) * 2 * np.pi / BINS
    delta = error_deg(centres[None], (azimuths + np.pi * flip)[:, None])
    votes = np.exp(-0.5 * (delta / spread_deg) ** 2) + noise * rng.random((len(azimuths), BINS)) / BINS
    return votes / votes.sum(1, keepdims=True)


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("start_deg", [0.0, 37.0, 351.5])
def test_equal_steps_against_a_third_of_flipped_frames(sense, start_deg):
    truth = turn(40, start_deg, sense * 9)
    rng = np.random.default_rng(0)
    score, azimuths = equal_steps(votes_for(truth, rng, flipped=rng.permutation(40)[:13]))
    assert error_deg(azimuths, truth).max() < 2
    sure, _ = equal_steps(votes_for(truth, rng))
    assert sure > score + 0.5  # the score tells a consistent sequence from an inconsistent one


def test_equal_steps_score_low_on_uneven_ones():
    rng = np.random.default_rng(1)
    even, _ = equal_steps(votes_for(turn(40, 20, 9), rng))
    uneven, _ = equal_steps(votes_for(np.sort(rng.uniform(0, 2 * np.pi, 40) ** 2 / (2 * np.pi)), rng))
    assert uneven < even - 0.5


@pytest.mark.parametrize("sense", [1, -1])
def test_smooth_path_follows_uneven_steps_over_flipped_frames(sense):
    rng = np.random.default_rng(2)
    truth = (np.deg2rad(100) + sense * np.cumsum(np.deg2rad(rng.uniform(3, 14, 45)))) % (2 * np.pi)
    votes = votes_for(truth, rng, flipped=[4, 11, 17, 20, 30, 41])
    found = smooth_path(votes)
    plain = votes.argmax(1) * 2 * np.pi / BINS
    assert (error_deg(plain, truth) > 90).mean() > 0.08  # frame by frame, these are wrong
    assert (error_deg(found, truth) > 20).mean() == 0
    assert np.median(error_deg(found, truth)) < 4


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("run", [2, 4, 6])
def test_smooth_path_bridges_runs_of_flipped_frames(sense, run):
    rng = np.random.default_rng(20)
    truth = (np.deg2rad(40) + sense * np.cumsum(np.deg2rad(rng.uniform(3, 14, 45)))) % (2 * np.pi)
    flipped = [*range(8, 8 + run), *range(25, 25 + run)]
    found = smooth_path(votes_for(truth, rng, flipped=flipped))
    assert error_deg(found, truth).max() < 20


def test_smooth_path_survives_a_break_in_the_order():
    rng = np.random.default_rng(3)
    truth = np.concatenate([turn(20, 10, 8), turn(20, 250, -7)])  # jumps from 162 to 250 degrees and turns back
    found = smooth_path(votes_for(truth, rng, flipped=[5, 30]))
    assert (error_deg(found, truth) > 25).mean() <= 0.05
    assert error_deg(found[19:21], truth[19:21]).max() < 25


def descriptors(azimuths, car, rng):
    """A smooth code of azimuth shared by all cars, plus what is particular to this one."""
    field = np.random.default_rng(99)
    w, b = field.normal(0, 3, (2, 256)), field.uniform(0, 2 * np.pi, 256)
    code = np.cos(np.stack([np.cos(azimuths), np.sin(azimuths)], 1) @ w + b)
    own = np.random.default_rng(car).normal(size=256) * 0.4 + rng.normal(size=(len(azimuths), 256)) * 0.3
    return torch.nn.functional.normalize(torch.from_numpy(code + own).float(), dim=1)


def sequence(name, azimuths, car, rng):
    """The mirrored frame of azimuth a looks like azimuth -a."""
    return Sequence(name, [], [], [], descriptors(azimuths, car, rng), descriptors(-azimuths, car, rng))


def test_votes_are_distributions_around_the_template_that_looks_alike():
    rng = np.random.default_rng(4)
    bank = turn(72, 0, 5)
    votes = azimuth_votes(descriptors(turn(12, 3, 30), 1, rng), descriptors(bank, 1, rng), bank)
    np.testing.assert_allclose(votes.sum(1), 1)
    assert error_deg(votes.argmax(1) * 2 * np.pi / BINS, turn(12, 3, 30)).max() <= 8


def test_a_picture_that_tips_to_the_wrong_side_is_held_by_its_mirror_image():
    rng = np.random.default_rng(6)
    bank = turn(72, 0, 5)
    rear, front = (descriptors(np.full(8, np.deg2rad(angle)), 1, rng) for angle in (170.0, 350.0))
    tipped = torch.nn.functional.normalize(0.5 * rear + 0.6 * front, dim=1)
    mirrored = torch.nn.functional.normalize(0.8 * descriptors(np.full(8, np.deg2rad(190.0)), 1, rng)
                                             + 0.4 * descriptors(np.full(8, np.deg2rad(10.0)), 1, rng), dim=1)
    views = descriptors(bank, 1, rng)
    alone = azimuth_votes(tipped, views, bank).argmax(1) * 2 * np.pi / BINS
    agreed = agreed_votes(tipped, mirrored, views, bank)
    np.testing.assert_allclose(agreed.sum(1), 1)
    assert np.median(error_deg(alone, np.deg2rad(350))) < 15
    assert error_deg(agreed.argmax(1) * 2 * np.pi / BINS, np.deg2rad(170)).max() < 15


def test_unposed_sequences_are_aligned_to_the_reference():
    rng = np.random.default_rng(5)
    truth = {"even": turn(36, 77, 10), "back": turn(40, 200, -9),
             "uneven": (np.cumsum(np.deg2rad(rng.uniform(2, 13, 48)))) % (2 * np.pi)}
    reference = turn(60, 0, 6)
    others = [sequence(name, a, 10 + i, rng) for i, (name, a) in enumerate(truth.items())]
    aligned = align(sequence("reference", reference, 1, rng), reference, others)
    assert set(aligned) == {"reference", *truth}
    np.testing.assert_array_equal(aligned["reference"], reference)
    for name, azimuths in truth.items():
        assert np.median(error_deg(aligned[name], azimuths)) < 6, name
        assert (error_deg(aligned[name], azimuths) > 30).mean() == 0, name


def test_only_the_reference_entry_of_the_azimuths_is_read(tmp_path):
    path = tmp_path / "azimuth.json"
    path.write_text('{"a": {"azimuth_deg": {"1.jpg": 90, "0.jpg": 0}}, "b": "anything at all"}')
    np.testing.assert_allclose(read_reference_azimuths(path, "a", [Path("0.jpg"), Path("1.jpg")]), [0, np.pi / 2])


@pytest.fixture(scope="module")
def turntable():
    """Silhouettes of one car on a turntable: camera 14 degrees up and four lengths away."""
    size, azimuths = SHAPE.size * [1.08, 1.0, 0.95], turn(8, 20, 45)
    K = np.array([[900.0, 0, 199.5], [0, 900.0, 149.5], [0, 0, 1]])
    masks, poses = [], []
    for i, azimuth in enumerate(azimuths):
        R, t = rotation_from_viewpoint(azimuth, np.deg2rad(14), 0.0), np.array([0.3 * (i % 3) - 0.3, 0.1, 4 * size[0]])
        T = se3(R, t)
        seen = rasterize(SHAPE.at_size(size), SHAPE.faces, K, T, (400, 300))
        masks.append(np.where(seen.mask, 255, 0).astype(np.uint8))
        poses.append(T)
    return size, azimuths, K, masks, poses


def test_camera_height_and_box_come_out_of_silhouettes(turntable):
    size, azimuths, _, masks, _ = turntable
    offset = np.deg2rad(5)  # the vote was off by this much
    fit = fit_sequence(SHAPE.vertices, SHAPE.faces, SHAPE.size, masks, azimuths - offset)
    assert np.rad2deg(fit.elevation) == pytest.approx(14, abs=3)
    assert fit.azimuth_offset == pytest.approx(offset, abs=np.deg2rad(3))
    assert fit.size[0] / fit.size[2] == pytest.approx(size[0] / size[2], rel=0.04)
    assert fit.iou.shape == (8,) and fit.iou.min() > 0.9


def test_templates_lie_on_their_pictures(turntable, tmp_path):
    _, azimuths, _, masks, _ = turntable
    images = [np.repeat(m[..., None], 3, 2) for m in masks]
    one = Sequence("turntable", [Path(f"{i:03d}.jpg") for i in range(8)], images, masks, torch.empty(0), torch.empty(0))
    write_templates([one], {"turntable": azimuths}, "turntable", SHAPE, tmp_path)
    crops = load_posed_crops(tmp_path)
    assert [c.name for c in crops] == [f"turntable_{i:03d}" for i in range(8)]
    for crop, azimuth in zip(crops, azimuths, strict=True):
        R = ray_rotation(crop.T_cam_obj[:3, 3]).T @ crop.T_cam_obj[:3, :3]
        assert error_deg(viewpoint_from_rotation(R)[0], azimuth) < 3  # the reference keeps its azimuths
        mask = crop.foreground() > 127
        drawn = rasterize(SHAPE.at_size(crop.size), SHAPE.faces, crop.K, crop.T_cam_obj, mask.shape[::-1]).mask
        assert (drawn & mask).sum() / (drawn | mask).sum() > 0.9
        uv = project(SHAPE.at_size(crop.size), crop.K, crop.T_cam_obj)
        assert ((uv > 0) & (uv < mask.shape[0] - 1)).all()
        assert crop.image()[mask].min() > 90


def test_a_folder_of_frames_is_read_and_bad_files_are_named(tmp_path, capsys):
    require_models()
    source = shared_data("cars_spin")
    azimuths = json.loads((source / "azimuth.json").read_text())["kadjar"]["azimuth_deg"]
    oblique = min(azimuths, key=lambda name: abs(azimuths[name] - 60))
    picture = cv2.imread(str(source / "kadjar" / oblique))
    cv2.imwrite(str(tmp_path / "000.png"), picture)
    cv2.imwrite(str(tmp_path / "001.png"), picture[:, ::-1])
    (tmp_path / "002.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("ignored")
    read = read_sequence(tmp_path, SaliencyMask(threads=1), CnnTeacher())
    assert [f.name for f in read.files] == ["000.png", "001.png"]
    assert "002.png" in capsys.readouterr().out
    assert 0.05 < (read.masks[0] > 0).mean() < 0.7
    torch.testing.assert_close(read.descriptors.norm(dim=1), torch.ones(2))
    # The second picture is the first one mirrored, so their descriptors change places.
    across, same = float(read.descriptors[0] @ read.mirrored[1]), float(read.descriptors[0] @ read.descriptors[1])
    assert across > 0.9 and across > same + 0.1, (across, same)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="none of 0 files"):
        read_sequence(tmp_path, None, None)
