# SPDX-License-Identifier: Apache-2.0
"""What the estimator says of a pose: size order, covariance order and frame. CONVENTIONS.md points here."""

import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle
from unit.planted import SIZE, car_mesh

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import ray_rotation, rotation_angle, rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import load_bundle

CAMERA = Camera.from_hfov(800, 480, 75.0)
VIEW = rotation_from_viewpoint(*np.deg2rad([50, 12, 0]))
STRETCH = np.array([1.08, 1.0, 0.95])


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    return PoseEstimator(load_bundle(write_painted_bundle(tmp_path_factory.mktemp("bundle"))), threads=1)


def see(estimator, centre):
    """Estimate and truth of a car at ``centre`` [3] that shows the same view wherever it stands."""
    T = se3(ray_rotation(np.array(centre)) @ VIEW, np.array(centre))
    vertices = (car_mesh().vertices * STRETCH) @ T[:3, :3].T + T[:3, 3]
    pixels = CAMERA.project(vertices)
    roi = (*(pixels.min(0) + 0.5), *(pixels.max(0) + 0.5))  # pixel edges
    return estimator.estimate(photograph(T, CAMERA, STRETCH), CAMERA, [roi])[0], T


@pytest.fixture(scope="module")
def ahead(estimator):
    return see(estimator, [0, 0, 11.0])


@pytest.fixture(scope="module")
def aside(estimator):
    ray = np.array([0.55, 0.15, 1.0])
    return see(estimator, 11.0 * ray / np.linalg.norm(ray))


def test_convention_pose_is_in_the_real_camera(ahead, aside):
    """Off the axis the crop looks elsewhere than the camera; the pose must not."""
    for pose, T in (ahead, aside):
        assert np.rad2deg(rotation_angle(pose.T_cam_obj[:3, :3], T[:3, :3])) < 3
        direction, truth = (v / np.linalg.norm(v) for v in (pose.T_cam_obj[:3, 3], T[:3, 3]))
        assert np.rad2deg(np.arccos(direction @ truth)) < 0.5
        np.testing.assert_allclose(np.rad2deg(pose.viewpoint()), (50, 12, 0), atol=3)


def test_convention_size_is_length_width_height(ahead):
    pose, _ = ahead
    assert pose.size[0] > pose.size[1] > pose.size[2]
    ratio = pose.size / SIZE
    assert ratio[0] / ratio[2] == pytest.approx(STRETCH[0] / STRETCH[2], rel=0.04)


def test_convention_covariance_is_position_then_rotation(ahead):
    """x, y, z in metres, then rotations in radians: position along the ray is by far the largest."""
    pose, _ = ahead
    sigma = np.sqrt(np.diag(pose.covariance))
    np.testing.assert_allclose(pose.covariance, pose.covariance.T)
    assert sigma.argmax() == 2
    assert 0.01 < sigma[2] / 11 < 0.15  # metres: what the size prior leaves open of a distance of 11 m
    assert sigma[:2].max() < 0.2 * sigma[2]


def test_convention_covariance_is_about_the_axes_of_the_camera(ahead, aside):
    """The same view off the axis has the same covariance, turned with the ray, in both of its blocks."""
    (on_axis, _), (off_axis, T) = ahead, aside
    turn = np.kron(np.eye(2), ray_rotation(T[:3, 3]))
    along_the_ray = turn.T @ off_axis.covariance @ turn
    scale = np.sqrt(np.outer(np.diag(on_axis.covariance), np.diag(on_axis.covariance)))
    np.testing.assert_allclose(along_the_ray / scale, on_axis.covariance / scale, atol=0.5)  # two estimates of it
    # In the camera's own axes it is another matrix: so both blocks have been turned.
    for block in (slice(0, 3), slice(3, 6)):
        turned, untouched = (np.triu((c - on_axis.covariance) / scale, 1)[block, block]
                             for c in (along_the_ray, off_axis.covariance))
        assert np.abs(turned).sum() < 0.5 * np.abs(untouched).sum()
    largest = np.linalg.eigh(off_axis.covariance[:3, :3])[1][:, -1]
    assert abs(largest @ T[:3, 3]) / np.linalg.norm(T[:3, 3]) > 0.99  # the ambiguity lies along the viewing ray
