# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Checks that tell a label from its half turn: augmented views, the half turn itself, neighbour and temporal
consistency."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "numba"):
    pytest.importorskip(_module, reason="training extra is not installed")

from painted_car import write_painted_bundle
from posed_car import car_shape, look_at, posed_crop

from dinemo_ros.geometry import allocentric, mirror_rotation, rotation_angle, rotation_from_viewpoint
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler
from dinemo_training.data.label_store import write_labels
from dinemo_training.data.photographs import crop_photo
from dinemo_training.data.posed_crops import CROP_SIDE, save_labels, save_picture
from dinemo_training.evaluation.ablation import agreement, flips
from dinemo_training.models.teachers import prepare_picture
from dinemo_training.pseudo_labels.augmented_views import MOST, augmented_views
from dinemo_training.pseudo_labels.correspondence import compare
from dinemo_training.pseudo_labels.flip_checks import HALF_TURN, half_turn_by_cells, half_turn_by_score, lead_over_views
from dinemo_training.pseudo_labels.mirror_check import Candidate, Label
from dinemo_training.pseudo_labels.neighbour_consistency import neighbour_odds, with_neighbour_consistency
from dinemo_training.pseudo_labels.template_bank import build_bank
from dinemo_training.pseudo_labels.temporal_consistency import azimuth_histogram, temporally_consistent_labels
from dinemo_training.pseudo_labels.view_vote import ViewGrid, Vote
from dinemo_training.sequences.posed_templates import BINS

SHAPE = car_shape()
SIZE = np.array(SHAPE.size)


def colour_teacher(images):
    """Sees colours only, at stride 8; the painted car's colours are its coordinates."""
    return torch.nn.functional.normalize(torch.nn.functional.avg_pool2d(images, 8) - 127.5, dim=1)


def rotation(azimuth_deg):
    return rotation_from_viewpoint(np.deg2rad(azimuth_deg), np.deg2rad(8), 0.0)


def candidate(azimuth_deg, score):
    return Candidate(look_at(azimuth_deg, 8.0, centre=(0, 0, 18.0)), SIZE, score)


def photo_of(T_cam_obj):
    crop = posed_crop(T_cam_obj, side=CROP_SIDE)
    return crop_photo(crop.image(), np.where(crop.foreground() > 127, 255, 0).astype(np.uint8))


def overlap(a, b):
    a, b = a.mask > 127, b.mask > 127
    return (a & b).sum() / (a | b).sum()


def test_a_look_shows_what_its_turn_says():
    """The car drawn with the pose turned forth is the look; turned the wrong way it is not."""
    T = look_at(35, 12, centre=(0, 0, 12.0))
    seen = augmented_views(photo_of(T), 3)
    assert [view.mirrored for view in seen] == [False, True] * 3
    turned = seen[4]
    assert rotation_angle(turned.turn, np.eye(3)) == pytest.approx(np.deg2rad(5))

    def drawn(turn):
        posed = T.copy()
        posed[:3, :3] = turn @ T[:3, :3]
        return photo_of(posed)

    right, wrong = overlap(turned.photo, drawn(turned.turn.T)), overlap(turned.photo, drawn(turned.turn))
    assert right > 0.9 and right > wrong + 0.05
    assert turned.photo.box == pytest.approx(photo_of(T).box, abs=12)


def test_every_look_leads_back_to_the_photograph():
    R = rotation(50)
    for view in augmented_views(photo_of(look_at(50, 8)), MOST):
        shown = view.turn.T @ R
        shown = mirror_rotation(shown) if view.mirrored else shown
        np.testing.assert_allclose(view.back(shown), R, atol=1e-12)
    with pytest.raises(ValueError, match="0 augmented views; allowed: 1 to 5"):
        augmented_views(photo_of(look_at(50, 8)), 0)


def test_the_lead_is_a_mean_over_looks():
    candidates = [[candidate(40, 0.6), candidate(220, 0.5)], [candidate(220, 0.7)], []]
    rotations = [[c.rotation for c in found] for found in candidates]
    assert lead_over_views(candidate(42, 0).rotation, candidates, rotations) == pytest.approx((0.1 - 0.7 + 0) / 3)


def test_the_half_turn_by_score():
    found = [candidate(40, 0.6), candidate(130, 0.59), candidate(218, 0.2)]
    rotations = [c.rotation for c in found]
    assert half_turn_by_score(candidate(42, 0).rotation, found, rotations) == pytest.approx(0.4)
    assert half_turn_by_score(candidate(130, 0).rotation, found[:2], rotations[:2]) == pytest.approx(0.59)


