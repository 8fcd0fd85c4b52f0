# SPDX-License-Identifier: Apache-2.0

"""Options of ``dinemo train`` become one recipe, and everything that is wrong with them is one sentence."""

import json

import cv2
import numpy as np
import pytest
from train_options import options

pytest.importorskip("torch", reason="training extra is not installed")

from dinemo_ros.cli import train as command
from dinemo_ros.errors import OutputError
from dinemo_training.run.inputs import parse_size, resolve
from dinemo_training.run.recipe import RecipeError
from dinemo_training.run.run_folder import RunError

CAD = ["--category", "mug", "--shape", "cad", "--size", "1x1x1"]
WEDGE = "v 0 -3 0\nv 2 0 0\nv 0 0 1\nf 1 2 3\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with CAD models, photographs and three sequences, which is also the current folder."""
    monkeypatch.chdir(tmp_path)
    for folder in ("cad", "photos", "empty", "seq/a", "seq/b", "seq/c"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("one.obj", "two.off"):
        (tmp_path / "cad" / name).write_text(WEDGE)
    for folder in ("photos", "seq/a", "seq/b", "seq/c"):
        cv2.imwrite(str(tmp_path / folder / "0.jpg"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "seq" / "azimuth.json").write_text(json.dumps({"b": {"azimuth_deg": {"0.jpg": 0.0}}}))
    return tmp_path


def test_cad_and_size_are_enough(place):
    recipe = resolve(options("--category", "mug", "--shape", "cad", "--size", "0.12x0.09x0.10"))
    assert recipe.size == [0.12, 0.09, 0.10] and recipe.sources() == {"synthetic", "negatives"}
    assert recipe.data.shape == [str(place / "cad")] and recipe.data.renders == {"cad": [str(place / "cad")]}
    assert recipe.synthetic.renderer == "shapes"


def test_a_category_with_a_shipped_recipe_brings_its_settings_but_not_its_data(place):
    recipe = resolve(options("--category", "car", "--shape", "cad", "--images", "photos", "--seed", 7, "--version", 2))
    assert recipe.size == [4.15, 1.70, 1.48] and recipe.seed == 7 and recipe.bundle_card().version == "2"
    assert recipe.data.reference is None and recipe.data.photographs == str(place / "photos")
    assert "sequences" not in recipe.rounds[0].pools and recipe.rounds[1].labels == "render"


def test_a_box_needs_sequences_and_tells_the_size(place):
    recipe = resolve(options("--category", "crate", "--shape", "box:1.2x0.8x0.5", "--sequences", "seq"))
    assert recipe.size == [1.2, 0.8, 0.5] and recipe.sources() == {"sequences", "negatives"}
    assert recipe.data.reference == str(place / "seq" / "b")
    assert recipe.data.sequences == [str(place / "seq" / name) for name in ("a", "c")]


def test_which_sequence_is_the_reference_must_be_clear(place):
    table = {name: {"azimuth_deg": {"0.jpg": 0.0}} for name in ("a", "b")}
    (place / "seq" / "azimuth.json").write_text(json.dumps(table))
    words = ["--category", "crate", "--shape", "box:1x1x1", "--sequences", "seq"]
    with pytest.raises(RecipeError, match="azimuths of 2 sequences; give --reference NAME, one of a, b"):
        resolve(options(*words))
    assert resolve(options(*words, "--reference", "a")).data.reference == str(place / "seq" / "a")
    with pytest.raises(RecipeError, match="has no sequence 'c'"):
        resolve(options(*words, "--reference", "c"))


def test_paths_of_a_recipe_start_at_data(place, tmp_path):
    (place / "mug.yaml").write_text("category: mug\nsize: [1, 1, 1]\ndata: {shape: [cad], renders: {cad: cad}}\n"
                                    "rounds: [{steps: 1, pools: {synthetic: 1}}]\naverage: 1\n")
    (place / "elsewhere").mkdir()
    (place / "cad").rename(place / "elsewhere" / "cad")
    recipe = resolve(options("--config", "mug.yaml", "--data", "elsewhere"))
    assert recipe.data.shape == [str(place / "elsewhere" / "cad")] and len(recipe.rounds) == 1
    with pytest.raises(RecipeError, match="cad does not exist; relative paths of a recipe start at --data"):
        resolve(options("--config", "mug.yaml"))


def test_models_of_the_command_line_are_drawn_where_a_recipe_names_none(place):
    """"give CAD models with --shape" would be no answer to who gave them."""
    text = "category: mug\nsize: [1, 1, 1]\nrounds: [{steps: 1, pools: {synthetic: 1}}]\naverage: 1\n"
    (place / "mug.yaml").write_text(text)
    recipe = resolve(options("--config", "mug.yaml", "--shape", "cad"))
    assert recipe.data.renders == {"cad": [str(place / "cad")]}
    (place / "other").mkdir()
    (place / "mug.yaml").write_text(text + "data: {renders: {cad: other}}\n")
    assert resolve(options("--config", "mug.yaml", "--shape", "cad")).data.renders == {"cad": [str(place / "other")]}


@pytest.mark.parametrize(("words", "message"), [
    ([*CAD, "--turntables", "photos"], "data.turntables: .*azimuth.json: cannot be read"),
    (["--category", "mug", "--shape", "nix", "--size", "1x1x1"], "^shape: .*nix does not exist"),
    ([], "no category: give --category NAME, a --config, or the --run folder"),
    (["--category", "mug", "--shape", "cad"], "no size known.*give --size LENGTHxWIDTHxHEIGHT"),
    (["--category", "mug", "--size", "1x1x1"], "no shape: give --shape"),
    (["--category", "mug", "--shape", "box:1x2"], "'box:1x2' is not LENGTHxWIDTHxHEIGHT in metres"),
    (["--category", "mug", "--shape", "box:1x1x1"], "which way an object is turned"),
    (["--category", "mug", "--shape", "nowhere", "--size", "1x1x1"], "nowhere does not exist"),
    (["--category", "mug", "--shape", "empty", "--size", "1x1x1"], "empty: no CAD model there; allowed: .glb"),
    (["--category", "mug", "--shape", "photos/0.jpg", "--size", "1x1x1"], "0.jpg: not a CAD model"),
    ([*CAD, "--images", "empty"], "empty is no folder with pictures"),
    ([*CAD, "--images", "gone"], "data.photographs: .*gone does not"),
    ([*CAD, "--sequences", "gone"], "--sequences gone: no such folder"),
    ([*CAD, "--sequences", "cad"], "no sub-folder with pictures"),
    ([*CAD, "--reference", "a"], "give --sequences too"),
    ([*CAD, "--renders", "cad"], "--renders 'cad' is not NAME=DIR"),
    (["--category", "Mug!", "--shape", "cad", "--size", "1x1x1"], "card: category is 'Mug!'; allowed: lower-case"),
    (["--config", "gone.yaml"], "gone.yaml: cannot be read"),
])
def test_what_is_missing_or_wrong_is_one_sentence(place, words, message):
    with pytest.raises(RecipeError, match=message) as caught:
        resolve(options(*words))
    assert "\n" not in str(caught.value)


def test_a_recipe_of_another_category_is_refused(place):
    (place / "mug.yaml").write_text("category: mug\nsize: [1, 1, 1]\n")
    with pytest.raises(RecipeError, match="is a recipe of 'mug', but --category is 'car'"):
        resolve(options("--config", "mug.yaml", "--category", "car"))


def test_a_dry_run_leaves_nothing_behind(place, capsys):
    """Nor does a command that is refused."""
    before = sorted(place.rglob("*"))
    assert command.run(options(*CAD, "--images", "photos", "--dry-run")) == 0
    assert "photographs" in capsys.readouterr().out
    with pytest.raises(RecipeError):
        command.run(options("--category", "mug", "--shape", "nowhere", "--size", "1x1x1"))
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("text", ["", "1x1", "1x1x0", "1x1xnan", "axbxc", "1x1x1x1", "4x-1x2"])
def test_sizes_that_are_none(text):
    with pytest.raises(RecipeError, match="is not LENGTHxWIDTHxHEIGHT"):
        parse_size(text)


@pytest.mark.parametrize(("words", "says"), [
    (["--images", "data/photographs", "--run", "data"], "data/photographs is written by this run and would replace"),
    (["--shape", "bundle/mesh.npz", "--out", "bundle", "--run", "run"], "bundle/mesh.npz is written by this run"),
])
def test_results_do_not_take_the_place_of_inputs(place, words, says):
    """A stage that starts over removes what it had made: never what somebody brought along."""
    (place / "photos").rename(place / "data")
    (place / "data" / "photographs").mkdir()
    (place / "data" / "0.jpg").rename(place / "data" / "photographs" / "0.jpg")
    (place / "bundle").mkdir()
    np.savez(place / "bundle" / "mesh.npz")
    before = sorted(place.rglob("*"))
    with pytest.raises(RunError, match=says):
        command.run(options(*CAD, *words))
    assert sorted(place.rglob("*")) == before


def test_a_place_for_the_bundle_is_tried_before_the_work(place):
    with pytest.raises(OutputError, match="photos/0.jpg/bundle/model.yaml: cannot be written .Not a directory"):
        command.run(options(*CAD, "--run", "run", "--out", "photos/0.jpg/bundle"))
    assert not (place / "run").exists()
