# SPDX-License-Identifier: Apache-2.0
"""Names of version 0.1 still do what they did, with a note; a name that is given twice is refused."""

import argparse
import json

import cv2
import numpy as np
import pytest
import yaml
from train_options import options

pytest.importorskip("torch", reason="training extra is not installed")


from dinemo_training.run import old_names
from dinemo_training.run.arguments import parsed
from dinemo_training.run.inputs import resolve
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import CONFIGS, RecipeError, build_recipe, dump_recipe
from dinemo_training.run.run_folder import RunFolder, Stage

CAR = CONFIGS / "car.yaml"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a CAD model and a turntable sequence, which is also the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cad").mkdir()
    (tmp_path / "cad" / "one.obj").write_text("v 0 -3 0\nv 2 0 0\nv 0 0 1\nf 1 2 3\n")
    (tmp_path / "videos" / "x").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "videos" / "x" / "0.jpg"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "videos" / "azimuth.json").write_text(json.dumps({"x": {"azimuth_deg": {"0.jpg": 0.0}}}))
    return tmp_path


def recipe_of(section: str, **keys):
    data = yaml.safe_load(CAR.read_text())
    (data["data"] if section == "data" else data["rounds"][0]).update(keys)
    return build_recipe(data, "my.yaml")


@pytest.mark.parametrize("section, old, new, value", [
    ("data", "spins", "turntables", "videos"), ("data", "spin_names", "turntable_names", ["a"]),
    ("rounds", "look_alikes", "neighbour_consistency", False)])
def test_old_keys_of_a_recipe_are_read_and_new_ones_written(capsys, section, old, new, value):
    recipe = recipe_of(section, **{old: value})
    note = capsys.readouterr().err
    assert note.startswith("note: my.yaml") and f"the key {old} is now called {new};" in note
    assert len(note.splitlines()) == 1
    assert recipe == recipe_of(section, **{new: value})
    assert f"{new}:" in dump_recipe(recipe) and f"{old}:" not in dump_recipe(recipe)
    assert not capsys.readouterr().err
    with pytest.raises(RecipeError, match=f"{old} is the old name of {new}, and both are given; leave {old} out"):
        recipe_of(section, **{old: value, new: value})


def test_an_option_of_a_renderer_finds_what_a_key_was_called():
    recipe = recipe_of("data", turntables="videos")
    assert recipe.value("data.spins") == recipe.value("data.turntables") == "videos"


def test_every_old_key_stands_for_one_that_exists():
    recipe = build_recipe(yaml.safe_load(CAR.read_text()), "my.yaml")
    for old, new in old_names.KEYS.items():
        section, name = new.split(".")
        part = recipe.data if section == "data" else recipe.rounds[0]
        assert hasattr(part, name) and not hasattr(part, old.split(".")[1])


CUP = ("--category", "mug", "--shape", "cad", "--size", "1x1x1")


def test_spins_of_the_command_line(place, capsys):
    new = resolve(options(*CUP, "--turntables", "videos"))
    assert new.data.turntables == str(place / "videos") and not capsys.readouterr().err
    assert resolve(options(*CUP, "--spins", "videos")) == new
    assert capsys.readouterr().err.startswith("note: --spins is now called --turntables;")
    with pytest.raises(RecipeError, match="--spins is the old name of --turntables, and both are given"):
        resolve(options(*CUP, "--spins", "videos", "--turntables", "videos"))


def test_an_old_stage_is_called_by_its_new_name(capsys):
    assert options("tokens1").stage == "features1"
    assert capsys.readouterr().err.startswith("note: the stage tokens is now called features;")
    assert options("features").stage == "features" and not capsys.readouterr().err


@pytest.mark.parametrize("old, new", sorted(old_names.OPTIONS.items()))
@pytest.mark.parametrize("form", ["{} DIR", "{}=DIR"])
def test_old_options_of_other_commands(capsys, old, new, form):
    def parser(name):
        made = argparse.ArgumentParser()
        made.add_argument(name, dest="value")
        return made

    assert parsed(parser(new), form.format(old).split()).value == "DIR"
    assert capsys.readouterr().err.startswith(f"note: {old} is now called {new};")
    assert parsed(parser(new), form.format(new).split()).value == "DIR" and not capsys.readouterr().err
    assert parsed(parser(old), form.format(old).split()).value == "DIR" and not capsys.readouterr().err  # its own


@pytest.mark.parametrize("name", sorted(old_names.FILES))
def test_results_of_an_earlier_release_are_found(tmp_path, name):
    old, new = tmp_path / old_names.FILES[name], tmp_path / name
    assert old_names.existing(tmp_path, name) == new
    old.mkdir()
    assert old_names.existing(tmp_path, name) == old
    new.mkdir()
    assert old_names.existing(tmp_path, name) == new


def test_a_stage_that_was_finished_under_its_old_name_stays_finished(tmp_path):
    done = []
    old = Stage("tokens0", "", lambda: done.append("old"), {"views": 3}, outputs=(tmp_path / "tokens",))
    (tmp_path / "tokens").mkdir()
    folder = RunFolder(tmp_path)
    folder.execute(old)
    new = Stage("features0", "", lambda: done.append("new"), {"views": 3}, outputs=(tmp_path / "tokens",),
                formerly="tokens0")
    again = RunFolder(tmp_path)
    assert again.key(new) == folder.key(old) and again.state(new) == "done" and not again.execute(new)
    assert done == ["old"]


def test_keys_of_stages_do_not_depend_on_how_a_recipe_calls_them(tmp_path):
    """Those of version 0.1: whoever goes on with an old run folder keeps what was made there."""
    def settings(**keys):
        recipe = recipe_of("data", **keys)
        return {stage.name: stage.settings for stage in stages_of(recipe, RunFolder(tmp_path), tmp_path / "out")}

    assert settings(spins="s", spin_names=["a"])["evaluate"] == {"count": 300, "spins": ["a"]}
    assert settings(turntables="s", turntable_names=["a"]) == settings(spins="s", spin_names=["a"])
