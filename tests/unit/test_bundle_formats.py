# SPDX-License-Identifier: Apache-2.0
"""Cards of both formats: what version 0.1 wrote means what it meant, and what format 2 adds is optional."""

from dataclasses import replace

import pytest
import yaml
from unit.planted import car_card, car_mesh

from dinemo_ros.errors import BundleError
from dinemo_ros.model.bundle import CARD_FILE, load_bundle, parse_card, write_bundle
from dinemo_ros.model.card import (
    CalibrationSpec,
    Card,
    FeatureSpec,
    ImageSpec,
    ScoreSpec,
    SearchSpec,
    SizePrior,
)
from dinemo_ros.model.card_document import card_text
from dinemo_ros.model.grasps import GraspSpec
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.uncertainty import UncertaintySpec

# As version 0.1 wrote it, old names of keys included; never to be edited.
FORMAT_1 = """\
format: dinemo-bundle/1
category: car
version: '1.4'
size_prior:
  mean_m: [4.4, 1.8, 1.5]
  log_sigma: [0.1, 0.06, 0.08]
description: 'Cars: planted'  # a comment
license: Apache-2.0 code; weights for non-commercial research
symmetry: none
image: {size: 224, margin: 1.2, stride: 8}
features: {dim: 64, temperature: 0.06, mirrored: true}
score: {accept: 0.208, sure: 0.268, covariance_scale: 5.7}
calibration: {depth_scale: 0.9941}
uncertainty:
  probability: [-7.85, 10.93, 0.0, 1.934, 0.0, 7.632]
  knots: [0.5521, 0.8323]
  turn: [1.69, 0.07552]
  tilt: [1.252, 0.8187]
  across: [0.4274, 0.4066]
  along: [0.6703, 0.5353]
  size: [1.025, 0.9048]
  floor: [0.9512, 0.07065, 0.0302, 0.05234, 0.02535]
search:
  azimuth: 24
  elevation_deg: [-5.0, 0.0, 8]
  theta_deg: [-8.0, 0.0]
  scale: [0.9, 1.0, 1.12]
files: {backbone.onnx: HASH_OF_BACKBONE, mesh.npz: HASH_OF_MESH}
"""
CARD_1 = Card(
    category="car", version="1.4", size_prior=SizePrior((4.4, 1.8, 1.5), (0.1, 0.06, 0.08)), format="dinemo-bundle/1",
    description="Cars: planted", license="Apache-2.0 code; weights for non-commercial research", symmetry=Symmetry(),
    image=ImageSpec(224, 1.2, 8), features=FeatureSpec(64, 0.06, True), score=ScoreSpec(0.208, 0.268, 5.7),
    calibration=CalibrationSpec(0.9941),
    uncertainty=UncertaintySpec(
        (-7.85, 10.93, 0.0, 1.934, 0.0, 7.632), (0.5521, 0.8323), (1.69, 0.07552), (1.252, 0.8187), (0.4274, 0.4066),
        (0.6703, 0.5353), (1.025, 0.9048), (0.9512, 0.07065, 0.0302, 0.05234, 0.02535), (), ()),
    search=SearchSpec(24, (-5.0, 0.0, 8.0), (-8.0, 0.0), (0.9, 1.0, 1.12)))
GRASP = {"name": "roof", "position": [0, 0, 1], "approach": [0, 0, -1], "closing": [0, 1, 0], "opening_m": 0.1}
SUPPORT = replace(CARD_1.uncertainty, along=(0.1, 0.1))


@pytest.fixture
def old(tmp_path):
    """A whole bundle of format 1."""
    bundle = write_bundle(tmp_path / "car", car_card(), b"not a network, only bytes", car_mesh())
    text = FORMAT_1
    for name, key in (("backbone.onnx", "HASH_OF_BACKBONE"), ("mesh.npz", "HASH_OF_MESH")):
        text = text.replace(key, bundle.card.files[name])
    (bundle.path / CARD_FILE).write_text(text)
    return bundle.path


def document(**changes) -> dict:
    return {"category": "car", "version": "1", "size_prior": {"mean_m": [4.4, 1.8, 1.5], "log_sigma": [.1, .1, .1]},
            "symmetry": "none", **changes}


def test_every_value_of_format_1_is_what_it_was(old):
    card = load_bundle(old).card
    assert replace(card, files={}) == CARD_1
    assert set(card.files) == {"backbone.onnx", "mesh.npz"}


