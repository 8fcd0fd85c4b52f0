# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""``dinemo train`` in one piece on a category that is learnt in seconds: killed, resumed, changed, and its report read.

The category is a round post. Its azimuth does not exist, so a network after some steps already finds poses that can be
calibrated; what is tested is the way from pictures to bundle, not how well a network learns.
"""

import argparse
import csv
import html.parser
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

for _module in ("torch", "timm", "onnx", "accelerate", "trimesh", "skimage", "matplotlib", "jinja2", "numba"):
    pytest.importorskip(_module, reason="training extra is not installed")

import torch
import trimesh
from teacher_models import require_imagenet

from dinemo_ros.cli import train as command
from dinemo_ros.model.bundle import load_bundle
from dinemo_training.evaluation import scaling
from dinemo_training.run import main as pipeline
from dinemo_training.run.recipe import RecipeError
from dinemo_training.run.run_folder import RunError, RunFolder
from dinemo_training.synthetic.render.background import Photos
from dinemo_training.synthetic.render.shapes import ShapeSynthesizer, read_model

ROOT = Path(__file__).resolve().parents[2]
SIZE = np.array([0.3, 0.3, 0.7])
RENDERS, PHOTOS = 16, 10
RECIPE = {
    "category": "post", "size": SIZE.tolist(),
    "data": {"shape": ["cad"], "renders": {"cad": "cad"}, "photographs": "photos"},
    "mesh": {"vertices": 160},
    "synthetic": {"count": RENDERS, "held_out": 12, "options": {"size": "$size", "elevation": [0, 15], "tilt": 2.0},
                  "held_out_options": {}},
    "negatives": 6,
    "learning": {"batch": 4, "crop": 96, "workers": 0, "lr": 0.01},  # the rate is still warming up when it ends
    "rounds": [{"steps": 45, "pools": {"synthetic": 0.9, "negatives": 0.1}},
               {"steps": 8, "labels": "render", "min_score": 0.0, "min_margin": -1.0,
                "pools": {"synthetic": 0.5, "photographs": 0.5}}],
    "average": 2, "evaluate": 12,
    "card": {"symmetry": {"axis": "z", "order": 0}, "image": {"size": 96},
             "search": {"azimuth": 4, "elevation_deg": [0.0, 10.0], "theta_deg": [0.0]}},
}


def write_post(path: Path, neck: float) -> None:
    """A turned post in the axes of PASCAL3D+, which for a round thing are anybody's."""
    outline = [[0, -0.5], [0.2, -0.5], [0.2, neck], [0.1, neck + 0.1], [0.1, 0.5], [0, 0.5]]
    trimesh.creation.revolve(np.array(outline), sections=24).export(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """CAD models, photographs and a recipe."""
    require_imagenet()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("post")
    (folder / "cad").mkdir()
    (folder / "photos").mkdir()
    for k, neck in enumerate((0.1, 0.2)):
        write_post(folder / "cad" / f"{k}.obj", neck)
    model = read_model(folder / "cad" / "0.obj", "pascal3d", SIZE)
    source = ShapeSynthesizer([model], 5, (0, 15), 2.0, Photos([], []))
    for k in range(PHOTOS):
        picture, mask = source.render(k)
        rows, columns = np.nonzero(mask)
        cut = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        cv2.imwrite(str(folder / "photos" / f"{k:02d}.jpg"), cut[..., ::-1])
    (folder / "post.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def parsed(*words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["train", *map(str, words)])


def words(place, *more):
    return ["--config", str(place / "post.yaml"), "--data", str(place), "--run", str(place / "run"),
            "--out", str(place / "bundle"), *map(str, more)]


def options(place, *more):
    return parsed(*words(place, *more))


@pytest.fixture(scope="module")
def killed(place):
    """The run folder after a SIGKILL in the middle of rendering: what was there, by file and time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen([sys.executable, "-m", "dinemo_ros.cli.main", "train", *words(place)], env=environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    pictures, deadline = place / "run" / "synthetic" / "images", time.monotonic() + 300
    while len(list(pictures.glob("*.jpg"))) < 3:
        assert run.poll() is None and time.monotonic() < deadline, run.stderr.read().decode()[-2000:]
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    time.sleep(0.2)  # the renderer dies with its parent; a picture that it is at work on may still be written
    made = {p: p.stat().st_mtime_ns for p in [place / "run" / "shape.npz", *pictures.glob("*.jpg")]}
    assert len(made) < RENDERS, "the renderer outlived the kill"
    return made


@pytest.fixture(scope="module")
def finished(place, killed):
    """The same run, gone on with to its end."""
    assert pipeline.run(options(place, "--resume")) == 0
    return place / "run"


def stage_events(run):
    return [(entry["stage"], entry["event"]) for entry in RunFolder(run).events()]


def test_the_killed_run_went_on_where_it_was(killed, finished):
    assert all(path.stat().st_mtime_ns == when for path, when in killed.items())
    events = stage_events(finished)
    assert events.count(("shape", "start")) == 1 and events.count(("synthetic", "start")) == 2
    assert len(list((finished / "synthetic" / "images").glob("*.jpg"))) == RENDERS


def test_the_bundle_is_checked_calibrated_and_in_its_place(place, finished):
    bundle = load_bundle(place / "bundle")
    assert bundle.card.category == "post" and bundle.card.symmetry.continuous
    assert 0 < bundle.card.score.accept < 1 and bundle.card.calibration.depth_scale != 1.0
    figures = RunFolder(finished).metrics()
    assert figures["export"]["int8"] == (bundle.int8_path is not None)
    assert figures["export"]["parity"]["cosine"] > 0.9999 and figures["publish"]["megabytes"] < 20
    assert figures["evaluate"]["held_out"]["n"] == 12
    assert figures["labels1"]["asked"] == PHOTOS and 0 < figures["train1"]["labels_kept"] <= PHOTOS


def test_a_finished_run_has_nothing_to_do(place, finished, capsys):
    before = len(stage_events(finished))
    assert pipeline.run(options(place, "--resume")) == 0
    assert len(stage_events(finished)) == before
    assert capsys.readouterr().out.count("(done already)") == 16


def test_a_bundle_that_was_taken_away_is_published_again(place, finished):
    (place / "bundle" / "model.yaml").unlink()
    assert pipeline.run(options(place, "--resume")) == 0
    assert load_bundle(place / "bundle").card.category == "post"


def test_a_run_folder_in_use_is_not_overwritten(place, finished):
    with pytest.raises(RunError, match="holds an earlier run; add --resume"):
        pipeline.run(options(place))


def test_a_change_costs_only_what_depends_on_it(place, finished, tmp_path, capsys):
    changed = json.loads(json.dumps(RECIPE))
    changed["rounds"][1]["steps"] = 9
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    arguments = options(place, "--config", tmp_path / "changed.yaml", "--dry-run")
    assert pipeline.run(arguments) == 0
    state = states(capsys)
    kept = {"shape", "photographs", "synthetic", "held_out", "negatives", "train0", "bundle0", "labels1"}
    assert {name for name, what in state.items() if what == "done"} == kept
    assert state["train1"] == state["export"] == state["report"] == "changed"
    changed = {**RECIPE, "card": {**RECIPE["card"], "license": "mine"}}
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    assert pipeline.run(arguments) == 0
    assert {name for name, what in states(capsys).items() if what != "done"} == {
        "export", "calibrate", "presence", "evaluate", "publish", "report"}
    changed = {**RECIPE, "size": [0.2, 0.2, 0.5]}  # the renderer is told the size, though its option says $size
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    assert pipeline.run(arguments) == 0
    assert {name for name, what in states(capsys).items() if what == "done"} == {"photographs", "negatives"}


def states(capsys):
    return dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())


def test_one_stage_of_an_earlier_run_needs_only_its_folder(finished, capsys):
    assert pipeline.run(parsed("publish", "--run", finished)) == 0
    assert "[15/16] publish" in capsys.readouterr().out
    with pytest.raises(RunError, match="this run has no stage 'sequences'; it has shape, photographs"):
        pipeline.run(parsed("sequences", "--run", finished))


def test_a_new_folder_without_a_category_is_told_so(tmp_path):
    with pytest.raises(RunError, match="no earlier run there; give --category NAME or --config FILE"):
        pipeline.run(parsed("--run", tmp_path / "new"))


class Page(html.parser.HTMLParser):
    """Collects headings and pictures."""

    def __init__(self):
        super().__init__()
        self.headings, self.pictures, self.open = [], [], False

    def handle_starttag(self, tag, attributes):
        self.open = tag == "h2"
        if tag == "img":
            self.pictures.append(dict(attributes)["src"])

    def handle_data(self, data):
        if self.open:
            self.headings.append(data)
            self.open = False


def test_the_report_shows_every_part_and_every_picture_is_there(finished):
    page = Page()
    page.feed((finished / "report" / "index.html").read_text())
    assert page.headings == ["Overview", "Mesh and pictures", "Pseudo-labels of round 1", "Training", "Features",
                             "Evaluation", "Calibration", "Settings and versions"]
    assert len(set(page.pictures)) == len(page.pictures) >= 20
    for name in page.pictures:
        picture = cv2.imread(str(finished / "report" / name))
        assert picture is not None and picture.std() > 5, f"{name} is blank"
    kinds = {name.split(".")[0].rsplit("_", 1)[-1] for name in page.pictures}
    assert {"votes", "azimuths", "mesh", "scores"} <= kinds


def test_scaling_trains_on_more_and_more_photographs_of_a_run(finished, tmp_path, monkeypatch, capsys):
    words = ["--run", finished, "--counts", 0, PHOTOS, "--steps", 2, "--batch", 2, "--size", 64, "--workers", 0,
             "--limit", 4, "--out", tmp_path / "scaling"]
    monkeypatch.setattr(sys, "argv", ["dinemo_training.evaluation.scaling", *map(str, words)])
    scaling.main()
    with (tmp_path / "scaling" / "scaling.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["photographs"]) for row in rows] == [0, PHOTOS]
    assert int(rows[0]["labels"]) == 0 < int(rows[1]["labels"])
    assert "| held-out | 0 |" in capsys.readouterr().out
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "scaling").glob("n*/student.pt")}
    scaling.main()
    assert {p: p.stat().st_mtime_ns for p in made} == made and len(made) == 2


def test_cad_models_that_cannot_be_read_are_one_sentence(place, tmp_path):
    (tmp_path / "bad.obj").write_text("nothing")
    (tmp_path / "post.yaml").write_text(yaml.safe_dump({**RECIPE, "data": {**RECIPE["data"], "shape": [
        str(tmp_path / "bad.obj")]}}))
    arguments = options(place, "--config", tmp_path / "post.yaml", "--run", tmp_path / "run")
    with pytest.raises((RunError, RecipeError), match="stage shape: .*bad.obj"):
        pipeline.run(arguments)
