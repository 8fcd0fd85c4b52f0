# SPDX-License-Identifier: Apache-2.0
"""Whether there is an object at all: the evidence, its weights, and poses of nothing that are dropped."""

import math
from dataclasses import replace

import numpy as np
import pytest
from posed_car import look_at
from shared_data import ROOT
from unit.planted import SIZE, car_card, car_mesh, render
from unit.test_real_photographs import CAR_BOX, CUP_BOX, picture

from dinemo_ros.errors import BundleError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.model.bundle import Bundle, Card, load_bundle
from dinemo_ros.model.card_document import card_text
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.solver.coarse import Target
from dinemo_ros.solver.crop_solver import SolvedPose
from dinemo_ros.verification.evidence import EvidenceReader
from dinemo_ros.verification.spec import NUMBERS, PresenceSpec, with_detector
from dinemo_ros.verification.verifier import is_present

N = len(NUMBERS)
SPEC = PresenceSpec(-0.5, (1.0,) * N, (2.0,) * N, (0.1,) * N, (0.01,) * N, (0.3, -0.2), 0.4)
NOTHING = (0.0, 0.0, 400.0, 250.0)  # of street.jpg: houses


def odds(probability):
    return math.log(probability / (1 - probability))


def test_the_presence_is_the_logistic_one():
    numbers = np.ones(N)
    numbers[0] = 4.0  # 1.5 spreads above the mean
    found = SPEC.presence(numbers, np.array([2.0, 1.0]))
    assert odds(found) == pytest.approx(-0.5 + 0.15 + 0.0225 + 0.6 - 0.2)
    numbers[0] = 1e9  # no number says more than five spreads
    assert odds(SPEC.presence(numbers, np.zeros(2))) == pytest.approx(-0.5 + 0.5 + 0.25)


def test_a_detector_is_the_prior():
    assert with_detector(0.3, None) == 0.3
    assert with_detector(0.3, 0.5) == pytest.approx(0.3)
    assert with_detector(0.3, 0.9) == pytest.approx(0.27 / (0.27 + 0.07))
    assert 0.0 < with_detector(0.99, 0.0) < 0.99 < with_detector(0.99, 1.0) < 1.0
    with pytest.raises(ValueError, match="the detector's score is nan; allowed: 0 to 1"):
        with_detector(0.3, math.nan)


@pytest.mark.parametrize(("change", "message"), [
    ({"mean": (0.0,)}, f"presence.mean is .*; allowed: {N} numbers"),
    ({"floor": 1.2}, "presence.floor is 1.2; allowed: 0"),
    ({"spread": (0.0,) * N}, "presence.spread is .* above 0"), ({"square": (2e4,) * N}, "presence.square"),
    ({"pooled": (1e9,)}, "beyond 10000"), ({"bias": -1e9}, "beyond 10000"),
])
def test_a_card_that_cannot_be_is_refused(change, message):
    with pytest.raises(BundleError, match=message):
        replace(SPEC, **change)


def test_the_pooled_weights_are_those_of_the_features():
    with pytest.raises(BundleError, match="presence.pooled has 2 numbers; allowed: 128"):
        car_card(presence=SPEC)


def test_a_card_without_it_is_written_as_before():
    assert not PresenceSpec() and "presence" not in card_text(car_card())
    assert "presence" in card_text(car_card(presence=replace(SPEC, pooled=(0.1,) * 128)))


def test_the_evidence_of_a_planted_object_and_of_none(tmp_path):
    mesh = car_mesh()
    reader, T, focal, cells = EvidenceReader(Bundle(tmp_path, car_card(), mesh)), look_at(35.0, 11.5), 45.0, 32
    target = Target(np.array([5.0, 10.0, 27.0, 22.0]), np.zeros(4, np.uint8), focal, 0.5 * (cells - 1), True)
    pose = SolvedPose(T, np.array(SIZE), 0.5, 0.9, 0.01 * np.eye(6), np.eye(3))
    here = dict(zip(NUMBERS, reader(render(mesh, T, focal).features, target, [pose]).numbers, strict=True))
    rest = replace(pose, score=0.4)
    clutter = np.repeat(mesh.clutter[0], cells * cells).reshape(-1, cells, cells)
    gone = dict(zip(NUMBERS, reader(clutter, target, [pose, rest]).numbers, strict=True))
    assert here["agreement"] > 0.6 and here["placed"] > 0.6 and here["seen"] > 0.8
    assert here["inside"] == 1.0
    assert here["foreground"] > 0.7 > 0.4 > here["around"] and here["held"] > 0.6
    assert here["length"] == pytest.approx(0.0, abs=0.3)
    assert here["above"] == pytest.approx(math.sin(math.radians(11.5)), abs=0.05)
    assert here["apart"] == 1.0 and gone["apart"] == pytest.approx(0.2)
    assert here["sharp"] == pytest.approx(-0.5 * math.log(0.03)) and here["score"] == 0.5 and here["visible"] == 0.9
    assert gone["agreement"] < 0.3 and gone["seen"] == 0.0 and gone["foreground"] < 0.05 and gone["scatter"] > 0.0


