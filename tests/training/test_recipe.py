# SPDX-License-Identifier: Apache-2.0
"""Recipes: the shipped ones load, a wrong key or value is named, and defaults fit what data there is."""

from pathlib import Path

import pytest
import yaml

from dinemo_training.run.recipe import LABELS, POOLS, Data, Recipe, RecipeError, build_recipe, dump_recipe, load_recipe

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "training" / "configs").glob("*.yaml"))
CAR = next(path for path in CONFIGS if path.stem == "car")
CAD = Data(shape=["x.obj"], renders={"cad": ["x.obj"]})


def changed(tmp_path, change):
    data = yaml.safe_load(CAR.read_text())
    change(data)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_can_be_done(path):
    recipe = load_recipe(path).checked()
    assert recipe.category == path.stem.split("_")[0] and len(recipe.size) == 3
    assert recipe.rounds[0].labels == "none"
    assert all(set(r.pools) <= set(POOLS) and r.labels in LABELS for r in recipe.rounds)
    assert recipe.bundle_card().features.temperature == recipe.learning.temperature


def test_held_out_sequences_are_not_in_the_shipped_recipe():
    """cx5 and subaru are for evaluation only."""
    assert not {"cx5", "subaru"} & set(CAR.read_text().replace("/", " ").replace(",", " ").replace("]", " ").split())


def test_a_dumped_recipe_reads_back_equal(tmp_path):
    recipe = load_recipe(CAR)
    (tmp_path / "config.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "config.yaml") == recipe


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d.update(colour="red"), "unknown keys colour; allowed: .*category"),
    (lambda d: d["rounds"][0].update(step=5), "rounds: unknown keys step; allowed: .*steps"),
    (lambda d: d["synthetic"].update(number=5), "synthetic: unknown keys number"),
    (lambda d: d["data"].update(photos="x"), "data: unknown keys photos; allowed: .*photographs"),
    (lambda d: d["rounds"][0].update(pools={"videos": 1.0}), "rounds.pools is .*videos.*allowed: .*sequences"),
    (lambda d: d["rounds"][0].update(pools={"synthetic": 0.0}), "rounds.pools is .*positive"),
    (lambda d: d["rounds"][0].update(pools={"synthetic": "much"}), "rounds.pools is .*positive"),
    (lambda d: d["rounds"][0].update(labels="guess"), "rounds.labels is 'guess'; allowed: none"),
    (lambda d: d["rounds"][0].update(labels="render"), "first round"),
    (lambda d: d["rounds"][1].update(bidirectional=False), "bidirectional is false, but labels is 'render'"),
    (lambda d: d["rounds"][1].update(keep=-1), "rounds.keep is -1; allowed: 0"),
    (lambda d: d["rounds"][0].update(steps="many"), "steps is 'many'; allowed: int"),
    (lambda d: d["rounds"][0].pop("steps"), "key steps is missing"),
    (lambda d: d.update(rounds=[]), "rounds is empty"),
    (lambda d: d.update(rounds=3), "rounds must be a list"),
    (lambda d: d.update(average=9), "average is 9; allowed: 1"),
    (lambda d: d.update(average=0), "average is 0; allowed: 1"),
    (lambda d: d.update(size=[1, 2]), "size is .*length, width and height"),
    (lambda d: d.update(size=[1, 2, True]), "size is"),
    (lambda d: d.pop("size"), "key size is missing"),
    (lambda d: d["learning"].update(temperature=0), "learning.temperature is 0"),
    (lambda d: d["learning"].update(batch=True), "batch is True"),
    (lambda d: d["synthetic"].update(renderer="../evil"), "synthetic.renderer"),
    (lambda d: d["card"].update(symmetry="round"), "card: symmetry is 'round'"),
    (lambda d: d["card"]["image"].update(size=100), "card: image.size is 100; allowed: a multiple of 32"),
    (lambda d: d.update(card=[]), "card is"),
])
def test_a_wrong_recipe_is_named(tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(changed(tmp_path, change))


@pytest.mark.parametrize(("text", "message"), [("- car\n", "mapping"), ("a: [", "cannot be read as YAML")])
def test_what_is_no_mapping_is_refused(tmp_path, text, message):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / "recipe.yaml")


def test_defaults_without_photographs_train_on_what_there_is():
    recipe = Recipe("mug", [0.1, 0.1, 0.1], data=CAD).adapted()
    assert [set(r.pools) for r in recipe.rounds] == [{"synthetic"}, {"synthetic"}, {"synthetic", "negatives"}]
    assert {r.labels for r in recipe.rounds} == {"none"} and recipe.templates() == "synthetic"


def test_defaults_for_a_box_learn_from_sequences():
    data = Data(shape=["box:1x1x1"], reference="a", azimuths="b", photographs="c")
    recipe = Recipe("mug", [1, 1, 1], data=data).adapted()
    assert set(recipe.rounds[0].pools) == {"sequences"} and recipe.rounds[1].labels == "render"
    assert recipe.templates() == "sequences"


def test_a_box_and_photographs_alone_cannot_tell_front_from_rear():
    with pytest.raises(RecipeError, match="which way an object is turned: give --shape with CAD models, or"):
        Recipe("mug", [1, 1, 1], data=Data(shape=["box:1x1x1"], photographs="c")).adapted()


@pytest.mark.parametrize(("rounds", "message"), [
    ([{"steps": 1, "pools": {"sequences": 1}}], "round 0 trains on sequences, but there are none: give --sequences"),
    ([{"steps": 1, "pools": {"synthetic": 1}}, {"steps": 1, "pools": {"synthetic": 1}, "labels": "render"}],
     "round 1 labels photographs, but there are none: give --images"),
    ([{"steps": 1, "pools": {"synthetic": 1}, "labels": "correspondence"}], "round 0 .* sequences, but there are none"),
])
def test_a_given_recipe_is_not_bent(rounds, message):
    document = {"category": "mug", "size": [1, 1, 1], "rounds": rounds, "average": 1,
                "data": {"shape": ["x.obj"], "renders": {"cad": "x.obj"}}}
    with pytest.raises(RecipeError, match=message):
        build_recipe(document, "recipe").checked()


def test_values_of_dotted_keys():
    recipe = load_recipe(CAR)
    assert recipe.value("size") == recipe.size and recipe.value("mesh.axes") == "pascal3d"
    with pytest.raises(RecipeError, match=r"\$data.photos is no key"):
        recipe.value("data.photos")
