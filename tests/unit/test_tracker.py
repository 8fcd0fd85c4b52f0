# SPDX-License-Identifier: Apache-2.0
"""Tracks over painted sequences with exact truth: ids, crossings, motion, loss, ageing; and the shipped sequence."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle
from shared_data import ROOT

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import RoiError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import ray_rotation, rotation_angle, rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.pose import Hypothesis
from dinemo_ros.tracker import PoseTracker, Track, Tracking

CAMERA = Camera.from_hfov(400, 240, 60.0)
STEP_S = 0.1


def car_at(x: float, z: float, azimuth_deg: float) -> np.ndarray:
    """T_cam_obj [4, 4] of a car on the ground plane, seen from a little above."""
    t = np.array([x, 0.3, z])
    return se3(ray_rotation(t) @ rotation_from_viewpoint(np.radians(azimuth_deg), np.radians(8.0), 0.0), t)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    return PoseEstimator(load_bundle(write_painted_bundle(tmp_path_factory.mktemp("painted"))), threads=2)


def play(tracker, estimator, scenes, rois=True):
    """Per image the poses by track id. rois: a detector gives each car's box; False: it gives none, [] at all times."""
    seen = []
    for k, cars in enumerate(scenes):
        boxes = [tuple(estimator.covered(Hypothesis(T, 1.0, np.array(estimator.bundle.card.size_prior.mean_m)), CAMERA))
                 for T in cars] if rois else []
        poses = tracker.update(photograph(cars, CAMERA), CAMERA, k * STEP_S, boxes)
        seen.append({pose.track_id: pose for pose in poses})
    return seen


def nearest(poses, T):
    return min(poses.values(), key=lambda p: np.linalg.norm(p.T_cam_obj[:3, 3] - T[:3, 3]))


def test_one_car_keeps_its_id_and_its_accuracy(estimator):
    scenes = [[car_at(-3.0 + 0.4 * k, 11.0 - 0.2 * k, 100.0 + 3.0 * k)] for k in range(8)]
    for poses, (truth,) in zip(play(PoseTracker(estimator), estimator, scenes), scenes, strict=True):
        assert set(poses) == {0}
        assert rotation_angle(poses[0].T_cam_obj[:3, :3], truth[:3, :3]) < np.radians(4.0)
        assert np.linalg.norm(poses[0].T_cam_obj[:3, 3] - truth[:3, 3]) < 0.06 * truth[2, 3]


def test_following_is_not_searching(estimator):
    """The coarse search does not run in images in which every track is found near its prediction."""
    tracker, times = PoseTracker(estimator, Tracking(search_every=100)), []
    for k in range(4):
        cars = [car_at(0.1 * k, 10.0, 60.0)]
        tracker.update(photograph(cars, CAMERA), CAMERA, k * STEP_S, [(120, 90, 290, 170)])
        times.append(tracker.timings["coarse"])
    assert times[0] > 0.0 and times[1:] == [0.0, 0.0, 0.0]


def test_ids_do_not_swap_where_two_cars_cross(estimator):
    """One drives to the right in front of another one that drives to the left; for a while the latter is unseen."""
    scenes = [[car_at(-5.0 + 0.8 * k, 8.0, 95.0), car_at(5.0 - 0.8 * k, 12.0, 265.0)] for k in range(14)]
    seen = play(PoseTracker(estimator, Tracking(max_age_s=1.5)), estimator, scenes)
    assert set(seen[0]) == set(seen[-1]) == {0, 1}
    near = nearest(seen[0], scenes[0][0]).track_id
    for poses, (front, back) in zip(seen, scenes, strict=True):
        assert set(poses) <= {0, 1} and near in poses
        assert np.linalg.norm(poses[near].T_cam_obj[:3, 3] - front[:3, 3]) < 1.0
        for other in set(poses) - {near}:
            assert np.linalg.norm(poses[other].T_cam_obj[:3, 3] - back[:3, 3]) < 1.5
    assert any(len(poses) == 1 for poses in seen), "the cars never hid each other: the scene is too easy"


def test_a_car_that_leaves_ages_out_and_a_new_one_gets_a_new_id(estimator):
    scenes = [[car_at(0.0, 9.0, 30.0)]] * 3 + [[]] * 12 + [[car_at(2.0, 9.0, 200.0)]] * 3
    tracker = PoseTracker(estimator, Tracking(max_age_s=0.5))
    seen = play(tracker, estimator, scenes)
    assert [set(poses) for poses in seen[:3]] == [{0}] * 3
    assert not any(seen[3:15]) and set(seen[-1]) == {1}


