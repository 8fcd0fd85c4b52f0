# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Pseudo-labels: believed where the mirror image agrees, kept over a kill, flat over azimuth."""

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
pytest.importorskip("timm", reason="training extra is not installed")

from posed_car import car_shape, draw, look_at, posed_crop

from dinemo_ros.geometry import mirror_rotation, rotation_angle, viewpoint_from_rotation
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry
from dinemo_training.data.batches import project
from dinemo_training.data.label_store import write_labels
from dinemo_training.data.photographs import PHOTO_MARGIN, Photo, crop_photo, photo_camera
from dinemo_training.data.posed_crops import CROP_SIDE, load_posed_crops, save_labels, save_picture
from dinemo_training.models.checkpoint import save_checkpoint
from dinemo_training.models.neural_mesh import NeuralMeshFeatures
from dinemo_training.models.student import StudentBackbone
from dinemo_training.pseudo_labels.labelling import (
    confirmed_labeller,
    correspondence_labeller,
    label_photo,
    label_photos,
    select,
)
from dinemo_training.pseudo_labels.mirror_check import Candidate, Label, reconcile

SIZE = np.array([4.3, 1.8, 1.5])


def candidate(azimuth, score, elevation=8.0):
    return Candidate(look_at(azimuth, elevation, centre=(0, 0, 18.0)), SIZE, score)


def in_mirror(c: Candidate) -> Candidate:
    """What a perfect labeller says of the mirrored picture."""
    T = c.T_cam_obj.copy()
    T[:3, :3], T[:3, 3] = mirror_rotation(T[:3, :3]), T[:3, 3] * [-1, 1, 1]
    return Candidate(T, c.size, c.score)


def azimuth_of(label):
    return np.rad2deg(viewpoint_from_rotation(label.T_cam_obj[:3, :3])[0])


def test_agreement_is_a_label():
    label = reconcile([candidate(40, 0.6)], [in_mirror(candidate(46, 0.5))])
    assert azimuth_of(label) == pytest.approx(40)
    assert label.score == pytest.approx(0.55)
    assert label.margin == pytest.approx(0.55)  # nothing else was offered
    expected = np.rad2deg(rotation_angle(candidate(40, 0).T_cam_obj[:3, :3], candidate(46, 0).T_cam_obj[:3, :3]))
    assert label.agreement_deg == pytest.approx(expected)


@pytest.mark.parametrize("other", [220.0, 320.0, 65.0])  # flipped front to rear, left to right, and just too far
def test_disagreement_is_no_label(other):
    assert reconcile([candidate(40, 0.6)], [in_mirror(candidate(other, 0.6))]) is None


def test_nothing_found_is_no_label():
    assert reconcile([], [candidate(40, 0.6)]) is None
    assert reconcile([candidate(40, 0.6)], []) is None


@pytest.mark.parametrize("flipped_side", ["original", "mirrored"])
def test_a_runner_up_corrects_a_flip(flipped_side):
    """One of the two pictures prefers the car turned round; the true pose is only its second choice."""
    sure = [candidate(40, 0.6), candidate(130, 0.3)]
    flipped = [candidate(220, 0.55), candidate(42, 0.5)]
    original, mirrored = (flipped, sure) if flipped_side == "original" else (sure, flipped)
    label = reconcile(original, [in_mirror(c) for c in mirrored])
    assert azimuth_of(label) == pytest.approx(42 if flipped_side == "original" else 40)
    assert label.score == pytest.approx(0.55)
    assert label.margin == pytest.approx(0.0)  # the flip scores 0.55 as well: not to be trusted


def test_the_best_of_two_consistent_poses_wins_and_the_other_takes_from_the_margin():
    original = [candidate(40, 0.7), candidate(220, 0.4)]
    label = reconcile(original, [in_mirror(c) for c in original])
    assert azimuth_of(label) == pytest.approx(40)
    assert label.margin == pytest.approx(0.3)


