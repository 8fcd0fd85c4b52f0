# SPDX-License-Identifier: Apache-2.0
"""Nothing is measured on what it was trained on, whatever it is called; and where held out means less, it is said."""

import argparse
import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from shared_data import shared_data

pytest.importorskip("torch", reason="training extra is not installed")

from dinemo_ros.cli import train as command
from dinemo_training.evaluation import kept_pictures
from dinemo_training.run.inputs import resolve
from dinemo_training.run.leakage import mean_files, notes, require_separate
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import Data, Recipe, RecipeError, Synthetic
from dinemo_training.run.run_folder import RunFolder


def options(*words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["train", *map(str, words)])


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8))


def model(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"v 0 -3 0\nv 2 0 0\nv 0 0 {number}\nf 1 2 3\n")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """CAD models and photographs, sequences to train on and others to measure on."""
    monkeypatch.chdir(tmp_path)
    for k in range(5):
        model(tmp_path / "cad" / f"{k}.obj", k + 1)
    for k, name in enumerate(("photos/0", "none/0", "seq/a/0", "seq/b/0", "turntables/x/0", "turntables/y/0")):
        picture(tmp_path / f"{name}.png", k)
    (tmp_path / "seq" / "azimuth.json").write_text(json.dumps({"a": {"azimuth_deg": {"0.png": 0.0}}}))
    table = {name: {"azimuth_deg": {"0.png": 0.0}} for name in ("x", "y")}
    (tmp_path / "turntables" / "azimuth.json").write_text(json.dumps(table))
    return tmp_path


WORDS = ["--category", "mug", "--shape", "cad", "--size", "1x1x1", "--sequences", "seq", "--images", "photos",
         "--negatives", "none"]


def test_sequences_of_their_own_are_fine(place):
    require_separate(resolve(options(*WORDS, "--turntables", "turntables")))


def test_the_folder_that_is_trained_on_is_not_measured_on(place):
    with pytest.raises(RecipeError, match="data.reference: .*seq/a/0.png is trained on and stands in data.turntables"):
        require_separate(resolve(options(*WORDS, "--turntables", "seq")))
    with pytest.raises(RecipeError, match="is trained on and stands in data.turntables"):
        command.run(options(*WORDS, "--turntables", "seq", "--run", "run", "--dry-run"))
    assert not (place / "run").exists()