def test_the_half_turn_by_cells():
    crops = [posed_crop(look_at(a, 10), name=f"painted_{a}", side=CROP_SIDE) for a in range(0, 360, 20)]
    bank = build_bank(crops, CorrespondenceSampler(SHAPE, AugmentConfig()), colour_teacher)
    for azimuth in (70, 250):
        photo = photo_of(look_at(azimuth, 10))
        features = colour_teacher(prepare_picture(photo.image, 224))[0]
        mask = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(photo.mask)[None].float() / 255,
                                                       features.shape[-2:])[0]
        scores = compare(features, mask, bank).similarity
        R = allocentric(look_at(azimuth, 10))
        sure = half_turn_by_cells(R, scores, bank)
        assert sure > 1
        assert half_turn_by_cells(R @ HALF_TURN, scores, bank) == pytest.approx(-sure, rel=1e-4)


def test_neighbours_overrule_an_unsure_label():
    """Two kinds of pictures; the third of each kind was taken for its half turn, one of them seen in a mirror."""
    rng = np.random.default_rng(1)
    kinds = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(2, 40))), dim=1)
    noise = 0.05 * torch.from_numpy(rng.normal(size=(12, 40)))
    other = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(12, 40))), dim=1)
    descriptors = torch.nn.functional.normalize(kinds.repeat_interleave(6, 0) + noise, dim=1)
    mirrored = other.clone()
    rotations = np.array([rotation(40)] * 6 + [rotation(150)] * 6)
    margins = np.full(12, 0.2)
    rotations[2], margins[2] = rotations[2] @ HALF_TURN, 0.05
    rotations[8], margins[8] = mirror_rotation(rotations[8]) @ HALF_TURN, 0.05
    descriptors[8], mirrored[8] = mirrored[8], descriptors[8].clone()  # picture 8 is the mirror image of its kind
    odds = neighbour_odds(rotations, margins, descriptors, mirrored)
    assert set(np.flatnonzero(odds < 0)) == {2, 8}
    margins[2] = 0.9  # what is sure of itself stays
    assert neighbour_odds(rotations, margins, descriptors, mirrored)[2] > 0
    alone = neighbour_odds(rotations[:1], np.array([0.2]), descriptors[:1], mirrored[:1])
    assert alone == pytest.approx([2.0])  # nobody to ask: its own margin


def test_labels_of_a_collection_are_settled(tmp_path):
    """Six pictures of one view and four of another; one of the six is labelled the wrong way round."""
    labels = {}
    for i, (azimuth, label_deg, margin) in enumerate([(40, 40, 0.3)] * 5 + [(40, 220, 0.02)] + [(160, 160, 0.3)] * 4):
        photo, name = photo_of(look_at(azimuth + 0.5 * i, 8)), f"{i}"
        save_picture(tmp_path, name, photo.image, photo.mask)
        labels[name] = Label(look_at(label_deg, 8.0), SIZE, 0.5, margin, 1.0)
    settled = with_neighbour_consistency(tmp_path, labels | {"none": None}, colour_teacher)
    assert settled["none"] is None and list(settled) == [*labels, "none"]
    assert [name for name, label in settled.items() if label and label.margin < 0] == ["5"]
    assert settled["1"].margin > labels["1"].margin
    np.testing.assert_array_equal(settled["5"].T_cam_obj, labels["5"].T_cam_obj)
    assert with_neighbour_consistency(tmp_path, {"none": None}, colour_teacher) == {"none": None}


def vote_for(*azimuths_deg):
    grid = ViewGrid.covering(np.deg2rad([8.0]))
    share = sum(np.exp(-0.5 * (np.angle(np.exp(1j * (grid.azimuths - np.deg2rad(a)))) / 0.15) ** 2)
                for a in azimuths_deg)
    return Vote(grid, share / share.sum())


def test_picture_and_mirror_image_vote_together():
    histogram = azimuth_histogram(vote_for(40, 200), vote_for(320, 100))  # agree on 40 only
    assert histogram.shape == (BINS,) and histogram.sum() == pytest.approx(1)
    assert histogram.argmax() == 8 and histogram[40] < 1e-3