def test_of_what_is_outside_of_the_crop_nothing_is_known(tmp_path):
    mesh = car_mesh()
    T = look_at(35.0, 11.5)
    features = render(mesh, T, 45.0).features
    beside = T.copy()
    beside[0, 3] += 100.0
    target = Target(np.array([5.0, 10.0, 27.0, 22.0]), np.zeros(4, np.uint8), 45.0, 15.5, True)
    evidence = EvidenceReader(Bundle(tmp_path, car_card(), mesh))(
        features, target, [SolvedPose(beside, np.array(SIZE), 0.5, 0.9, np.eye(6), np.eye(3))])
    assert evidence.numbers.shape == (len(NUMBERS),) and evidence.pooled.shape == (2 * len(features),)
    assert not evidence.numbers.any() and not evidence.pooled.any()


def test_a_turn_that_nobody_can_know_makes_a_pose_no_less_sharp(tmp_path):
    mesh, T = car_mesh(), look_at(35.0, 11.5)
    features = render(mesh, T, 45.0).features
    target = Target(np.array([5.0, 10.0, 27.0, 22.0]), np.zeros(4, np.uint8), 45.0, 15.5, True)
    axis, covariance = T[:3, 2], 0.01 * np.eye(6)
    covariance[3:, 3:] += 4.0 * np.outer(axis, axis)
    pose = SolvedPose(T, np.array(SIZE), 0.5, 0.9, covariance, np.eye(3))
    sharp = [EvidenceReader(Bundle(tmp_path, car_card(symmetry=symmetry), mesh))(features, target, [pose]).numbers[
        NUMBERS.index("sharp")] for symmetry in (Symmetry(), Symmetry("z", 0))]
    assert sharp == pytest.approx([-0.5 * math.log(4.03), -0.5 * math.log(0.02)])


def test_what_a_plane_told_of_the_size_does_not_count_against_an_object(tmp_path):
    """The evidence was learnt of poses by the picture alone, in which every object has about the mean size."""
    mesh = car_mesh()
    reader, T = EvidenceReader(Bundle(tmp_path, car_card(), mesh)), look_at(35.0, 11.5)
    features = render(mesh, T, 45.0).features
    target = Target(np.array([6, 8, 26, 23.0]), np.zeros(4, np.uint8), 45.0, 15.5)
    first = SolvedPose(T, np.array(SIZE), 0.8, 0.9, np.eye(6), np.eye(3))
    far = T.copy()
    far[:3, 3] *= 1.6
    larger = SolvedPose(far, 1.6 * np.array(SIZE), 0.8, 0.9, np.eye(6), np.eye(3), source="support", pictured=first)
    alone, known = reader(features, target, [first]), reader(features, target, [larger])
    assert np.array_equal(alone.numbers, known.numbers) and np.array_equal(alone.pooled, known.pooled)
    unlike = reader(features, target, [SolvedPose(far, 1.6 * np.array(SIZE), 0.8, 0.9, np.eye(6), np.eye(3))])
    assert not np.allclose(alone.numbers, unlike.numbers)


def with_floor(estimator, floor):
    """The estimator asks the card at every picture."""
    card = estimator.bundle.card
    estimator.bundle = replace(estimator.bundle, card=replace(card, presence=replace(card.presence, floor=floor)))


@pytest.fixture(scope="module")
def car():
    return PoseEstimator(load_bundle(ROOT / "engines" / "car"), threads=2)


def test_a_pose_of_nothing_is_dropped_and_a_real_car_is_kept(car):
    street, there = picture("street.jpg", 60.0), picture("car_rear.jpg", 40.0)
    assert car.estimate(*street, [NOTHING]) == []
    (located,) = car.locate(*street, [np.array(NOTHING)])
    assert located.presence < 0.1 < car.bundle.card.presence.floor  # who locates decides himself
    (kept,) = car.estimate(*there, [CAR_BOX])
    assert kept.presence > 0.95
    (followed,) = car.follow(*there, [kept])
    assert followed.presence > 0.95


def test_a_real_cup_is_kept_and_is_no_car(car):
    cup = PoseEstimator(load_bundle(ROOT / "engines" / "cup"), threads=2)
    espresso = picture("espresso.jpg", 40.0)
    assert cup.estimate(*espresso, [CUP_BOX])[0].presence > 0.9
    assert car.estimate(*espresso, [CUP_BOX]) == []


def test_the_floor_is_read(car):
    before, there = car.bundle, picture("car_rear.jpg", 40.0)
    try:
        with_floor(car, 1.0)
        assert car.estimate(*there, [CAR_BOX]) == []
        with_floor(car, 0.0)
        assert len(car.estimate(*picture("street.jpg", 60.0), [NOTHING])) == 1
    finally:
        car.bundle = before


def test_a_bundle_without_it_publishes_as_before():
    bundle = load_bundle(ROOT / "engines" / "car")
    plain = PoseEstimator(replace(bundle, card=replace(bundle.card, presence=PresenceSpec())), threads=2)
    (pose,) = plain.estimate(*picture("street.jpg", 60.0), [NOTHING])
    assert pose.presence is None and is_present(pose, SPEC)


def test_a_detector_can_save_and_sink_a_pose(car):
    (pose,) = car.estimate(*picture("car_rear.jpg", 40.0), [CAR_BOX])
    weak = replace(pose, presence=0.3)
    assert not is_present(weak, SPEC) and is_present(weak, SPEC, 0.7)


def test_cards_of_the_shipped_bundles_have_it():
    for category in ("car", "cup", "bottle", "chair"):
        card: Card = load_bundle(ROOT / "engines" / category).card
        assert card.presence and 0.0 < card.presence.floor < 0.5
