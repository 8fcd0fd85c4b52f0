# SPDX-License-Identifier: Apache-2.0
"""What may be done with weights is stated, told wherever a bundle is, and decides which bundle a bare name finds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from unit.planted import car_card, car_mesh

from dinemo_ros.cli.main import main
from dinemo_ros.errors import BundleError
from dinemo_ros.model.bundle import CARD_FILE, find_bundle, load_bundle, parse_card, rewrite_card, write_bundle
from dinemo_ros.model.card_document import card_mapping, card_text
from dinemo_ros.model.weights_license import WeightsLicense, is_permissive

ROOT = Path(__file__).parents[2]
RESEARCH = WeightsLicense("LicenseRef-research-only", "taught with photographs that are for research")
FREE = WeightsLicense("Apache-2.0 AND CC-BY-4.0", "taught with drawings of its own and a mesh under CC BY 4.0")


@pytest.mark.parametrize(("terms", "expected"), [
    ("Apache-2.0", True), ("Apache-2.0 AND CC-BY-3.0", True), ("(MIT OR Apache-2.0) AND LAL-1.3", True),
    ("", False), ("CC-BY-NC-4.0", False), ("Apache-2.0 AND LicenseRef-research-only", False), ("MIT OR GPL-3.0", False),
    ("free for everybody", False), ("apache", False), ("Apache-2.0 AND", False), ("Apache-2.0 WITH anything", False)])
def test_permissive_is_what_every_name_of_the_expression_is(terms, expected):
    assert is_permissive(terms) is expected


def test_a_card_without_it_does_not_state_it_and_is_written_without_it():
    card = car_card()
    assert not card.weights_license and card.weights_license.told() == "not stated"
    assert not card.weights_license.permissive and "weights_license" not in card_mapping(card)


def test_a_card_with_it_is_read_back_and_keeps_every_other_line():
    plain, card = car_card(), replace(car_card(), weights_license=RESEARCH)
    assert parse_card(card_mapping(card)) == replace(card, format=card_mapping(card)["format"])
    added = [line for line in card_text(card).splitlines() if line not in card_text(plain).splitlines()]
    assert added[0].startswith("weights_license: {terms: LicenseRef-research-only, why: taught with") and len(added) < 3
    assert set(card_text(plain).splitlines()) <= set(card_text(card).splitlines())


@pytest.mark.parametrize(("value", "message"), [
    ({"terms": "x" * 301}, "weights_license.terms"), ({"terms": "MIT\nGPL"}, "weights_license.terms"),
    ({"why": "x" * 1001}, "weights_license.why"), ({"term": "MIT"}, "unknown key 'weights_license.term'"),
    ("MIT", "weights_license must be a mapping")])
def test_what_is_no_statement_is_refused(value, message):
    with pytest.raises(BundleError, match=message):
        parse_card({**card_mapping(car_card()), "weights_license": value})


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes bundles of the category "car" (or another) in a sourced workspace; nothing else is installed there."""
    home = tmp_path / "share" / "dinemo_ros" / "engines"
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))

    def make(name, terms, category="teapot"):
        card = replace(car_card(), category=category, weights_license=terms)
        return write_bundle(home / name, card, b"no network", car_mesh()).path

    return make


def test_a_bare_name_finds_the_permissive_bundle_of_its_category(installed):
    named, free = installed("teapot", RESEARCH), installed("teapot_free", FREE)
    installed("teapot_also_research", RESEARCH)
    assert find_bundle("teapot") == free
    assert find_bundle("teapot", prefer_permissive=False) == named
    assert find_bundle("teapot_also_research").name == "teapot_also_research"  # by its whole name


def test_the_named_bundle_stays_where_it_is_permissive_or_no_other_is(installed):
    named = installed("teapot", WeightsLicense())
    installed("teapot_other", RESEARCH)
    installed("teapot_lid", FREE, category="lid")  # of another category
    damaged = installed("teapot_damaged", FREE) / CARD_FILE
    damaged.write_text(damaged.read_text().replace("format:", "former:"))
    assert find_bundle("teapot") == named
    rewrite_card(load_bundle(named), replace(load_bundle(named).card, weights_license=FREE))
    installed("teapot_a", FREE)
    assert find_bundle("teapot") == named


def test_show_and_doctor_tell_the_terms(installed, capsys):
    folder = installed("teapot", RESEARCH)
    assert main(["bundle", "show", str(folder), "--json", "-"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["weights_license"] == {
        "terms": RESEARCH.terms, "why": RESEARCH.why, "permissive": False}
    assert f"weights        {RESEARCH.told()}\n" in printed.err
    main(["doctor", "--bundle", str(folder)])
    assert f"weights: {RESEARCH.told()}\n" in capsys.readouterr().out


@pytest.mark.parametrize("category", ["bottle", "car", "chair", "cup"])
def test_shipped_cards_state_their_terms_and_the_file_of_terms_repeats_them(category):
    stated = load_bundle(ROOT / "engines" / category).card.weights_license
    text = " ".join((ROOT / "engines" / "WEIGHTS.md").read_text().split())
    assert stated.terms and stated.why and not stated.permissive  # none of them is; say so in WEIGHTS.md when one is
    assert f"`{stated.terms}`" in text and stated.why in text
