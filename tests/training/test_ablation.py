# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The ablation command on painted cars with exact truth."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "numba"):
    pytest.importorskip(_module, reason="training extra is not installed")

from posed_car import car_shape, look_at, posed_crop

from dinemo_ros.geometry import allocentric, mirror_rotation
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler
from dinemo_training.data.label_store import write_labels
from dinemo_training.data.posed_crops import CROP_SIDE, load_posed_crops, save_labels, save_picture
from dinemo_training.evaluation.ablation import __main__ as ablation
from dinemo_training.evaluation.ablation.examples import labelled_examples, posed_examples
from dinemo_training.evaluation.ablation.measure import Outcome, measure, summarise
from dinemo_training.evaluation.ablation.tables import short
from dinemo_training.evaluation.ablation.variants import BIDIRECTIONAL, PARTS, Variant
from dinemo_training.pseudo_labels.bidirectional import BidirectionalLabeller
from dinemo_training.pseudo_labels.mirror_check import Candidate, Label
from dinemo_training.pseudo_labels.template_bank import build_bank

SHAPE = car_shape()
SIZE = np.array(SHAPE.size)


def colour_teacher(images):
    """Sees colours only, at stride 8; the painted car's colours are its coordinates."""
    return torch.nn.functional.normalize(torch.nn.functional.avg_pool2d(images, 8) - 127.5, dim=1)


