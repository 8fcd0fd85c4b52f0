# SPDX-License-Identifier: Apache-2.0
"""What a bundle's ``uncertainty`` makes of the solver's covariance and score."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml
from painted_car import photograph, write_painted_bundle
from posed_car import look_at

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli.output import object_entry
from dinemo_ros.errors import BundleError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.model.bundle import CARD_FILE, load_bundle, rewrite_card
from dinemo_ros.model.symmetry import NO_SYMMETRY, UNIFORM_VARIANCE, Symmetry, axis_variance
from dinemo_ros.pose import Hypothesis, ObjectPose
from dinemo_ros.uncertainty import UncertaintySpec, as_experienced, evidence_of

BOX = np.array([0.0, 0.0, 8.0, 10.0])  # overlaps with the region of ``pose`` by 0.8
SPEC = UncertaintySpec((-3.0, 6.0, 1.0, 0.5, 0.4, 1.5), (0.2, 0.8), turn=(6.0, 2.0), tilt=(3.0, 1.5), across=(4.0, 1.0),
                       along=(2.0, 0.5), size=(3.0, 0.5), floor=(0.03, 0.05, 0.02, 0.01, 0.04))
FLAT = replace(SPEC, turn=(1.0, 1.0), tilt=(1.0, 1.0), across=(1.0, 1.0), along=(1.0, 1.0), size=(1.0, 1.0),
               floor=(0.0,) * 5)

SLOPED = replace(SPEC, across_slope=(0.1, 0.4, -0.3, 0.2, -0.1, -0.5, 0.3, 0.2),
                 along_slope=(-0.2, 0.1, 0.3, -0.4, 0.1, 0.2, -0.2, 0.4))


def pose(**changes):
    rng = np.random.default_rng(0)
    root = 0.05 * rng.normal(size=(6, 6))
    T = se3(so3_exp([0.3, -0.8, 1.1]), np.array([2.0, -1.0, 6.0]))
    made = ObjectPose(T, 0.6, np.array([4.0, 1.7, 1.5]), category="car", roi=(0.0, 0.0, 10.0, 10.0),
                      covariance=root @ root.T + 1e-4 * np.eye(6), size_covariance=0.01 * np.eye(3), visible=0.7)
    return replace(made, **changes)


def test_without_it_nothing_changes():
    assert not UncertaintySpec()
    same = as_experienced(pose(), FLAT, NO_SYMMETRY, BOX)
    np.testing.assert_allclose(same.covariance, pose().covariance, atol=1e-15)
    np.testing.assert_allclose(same.size_covariance, pose().size_covariance)


def test_the_probability_is_the_logistic_one_and_rises_with_the_evidence():
    shown = pose(runners_up=(Hypothesis(np.eye(4), 0.45, np.ones(3)),), covariance=0.01 / 3 * np.eye(6))
    told = as_experienced(shown, SPEC, NO_SYMMETRY, BOX).probability
    sharp = math.log(10.0)  # a tenth of a radian
    assert told == pytest.approx(1 / (1 + math.exp(3.0 - 6.0 * 0.6 - 1.0 * 0.7 - 0.5 * 0.25 - 0.4 * sharp - 1.5 * 0.8)))
    assert SPEC.probability_of((1, 0.7, 0.7, 0.25, sharp, 0.8)) > told
    assert SPEC.probability_of((1, 0.6, 0.7, 0.25, sharp, 0.7)) < told
    assert 0.0 < SPEC.probability_of((1, -1e6, 0, 0, 0, 0)) < SPEC.probability_of((1, 1e6, 0, 0, 0, 0)) < 1.0


def test_the_lead_is_how_far_the_next_hypothesis_lies_behind():
    others = tuple(Hypothesis(np.eye(4), score, np.ones(3)) for score in (0.1, 0.45))
    assert evidence_of(pose(runners_up=others), NO_SYMMETRY, BOX)[:4] == pytest.approx((1.0, 0.6, 0.7, 0.25))
    assert evidence_of(pose(runners_up=others[::-1]), NO_SYMMETRY, BOX)[3] == pytest.approx(0.25)
    assert evidence_of(pose(), NO_SYMMETRY, BOX)[3] == 1.0
    assert evidence_of(pose(score=0.0, runners_up=others), NO_SYMMETRY, BOX)[3] == 1.0
    assert evidence_of(pose(score=0.1, runners_up=others), NO_SYMMETRY, BOX)[3] == -1.0


def test_a_turn_that_means_nothing_does_not_blur_a_bottle():
    """The same evidence before and after the turn's variance is made that of a uniform angle."""
    bottle, shown = Symmetry("z", 0), pose()
    after = replace(shown, covariance=bottle.covariance(shown.covariance, shown.T_cam_obj[:3, :3]))
    assert evidence_of(after, bottle, BOX)[4] == pytest.approx(evidence_of(shown, bottle, BOX)[4])
    assert evidence_of(after, NO_SYMMETRY, BOX)[4] < evidence_of(shown, NO_SYMMETRY, BOX)[4] - 0.5