def test_a_jump_is_found_again_by_the_search(estimator):
    """Between two images the car turns by 100 degrees: following fails or scores low, the whole search finds it."""
    scenes = [[car_at(0.0, 9.0, 30.0)]] * 3 + [[car_at(0.0, 9.0, 130.0)]] * 3
    seen = play(PoseTracker(estimator, Tracking(search_every=2)), estimator, scenes)
    assert set(seen[-1]) == {0}
    assert rotation_angle(seen[-1][0].T_cam_obj[:3, :3], scenes[-1][0][:3, :3]) < np.radians(5.0)


def test_a_flip_does_not_lock_in(estimator):
    """A track that starts the wrong way round turns round within a few images, by its flip alone."""
    cars = [car_at(0.0, 9.0, 60.0)]
    tracker = PoseTracker(estimator, Tracking(search_every=1000))
    image = photograph(cars, CAMERA)
    first = tracker.update(image, CAMERA, 0.0, [(110, 80, 290, 180)])[0]
    wrong = first.T_cam_obj.copy()
    wrong[:3, :3] = wrong[:3, :3] @ np.diag([-1.0, -1.0, 1.0])
    tracker._tracks[0].pose = replace(first, T_cam_obj=wrong)
    for k in range(1, 6):
        poses = tracker.update(image, CAMERA, k * STEP_S, [(110, 80, 290, 180)])
    assert poses[0].track_id == 0
    assert rotation_angle(poses[0].T_cam_obj[:3, :3], cars[0][:3, :3]) < np.radians(5.0)


def test_flip_needs_more_than_one_image_of_weak_evidence(estimator):
    pose = estimator.estimate(photograph([car_at(0, 9, 60)], CAMERA), CAMERA, [(110, 80, 290, 180)])[0]
    other = replace(pose, runners_up=(Hypothesis(np.eye(4), pose.score + 0.03, pose.size),))
    track = Track(0, pose, 0.0, 0.0)
    assert track.weigh_flip(other) is other
    assert np.array_equal(track.weigh_flip(other).T_cam_obj, np.eye(4))


def test_a_pause_or_a_jump_back_in_time_ends_all_tracks(estimator):
    image, boxes = photograph([car_at(0.0, 9.0, 30.0)], CAMERA), [(110, 80, 290, 180)]
    tracker = PoseTracker(estimator, Tracking(max_age_s=0.5))
    stamps = [0.0, 0.1, 5.0, 5.1, 2.0]
    assert [tracker.update(image, CAMERA, s, boxes)[0].track_id for s in stamps] == [0, 0, 1, 1, 2]


def test_bad_input_leaves_the_tracks_alone(estimator):
    image, boxes = photograph([car_at(0.0, 9.0, 30.0)], CAMERA), [(110, 80, 290, 180)]
    tracker = PoseTracker(estimator)
    tracker.update(image, CAMERA, 0.0, boxes)
    with pytest.raises(RoiError):
        tracker.update(image, CAMERA, 0.1, [(5.0, 5.0, 1.0, 1.0)])
    assert [pose.track_id for pose in tracker.update(image, CAMERA, 0.2, boxes)] == [0]


def test_smoothing_lies_between_prediction_and_measurement(estimator):
    pose = estimator.estimate(photograph([car_at(0, 9, 60)], CAMERA), CAMERA, [(110, 80, 290, 180)])[0]
    moved = replace(pose, T_cam_obj=pose.T_cam_obj + np.array([[0, 0, 0, 1.0]] + [[0.0] * 4] * 3))
    track = Track(0, pose, 0.0, 0.0)
    track.correct(moved, 0.1, 0.1, smoothing=0.75)
    assert track.pose.T_cam_obj[0, 3] == pytest.approx(pose.T_cam_obj[0, 3] + 0.25)


@pytest.mark.parametrize("wrong", [{"search_every": 0}, {"keep_score": 1.5}, {"max_age_s": 0.0}, {"smoothing": 1.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="allowed: search_every from 1"):
        Tracking(**wrong)


def test_shipped_sequence_is_one_track():
    """A car that turns by 13 degrees from image to image, ten images a second: the hardest motion to follow."""
    folder = ROOT / "config" / "demo_sequence"
    camera = Camera.from_yaml(folder / "camera_info.yaml")
    tracker = PoseTracker(PoseEstimator(load_bundle(ROOT / "engines" / "car"), threads=2))
    errors = []
    for name, frame in json.loads((folder / "ground_truth.json").read_text())["frames"].items():
        image = np.ascontiguousarray(cv2.imread(str(folder / name))[..., ::-1])
        poses = tracker.update(image, camera, frame["stamp_s"], [frame["roi"]])
        assert [pose.track_id for pose in poses] == [0], name
        errors.append(rotation_angle(poses[0].T_cam_obj[:3, :3], np.array(frame["T_cam_obj"])[:3, :3]))
    # Measured with car 1.0: 7 and 20 degrees; without tracking, with true boxes, 5 and 20.
    assert np.degrees(np.median(errors)) < 12.0 and np.degrees(np.max(errors)) < 40.0
