# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Recipes and run folders of somebody else: they choose what is read, and that is said, never where it is written."""

import argparse
import fcntl
import json
import os
import shutil
import time
from dataclasses import replace

import pytest
from strangers import ROOT_ONLY, given_away

for _module in ("torch", "timm", "onnx", "accelerate", "trimesh", "skimage", "matplotlib", "jinja2", "numba"):
    pytest.importorskip(_module, reason="training extra is not installed")

from dinemo_ros.errors import OutputError
from dinemo_training.run import main as pipeline
from dinemo_training.run import stages
from dinemo_training.run.main import _out_of
from dinemo_training.run.recipe import Data, Recipe, RecipeError, Synthetic, build_recipe
from dinemo_training.run.run_folder import RunError, RunFolder, Stage
from dinemo_training.run.stages import Work
from dinemo_training.synthetic.render import shapes

RECIPE = Recipe("car", [4.0, 1.8, 1.5], data=Data(shape=["x.obj"], renders={"cad": ["x.obj"]}))


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    (folder.path / "stages").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("options", [
    {"out": "/elsewhere"}, {"ou": "/elsewhere"}, {"o": "/elsewhere"}, {"count": 10**9}, {"see": 1},
    {"out=/elsewhere": True}, {"-out": "/elsewhere"}, {"Out": "x"}, {"size": ["4x2x1", "--out", "/elsewhere"]},
    {"axes": "--out=/elsewhere"}, {"axes": "-o"}, {"size": [["--out", "/elsewhere"]]}, {"": 1}, {3: 1},
    {"size": {"--out": 1}}], ids=str)
@pytest.mark.parametrize("key", ["options", "held_out_options", "renders"])
def test_no_option_of_a_renderer_says_where_it_writes(options, key):
    given = {"data": {"renders": options}} if key == "renders" else {"synthetic": {key: options}}
    with pytest.raises(RecipeError, match=f"{key}.* is .*; allowed: "):
        build_recipe({"category": "car", "size": [4.0, 1.8, 1.5], **given}, "recipe")


def test_negative_numbers_and_names_of_files_are_no_options():
    Synthetic(options={"elevation": [-10, 50.5], "tilt": -4, "backgrounds": "$data.negatives", "held-out": True,
                       "axes": None, "photo_corners": "/pictures"})


def test_a_renderer_is_told_last_where_to_write(tmp_path, monkeypatch):
    """Whatever a recipe manages to say before that."""
    words = []
    monkeypatch.setattr(stages, "command", lambda *given: words.extend(map(str, given)))
    monkeypatch.setattr(Work, "_option", staticmethod(lambda name, value: ["--out", "/elsewhere", "--count", "9999"]))
    Work(RECIPE, tmp_path).synthetic()
    assert words[-6:] == ["--out", str(tmp_path / "synthetic"), "--count", "6000", "--seed", "0"]
    assert words[:2] == ["-m", shapes.__name__]


@pytest.mark.parametrize("key", ["__class__", "data.__init__.__globals__", "size.append", "data.nothing", "value"])
def test_keys_of_a_recipe_are_those_that_are_written_in_it(key):
    with pytest.raises(RecipeError, match="is no key of the recipe"):
        RECIPE.resolved({"size": f"${key}"})


@pytest.mark.parametrize("name", ["synthetic", "stages", "round0", "synthetic/images/000000.jpg", "report", "lock",
                                  "config.yaml", "round0/features/tokens.npy"])
@pytest.mark.parametrize("there", [True, False])
def test_a_run_folder_with_a_link_that_leads_out_of_it(folder, tmp_path, name, there):
    """As an archive may bring it, whose links are those of whoever unpacks it."""
    target = tmp_path / "precious"
    if there:
        target.mkdir()
    link = folder.path / name
    if name == "stages":
        link.rmdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))
    arguments = argparse.Namespace(run_folder=str(folder.path), category=None, config=None)
    with pytest.raises(RunError, match=f"{link} leads out of the run folder, to {target}; .* remove the link"):
        pipeline.run(arguments)
    assert not there or not os.listdir(target)


def test_links_inside_of_it_are_its_own_business(folder):
    (folder.path / "a").mkdir()
    (folder.path / "b").symlink_to("a")
    folder.require_closed()


def test_a_run_folder_that_is_a_link_of_ones_own(folder, tmp_path):
    (tmp_path / "link").symlink_to("run")
    RunFolder(tmp_path / "link").require_closed()
    assert RunFolder(tmp_path / "link").execute(Stage("a", "", dict, {}, outputs=(tmp_path / "link" / "stages",)))


@ROOT_ONLY
def test_a_run_folder_behind_a_link_of_another_user(folder, tmp_path):
    (tmp_path / "link").symlink_to("run")
    given_away(tmp_path / "link")
    with pytest.raises(OutputError, match="a link that another user"):
        pipeline.run(argparse.Namespace(run_folder=str(tmp_path / "link"), category=None, config=None))