@pytest.mark.parametrize("folder", ["photos", "none", "seq/a", "seq/b"])
@pytest.mark.parametrize("kind", ["copy", "symbolic link", "hard link"])
def test_doubles_by_any_name_are_found(place, folder, kind):
    double = place / folder / "innocent.PNG"
    frame = place / "turntables" / "y" / "0.png"
    {"copy": shutil.copyfile, "symbolic link": os.symlink, "hard link": os.link}[kind](frame, double)
    with pytest.raises(RecipeError,
                       match="innocent.PNG is trained on and its double .*turntables/y/0.png stands") as caught:
        require_separate(resolve(options(*WORDS, "--turntables", "turntables")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("folder", "key"), [("photos", "data.photographs"), ("none", "data.negatives"),
                                             ("seq/a", "data.reference"), ("seq/b", r"data.sequences\[0\]")])
def test_a_picture_that_is_kept_to_measure_on_is_refused_by_its_content(place, monkeypatch, folder, key):
    picture(place / folder / "innocent.png", 99)
    digest = hashlib.sha256((place / folder / "innocent.png").read_bytes()).hexdigest()
    (place / "list").write_text(f"{digest}  cups/mug/000.jpg\n")
    monkeypatch.setattr("dinemo_training.run.leakage.kept_pictures",
                        lambda: kept_pictures.KeptPictures.read(place / "list"))
    with pytest.raises(RecipeError, match=f"{key}: .*innocent.png is cups/mug/000.jpg, which is kept to measure on"):
        require_separate(resolve(options(*WORDS)))
    picture(place / folder / "innocent.png", 98)
    require_separate(resolve(options(*WORDS)))


@pytest.mark.parametrize("name", ["eth6/000", "coil59/071", "coil24/013", "coffee_mug_1/2_17_color",
                                  "water_bottle_3/1_1_color"])
def test_a_sequence_that_is_kept_to_measure_on_is_refused_by_its_names(place, name):
    """Scaled or compressed anew the content is another one."""
    picture(place / "seq" / f"{name}.png", 7)
    with pytest.raises(RecipeError, match=f"seq/{name}.png is .*{name.partition('/')[0]}.*kept to measure on"):
        require_separate(resolve(options(*WORDS)))


@pytest.mark.parametrize("name", ["coil16/000", "coil10/000", "coil5/000", "coffee_mug_1/1_17_color", "eth/000"])
def test_sequences_that_may_be_trained_on_are_none_of_them(name):
    folder, stem = name.split("/")
    assert kept_pictures.kept_pictures().name_of(Path(folder, f"{stem}.jpg"), "0" * 64) is None


def test_every_object_of_the_split_that_is_measured_on_is_kept():
    parts = yaml.safe_load((kept_pictures.SPLITS / "household.yaml").read_text())["parts"]
    folders = {folder for folder, _ in kept_pictures.kept_pictures().by_name}
    assert folders == {*parts["development"], *parts["reserved"], "coffee_mug_1", "water_bottle_3"}
    assert not folders & {*parts["trainable"]}
    counts = {name: sum(folder == name for folder, _ in kept_pictures.kept_pictures().by_name) for name in folders}
    assert {counts[f"eth{k}"] for k in (1, 2, 3, 6, 7)} == {41}
    assert {counts[f"coil{k}"] for k in (59, 89, 24, 33, 50)} == {72}
    assert (counts["coffee_mug_1"], counts["water_bottle_3"]) == (60, 97)


def test_the_list_of_kept_pictures_is_that_of_the_data():
    data = shared_data("cups_spin").parent
    for digest, path in list(kept_pictures.kept_pictures().by_digest.items())[::37]:
        assert hashlib.sha256((data / path).read_bytes()).hexdigest() == digest, path


def test_only_the_sequences_that_are_measured_on_count(place):
    shutil.copyfile(place / "turntables" / "y" / "0.png", place / "photos" / "1.png")
    recipe = resolve(options(*WORDS, "--turntables", "turntables"))
    data = recipe.data
    require_separate(Recipe("mug", [1, 1, 1], data=Data(shape=data.shape, photographs=data.photographs,
                                                        turntables=data.turntables, turntable_names=["x"])))


def test_pictures_that_renders_are_made_with_count(place):
    """Backgrounds for instance; a folder below another one, too."""
    picture(place / "walls" / "deep" / "0.png", 4)  # that of turntables/x
    data = resolve(options(*WORDS, "--turntables", "turntables")).data
    recipe = Recipe("mug", [1, 1, 1], data=data, synthetic=Synthetic(options={"backgrounds": str(place / "walls")}))
    with pytest.raises(RecipeError, match="synthetic.options.backgrounds: .*deep/0.png is trained on"):
        require_separate(recipe)


@pytest.mark.parametrize("kind", [shutil.copyfile, os.symlink])
def test_a_held_out_model_is_drawn_under_no_other_name(place, kind):
    recipe = resolve(options(*WORDS))
    require_separate(recipe)
    (place / "cad" / "1.obj").unlink()
    kind(place / "cad" / "3.obj", place / "cad" / "1.obj")  # every fourth is held out
    with pytest.raises(RecipeError, match="1.obj is drawn for training and its double .*3.obj stands to measure on"):
        require_separate(recipe)


def test_models_of_ones_own_to_measure_on(place):
    model(place / "more" / "9.obj", 9)
    data = resolve(options(*WORDS)).data

    def recipe():
        return Recipe("mug", [1, 1, 1], data=data,
                      synthetic=Synthetic(held_out_options={"cad": [str(place / "more")]}))

    require_separate(recipe())
    model(place / "more" / "0.obj", 1)
    with pytest.raises(RecipeError, match="cad/0.obj is drawn for training and its double .*more/0.obj"):
        require_separate(recipe())


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (3, 0), (4, 1), (5, 1)])
def test_few_models_hold_none_out_and_that_is_said(place, count, held_out, capsys):
    for k in range(count, 5):
        (place / "cad" / f"{k}.obj").unlink()
    recipe = resolve(options(*WORDS))
    said = [note for note in notes(recipe) if f"show the {count} models that training draws, too" in note]
    assert len(said) == (0 if held_out else 1)
    assert [file.name for file in mean_files(recipe)[1]] == ["3.obj"][:held_out]
    assert len(mean_files(recipe)[0]) == count - held_out
    assert command.run(options(*WORDS, "--run", "run", "--dry-run")) == 0
    assert ("note: held-out renders show" in capsys.readouterr().err) == (not held_out)


