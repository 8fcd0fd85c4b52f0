# SPDX-License-Identifier: Apache-2.0
"""Covariances by source: what is written into a bundle, and when a run does it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from shared_data import ROOT

from dinemo_ros.evaluation.bop_objects import read_objects
from dinemo_ros.evaluation.bop_scene import SupportFile, read_bop
from dinemo_ros.model.bundle import load_bundle, rewrite_card
from dinemo_training.export import source_uncertainty
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import Mesh, Recipe, RecipeError, Synthetic
from dinemo_training.run.run_folder import RunFolder

SCENE = ROOT / "config" / "demo_scene_cups"


@pytest.fixture
def cup(tmp_path):
    """A copy of the shipped cup that knows nothing of sources, without its network in int8."""
    shutil.copytree(ROOT / "engines" / "cup", tmp_path / "cup")
    bundle = load_bundle(tmp_path / "cup")
    rewrite_card(bundle, replace(bundle.card, uncertainty_by_source={}))
    return tmp_path / "cup"


def scenes():
    return read_bop(SCENE, read_objects(SCENE / "objects.json"), support=SupportFile(), depth=True)


def test_every_source_with_enough_poses_is_fitted_and_written(cup, monkeypatch):
    monkeypatch.setattr(source_uncertainty, "FEWEST", 20)  # of 12 pictures, by two networks
    summary = source_uncertainty.calibrate_sources(cup, scenes(), version="9")
    card = load_bundle(cup).card
    assert set(summary) == set(card.uncertainty_by_source) == {"support", "depth", "support+depth"}
    # Where both are given and the plane is refused, the pose counts for the depth.
    assert min(found["pictures"] for found in summary.values()) >= 20 and card.version == "9"
    assert card.uncertainty == load_bundle(ROOT / "engines" / "cup").card.uncertainty
    # The plane and the depth both leave less open along the ray than the size of the category does.
    known = {source: spec.factor("along", 0.9) * spec.floor[3] for source, spec in card.uncertainty_by_source.items()}
    assert max(known.values()) < card.uncertainty.factor("along", 0.9) * card.uncertainty.floor[3]


def test_too_few_scenes_are_told_and_write_nothing(cup):
    before = (cup / "model.yaml").read_bytes()
    with pytest.raises(ValueError, match="no source has 40 poses; render more scenes"):
        source_uncertainty.calibrate_sources(cup, scenes())
    assert (cup / "model.yaml").read_bytes() == before


def recipe(**changes):
    return Recipe(category="cup", size=[0.11, 0.08, 0.09], **changes)


def test_a_run_fits_sources_last_where_scenes_are_asked_for(tmp_path):
    known = replace(recipe(), mesh=Mesh(profile="cup"))
    data = replace(known.data, renders={"cad": [str(tmp_path)]}, shape=["box:0.11x0.08x0.09"])
    asked = replace(known, data=data, synthetic=Synthetic(scenes=60))
    names = [stage.name for stage in stages_of(asked, RunFolder(tmp_path / "run"), Path(tmp_path / "out"))]
    assert names[-4:] == ["sources", "evaluate", "publish", "report"]
    plain = stages_of(replace(asked, synthetic=Synthetic()), RunFolder(tmp_path / "run2"), tmp_path / "out")
    assert "sources" not in [stage.name for stage in plain]


def test_scenes_of_what_is_no_vessel_are_refused():
    with pytest.raises(RecipeError, match="synthetic.scenes is 60"):
        recipe(synthetic=Synthetic(scenes=60))
    with pytest.raises(RecipeError, match="synthetic.scenes is 5; allowed: 0, or 50"):
        Synthetic(scenes=5)