def test_factors_are_linear_in_their_logarithm_between_the_knots_and_flat_beyond():
    assert SPEC.factor("turn", 0.2) == pytest.approx(6.0) and SPEC.factor("turn", 0.8) == pytest.approx(2.0)
    assert SPEC.factor("turn", 0.5) == pytest.approx(math.sqrt(12.0))
    assert SPEC.factor("turn", 0.01) == pytest.approx(6.0) and SPEC.factor("turn", 0.99) == pytest.approx(2.0)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_each_factor_stretches_its_own_direction(probability):
    """Standard deviations along the ray, across it, about object z and across that, each over its floor."""
    before = pose()
    T, distance, diagonal = before.T_cam_obj, np.linalg.norm(before.T_cam_obj[:3, 3]), np.linalg.norm(before.size)
    after = SPEC.covariance(before.covariance, T, before.size, probability)
    floor = {"along": 0.01 * distance, "across": 0.02 * diagonal, "turn": 0.03, "tilt": 0.05}
    for block, direction, own, other in ((np.s_[:3, :3], T[:3, 3] / distance, "along", "across"),
                                         (np.s_[3:, 3:], T[:3, 2], "turn", "tilt")):
        sideways = np.cross(direction, [0.3, 0.5, 0.1])
        sideways /= np.linalg.norm(sideways)
        for axis, name in ((direction, own), (sideways, other)):
            assert axis @ after[block] @ axis == pytest.approx(
                SPEC.factor(name, probability) ** 2 * (axis @ before.covariance[block] @ axis + floor[name] ** 2)), name
    np.testing.assert_allclose(after, after.T, atol=1e-15)
    assert np.linalg.eigvalsh(after).min() > 0
    np.testing.assert_allclose(
        SPEC.size_covariance(before.size_covariance, before.size, probability),
        SPEC.factor("size", probability) ** 2 * (before.size_covariance + np.diag((0.04 * before.size) ** 2)))


def test_slopes_change_the_factors_of_the_position_and_nothing_else():
    before = pose()
    evidence = evidence_of(before, NO_SYMMETRY, BOX)
    met = np.array([*evidence, math.log(1.7 / 4.0), math.log(1.5 / 4.0)])
    probability = SLOPED.probability_of(evidence)
    plain, sloped = (as_experienced(before, spec, NO_SYMMETRY, BOX).covariance for spec in (SPEC, SLOPED))
    ray = before.T_cam_obj[:3, 3] / np.linalg.norm(before.T_cam_obj[:3, 3])
    sideways = np.cross(ray, [0.3, 0.5, 0.1])
    sideways /= np.linalg.norm(sideways)
    for axis, slope in ((ray, SLOPED.along_slope), (sideways, SLOPED.across_slope)):
        assert abs(met @ slope) > 0.05
        assert axis @ sloped[:3, :3] @ axis == pytest.approx(math.exp(2 * met @ slope) * (axis @ plain[:3, :3] @ axis))
    np.testing.assert_allclose(sloped[3:, 3:], plain[3:, 3:])
    np.testing.assert_allclose(SLOPED.covariance(before.covariance, before.T_cam_obj, before.size, probability), plain)


def test_a_slope_ends_where_experience_does():
    """Four and a half times at most, however strange the evidence."""
    steep = replace(SPEC, across_slope=(0.0, 100.0) + (0.0,) * 6)
    met = np.array([[1.0, score, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0] for score in (-1.0, 0.0, 0.01, 1.0)])
    np.testing.assert_allclose(steep.stretch("across", met), np.exp([-1.5, 0.0, 1.0, 1.5]))
    np.testing.assert_allclose(steep.stretch("along", met), 1.0)


def test_factors_leave_correlations():
    before, spec = pose(), replace(SPEC, floor=(0.0,) * 5)
    T, ray = before.T_cam_obj, before.T_cam_obj[:3, 3] / np.linalg.norm(before.T_cam_obj[:3, 3])
    a, b = np.r_[ray, np.zeros(3)], np.r_[np.zeros(3), T[:3, 2]]
    correlation = [(a @ C @ b) / math.sqrt((a @ C @ a) * (b @ C @ b))
                   for C in (before.covariance, spec.covariance(before.covariance, T, before.size, 0.4))]
    assert correlation[0] == pytest.approx(correlation[1]) and abs(correlation[0]) > 0.01


def test_a_turn_cannot_be_less_known_than_not_at_all():
    before = pose(covariance=np.eye(6))
    wide = replace(SPEC, turn=(100.0, 100.0))
    after = wide.covariance(before.covariance, before.T_cam_obj, before.size, 0.5)
    assert axis_variance(after, before.T_cam_obj[:3, :3]) == pytest.approx(UNIFORM_VARIANCE)
    assert np.linalg.eigvalsh(after).min() > 0


def test_it_is_cheap():
    """Fifty microseconds were the aim, less than a hundredth of a frame; a loaded machine gets ten times that."""
    one, best = pose(), math.inf
    for _ in range(50):
        begin = time.perf_counter()
        as_experienced(one, SPEC, NO_SYMMETRY, BOX)
        best = min(best, time.perf_counter() - begin)
    assert best < 500e-6


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    return write_painted_bundle(tmp_path_factory.mktemp("painted") / "bundle")


