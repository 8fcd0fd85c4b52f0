# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Single stages: options of renderers, several GPUs by Accelerate with the same settings as one, publishing."""

import sys
from dataclasses import replace

import numpy as np
import pytest

for _module in ("torch", "timm", "accelerate", "onnx", "trimesh", "skimage"):
    pytest.importorskip(_module, reason="training extra is not installed")

import torch
from painted_car import write_painted_bundle
from posed_car import car_shape, posed_crop, random_pose

from dinemo_ros.model.bundle import load_bundle
from dinemo_training.data.posed_crops import save_labels, save_picture
from dinemo_training.models import contrastive as train
from dinemo_training.pseudo_labels.correspondence import ONE_WAY
from dinemo_training.run import stages
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import Data, Learning, Recipe, RecipeError, Round
from dinemo_training.run.run_folder import RunFolder
from dinemo_training.run.stages import Work, command
from dinemo_training.synthetic.shape.mean_mesh import save_shape

RECIPE = Recipe("car", [4.0, 1.8, 1.5], data=Data(shape=["x.obj"], renders={"cad": ["x.obj"]}, negatives=None),
                learning=Learning(batch=3, crop=96, lr=0.002, sigma=0.05, temperature=0.06, workers=0),
                rounds=[Round({"synthetic": 0.7}, 5)], average=1, seed=4)


@pytest.mark.parametrize(("value", "expected"), [
    (True, ["--held-out"]), (False, []), (None, []), ([0, 60], ["--held-out", "0", "60"]), ("x", ["--held-out", "x"]),
    ("$size", ["--held-out", "4.0", "1.8", "1.5"]), ("$data.negatives", []), ("$mesh.axes", ["--held-out", "pascal3d"]),
])
def test_options_of_a_renderer(value, expected):
    assert Work._option("held_out", RECIPE.resolved({"x": value})["x"]) == expected


def test_a_command_that_fails_says_which():
    with pytest.raises(RecipeError, match="dinemo_training.synthetic.render.nothing ended with exit code 1; its "
                                          "message is above"):
        command("-m", "dinemo_training.synthetic.render.nothing")


def test_several_gpus_train_with_the_settings_of_one(tmp_path, monkeypatch):
    """What Accelerate is told to run ends in the same call of ``train`` as without it."""
    crop = posed_crop(random_pose(np.random.default_rng(0)), side=64)
    save_picture(tmp_path / "synthetic", "a", crop.image(), crop.foreground())
    save_labels(tmp_path / "synthetic", ["a"], crop.K[None], crop.T_cam_obj[None], crop.size[None])
    shape = car_shape()
    save_shape(tmp_path / "shape.npz", shape.vertices, shape.faces)
    calls = []

    def told(pools, shape, out, config, **options):
        options.pop("checkpoint_every", None)  # decides what a kill costs, not what comes out
        calls.append(([(len(crops), share) for crops, share in pools], out, config, options))

    def launched(*arguments):
        assert arguments[:4] == ("-m", "accelerate.commands.launch", "--multi_gpu", "-m")
        monkeypatch.setattr(sys, "argv", [str(a) for a in arguments[4:]])
        train.main()

    monkeypatch.setattr(train, "train", told)
    monkeypatch.setattr(stages, "train", told)
    monkeypatch.setattr(stages, "command", launched)
    work, pools = Work(RECIPE, tmp_path), {tmp_path / "synthetic": 0.7}
    for gpus in (0, 2):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        work._optimise(pools, tmp_path / "round0", 0, tmp_path / "before.pt")
    assert calls[0] == calls[1]
    config = calls[0][2]
    assert (config.steps, config.batch, config.lr, config.sigma, config.temperature) == (5, 3, 0.002, 0.05, 0.06)
    assert config.seed == 4 and config.augmentation.size == 96


def test_publishing_keeps_documents_and_replaces_an_older_bundle(tmp_path):
    work, out = Work(RECIPE, tmp_path / "run"), tmp_path / "engines" / "car"
    write_painted_bundle(work.bundle)
    write_painted_bundle(out)
    (out / "README.md").write_text("model card")
    (out / "mesh.npz").write_bytes(b"old")
    figures = work.publish(out)
    assert figures["megabytes"] < 1 and (out / "README.md").read_text() == "model card"
    assert load_bundle(out).card == load_bundle(work.bundle).card
    assert not list(out.glob("*.tmp"))


def test_a_round_without_labelled_photographs_is_told_so(tmp_path):
    recipe = replace(RECIPE, rounds=[Round({"photographs": 1.0}, 5)])
    with pytest.raises(RecipeError, match="round 0 trains on photographs, but no round up to it labels them"):
        Work(recipe, tmp_path).train(0)


@pytest.mark.parametrize(("bidirectional", "expected"), [(True, None), (False, ONE_WAY)])
def test_a_round_can_label_without_the_bidirectional_step(tmp_path, monkeypatch, bidirectional, expected):
    asked = []
    monkeypatch.setattr(stages, "correspondence_labeller", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(Work, "_mesh", lambda self: None)
    monkeypatch.setattr(stages, "load_posed_crops", lambda folder: [])
    work = Work(RECIPE, tmp_path)
    work._labeller(Round({"photographs": 1.0}, 5, labels="correspondence", bidirectional=bidirectional), 0)
    assert asked[0][-1] == expected


def test_switching_the_step_off_labels_anew_and_leaves_other_runs_alone(tmp_path):
    """A run folder from before the key existed must not start over."""
    round_on = Round({"photographs": 1.0}, 5, labels="correspondence")
    recipe = replace(RECIPE, data=replace(RECIPE.data, photographs="photos", reference="turntable", azimuths="a.json"))
    labels = {}
    for spec in (round_on, replace(round_on, bidirectional=False)):
        found = stages_of(replace(recipe, rounds=[spec]), RunFolder(tmp_path), tmp_path)
        labels[spec.bidirectional] = next(s for s in found if s.name == "labels0").settings
    assert "bidirectional" not in labels[True] and labels[True]["look_alikes"]
    assert labels[False] == labels[True] | {"bidirectional": False}


def test_neighbours_count_in_labels_by_correspondence_alone():
    spec = Round({"photographs": 1.0}, 5, labels="correspondence")
    assert RECIPE.uses_neighbours(spec)
    assert not RECIPE.uses_neighbours(replace(spec, neighbour_consistency=False))
    assert not RECIPE.uses_neighbours(replace(spec, labels="render"))
    bottle = replace(RECIPE, card={"symmetry": {"axis": "z", "order": 0}})
    assert not bottle.uses_neighbours(spec)  # turned round, a bottle is the same
