# SPDX-License-Identifier: Apache-2.0
"""The shipped car bundle on pictures with known poses: frames that ship with the package, and the shared data."""

import json

import cv2
import numpy as np
import pytest
from shared_data import ROOT, shared_data

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.kitti import evaluate_kitti
from dinemo_ros.evaluation.kitti_labels import read_kitti
from dinemo_ros.evaluation.runner import Competitor, Setting, evaluate, tabulate
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.evaluation.turntable import read_turntables, turntable_entries
from dinemo_ros.geometry import rotation_angle
from dinemo_ros.model.bundle import load_bundle

DEMO = ROOT / "config" / "demo_sequence"


@pytest.fixture(scope="module")
def estimator():
    return PoseEstimator(load_bundle(ROOT / "engines" / "car"), threads=2)


@pytest.fixture(scope="module")
def demo():
    """Image, true T_cam_obj and ROI of every frame, and their camera. The car was held out of training."""
    truth = json.loads((DEMO / "ground_truth.json").read_text())["frames"]
    frames = [(np.ascontiguousarray(cv2.imread(str(DEMO / name))[..., ::-1]), np.array(f["T_cam_obj"]), f["roi"])
              for name, f in truth.items()]
    return frames, Camera.from_yaml(DEMO / "camera_info.yaml")


def errors(pose, T):
    """Rotation in degrees, offset across the ray in centimetres, distance in percent."""
    ray = T[:3, 3] / np.linalg.norm(T[:3, 3])
    offset = pose.T_cam_obj[:3, 3] - T[:3, 3]
    across = offset - ray * (ray @ offset)
    return (np.degrees(rotation_angle(pose.T_cam_obj[:3, :3], T[:3, :3])), 100 * np.linalg.norm(across),
            100 * abs(ray @ offset) / np.linalg.norm(T[:3, 3]))


# Medians over the 28 frames, int8 / fp32: rotation 3.8 / 3.9 degrees, across the ray 5.0 / 4.4 cm, distance 1.1 / 1.1
# percent; with own proposals 4.4 / 4.3, 6.3 / 5.3 and 1.2 / 1.2. The bars are the upper ends of the wider 95 %
# bootstrap interval.
DEMO_BARS = {False: (4.8, 6.2, 1.55), True: (5.7, 8.6, 2.0)}


@pytest.mark.parametrize("own", [False, True], ids=["given boxes", "own proposals"])
def test_demo_sequence(estimator, demo, own):
    """Every frame is found and turned rightly (the worst is off by 18 degrees); typical errors stay small."""
    frames, camera = demo
    found = []
    for image, T, roi in frames:
        poses = estimator.estimate(image, camera, None if own else [roi])
        assert poses, "the car was not found"
        found.append(errors(poses[0], T))
    rotation, across, distance = np.array(found).T
    assert rotation.max() < 30, rotation.round(1)
    for name, values, bar in zip(("rotation", "across", "distance"), (rotation, across, distance), DEMO_BARS[own],
                                 strict=True):
        assert np.median(values) < bar, (name, values.round(1))


def test_runner_up_is_reported_and_worse(estimator, demo):
    """The half-turned pose is listed behind the right one: ambiguity is told, not hidden."""
    frames, camera = demo
    image, T, roi = frames[len(frames) // 2]
    best = estimator.estimate(image, camera, [roi])[0]
    assert best.runners_up
    assert all(other.score < best.score for other in best.runners_up)
    assert max(np.degrees(rotation_angle(o.T_cam_obj[:3, :3], T[:3, :3])) for o in best.runners_up) > 120


def test_covariance_is_longest_along_the_ray(estimator, demo):
    """Scale cannot be seen in one picture; the spread of car sizes must show along the viewing ray."""
    frames, camera = demo
    image, T, roi = frames[0]
    pose = estimator.estimate(image, camera, [roi])[0]
    spread, axes = np.linalg.eigh(pose.covariance[:3, :3])
    assert np.all(np.linalg.eigvalsh(pose.covariance) > 0)
    assert abs(axes[:, -1] @ T[:3, 3]) / np.linalg.norm(T[:3, 3]) > 0.95
    assert 0.02 < np.sqrt(spread[-1]) / np.linalg.norm(T[:3, 3]) < 0.2


def test_sloppy_boxes(estimator, demo):
    """A detector's box may be off by a fifth of its size. Measured: median 3.7 / 3.5 degrees (int8 / fp32; upper end of
    the interval 5.2), the worst of ten 9.9 / 13.7."""
    frames, camera = demo
    rng, worst = np.random.default_rng(0), []
    for image, T, roi in frames[::3]:
        x0, y0, x1, y1 = roi
        jitter = rng.uniform(-0.2, 0.2, 4) * [x1 - x0, y1 - y0, x1 - x0, y1 - y0]
        worst.append(errors(estimator.estimate(image, camera, [tuple(np.array(roi) + jitter)])[0], T)[0])
    assert np.median(worst) < 5.2 and max(worst) < 30, np.round(worst, 1)


def setting(estimator) -> Setting:
    return Setting([Competitor("car", estimator)], ReferenceObject.of(estimator.bundle))


# Lower end of the 95 % Wilson interval of the share within 10 degrees: measured 93.9 % with int8, 89.0 % in fp32.
TURNTABLES_ACC10 = {"int8": 0.865, "fp32": 0.804}


def test_turntables_never_trained_on(estimator):
    """Two cars that training never saw: 82 of 82 frames within 30 degrees, no flips (Wilson: 95.5 %, 4.5 %)."""
    turntables = shared_data("cars_spin")
    entries = turntable_entries(read_turntables(turntables, ["cx5", "subaru"]), hfov_deg=25.0)
    result = tabulate(evaluate(setting(estimator), entries))[-1]
    assert (result["group"], result["n"]) == ("all", 82)
    assert result["acc30"] >= 0.955 and result["flips"] <= 0.045, result
    bar = TURNTABLES_ACC10.get(estimator.extractor.precision, min(TURNTABLES_ACC10.values()))
    assert result["acc10"] >= bar, result


def test_kitti_easy_cars(estimator):
    """Measured: azimuth of 12 of 13 within 30 degrees (the Wilson interval begins at 9; ten are asked for), medians of
    the rotation 4.2 degrees (bootstrap: up to 6.9) and of the distance 1.9 / 2.4 % with int8 / fp32 (up to 3.7)."""
    result = evaluate_kitti(setting(estimator), read_kitti(shared_data("kitti")), "labels")[1][0]
    assert result["azimuth_acc30"] * result["n"] >= 10 - 1e-9 and result["median_deg"] <= 6.9, result
    assert result["distance_median_pct"] <= 3.7, result
