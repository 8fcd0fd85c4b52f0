# SPDX-License-Identifier: Apache-2.0
"""Two painted categories in one picture, with the whole way of an image: who is who, and ten crossing objects."""

import numpy as np
import pytest
from painted_car import photograph_of_two, write_painted_bundle

from dinemo_ros import Camera, Hypothesis, LabelledBox, MultiPoseEstimator, MultiPoseTracker, PoseEstimator, load_bundle
from dinemo_ros.detection.regions import covered_share
from dinemo_ros.geometry import ray_rotation, rotation_angle, rotation_from_viewpoint, se3
from dinemo_ros.tracker import Tracking

CAMERA = Camera.from_hfov(960, 360, 90.0)
STEP_S = 0.1
CHANNELS = (2, 0, 1)
NAMES = ("car", "van")


def at(x: float, z: float, azimuth_deg: float) -> np.ndarray:
    """T_cam_obj [4, 4] on the ground plane, seen from a little above."""
    t = np.array([x, 0.4, z])
    return se3(ray_rotation(t) @ rotation_from_viewpoint(np.radians(azimuth_deg), np.radians(8.0), 0.0), t)


@pytest.fixture(scope="module")
def estimators(tmp_path_factory):
    folder = tmp_path_factory.mktemp("painted")
    return [PoseEstimator(load_bundle(write_painted_bundle(folder / name, name, channels)), threads=2)
            for name, channels in zip(NAMES, ((0, 1, 2), CHANNELS), strict=True)]


def box_of(estimators, T: np.ndarray, category: str = "") -> LabelledBox:
    size = np.array(estimators[0].bundle.card.size_prior.mean_m)
    return LabelledBox(tuple(estimators[0].covered(Hypothesis(T, 1.0, size), CAMERA).tolist()), category)


def test_boxes_of_any_category_are_of_the_right_one(estimators):
    cars, vans = [at(-4.0, 12.0, 40.0), at(4.5, 14.0, 200.0)], [at(0.5, 11.0, 120.0)]
    image = photograph_of_two(cars, vans, CAMERA, CHANNELS)
    poses = MultiPoseEstimator(estimators).estimate(image, CAMERA, [box_of(estimators, T) for T in cars + vans])
    assert sorted(pose.category for pose in poses) == ["car", "car", "van"]
    for pose in poses:
        truth = min(cars if pose.category == "car" else vans,
                    key=lambda T, pose=pose: np.linalg.norm(T[:3, 3] - pose.T_cam_obj[:3, 3]))
        assert rotation_angle(pose.T_cam_obj[:3, :3], truth[:3, :3]) < np.radians(6.0)
        assert np.linalg.norm(pose.T_cam_obj[:3, 3] - truth[:3, 3]) < 0.06 * truth[2, 3]


def scene(k: int) -> list[tuple[str, np.ndarray]]:
    """Five drive to the right in front, five to the left behind them, of both categories in turns."""
    front = [(NAMES[j % 2], at(-9.0 + 4.5 * j + 0.12 * k, 16.0, 10.0)) for j in range(5)]
    return front + [(NAMES[(j + 1) % 2], at(-7.0 + 4.5 * j - 0.2 * k, 22.0, 350.0)) for j in range(5)]


def test_ten_crossing_objects_of_two_categories_keep_their_ids(estimators):
    """A detector with labels sees what is not hidden by more than half; no id goes over to another object."""
    tracker, owner, told, switches, hidden = MultiPoseTracker(estimators, Tracking(max_age_s=1.5)), {}, 0, 0, 0
    for k in range(25):
        things = scene(k)
        image = photograph_of_two(*([T for name, T in things if name == wanted] for wanted in NAMES), CAMERA, CHANNELS)
        boxes = [box_of(estimators, T, name) for name, T in things]
        free = [box for box, (_, T) in zip(boxes, things, strict=True)
                if sum(covered_share(np.array(box.roi), np.array(other.roi)) for other, (_, nearer)
                       in zip(boxes, things, strict=True) if nearer[2, 3] < T[2, 3]) < 0.5]
        hidden += len(boxes) - len(free)
        poses = tracker.update(image, CAMERA, k * STEP_S, free, most=20)
        told += len(poses)
        for pose in poses:
            away = [np.linalg.norm(pose.T_cam_obj[:3, 3] - T[:3, 3]) + 99.0 * (name != pose.category)
                    for name, T in things]
            nearest = int(np.argmin(away))
            assert away[nearest] < 3.0, (k, pose.category, pose.track_id, away[nearest])
            switches += owner.setdefault((pose.category, pose.track_id), nearest) != nearest
    assert hidden > 15, "the scene is too easy"
    assert switches == 0 and len(set(owner.values())) == 10 and told > 140, (switches, len(owner), told, hidden)