def test_the_mirror_check_can_reject_or_be_off():
    """The picture's first choice is a flip, and the mirror image says so."""
    original = [candidate(220, 0.6), candidate(42, 0.5)]
    mirrored = [in_mirror(candidate(40, 0.6)), in_mirror(candidate(130, 0.3))]
    assert azimuth_of(reconcile(original, mirrored, "correct")) == pytest.approx(42)
    assert reconcile(original, mirrored, "reject") is None
    believed = reconcile(original, mirrored, "off")
    assert azimuth_of(believed) == pytest.approx(220)
    assert believed.score == pytest.approx(0.6) and believed.margin == pytest.approx(0.1)
    assert np.isnan(believed.agreement_deg)
    assert reconcile([], mirrored, "off") is None
    with pytest.raises(ValueError, match="off, reject, correct"):
        reconcile(original, mirrored, "maybe")


def test_without_the_mirror_check_the_mirror_image_is_not_looked_at():
    seen = []
    photo = crop_photo(np.zeros((20, 40, 3), np.uint8))
    label_photo(photo, lambda p: seen.append(p) or [candidate(40, 0.6)], "off")
    assert seen == [photo]


def test_confirmation_keeps_the_candidates_that_the_correspondences_lead_to():
    render, matched = [candidate(220, 0.6), candidate(44, 0.5)], [candidate(40, 0.3), candidate(220, 0.2)]
    confirmed = confirmed_labeller(lambda _: render, lambda _: matched)
    assert confirmed(None) == [render[1]]
    assert confirmed_labeller(lambda _: render, lambda _: [])(None) == []


BOTTLE, BOX, CUP = Symmetry("z", 0), Symmetry("z", 4), Symmetry("z", 1)


@pytest.mark.parametrize("symmetry, turned, agree", [
    (NO_SYMMETRY, 90, False), (CUP, 90, False), (BOX, 90, True), (BOX, 45, False), (BOTTLE, 137, True)])
def test_poses_that_a_symmetry_makes_one_agree(symmetry, turned, agree):
    """A bottle's picture and its mirror image may name any azimuth; a box's may differ by a quarter turn."""
    original, mirrored = [candidate(40, 0.6)], [in_mirror(candidate(40 + turned, 0.5))]
    label = reconcile(original, mirrored, symmetry=symmetry)
    assert (label is not None) == agree
    if agree:  # the other pose is no background_score either
        assert label.agreement_deg == pytest.approx(0, abs=1e-3) and label.margin == pytest.approx(0.55)
    confirmed = confirmed_labeller(lambda _: original, lambda _: [candidate(40 + turned, 0.3)], symmetry)
    assert bool(confirmed(None)) == agree


@pytest.mark.parametrize("symmetry", [BOTTLE, BOX])
def test_a_symmetric_object_that_leans_otherwise_disagrees(symmetry):
    assert reconcile([candidate(40, 0.6)], [in_mirror(candidate(40, 0.5, elevation=35))], symmetry=symmetry) is None


def test_the_round_before_agrees_up_to_the_symmetry(tmp_path):
    labels = {}
    for name, turned in (("now", 0), ("before", 90)):
        labels[name] = tmp_path / f"{name}.npz"
        c = candidate(40 + turned, 0.6)
        write_labels(labels[name], {"a": Label(c.T_cam_obj, c.size, c.score, 0.3, 2.0)})
    assert select(tmp_path, labels["now"], 0.2, 0.02, labels["before"], symmetry=BOX) == 1
    assert select(tmp_path, labels["now"], 0.2, 0.02, labels["before"]) == 0


def test_the_camera_of_a_photograph_shows_the_object_filling_it():
    """Seen from the side and four lengths away, a car fills 1 / margin of the prepared crop."""
    bumpers = np.array([[2.2, 0, 0], [-2.2, 0, 0]])
    front, rear = project(bumpers, photo_camera().K, look_at(90, 0, centre=(0, 0, 4 * 4.4)))
    assert rear[0] - front[0] == pytest.approx(CROP_SIDE / PHOTO_MARGIN)  # its left side: the front is on the left
    np.testing.assert_allclose(0.5 * (front + rear), (CROP_SIDE - 1) / 2)


@pytest.fixture
def photographs(tmp_path):
    """Tiny photographs whose grey level is their number, and a labeller that reads it."""
    (tmp_path / "images").mkdir()
    names = [f"{i:03d}" for i in range(230)]
    for i, name in enumerate(names):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((16, 16, 3), i, np.uint8))
    record(tmp_path, names)
    return tmp_path, names


