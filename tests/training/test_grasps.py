# SPDX-License-Identifier: Apache-2.0
"""Grasp frames are written by recipes: what ships is what they say, and a bundle can be given them without training."""

from dataclasses import replace

import pytest
from shared_data import ROOT
from unit.planted import car_card, car_mesh

from dinemo_ros.model.bundle import load_bundle, write_bundle
from dinemo_training.export.grasps import take_grasps
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import RecipeError, load_recipe
from dinemo_training.run.run_folder import RunFolder

GRASP = {"name": "roof", "position": [0, 0, 1], "approach": [0, 0, -1], "closing": [0, 1, 0], "opening_m": 0.1}


def recipe_of(category: str):
    return load_recipe(ROOT / "training" / "configs" / f"{category}.yaml")


@pytest.mark.parametrize("category", ["car", "cup", "bottle", "chair"])
def test_what_ships_is_what_the_recipe_says(category):
    assert load_bundle(ROOT / "engines" / category).card.grasps == recipe_of(category).bundle_card().grasps


def test_a_bundle_takes_the_grasps_and_nothing_else(tmp_path):
    bundle = write_bundle(tmp_path / "car", car_card(description="planted"), b"fp32", car_mesh(), b"int8")
    recipe = recipe_of("car")
    recipe = replace(recipe, card=recipe.card | {"grasps": [GRASP]})
    again = take_grasps(recipe, bundle)
    assert [spec.name for spec in again.card.grasps] == ["roof"]
    assert replace(again.card, grasps=()) == bundle.card
    with pytest.raises(RecipeError, match="the recipe is of cup, .*car is of car; give the recipe"):
        take_grasps(recipe_of("cup"), bundle)


def test_a_wrong_grasp_is_told_by_the_recipe():
    recipe = recipe_of("cup")
    with pytest.raises(RecipeError, match="card: grasps.roof.closing is .* perpendicular to approach"):
        replace(recipe, card=recipe.card | {"grasps": [GRASP | {"closing": [0, 0, 1]}]})


def test_finished_runs_of_format_1_stay_finished_and_new_grasps_train_nothing_again(tmp_path):
    """Settings of stages are compared with those of the last run."""
    recipe = recipe_of("car")
    settings = {stage.name: stage.settings for stage in stages_of(recipe, RunFolder(tmp_path), tmp_path / "out")}
    card = settings["export"]["card"]
    assert card["format"] == "dinemo-bundle/1" and not {"grasps", "uncertainty_by_source"} & set(card)
    held = replace(recipe, card=recipe.card | {"grasps": [GRASP]})
    again = {stage.name: stage.settings for stage in stages_of(held, RunFolder(tmp_path), tmp_path / "out")}
    assert [name for name in settings if settings[name] != again[name]] == ["export"]
