# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Scaling: subsets are nested, what is missing is one sentence, the table holds means and spreads over seeds."""

import argparse
import csv
from types import SimpleNamespace

import numpy as np
import pytest

for _module in ("torch", "timm", "accelerate", "onnx", "matplotlib"):
    pytest.importorskip(_module, reason="training extra is not installed")

from posed_car import look_at
from unit.planted import SIZE

from dinemo_training.data.label_store import write_labels
from dinemo_training.data.posed_crops import save_picture
from dinemo_training.evaluation.scaling import setting_of, table, write_results, write_subset
from dinemo_training.pseudo_labels.mirror_check import Label
from dinemo_training.run.recipe import RecipeError


@pytest.fixture
def setting(tmp_path):
    """Forty labelled photographs, every fifth without a label."""
    labels = {f"{k:02d}": None if k % 5 == 0 else Label(look_at(9 * k), np.array(SIZE), 0.5, 0.2, 3.0)
              for k in range(40)}
    for name in labels:
        save_picture(tmp_path / "photos", name, np.zeros((8, 8, 3), np.uint8))
    write_labels(tmp_path / "labels.npz", labels)
    return SimpleNamespace(photographs=tmp_path / "photos", labels=tmp_path / "labels.npz", min_score=0.3,
                           min_margin=0.05, keep=0)


def names(folder):
    with np.load(folder / "labels.npz", allow_pickle=False) as data:
        return set(data["names"].tolist())


def test_larger_sets_hold_the_smaller_ones(setting, tmp_path):
    kept = [write_subset(setting, tmp_path / str(count), count) for count in (10, 20, 40)]
    sets = [names(tmp_path / str(count)) for count in (10, 20, 40)]
    assert sets[0] < sets[1] < sets[2] and [len(s) for s in sets] == kept and kept[2] == 32
    assert (tmp_path / "10" / "images" / "07.jpg").is_file()


def test_more_photographs_than_were_labelled_are_refused(setting, tmp_path):
    with pytest.raises(RecipeError, match="40 photographs were labelled or tried, 41 are wanted"):
        write_subset(setting, tmp_path / "x", 41)


def test_labels_that_nobody_trusts_are_refused(setting, tmp_path):
    setting.min_score = 0.9
    with pytest.raises(RecipeError, match="of 10 photographs none has a trusted label"):
        write_subset(setting, tmp_path / "x", 10)


def row(count, seed, acc):
    return {"photographs": count, "labels": count // 2, "seed": seed,
            "held_out": {"n": 60, "acc30": acc, "acc10": acc / 2, "median_deg": 8.0, "flips": 0.0}}


def test_table_and_files(tmp_path):
    lines = table([row(200, 0, 0.8), row(100, 0, 0.6), row(100, 1, 0.7)])
    assert [(line["photographs"], line["seeds"]) for line in lines] == [(100, 2), (200, 1)]
    assert lines[0]["acc30"] == pytest.approx(0.65) and lines[0]["acc30_spread"] == pytest.approx(0.1)
    write_results(tmp_path, lines, "command")
    with (tmp_path / "scaling.csv").open() as file:
        assert [float(r["acc30"]) for r in csv.DictReader(file)] == [0.65, 0.8]
    text = (tmp_path / "scaling.md").read_text()
    assert "| held-out | 100 | 50 | 60 | 65.0 % (10.0) | 32.5 % (5.0) | 8.0° (0.0) | 0.0 % (0.0) |" in text
    assert (tmp_path / "scaling.png").stat().st_size > 5000


def test_without_a_run_every_part_has_to_be_given(tmp_path):
    nothing = argparse.Namespace(run=None, round=1, bundle=None, pool=None, shape=None, photographs=None, labels=None)
    with pytest.raises(RecipeError, match="no shape: not there; give --shape, or --run"):
        setting_of(nothing)
    nothing.shape = tmp_path / "gone.npz"
    with pytest.raises(RecipeError, match="gone.npz: not there; give --shape"):
        setting_of(nothing)
