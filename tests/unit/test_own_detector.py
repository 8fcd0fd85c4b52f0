# SPDX-License-Identifier: Apache-2.0
"""Which detector a pose node brings itself, by its parameters and by what its bundles ask for."""

from types import SimpleNamespace

import pytest
from unit.test_onnx_detector import rows_network, write

from dinemo_ros.detection import onnx_detector
from dinemo_ros.detection.class_map import ClassMap
from dinemo_ros.errors import BundleError
from dinemo_ros.model.bundle import find_bundle, load_bundle
from dinemo_ros.model.card import DetectorHint
from dinemo_ros.node import own_detector as own


def bundle(category, *labels):
    return SimpleNamespace(card=SimpleNamespace(category=category, detector=DetectorHint(labels)))


def asked(bundles, rois="auto", detector=""):
    return own.own_detector(SimpleNamespace(rois=rois, detector=str(detector), threads=1, detector_budget_ms=0.0),
                            bundles)


@pytest.fixture
def mine(tmp_path):
    return write(tmp_path / "mine", rows_network([(1, 2, 30, 40, 0.9, 0)]), labels=["lorry", "mug"])


@pytest.mark.parametrize("rois", ["auto", "detector"])
def test_the_shipped_one_where_it_knows_a_category(rois):
    assert asked([bundle("car", "car")], rois).name.startswith("nanodet-g ")


def test_one_of_ones_own(mine):
    assert asked([bundle("cup", "cup", "mug"), bundle("thing")], detector=mine).name == "mine 2"


def test_loaded_when_it_may_be_needed(mine, monkeypatch):
    loaded = []
    monkeypatch.setattr(onnx_detector, "OnnxDetector", lambda *arguments: loaded.append(arguments))
    for rois, times in (("detections", 0), ("proposals", 0), ("auto", 1), ("detector", 2)):
        asked([bundle("cup", "mug")], rois, mine)
        assert len(loaded) == times


def test_no_category_is_known(mine):
    """Of the shipped one nobody has asked; one's own is not left out in silence."""
    assert asked([bundle("thing", "thing"), bundle("other")]) is None
    with pytest.raises(BundleError, match="finds 'lorry', 'mug' and no bundle asks for one of these"):
        asked([bundle("thing", "thing")], detector=mine)


def test_each_category_has_to_be_known_where_the_detector_is_asked_for(mine):
    with pytest.raises(BundleError, match="knows none of the names that the bundle of thing has"):
        asked([bundle("cup", "mug"), bundle("thing")], "detector", mine)


def test_class_map_is_of_its_classes_as_well(mine):
    """A detector that says "lorry" is used without a change of the bundle's card."""
    car = load_bundle(find_bundle("car"))
    classes = ClassMap([car.card], ["Lorry=car"])
    given = SimpleNamespace(rois="detector", detector=str(mine), threads=1, detector_budget_ms=0.0)
    assert own.own_detector(given, [car], classes).name == "mine 2"
    assert own.as_mapped(car, ("lorry", "mug", "Car"), classes).card.detector.labels == ("lorry", "Car")
    assert own.as_mapped(car, ("lorry",), classes).card.detector.even == car.card.detector.even
    for nothing in (None, ClassMap([car.card])):
        assert own.as_mapped(car, ("lorry",), nothing) is car
        with pytest.raises(BundleError, match="finds|knows none"):
            own.own_detector(given, [car], nothing)


def test_none_is_installed(monkeypatch, tmp_path):
    """Own proposals do without it, unless it is asked for."""
    def missing():
        raise BundleError("no detector is installed")

    monkeypatch.setattr(own, "find_detector", missing)
    assert asked([bundle("car", "car")]) is None
    for wanted in ({"rois": "detector"}, {"detector": tmp_path}):
        with pytest.raises(BundleError):
            asked([bundle("car", "car")], **wanted)