def record(folder, names):
    """As if the photographs had been prepared."""
    (folder / "prepared.json").write_text(json.dumps({name: [2, 4, 14, 12] for name in names}))


def test_labelling_goes_on_after_a_stop(photographs):
    folder, names = photographs
    out = folder / "labels.npz"
    looked_at = []

    def label(photo):
        if len(looked_at) == 2 * 215:
            raise TimeoutError
        number = int(round(photo.image.mean()))
        looked_at.append(number)
        return [] if number % 7 == 0 else [candidate(0 if number % 2 else 180, 0.3 + number / 1000)]

    with pytest.raises(TimeoutError):
        label_photos(folder, names, label, out)
    before, looked_at[:] = len(looked_at), []
    label_photos(folder, names, label, out)
    assert before == 2 * 215
    assert looked_at == [n for n in range(200, 230) for _ in "ab"]  # from the last save on, each with its mirror image
    with np.load(out, allow_pickle=False) as data:
        scores = dict(zip(data["names"].tolist(), data["score"].tolist(), strict=True))
        rejected = set(data["rejected"].tolist())
    assert rejected == {n for n in names if int(n) % 7 == 0}
    assert set(scores) == set(names) - rejected
    assert all(score == pytest.approx(0.3 + int(name) / 1000) for name, score in scores.items())
    looked_at.clear()
    label_photos(folder, names, label, out)
    assert looked_at == []


def test_the_mirror_image_is_what_the_labeller_gets(photographs):
    folder, _ = photographs
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :8] = 255
    save_picture(folder, "left", picture, np.where(picture[..., 0] > 0, 255, 0).astype(np.uint8))
    seen = []
    label_photos(folder, ["left"], lambda photo: seen.append(photo) or [], folder / "one.npz")
    plain, mirrored = seen
    assert plain.image[0].mean(-1).argmax() < 8 and mirrored.image[0].mean(-1).argmax() >= 24
    assert plain.box == (0, 0, 8, 32) and mirrored.box == (24, 0, 32, 32)
    np.testing.assert_array_equal(mirrored.mask, plain.mask[:, ::-1])


def test_selection_keeps_trusted_labels_and_flattens_azimuth(tmp_path):
    """Ninety photographs from the front, ten from behind, some not to be trusted."""
    names = [f"{i:03d}" for i in range(110)]
    azimuths = [2.0] * 90 + [175.0] * 10 + [90.0] * 10
    (tmp_path / "images").mkdir()
    for name in names:
        save_picture(tmp_path, name, np.zeros((8, 8, 3), np.uint8))
    record(tmp_path, names)

    def label(photo):
        i = label.calls // 2
        label.calls += 1
        pose = candidate(azimuths[i], 0.1 if i >= 105 else 0.5)
        background_score = candidate(azimuths[i] + 90, 0.49 if 100 <= i < 105 else 0.1)
        return [pose, background_score] if label.calls % 2 else [in_mirror(pose), in_mirror(background_score)]

    label.calls = 0
    label_photos(tmp_path, names, label, tmp_path / "found.npz")
    assert select(tmp_path, tmp_path / "found.npz", min_score=0.2, min_margin=0.05, max_share=0.1) == 100
    crops = {c.name: c for c in load_posed_crops(tmp_path)}
    assert set(crops) == set(names[:100])
    assert crops["000"].weight == pytest.approx(0.2 * 100 / 90)
    assert crops["095"].weight == 1.0
    np.testing.assert_allclose(crops["003"].K, photo_camera().K)
    np.testing.assert_allclose(crops["003"].T_cam_obj, candidate(2.0, 0).T_cam_obj)
    np.testing.assert_allclose(crops["003"].size, SIZE)