@pytest.mark.parametrize("name", ["start.json", "stages/shape.json", "lock", "stages.jsonl", "synthetic/pipe"])
def test_a_pipe_in_a_run_folder_is_waited_for_by_nobody(folder, name):
    (folder.path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(folder.path / name)
    began = time.monotonic()
    with pytest.raises(RunError, match=f"{folder.path / name} is neither a file nor a folder"):
        pipeline.run(argparse.Namespace(run_folder=str(folder.path), category=None, config=None))
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("name", ["made", "stages", "round0/made"])
def test_a_stage_does_not_write_through_a_link_that_came_later(folder, tmp_path, name):
    (tmp_path / "precious").mkdir()
    stage = Stage("a", "", lambda: pytest.fail("it ran"), {}, outputs=(folder.path / "made", folder.path / "round0" /
                                                                       "made"))
    link = folder.path / name.split("/")[0]
    if link.is_dir():
        link.rmdir()
    link.symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="leads out of the run folder"):
        folder.execute(stage)
    assert not os.listdir(tmp_path / "precious")


@pytest.mark.parametrize("kind", ["link", "pipe", pytest.param("foreign", marks=ROOT_ONLY)])
def test_the_lock_of_a_run_is_a_file_of_ones_own(folder, tmp_path, kind):
    lock, precious = folder.path / "lock", tmp_path / "precious"
    precious.write_text("precious")
    {"link": lambda: lock.symlink_to(precious), "pipe": lambda: os.mkfifo(lock),
     "foreign": lambda: (lock.touch(), given_away(lock))}[kind]()
    with pytest.raises(RunError, match="lock: cannot be locked .*; remove it, or name another folder with --run"), \
            folder.locked():
        pass
    assert precious.read_text() == "precious"


def test_two_runs_do_not_share_a_folder_and_an_error_inside_is_not_taken_for_that(folder):
    with folder.locked(), pytest.raises(RunError, match="another run is at work there"), folder.locked():
        pass
    with pytest.raises(BlockingIOError), folder.locked():
        raise BlockingIOError
    with open(folder.path / "lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lines_of_a_log_do_not_go_through_a_link(folder, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (folder.path / "stages.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="stages.jsonl: cannot be written"):
        folder.log("a", "start")
    assert (tmp_path / "precious").read_text() == "precious"


def started(path, out, **changes):
    """start.json, as a run writes it."""
    (path / "start.json").write_text(json.dumps({"out": str(out), "folder": pipeline._identity(path), **changes}))


def test_where_the_bundle_goes_is_remembered_by_the_folder_it_was_said_to(folder, tmp_path, capsys):
    path, elsewhere = folder.path, tmp_path / "engines" / "car"
    assert _out_of(path) == str(path / "out")
    started(path, elsewhere)
    assert _out_of(path) == str(elsewhere) and not capsys.readouterr().err
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    assert _out_of(copy) == str(copy / "out")
    assert f"so the bundle goes to {copy / 'out'} and not to {elsewhere}; name another place" in capsys.readouterr().err
    shutil.rmtree(path)
    copy.rename(path)  # the same name, but not the same folder
    assert _out_of(path) == str(path / "out")
    started(path, path / "bundle", folder=None)
    assert _out_of(path) == str(path / "bundle")


@pytest.mark.parametrize("text", ["", "[]", "3", '{"out": {}}', "[" * 100_000, '{"folder": 3}'])
def test_a_start_that_cannot_be_read_says_nothing(folder, text):
    (folder.path / "start.json").write_text(text)
    assert _out_of(folder.path) == str(folder.path / "out")


def test_what_is_read_elsewhere_is_said(tmp_path):
    (tmp_path / "data").mkdir()
    stage = Stage("shape", "", dict, {}, inputs=(tmp_path / "data" / "cad", tmp_path / "secrets"))
    recipe = replace(RECIPE, teacher=f"fused:0.5(cnn:x@{tmp_path}/weights.pt|vit)", synthetic=Synthetic(options={
        "backgrounds": f"{tmp_path}/pictures", "axes": "pascal3d"}))
    arguments = argparse.Namespace(data=str(tmp_path / "data"))
    (sentence,) = pipeline._read_elsewhere(recipe, [stage], arguments)
    assert sentence == (f"this run reads outside of the data folder {tmp_path / 'data'}: {tmp_path / 'pictures'}, "
                        f"{tmp_path / 'secrets'}, {tmp_path / 'weights.pt'}")
    arguments = argparse.Namespace(data=str(tmp_path))
    assert pipeline._read_elsewhere(recipe, [stage], arguments) == []