def store(folder, azimuths, prefix):
    crops = [posed_crop(look_at(a, 10), name=f"{prefix}_{a:03.0f}", side=CROP_SIDE) for a in azimuths]
    for crop in crops:
        save_picture(folder, crop.name, crop.image(), crop.foreground())
    save_labels(folder, [c.name for c in crops], *(np.stack([getattr(c, f) for c in crops])
                                                   for f in ("K", "T_cam_obj", "size")))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Templates all around, and renders in between to measure on; the shape."""
    path = tmp_path_factory.mktemp("ablation")
    store(path / "templates", range(0, 360, 20), "painted")
    store(path / "renders", (33, 150, 265), "render")
    np.savez(path / "shape.npz", vertices=SHAPE.vertices, faces=SHAPE.faces, normals=SHAPE.normals)
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["ablation", *map(str, arguments)])
    monkeypatch.setattr(ablation, "create_teacher", lambda text, cache: colour_teacher)
    ablation.main()


def test_a_table_of_every_switch(folders, tmp_path, monkeypatch):
    """Both sides of this car have their own colours, so mirrored templates mislead here."""
    run(monkeypatch, "--templates", folders / "templates", "--template-every", 1, "--shape", folders / "shape.npz",
        "--posed", folders / "renders", "--cache", tmp_path, "--out", tmp_path / "table")
    result = json.loads((tmp_path / "table.json").read_text())
    assert result["split"] == {"templates": ["painted"], "views": 18, "measured on": {"synthetic": 3}}
    rows = {row["variant"]: row["all"] for row in result["rows"]}
    assert list(rows) == [v.name for v in BIDIRECTIONAL + PARTS]
    plain = rows["no mirrored templates, no mirror check"]
    assert plain["acc10"] == 1 and plain["coverage"] == 1 and plain["median_deg"] < 6
    assert plain["pck"] > 0.8 and plain["wrong_side"] < 0.1
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert sum(line.startswith("| cnn |") for line in lines) == len(rows)
    assert f"| {100 * plain['pck']:.0f} |" in next(line for line in lines if "templates, no mirror check" in line)


def test_a_template_is_not_measured_on(folders, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="painted: a template cannot be measured on"):
        run(monkeypatch, "--templates", folders / "templates", "--names", "painted", "--shape", folders / "shape.npz",
            "--turntables", tmp_path, "--only", "painted", "--cache", tmp_path, "--out", tmp_path / "table")


def test_unknown_templates_and_nothing_to_measure_on_are_told(folders, tmp_path, monkeypatch):
    common = ["--templates", folders / "templates", "--shape", folders / "shape.npz", "--cache", tmp_path, "--out",
              tmp_path / "table"]
    with pytest.raises(ValueError, match="no template views of other; there are painted"):
        run(monkeypatch, *common, "--names", "other")
    with pytest.raises(ValueError, match="nothing to measure on"):
        run(monkeypatch, *common)


def test_rows_are_chosen_by_their_words():
    assert [v.name for v in ablation.wanted(["temporal consistency", "mirror check rejects"],
                                            False)] == ["no mirrored templates, mirror check rejects",
                                                        "mirror check rejects",
                                                        "temporal consistency of the turntable's frames"]
    assert ablation.wanted(["all"], False) == BIDIRECTIONAL
    with pytest.raises(ValueError, match="no row named nothing; there are: bidirectional on;"):
        ablation.wanted(["nothing"], True)


def test_frames_of_a_turntable_are_labelled_together(folders):
    """What is known of a turntable is the azimuth; the frames, a third of a turn apart, come in order."""
    frames = [replace(e, group="turntable", rotation=None, crop=None) for e in posed_examples(folders / "renders", 3)]
    sampler = CorrespondenceSampler(SHAPE, AugmentConfig())

    def same_on_both_sides(images):  # green tells left from right on this car; folded, a mirror image is as good
        folded = torch.stack([images[:, 0], 127.5 + (images[:, 1] - 127.5).abs(), images[:, 2]], 1)
        return colour_teacher(folded)

    bank = build_bank(load_posed_crops(folders / "templates"), sampler, same_on_both_sides)
    labeller = BidirectionalLabeller(same_on_both_sides, bank, SHAPE)
    row = Variant("together", temporal=True)
    outcomes = measure(labeller, frames, [row], sampler, "test")[row.name]
    assert [o.group for o in outcomes] == ["turntable"] * 3
    assert all(o.error_deg is not None and o.error_deg < 15 for o in outcomes)


def test_an_example_knows_its_error(folders):
    example = posed_examples(folders / "renders", 3)[0]
    assert example.error_deg(Candidate(look_at(33, 10), SIZE, 1.0)) == pytest.approx(0, abs=1e-3)
    assert example.error_deg(Candidate(look_at(53, 10, centre=(3, 1, 12)), SIZE, 1.0)) == pytest.approx(20, abs=1)
    known_azimuth = type(example)("turntable", "x", example.photo, 33.0)
    assert known_azimuth.error_deg(Candidate(look_at(350, 40), SIZE, 1.0)) == pytest.approx(43, abs=1e-6)
    assert example.to_photo.shape == (2, 3)


def test_photographs_are_compared_with_their_labels(tmp_path):
    image, mask = np.zeros((CROP_SIDE, CROP_SIDE, 3), np.uint8), np.zeros((CROP_SIDE, CROP_SIDE), np.uint8)
    mask[100:200, 40:240] = 255
    labels = {}
    for i, margin in enumerate((0.3, 0.01, 0.2)):
        save_picture(tmp_path, f"{i}", image, mask)
        labels[f"{i}"] = Label(look_at(30 + i, 5), SIZE, 0.5, margin, 2.0)
    write_labels(tmp_path / "found.npz", labels | {"none": None})
    sure = labelled_examples(tmp_path, tmp_path / "found.npz", 10, 0.1)
    assert [e.name for e in sure] == ["0", "2"]
    np.testing.assert_allclose(sure[1].rotation, allocentric(look_at(32, 5)))
    flipped = look_at(32, 5)
    flipped[:3, :3] = mirror_rotation(flipped[:3, :3])
    assert sure[1].error_deg(Candidate(flipped, SIZE, 1.0)) == pytest.approx(64, abs=1)


def test_missing_labels_are_wrong_overall_and_left_out_of_what_is_kept():
    row = summarise([Outcome("a", 4.0), Outcome("a", 175.0), Outcome("a", None), Outcome("a", 20.0)])
    assert row["coverage"] == 0.75 and row["acc30"] == 0.5 and row["acc10"] == 0.25 and row["flips"] == 0.25
    assert row["kept_acc30"] == pytest.approx(2 / 3) and row["kept_flips"] == pytest.approx(1 / 3)
    assert row["kept_median_deg"] == 20.0 and "pck" not in row
    nothing = summarise([Outcome("a", None)])
    assert nothing["kept_acc30"] is None and nothing["coverage"] == 0
    exact = summarise([Outcome("a", 4.0, 0.6, 0.2), Outcome("b", 4.0)])
    assert exact["pck"] == 0.6 and exact["wrong_side"] == 0.2


def test_tables_name_files_without_their_folders():
    assert short("student:/data/runs/car/student.pt") == "student:student.pt"
    assert short("fused:0.6(cnn|vit#-3@/weights/vit.pth)") == "fused:0.6(cnn|vit#-3@vit.pth)"
    assert short("cnn") == "cnn"
