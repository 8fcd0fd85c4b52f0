# SPDX-License-Identifier: Apache-2.0
"""Weights are under the terms of everything that they were taught with, and what nobody stated is not free."""

from pathlib import Path

import pytest
import yaml
from train_options import options

from dinemo_training.export.weights_license import take_weights_license
from dinemo_training.run.inputs import resolve
from dinemo_training.run.recipe import Data, RecipeError, build_recipe, load_recipe

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
MIT = {"terms": "MIT", "why": "meshes under MIT"}
RESEARCH = {"terms": "LicenseRef-research-only", "why": "photographs for research"}


def terms_of(licenses, **data):
    recipe = build_recipe({"category": "mug", "size": [1, 1, 1], "data": data, "licenses": licenses}, "test")
    return recipe.bundle_card().weights_license


def test_all_permissive_data_gives_permissive_weights():
    found = terms_of({"shape": MIT, "renders.cad": MIT, "photographs": {"terms": "CC-BY-4.0 OR MIT"}},
                     shape=["m.obj", "box:1x1x1"], renders={"cad": ["m.obj"]}, photographs="p")
    assert found.terms == "Apache-2.0 AND (CC-BY-4.0 OR MIT) AND MIT" and found.permissive
    assert found.why == "taught with meshes under MIT"


def test_data_for_research_binds_the_weights_whatever_else_is_free_or_unknown():
    licenses = {"shape": MIT, "photographs": RESEARCH}
    assert terms_of(licenses, shape=["m.obj"], photographs="p").terms == "LicenseRef-research-only"
    found = terms_of(licenses, shape=["m.obj"], photographs="p", negatives="n")
    assert found.terms == "LicenseRef-research-only" and found.why.endswith("no terms are known of negatives")


def test_terms_that_nobody_stated_are_not_taken_for_free():
    found = terms_of({"shape": MIT}, shape=["m.obj"], photographs="p")
    assert not found.terms and not found.permissive and found.told().startswith("not stated (")
    assert "photographs" in found.why
    assert not terms_of({"shape": MIT})  # taught with nothing: nothing is said


def test_a_card_that_says_it_itself_has_the_last_word():
    recipe = build_recipe({"category": "mug", "size": [1, 1, 1], "data": {"photographs": "p"},
                           "licenses": {"photographs": RESEARCH},
                           "card": {"weights_license": {"terms": "MIT"}}}, "test")
    assert recipe.bundle_card().weights_license.terms == "MIT"


@pytest.mark.parametrize(("licenses", "message"), [
    ({"photos": MIT}, "licenses: 'photos' names nothing that is taught with; allowed: photographs"),
    ({"shape": "MIT"}, "licenses.shape: must be {terms"), ({"shape": {"why": "x"}}, "licenses.shape: must be {terms"),
    ({"shape": {"terms": 3}}, "licenses.shape: 3 is no text"), ({3: MIT}, "licenses: 3 names nothing"),
    ({"shape": {"terms": "x" * 400}}, "licenses.shape: weights_license.terms")])
def test_a_wrong_entry_is_named(licenses, message):
    with pytest.raises(RecipeError, match=message):
        terms_of(licenses)


def test_what_the_command_line_replaces_has_no_known_terms(tmp_path):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"")
    (tmp_path / "m.obj").write_text("v 0 0 0\n")
    recipe = {"category": "mug", "size": [1, 1, 1], "data": {"shape": ["m.obj"], "photographs": "theirs",
              "renders": {"cad": "m.obj"}}, "licenses": {"shape": MIT, "renders.cad": MIT, "photographs": RESEARCH},
              "rounds": [{"steps": 1, "pools": {"synthetic": 1.0}}], "average": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    line = ["--config", str(tmp_path / "recipe.yaml"), "--data", str(tmp_path), "--run", str(tmp_path / "run")]

    def stated(*more):
        resolved = resolve(options(*line, *more))
        return resolved.bundle_card().weights_license

    assert stated().terms == "LicenseRef-research-only"
    found = stated("--images", str(tmp_path / "mine"))
    assert not found.terms and "no terms are known of photographs" in found.why


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_state_the_terms_of_all_their_data(path):
    recipe = load_recipe(path)
    stated = recipe.bundle_card().weights_license
    assert recipe.data != Data() and stated.terms and "no terms are known" not in stated.why
    assert not stated.permissive


def test_a_recipe_without_terms_does_not_touch_a_bundle(tmp_path):
    class Stranger:
        class card:
            category = "mug"
        path = tmp_path

    recipe = build_recipe({"category": "mug", "size": [1, 1, 1], "data": {"photographs": "p"}}, "test")
    with pytest.raises(RecipeError, match="states no terms"):
        take_weights_license(recipe, Stranger)