def test_the_mean_mesh_is_made_without_held_out_models(place):
    """Nor of a copy that lies elsewhere; and a run that had them in it starts over."""
    data = resolve(options(*WORDS)).data
    shutil.copytree(place / "cad", place / "shapes")
    recipe = Recipe("mug", [1, 1, 1], data=Data(shape=[str(place / "shapes")], renders=data.renders))
    kept, left_out = mean_files(recipe)
    assert [f.name for f in left_out] == ["3.obj"] and len(kept) == 4
    stage = stages_of(recipe.adapted(), RunFolder(place / "run"), place / "out")[0]
    assert stage.name == "shape" and stage.settings["left_out"] == ["3.obj"]


def test_a_finished_mesh_is_not_vouched_for(place):
    data = resolve(options(*WORDS)).data
    recipe = Recipe("mug", [1, 1, 1], data=Data(shape=["mesh.npz"], renders=data.renders))
    assert any("finished one" in note for note in notes(recipe)) and mean_files(recipe) == ([], [])
    assert notes(Recipe("mug", [1, 1, 1], data=Data(shape=["box:1x1x1"], renders=data.renders))) == []


def test_renderers_that_know_their_models(place):
    """Vessels and cars: which ones are held out stands in their lists."""
    for name in ("01", "02", "03", "04", "06"):
        model(place / "cups" / f"{name}.obj", int(name))
    spec = Synthetic("tabletop", options={"category": "cup"})
    cups = Recipe("cup", [1, 1, 1], data=Data(shape=["box:1x1x1"], renders={"cad": [str(place / "cups")]}),
                  synthetic=spec)
    require_separate(cups)
    assert notes(cups) == []
    shutil.copyfile(place / "cups" / "02.obj", place / "cups" / "04.obj")
    with pytest.raises(RecipeError, match="04.obj is drawn for training and its double .*02.obj"):
        require_separate(cups)
    for number, name in enumerate(("hatchback/meshes/hatchback.obj", "suv/meshes/suv.obj")):
        model(place / "gazebo" / name, number)
    cars = Recipe("car", [1, 1, 1], data=Data(shape=["box:1x1x1"], renders={"gazebo": str(place / "gazebo")}),
                  synthetic=Synthetic("dataset"))
    require_separate(cars)
    shutil.copyfile(place / "gazebo/hatchback/meshes/hatchback.obj", place / "gazebo/suv/meshes/suv.obj")
    with pytest.raises(RecipeError, match="suv.obj is drawn for training and its double .*hatchback.obj"):
        require_separate(cars)


def test_negatives_count_where_no_render_shows_them(place):
    picture(place / "none" / "1.png", 4)  # that of turntables/x
    data = resolve(options(*WORDS, "--turntables", "turntables")).data
    with pytest.raises(RecipeError, match="data.negatives: .*none/1.png is trained on"):
        require_separate(Recipe("mug", [1, 1, 1], data=data, synthetic=Synthetic(options={})))
