# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Renders of any category: what its recipe says of symmetry and of its box reaches the labels."""

from dataclasses import replace

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh", reason="training extra is not installed")

from dinemo_ros.geometry import rotation_angle
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import Data, Mesh, Recipe, Round, Synthetic
from dinemo_training.run.run_folder import RunFolder
from dinemo_training.synthetic.render.background import Photos
from dinemo_training.synthetic.render.shapes import ShapeSynthesizer, read_model

SIZE = np.array([0.4, 0.4, 0.5])


@pytest.fixture(scope="module")
def stool(tmp_path_factory):
    """A thick seat on one post that is 1 % of its cross-section."""
    path = tmp_path_factory.mktemp("stool") / "stool.obj"
    seat, post = trimesh.creation.box((1, 1, 0.4)), trimesh.creation.box((0.1, 0.1, 0.8))
    seat.apply_translation([0, 0, 0.6])
    trimesh.util.concatenate([seat, post]).export(path)
    return path


def test_labels_are_the_canonical_poses_of_the_categorys_symmetry(stool):
    """A square stool has four poses that look the same; learning needs one of them."""
    model, square = read_model(stool, "ros", SIZE, body=0.0), Symmetry("z", 4)
    poses = [[ShapeSynthesizer([model], 3, (0, 40), 2.0, Photos([], []), symmetry).label(k)["T_cam_obj"]
              for k in range(12)] for symmetry in (NO_SYMMETRY, square)]
    turned = [rotation_angle(a[:3, :3], b[:3, :3]) for a, b in zip(*poses, strict=True)]
    assert max(turned) > 1.0 and all(square.distance(a[:3, :3], b[:3, :3]) < 1e-6 for a, b in zip(*poses, strict=True))
    assert all(np.allclose(square.canonical(T), T) for T in poses[1])


def test_a_thin_post_belongs_to_the_box_where_the_recipe_says_so(stool):
    whole, car = read_model(stool, "ros", SIZE, body=0.0), read_model(stool, "ros", SIZE)
    assert whole.size[2] / whole.size[0] == pytest.approx(1.2, rel=0.03)
    assert car.size[2] / car.size[0] == pytest.approx(0.4, rel=0.06)


def recipe(card: dict, **mesh) -> Recipe:
    return Recipe("stool", [0.4, 0.4, 0.5], data=Data(shape=["a.obj"], renders={"cad": ["a.obj"]}), mesh=Mesh(**mesh),
                  rounds=[Round({"synthetic": 1.0}, 1)], average=1, negatives=0, card=card)


def test_the_default_options_of_the_renderer_know_box_and_symmetry():
    """So that ``dinemo train --category stool --shape stools/`` needs nothing but a recipe's mesh and card."""
    known = recipe({"symmetry": {"axis": "z", "order": 4}}, body=0.0)
    options = known.resolved(known.synthetic.options)
    assert options["symmetry"] == 4 and options["body"] == 0.0
    assert recipe({"symmetry": {"axis": "z", "order": 0}}).value("symmetry") == 0
    assert recipe({"symmetry": {"axis": "z", "order": 1}}).value("symmetry") is None, "a cup's handle tells"


def test_finished_runs_of_before_stay_finished(tmp_path):
    """What is as it was before ``mesh.body``, ``mesh.filled`` and ``--symmetry`` existed is not in a stage's key."""
    def settings(made: Recipe) -> dict:
        return {s.name: s.settings for s in stages_of(made, RunFolder(tmp_path), tmp_path / "out")}

    before = recipe({})
    old = replace(before, synthetic=Synthetic(options={"size": "$size", "axes": "$mesh.axes",
                                                       "backgrounds": "$data.negatives"}))
    assert settings(before)["synthetic"] == settings(old)["synthetic"]
    assert settings(before)["shape"]["mesh"] == {"vertices": 800, "axes": "pascal3d", "profile": ""}
    changed = settings(recipe({"symmetry": {"axis": "z", "order": 4}}, body=0.0, filled=False))
    assert changed["shape"]["mesh"]["body"] == 0.0 and changed["shape"]["mesh"]["filled"] is False
    assert changed["synthetic"]["options"]["body"] == 0.0 and changed["synthetic"]["options"]["symmetry"] == 4