def test_every_pose_of_the_estimator_goes_through_it(painted):
    """Found and followed poses alike, in the camera's frame."""
    plain = load_bundle(painted)
    camera, T = Camera.from_hfov(320, 320, 40.0), look_at(40, 15, centre=(1.0, 0.4, 11.0))
    image = photograph(T, camera)
    found = []
    for spec in (UncertaintySpec(), SPEC):
        estimator = PoseEstimator(replace(plain, card=replace(plain.card, uncertainty=spec)), threads=1)
        first = estimator.estimate(image, camera, [(60.0, 60.0, 300.0, 260.0)])[0]
        found.append((first, estimator.follow(image, camera, [replace(first, T_cam_obj=T)])[0]))
    for before, after in zip(*found, strict=True):
        np.testing.assert_array_equal(before.T_cam_obj, after.T_cam_obj)
        assert before.score == after.score and before.probability is None
        box = estimator.covered(before, camera)
        assert after.probability == pytest.approx(as_experienced(before, SPEC, NO_SYMMETRY, box).probability)
        np.testing.assert_allclose(after.covariance, SPEC.covariance(before.covariance, before.T_cam_obj, before.size,
                                                                     after.probability))
        assert not np.allclose(after.covariance, before.covariance, rtol=0.2)
        np.testing.assert_allclose(after.size_covariance, SPEC.size_covariance(before.size_covariance, before.size,
                                                                               after.probability))
        assert object_entry(after)["probability"] == after.probability
        np.testing.assert_array_equal(object_entry(after)["size_covariance"], after.size_covariance)
        assert object_entry(before)["probability"] is None


def test_a_card_keeps_it_and_a_card_without_it_does_not_name_it(painted):
    plain = load_bundle(painted)
    assert "uncertainty" not in yaml.safe_load((painted / CARD_FILE).read_text())
    try:
        assert rewrite_card(plain, replace(plain.card, uncertainty=SLOPED)).card.uncertainty == SLOPED
        document = yaml.safe_load((painted / CARD_FILE).read_text())
        del document["uncertainty"]["across_slope"], document["uncertainty"]["along_slope"]
        (painted / CARD_FILE).write_text(yaml.safe_dump(document))
        assert load_bundle(painted).card.uncertainty == SPEC
        assert yaml.safe_load((painted / CARD_FILE).read_text())["format"] == "dinemo-bundle/2"
    finally:
        rewrite_card(plain, plain.card)


@pytest.mark.parametrize("changes, reason", [
    ({"probability": (1.0, 2.0)}, r"uncertainty.probability is \[1.0, 2.0\]; allowed: 6 numbers"),
    ({"knots": (0.8, 0.2)}, "uncertainty.knots .* allowed: rising probabilities"),
    ({"knots": (0.2, 1.2)}, "uncertainty.knots .* allowed: rising probabilities, 0 to 1"),
    ({"knots": ()}, "uncertainty.knots"),
    ({"tilt": (1.0,)}, "uncertainty.tilt .* a factor for each of the 2 knots"),
    ({"tilt": (1.0, 0.0)}, "uncertainty.tilt .* 0.001 to 1000"),
    ({"size": (1.0, -1.0)}, "uncertainty.size"),
    ({"probability": ()}, "uncertainty.probability"),
    ({"floor": (0.1,)}, "uncertainty.floor .* 5 numbers from 0 to 3, of turn, tilt, across, along, size"),
    ({"across_slope": (0.1,) * 7}, "uncertainty.across_slope .* 8 numbers or none"),
    ({"along_slope": (0.1,)}, r"uncertainty.along_slope is \[0.1\]; allowed: 8 numbers or none"),
    ({"floor": (0.1, 0.1, -0.1, 0.1, 0.1)}, "uncertainty.floor"),
])
def test_what_is_no_uncertainty_is_refused(changes, reason):
    with pytest.raises(BundleError, match=reason):
        replace(SPEC, **changes)


def test_size_errors_of_a_round_object_are_one_for_length_and_width():
    """Geometric mean of two sides with independent errors: each counts half."""
    S = Symmetry("z", 0).size_covariance(np.diag([0.04, 0.04, 0.09]), np.array([1.0, 1.0, 3.0]))
    np.testing.assert_allclose(S, [[0.02, 0.02, 0], [0.02, 0.02, 0], [0, 0, 0.09]])
    np.testing.assert_array_equal(Symmetry("z", 1).size_covariance(np.eye(3), np.ones(3)), np.eye(3))
    rng, size = np.random.default_rng(0), np.array([0.08, 0.06, 0.2])
    C = np.diag([1e-6, 4e-6, 9e-6])
    box = Symmetry("z", 4)
    drawn = [box.size(size + rng.multivariate_normal(np.zeros(3), C)) for _ in range(4000)]
    np.testing.assert_allclose(np.cov(np.transpose(drawn)), box.size_covariance(C, size), rtol=0.1, atol=1e-7)