def test_format_1_has_nothing_of_format_2(old):
    card = load_bundle(old).card
    assert card.grasps == () and card.uncertainty_by_source == {}
    assert card.uncertainty_of("support+depth") == card.uncertainty_of("rgb") == card.uncertainty


def test_what_is_written_is_format_2_without_the_keys_that_nobody_gave(old):
    bundle = load_bundle(old)
    write_bundle(old, bundle.card, bundle.backbone(), bundle.mesh)
    written = yaml.safe_load((old / CARD_FILE).read_text())
    assert written["format"] == "dinemo-bundle/2" and next(iter(written)) == "format"
    assert not {"grasps", "uncertainty_by_source"} & set(written)
    assert replace(load_bundle(old).card, format="dinemo-bundle/1") == bundle.card


def test_a_card_with_every_key_is_read_back():
    card = parse_card(document(grasps=[GRASP, GRASP | {"name": "side", "turns_deg": [0, 90]}]))
    card = replace(card, uncertainty=CARD_1.uncertainty,
                   uncertainty_by_source={"support": SUPPORT, "support+depth": CARD_1.uncertainty})
    again = parse_card(yaml.safe_load(card_text(card)))
    assert again == card and again.format == "dinemo-bundle/2"
    assert again.grasps[1] == GraspSpec("side", (0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0), opening_m=0.1,
                                        turns_deg=(0.0, 90.0))
    assert again.uncertainty_of("support") == SUPPORT and again.uncertainty_of("depth") == CARD_1.uncertainty


@pytest.mark.parametrize("changes, reason", [
    ({"grasps": {}}, "grasps must be a list of mappings, got {}"),
    ({"grasps": [3]}, "grasps must be a mapping, got 3"),
    ({"grasps": [{"name": "rim"}]}, "key 'grasps.position' is missing"),
    ({"grasps": [GRASP | {"colour": 1}]}, "unknown key 'grasps.colour'; allowed: name, position"),
    ({"grasps": [GRASP, GRASP]}, "grasps.name is 'roof'; allowed: names of which every frame has its own"),
    ({"grasps": [GRASP | {"turns_deg": [0, 5]}, GRASP | {"name": "roof_1"}]}, "grasps.name is 'roof_1'"),
    ({"grasps": [GRASP | {"name": "../rim"}]}, "grasps.name is '../rim'; allowed: 1 to 64 lower-case"),
    ({"grasps": [GRASP | {"position": [0, 0, 2.5]}]}, "grasps.roof.position is .*2.5.*; allowed: three "
     "numbers from -2"),
    ({"grasps": [GRASP | {"position": [0, 0]}]}, "grasps.roof.position is .*; allowed: three numbers"),
    ({"grasps": [GRASP | {"approach": [0, 0, 0]}]}, "grasps.roof.approach is .*; allowed: .* a direction"),
    ({"grasps": [GRASP | {"closing": [0, 1, 1]}]}, "grasps.roof.closing is .* perpendicular to approach"),
    ({"grasps": [GRASP | {"opening_m": 0}]}, "grasps.roof.opening is 0.0; allowed: more than 0 together"),
    ({"grasps": [GRASP | {"opening_m": -1}]}, "grasps.roof.opening_m is -1.0; allowed: 0 to 1"),
    ({"grasps": [GRASP | {"offset_m": [0, 0, 3]}]}, "grasps.roof.offset_m"),
    ({"grasps": [GRASP | {"turns_deg": []}]}, "grasps.roof.turns_deg"),
    ({"grasps": [GRASP | {"name": f"g{k}"} for k in range(101)]}, "grasps is '101 entries'; allowed: up to 100"),
    ({"symmetry": {"axis": "z", "order": 0}, "grasps": [GRASP | {"azimuth_within_deg": 5}]},
     "grasps.roof.azimuth_within_deg is 5.0; allowed: 0 in a category of which no turn"),
    ({"uncertainty_by_source": {"lidar": {}}}, "unknown key 'uncertainty_by_source.lidar'; allowed: support, depth"),
    ({"uncertainty_by_source": {"depth": {}}}, "uncertainty_by_source.depth is empty; give it what uncertainty has"),
    ({"uncertainty_by_source": 3}, "uncertainty_by_source must be a mapping, got 3"),
    ({"uncertainty_by_source": {"depth": {"knots": [0.5]}}}, "uncertainty.probability is")])
def test_wrong_values_of_format_2(changes, reason):
    with pytest.raises(BundleError, match=reason):
        parse_card(document(**changes))
