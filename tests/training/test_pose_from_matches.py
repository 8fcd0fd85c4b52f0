# SPDX-License-Identifier: Apache-2.0

"""Pose and box from vertex-to-pixel matches with noise and outliers."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="training extra is not installed")

from posed_car import car_shape, look_at

from dinemo_ros.geometry import rotation_angle, so3_exp
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler, project
from dinemo_training.pseudo_labels.pose_from_matches import _linearise, fit_pose

SHAPE = car_shape()
SIDE = 224
K = np.array([[720.0, 0, 111.5], [0, 720.0, 111.5], [0, 0, 1]])  # a car of 4.4 m at 18 m fills 180 pixels


@pytest.fixture(scope="module")
def sampler():
    return CorrespondenceSampler(SHAPE, AugmentConfig())


def planted(rng, sampler, noise_px, outliers):
    """Matches of a random instance: points, pixels, weights, and the true T and size."""
    size = SHAPE.size * np.exp(rng.normal(0, [0.06, 0.03, 0.05]))
    T = look_at(rng.uniform(0, 360), rng.uniform(0, 25), rng.uniform(-5, 5), [*rng.uniform(-0.3, 0.3, 2), 18.0])
    seen = rng.permutation(np.flatnonzero(sampler.visible(T, size)))[:150]
    pixels = project(SHAPE.at_size(size)[seen], K, T) + rng.normal(0, noise_px, (len(seen), 2))
    wrong = rng.random(len(seen)) < outliers
    pixels[wrong] = rng.uniform(0, SIDE, (wrong.sum(), 2))
    return SHAPE.vertices[seen], pixels, rng.uniform(0.3, 0.7, len(seen)), T, size, wrong


def start(rng, T, degrees):
    axis = rng.normal(size=3)
    return so3_exp(np.deg2rad(degrees) * axis / np.linalg.norm(axis)) @ T[:3, :3]


def test_exact_matches_give_the_exact_outline(sampler):
    rng = np.random.default_rng(0)
    for _ in range(10):
        points, pixels, weights, T, size, _ = planted(rng, sampler, 0.0, 0.0)
        found = fit_pose(points, pixels, weights, K, start(rng, T, 15), SHAPE.size, SIDE)
        # The priors on size and distance pull a little; what the picture decides must come out.
        assert np.rad2deg(rotation_angle(found.T_cam_obj[:3, :3], T[:3, :3])) < 2.0
        assert found.residual * SIDE < 0.5
        assert found.inliers == pytest.approx(1.0)


def test_noise_and_a_third_of_outliers(sampler):
    rng = np.random.default_rng(1)
    errors, ratios, gaps = [], [], []
    for _ in range(30):
        points, pixels, weights, T, size, wrong = planted(rng, sampler, 1.5, 0.3)
        found = fit_pose(points, pixels, weights, K, start(rng, T, 15), SHAPE.size, SIDE)
        errors.append(np.rad2deg(rotation_angle(found.T_cam_obj[:3, :3], T[:3, :3])))
        ratios.append(found.T_cam_obj[2, 3] / T[2, 3] / (found.size[1] / size[1]))  # scale itself is not observable
        gaps.append(abs(found.inliers - weights[~wrong].sum() / weights.sum()))
    assert np.median(errors) < 2.5 and np.max(errors) < 8
    assert np.median(np.abs(np.log(ratios))) < 0.08
    assert np.max(gaps) < 0.08  # the share of inliers is reported, give or take an outlier that happens to fit


def test_start_thirty_degrees_off_converges_mostly(sampler):
    rng = np.random.default_rng(2)
    errors = []
    for _ in range(20):
        points, pixels, weights, T, _, _ = planted(rng, sampler, 1.0, 0.1)
        found = fit_pose(points, pixels, weights, K, start(rng, T, 30), SHAPE.size, SIDE)
        errors.append(np.rad2deg(rotation_angle(found.T_cam_obj[:3, :3], T[:3, :3])))
    assert np.mean(np.array(errors) < 5) >= 0.9


def test_size_follows_the_matches_against_its_prior(sampler):
    """A car 15 % longer than the mean is seen to be longer relative to its height."""
    rng = np.random.default_rng(3)
    size = SHAPE.size * [1.15, 1.0, 1.0]
    T = look_at(70, 8, centre=(0, 0, 18.0))
    seen = np.flatnonzero(sampler.visible(T, size))
    found = fit_pose(SHAPE.vertices[seen], project(SHAPE.at_size(size)[seen], K, T), np.ones(len(seen)), K,
                     start(rng, T, 10), SHAPE.size, SIDE)
    assert (found.size / SHAPE.size)[0] / (found.size / SHAPE.size)[2] == pytest.approx(1.15, abs=0.03)


def test_weights_decide_between_two_poses(sampler):
    """Half of the matches say one pose, half another; the trusted half wins."""
    rng = np.random.default_rng(4)
    T_a, T_b = look_at(60, 10, centre=(0, 0, 18.0)), look_at(75, 10, centre=(0.4, 0.2, 18.0))
    seen = np.flatnonzero(sampler.visible(T_a, SHAPE.size))
    first = np.arange(len(seen)) % 2 == 0
    pixels = np.where(first[:, None], project(SHAPE.vertices[seen], K, T_a), project(SHAPE.vertices[seen], K, T_b))
    for trusted, T in ((first, T_a), (~first, T_b)):
        weights = np.where(trusted, 1.0, 0.1)
        found = fit_pose(SHAPE.vertices[seen], pixels, weights, K, start(rng, T, 5), SHAPE.size, SIDE)
        assert np.rad2deg(rotation_angle(found.T_cam_obj[:3, :3], T[:3, :3])) < 4


def test_jacobian_against_finite_differences():
    rng = np.random.default_rng(5)
    T, log_size = look_at(40, 12, 5, centre=(0.5, -0.3, 16.0)), rng.normal(0, 0.1, 3)
    points, pixels = SHAPE.vertices[::40], rng.uniform(0, SIDE, (len(SHAPE.vertices[::40]), 2))

    def residuals(x):
        R = so3_exp(x[:3]) @ T[:3, :3]
        return _linearise(points, pixels, K, R, T[:3, 3] + x[3:6], log_size + x[6:])[0]

    _, J, camera_points = _linearise(points, pixels, K, T[:3, :3], T[:3, 3], log_size)
    step = 1e-6
    numeric = np.stack([(residuals(step * e) - residuals(-step * e)) / (2 * step) for e in np.eye(9)], axis=-1)
    np.testing.assert_allclose(J, numeric, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(camera_points, (points * np.exp(log_size)) @ T[:3, :3].T + T[:3, 3])
