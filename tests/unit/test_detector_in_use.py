# SPDX-License-Identifier: Apache-2.0
"""An estimator and a tracker that are given no boxes, with a box detector."""

from dataclasses import replace

import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle
from unit.scripted_estimator import CAMERA as TRACKED
from unit.scripted_estimator import IMAGE, ScriptedEstimator, pose_at
from unit.test_estimator_decisions import CAMERA, car_at
from unit.test_onnx_detector import Scripted
from unit.test_presence import SPEC

from dinemo_ros.detection.detector import Detection
from dinemo_ros.detection.finder import Found
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import rotation_angle
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.model.card import DetectorHint
from dinemo_ros.tracker import PoseTracker

TRUTH = car_at(0.5, 12.0, 60.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    bundle = load_bundle(write_painted_bundle(tmp_path_factory.mktemp("painted")))
    return replace(bundle, card=replace(bundle.card, detector=DetectorHint(("car",), 0.3)))


@pytest.fixture(scope="module")
def scripted():
    return Scripted()


@pytest.fixture(scope="module")
def estimator(bundle, scripted):
    return PoseEstimator(bundle, threads=1, detector=scripted)


@pytest.fixture(scope="module")
def box(estimator):
    pose, = estimator.estimate(photograph(TRUTH, CAMERA), CAMERA, [(0.0, 0.0, 640.0, 480.0)])
    return tuple(estimator.covered(pose, CAMERA))


def shifted(box, pixels):
    return tuple(np.array(box) + pixels)


def test_poses_are_in_the_detectors_boxes(estimator, scripted, box):
    """Of three boxes on one car one pose is left; a cup's box is not looked at."""
    scripted.found = [Detection(box, "car", 0.9), Detection(shifted(box, 4), "car", 0.8), Detection(box, "car", 0.4),
                      Detection((0.0, 0.0, 100.0, 100.0), "cup", 0.9)]
    pose, = estimator.estimate(photograph(TRUTH, CAMERA), CAMERA)
    assert rotation_angle(pose.T_cam_obj[:3, :3], TRUTH[:3, :3]) < np.radians(3.0)
    assert estimator.timings["detector"] >= 0 and "proposals" not in estimator.timings
    assert estimator.finds_with == "scripted"


def test_where_the_detector_sees_nothing_there_is_nothing(estimator, scripted, box):
    scripted.found = [Detection(box, "car", 0.29)]
    assert estimator.estimate(photograph(TRUTH, CAMERA), CAMERA) == []


def test_own_proposals_on_request(estimator, scripted):
    scripted.found, estimator.proposes = [], True
    try:
        assert len(estimator.estimate(photograph(TRUTH, CAMERA), CAMERA)) == 1
        assert estimator.timings["proposals"] > 0 and "detector" not in estimator.timings
    finally:
        estimator.proposes = False


def test_given_boxes_are_looked_at_without_the_detector(estimator, scripted, box):
    scripted.found, scripted.asked = [], 0
    assert len(estimator.estimate(photograph(TRUTH, CAMERA), CAMERA, [box])) == 1 and scripted.asked == 0


def test_a_detector_that_does_not_know_the_category_is_not_asked(bundle):
    unknown = replace(bundle, card=replace(bundle.card, detector=DetectorHint(("lorry",))))
    scripted = Scripted()
    plain = PoseEstimator(unknown, threads=1, detector=scripted)
    assert len(plain.estimate(photograph(TRUTH, CAMERA), CAMERA)) == 1 and scripted.asked == 0
    assert plain.finds_with == "proposals"


@pytest.mark.parametrize(("presence", "score", "floor", "kept"), [
    (0.9, None, 0.0, True), (0.5, None, 0.0, False),  # the card's own floor is 0.6
    (0.5, 0.7, 0.0, True), (0.9, 0.1, 0.0, False),
    (0.9, 0.5, 0.95, False), (0.9, 0.9, 0.95, True)])
def test_detector_and_look_decide_together(estimator, presence, score, floor, kept):
    before = estimator.bundle
    spec = replace(SPEC, floor=0.6, pooled=(0.1,) * 128)
    estimator.bundle = replace(before, card=replace(before.card, presence=spec))
    try:
        pose = replace(pose_at(0.0, 4.0, score=0.01), presence=presence)
        assert (estimator.refused(pose, Found([], [], False, floor), score) == "") == kept
    finally:
        estimator.bundle = before


def test_a_tracker_asks_now_and_then():
    """The detector's boxes start tracks; in between they are followed."""
    estimator = ScriptedEstimator()
    estimator.find = lambda image: estimator.looked.append(1) or Found([estimator.covered(car, TRACKED)], [0.9], False)
    car, estimator.looked = pose_at(0.0, 4.0, score=0.2), []  # below the accepted score of proposals
    estimator.searches = lambda box: car
    tracker = PoseTracker(estimator)
    for k in range(12):
        poses = tracker.update(IMAGE, TRACKED, 0.1 * k)
        assert [pose.track_id for pose in poses] == [0]
    assert len(estimator.looked) == 2 and (tuple(estimator.covered(car, TRACKED)), False) in estimator.searched


def test_a_tracker_weighs_the_detectors_scores():
    """As without tracking: a box that its detector doubts starts no track; an array of scores will do."""
    estimator = ScriptedEstimator()
    estimator.bundle.card.presence = replace(SPEC, floor=0.6)
    estimator.searches = lambda box: replace(pose_at(0.0, 4.0), presence=0.7)
    box = tuple(estimator.covered(pose_at(0.0, 4.0), TRACKED))
    for scores, tracks in ((None, 1), (np.array([0.5]), 1), ([0.3], 0)):
        assert len(PoseTracker(estimator).update(IMAGE, TRACKED, 0.0, [box], detector_scores=scores)) == tracks


def test_scores_may_be_an_array(estimator, box):
    image = photograph(TRUTH, CAMERA)
    assert len(estimator.estimate(image, CAMERA, [box, box], detector_scores=np.array([0.9, 0.8]))) == 2
