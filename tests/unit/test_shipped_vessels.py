# SPDX-License-Identifier: Apache-2.0
"""The shipped bottle and cup: what they declare, and renders of invented ones, which were in no training.

The renders come from ``python -m dinemo_training.synthetic.render.tabletop --category bottle --count 8 --seed 77 --out
DIR``, and likewise for cups (without --cad, so that no file of others is in them).
"""

from pathlib import Path

import numpy as np
import pytest
from shared_data import ROOT

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.runner import Competitor, Setting, evaluate, tabulate
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.geometry import ray_rotation, rotation_angle, viewpoint_from_rotation
from dinemo_ros.model.bundle import find_bundle, load_bundle
from dinemo_ros.model.symmetry import UNIFORM_VARIANCE, Symmetry, axis_variance

RENDERS = Path(__file__).parent / "vessels"
AXIS = Symmetry("z", 0)
DECLARED = {"bottle": Symmetry("z", 0), "cup": Symmetry("z", 1)}
HANDLES_SEEN = [1, 2, 4, 5, 6]  # of the cups' renders; the others' are covered, behind the body, or a sliver


@pytest.fixture(scope="module", params=sorted(DECLARED))
def category(request):
    return request.param


@pytest.fixture(scope="module")
def estimator(category):
    return PoseEstimator(load_bundle(ROOT / "engines" / category), threads=2)


@pytest.fixture(scope="module")
def found(category, estimator):
    """Best pose and truth of every render, its box given."""
    results = []
    for entry in synthetic_entries(read_synthetic(RENDERS / category)):
        sample = entry.load()
        results.append((estimator.estimate(sample.image, sample.camera, [sample.roi])[0], sample.truth))
    return results


def test_bundle_is_complete_small_and_declares_its_symmetry(category):
    path = find_bundle(category)
    bundle = load_bundle(path)
    assert bundle.card.category == category and bundle.card.symmetry == DECLARED[category]
    assert sum(file.stat().st_size for file in path.iterdir()) < 20e6
    assert (path / "README.md").is_file()
    assert 0.05 < max(bundle.card.size_prior.mean_m) < 0.4


# Median error of the axis in degrees, median offset across the ray in shares of the height. Measured with int8 / fp32:
# bottle 4.2 / 3.6 and 0.007 / 0.007, cup 3.2 / 2.6 and 0.032 / 0.016; the bars are the upper ends of the 95 % bootstrap
# intervals of the larger.
AXIS_DEG, ACROSS = {"bottle": 5.7, "cup": 4.6}, {"bottle": 0.025, "cup": 0.045}


def test_the_axis_is_found(category, found):
    """Measured: 7 of 8 bottles (the other lies off by 31 degrees), 8 of 8 cups within 25 degrees."""
    axis = np.degrees([AXIS.distance(pose.T_cam_obj[:3, :3], truth.T_cam_obj[:3, :3]) for pose, truth in found])
    assert np.median(axis) < AXIS_DEG[category] and np.mean(axis < 25) >= 0.75, axis.round(1)


def test_across_the_ray_the_vessel_is_where_it_was_drawn(category, found):
    """Offsets in shares of the height; along the ray the size prior decides, here vessels of all sizes."""
    offsets = []
    for pose, truth in found:
        ray = truth.T_cam_obj[:3, 3] / np.linalg.norm(truth.T_cam_obj[:3, 3])
        turned = pose.T_cam_obj[:3, 3] / np.linalg.norm(pose.T_cam_obj[:3, 3]) @ ray
        offsets.append(np.linalg.norm(truth.T_cam_obj[:3, 3]) * np.arccos(min(turned, 1.0)) / truth.size[2])
    assert np.median(offsets) < ACROSS[category], np.round(offsets, 3)


@pytest.mark.parametrize("category", ["bottle"], indirect=True)
def test_nothing_is_known_of_the_azimuth(found):
    deviation = np.sqrt([axis_variance(pose.covariance, pose.T_cam_obj[:3, :3]) for pose, _ in found])
    assert deviation == pytest.approx(np.sqrt(UNIFORM_VARIANCE))


@pytest.mark.parametrize("category", ["cup"], indirect=True)
def test_the_handle_is_found_where_it_is_seen_and_uncertain_where_not(found):
    error = np.array([rotation_angle(AXIS.nearest(pose.T_cam_obj[:3, :3], truth.T_cam_obj[:3, :3]),
                                     pose.T_cam_obj[:3, :3]) for pose, truth in found])
    deviation = np.sqrt([axis_variance(pose.covariance, pose.T_cam_obj[:3, :3]) for pose, _ in found])
    assert np.median(error[HANDLES_SEEN]) < np.radians(20), np.degrees(error).round()
    assert np.mean(error[HANDLES_SEEN] < np.radians(30)) >= 0.8, np.degrees(error).round()
    hidden = np.setdiff1d(np.arange(len(found)), HANDLES_SEEN)
    assert np.median(deviation[hidden]) > np.median(deviation[HANDLES_SEEN]), np.degrees(deviation).round()
    assert np.mean(error < 2 * deviation) >= 0.75, (np.degrees(error).round(), np.degrees(deviation).round())


@pytest.mark.parametrize("category", ["bottle"], indirect=True)
def test_x_points_towards_the_camera(found):
    for pose, _ in found:
        T = pose.T_cam_obj
        azimuth, _, theta = viewpoint_from_rotation(ray_rotation(T[:3, 3]).T @ T[:3, :3])
        assert abs((azimuth + np.pi) % (2 * np.pi) - np.pi) < np.radians(20) + abs(theta)


@pytest.mark.parametrize("category", ["bottle"], indirect=True)
def test_the_evaluation_honours_the_symmetry(category, estimator):
    setting = Setting([Competitor(category, estimator)], ReferenceObject.of(estimator.bundle))
    result = tabulate(evaluate(setting, synthetic_entries(read_synthetic(RENDERS / category))))[-1]
    assert result["n"] == 8 and result["missing"] == 0
    assert result["acc30"] >= 0.75 and result["flips"] == 0, result


def test_an_empty_table_shows_no_vessel(estimator):
    image = np.full((240, 320, 3), 150, np.uint8)
    assert estimator.estimate(image, Camera.from_hfov(320, 240, 60.0)) == []