def test_selection_can_drop_the_least_sure_of_every_direction(tmp_path):
    """Rear views have smaller margins throughout; a threshold on all would take them all away."""
    (tmp_path / "images").mkdir()
    names, margins = [f"{i:03d}" for i in range(20)], np.r_[np.arange(10) / 100 + 0.3, np.arange(10) / 100 + 0.1]
    for name in names:
        save_picture(tmp_path, name, np.zeros((8, 8, 3), np.uint8))
    front, rear = candidate(5.0, 0.5), candidate(175.0, 0.5)
    write_labels(tmp_path / "found.npz", {
        name: Label((rear if i >= 10 else front).T_cam_obj, SIZE, 0.5, float(margins[i]), 1.0)
        for i, name in enumerate(names)})
    assert select(tmp_path, tmp_path / "found.npz", min_score=0.0, min_margin=0.05, drop=0.3) == 14
    assert {c.name for c in load_posed_crops(tmp_path)} == {*names[3:10], *names[13:]}
    assert select(tmp_path, tmp_path / "found.npz", min_score=0.0, min_margin=0.05) == 20
    assert select(tmp_path, tmp_path / "found.npz", min_score=0.9, min_margin=0.05, drop=0.3) == 0


def test_a_label_that_hides_what_tells_the_turn_is_not_learnt_from(tmp_path):
    """Of a cup whose handle is not found the handle is put behind it; a car seen from the rear is a car."""
    (tmp_path / "images").mkdir()
    azimuths = {"front": 0.0, "side": 90.0, "just_seen": -120.0, "hidden": 130.0, "behind": 180.0}
    for name in azimuths:
        save_picture(tmp_path, name, np.zeros((8, 8, 3), np.uint8))
    write_labels(tmp_path / "found.npz", {name: Label(candidate(azimuth, 0.5).T_cam_obj, SIZE, 0.5, 0.1, 1.0)
                                          for name, azimuth in azimuths.items()})
    assert select(tmp_path, tmp_path / "found.npz", 0.2, 0.0, symmetry=Symmetry("z", 1)) == 3
    assert {c.name for c in load_posed_crops(tmp_path)} == {"front", "side", "just_seen"}
    assert select(tmp_path, tmp_path / "found.npz", 0.2, 0.0) == 5


def test_selection_can_keep_a_number_of_labels_the_surest(tmp_path):
    (tmp_path / "images").mkdir()
    names = [f"{i:03d}" for i in range(20)]
    for name in names:
        save_picture(tmp_path, name, np.zeros((8, 8, 3), np.uint8))
    margins = np.random.default_rng(0).permutation(20) / 100
    pose = candidate(30.0, 0.5)
    write_labels(tmp_path / "found.npz", {n: Label(pose.T_cam_obj, pose.size, 0.5, float(m), 1.0)
                                          for n, m in zip(names, margins, strict=True)})
    assert select(tmp_path, tmp_path / "found.npz", min_score=0.0, min_margin=0.0, keep=7) == 7
    assert {c.name for c in load_posed_crops(tmp_path)} == {n for n, m in zip(names, margins, strict=True) if m >= 0.13}


def test_a_photograph_without_any_object_gets_no_candidate(tmp_path):
    """The correspondence labeller with an untrained network that takes every cell for clutter."""
    shape, backbone = car_shape(), StudentBackbone().eval()
    image, _ = draw(look_at(40), side=CROP_SIDE)
    with torch.inference_mode():
        mean = backbone(torch.from_numpy(image).permute(2, 0, 1)[None].float()).mean((0, 2, 3))
    features = NeuralMeshFeatures(len(shape.vertices))
    features.raw_vertices.data[:], features.raw_clutter.data[:] = -mean, mean
    save_checkpoint(tmp_path / "student.pt", backbone, features)
    crops = [posed_crop(look_at(a)) for a in (30, 60)]
    for i, crop in enumerate(crops):
        save_picture(tmp_path, f"{i}", crop.image())
    save_labels(tmp_path, ["0", "1"], *(np.stack([getattr(c, f) for c in crops]) for f in ("K", "T_cam_obj", "size")))
    label = correspondence_labeller(tmp_path / "student.pt", shape, tmp_path, every=1)
    gap = CROP_SIDE * (1 - 1 / PHOTO_MARGIN) / 2
    assert label(Photo(image, (gap, gap, CROP_SIDE - gap, CROP_SIDE - gap))) == []
