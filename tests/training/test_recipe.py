# SPDX-License-Identifier: Apache-2.0
"""Recipes: the shipped one loads, and a wrong key or value is named."""

from pathlib import Path

import pytest
import yaml

from training.recipe import LABELS, POOLS, load_recipe

CAR = Path(__file__).resolve().parents[2] / "training" / "configs" / "car.yaml"


def changed(tmp_path, change):
    data = yaml.safe_load(CAR.read_text())
    change(data)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_the_shipped_recipe_loads():
    recipe = load_recipe(CAR)
    assert recipe.category == "car" and len(recipe.size) == 3
    assert recipe.rounds[0].labels == "none"  # nothing could label photographs before the first round
    assert all(set(r.pools) <= set(POOLS) and r.labels in LABELS for r in recipe.rounds)


def test_held_out_sequences_are_not_in_the_shipped_recipe():
    """cx5 and subaru are for evaluation only."""
    assert not {"cx5", "subaru"} & set(CAR.read_text().replace("/", " ").replace(",", " ").replace("]", " ").split())


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d.update(colour="red"), "unknown keys colour; allowed: .*azimuths"),
    (lambda d: d["rounds"][0].update(step=5), "rounds: unknown keys step; allowed: .*steps"),
    (lambda d: d["synthetic"].update(number=5), "synthetic: unknown keys number"),
    (lambda d: d["rounds"][0].update(pools={"videos": 1.0}), "rounds.pools is .*videos.*allowed: .*sequences"),
    (lambda d: d["rounds"][0].update(pools={"synthetic": 0.0}), "rounds.pools is .*positive"),
    (lambda d: d["rounds"][0].update(labels="guess"), "rounds.labels is 'guess'; allowed: none"),
    (lambda d: d["rounds"][0].update(labels="render"), "first round"),
    (lambda d: d.update(rounds=[]), "rounds is empty"),
    (lambda d: d.update(average=9), "average is 9; allowed: 1"),
    (lambda d: d.update(average=0), "average is 0; allowed: 1"),
    (lambda d: d.pop("reference"), "reference"),
])
def test_a_wrong_recipe_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(changed(tmp_path, change))


def test_what_is_no_mapping_is_refused(tmp_path):
    (tmp_path / "recipe.yaml").write_text("- car\n")
    with pytest.raises(ValueError, match="mapping"):
        load_recipe(tmp_path / "recipe.yaml")