def test_frames_in_order_overrule_one_that_is_turned_round():
    true = np.arange(0, 360, 30)
    votes, found = [], []
    for i, azimuth in enumerate(true):
        turned = i in (3, 4)
        votes.append(azimuth_histogram(vote_for(azimuth + 180) if turned else vote_for(azimuth)))
        found.append([candidate(azimuth + 180, 0.6), candidate(azimuth, 0.3)] if turned else [candidate(azimuth, 0.5)])
    found[7] = [candidate(true[7] + 180, 0.5)]  # the right pose is not on offer
    labels = temporally_consistent_labels(found, np.array(votes))
    assert labels[7] is None
    for i, label in enumerate(labels):
        if i != 7:
            assert np.rad2deg(rotation_angle(label.rotation, candidate(true[i], 0).rotation)) < 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Templates all around, and renders in between; the shape."""
    path = tmp_path_factory.mktemp("flips")
    for folder, azimuths in (("templates", range(0, 360, 20)), ("renders", range(13, 360, 60))):
        crops = [posed_crop(look_at(a, 10), name=f"painted_{a:03.0f}", side=CROP_SIDE) for a in azimuths]
        for crop in crops:
            save_picture(path / folder, crop.name, crop.image(), crop.foreground())
        save_labels(path / folder, [c.name for c in crops], *(np.stack([getattr(c, f) for c in crops])
                                                              for f in ("K", "T_cam_obj", "size")))
    np.savez(path / "shape.npz", vertices=SHAPE.vertices, faces=SHAPE.faces, normals=SHAPE.normals)
    return path


def test_a_table_of_every_check(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["flips", *map(str, ["--posed", folders / "renders", "--names", "painted",
                                                          "--views", 2, "--occlusion", "L1", "--teacher", "cnn",
                                                          "--templates", folders / "templates", "--template-every", 1,
                                                          "--shape", folders / "shape.npz", "--out", tmp_path
                                                          / "table"])])
    monkeypatch.setattr(flips, "create_teacher", lambda text: colour_teacher)
    monkeypatch.setattr(flips, "CnnTeacher", lambda: colour_teacher)
    flips.main()
    result = json.loads((tmp_path / "table.json").read_text())
    assert result["split"]["pictures"] == 6 and result["split"]["labels"] == "correspondence"
    assert 3 <= result["split"]["labelled"] <= 6
    checks = ["score", "margin (as it is)", "half turn", "lead over 2 augmented views", "neighbour consistency"]
    assert [row["check"] for row in result["rows"]] == checks
    kept = min(round(0.8 * 6), result["split"]["labelled"])
    assert all(row["80%"]["kept"] == kept and row["80%"]["flips"] <= row["80%"]["wrong"] for row in result["rows"])
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2].startswith(f"| check | surest 80%: {kept} |") and len(lines) == 4 + len(checks)


def test_rendering_tells_a_pose_from_its_half_turn(tmp_path):
    ask = flips.by_rendering(write_painted_bundle(tmp_path / "bundle"))
    T = look_at(35, 10)
    candidates, check = ask(photo_of(T))
    assert np.rad2deg(rotation_angle(candidates[0].rotation, allocentric(T))) < 10
    R = candidates[0].rotation
    assert check(R) > 0.1 and check(R @ HALF_TURN) < 0


def test_a_labeller_has_to_be_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["flips", "--posed", str(tmp_path), "--out", str(tmp_path / "x")])
    with pytest.raises(SystemExit):
        flips.parse()
    assert "give either --bundle or --teacher" in capsys.readouterr().err


def test_label_files_against_a_better_model(tmp_path, monkeypatch):
    def label(azimuth, margin):
        return Label(look_at(azimuth, 8.0), SIZE, 0.5, margin, 1.0)

    reference = {f"{i}": label(10 * i, 0.3) for i in range(10)} | {"unsure": label(0, 0.01)}
    found = {f"{i}": label(10 * i + (180 if i in (3, 4) else 20 if i == 5 else 0), 0.5 if i == 4 else 0.2 - 0.01 * i)
             for i in range(9)} | {"9": None, "unsure": label(180, 0.9)}
    for name, labels in (("reference", reference), ("found", found)):
        write_labels(tmp_path / f"{name}.npz", labels)
    monkeypatch.setattr(sys, "argv", ["agreement", "--reference", str(tmp_path / "reference.npz"), "--labels",
                                      str(tmp_path / "found.npz"), "--out", str(tmp_path / "table")])
    agreement.main()
    row, = json.loads((tmp_path / "table.json").read_text())
    assert (row["asked"], row["labelled"]) == (10, 9)
    assert (row["acc30"], row["acc10"], row["flips"]) == (0.7, 0.6, 0.2)
    assert row["40%"] == {"kept": 4, "wrong": 1, "flips": 1, "exact": 3}  # picture 4, and the surest that are right
    assert "| found | 2 (2) |" in (tmp_path / "table.md").read_text()
