# SPDX-License-Identifier: Apache-2.0
"""What single lines of the estimator are for: the crop that is taken again, the score that is accepted."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import ray_rotation, rotation_angle, rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import ScoreSpec, load_bundle
from dinemo_ros.model.symmetry import UNIFORM_VARIANCE, Symmetry, axis_variance

CAMERA = Camera.from_hfov(640, 480, 60.0)
WHOLE = (0.0, 0.0, 640.0, 480.0)


def car_at(x: float, z: float, azimuth_deg: float) -> np.ndarray:
    t = np.array([x, 0.3, z])
    return se3(ray_rotation(t) @ rotation_from_viewpoint(np.radians(azimuth_deg), np.radians(8.0), 0.0), t)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    return PoseEstimator(load_bundle(write_painted_bundle(tmp_path_factory.mktemp("painted"))), threads=1)


@contextmanager
def card_changed(estimator, **changes):
    """The estimator with another card; its solver keeps the old one."""
    bundle = estimator.bundle
    estimator.bundle = replace(bundle, card=replace(bundle.card, **changes))
    try:
        yield
    finally:
        estimator.bundle = bundle


def test_a_given_box_that_is_far_too_large_is_cropped_again(estimator):
    """A car of a hundred pixels in a box of the whole picture: 1.2 degrees and 0.4 % off, without it 18 and 31 %."""
    truth = car_at(0.0, 25.0, 130.0)
    pose, = estimator.estimate(photograph(truth, CAMERA), CAMERA, [WHOLE])
    assert rotation_angle(pose.T_cam_obj[:3, :3], truth[:3, :3]) < np.radians(3.0)
    assert pose.T_cam_obj[2, 3] == pytest.approx(truth[2, 3], rel=0.03) and pose.score > 0.6
    assert pose.roi == WHOLE, "the box is still the caller's"


def test_a_given_box_that_fits_is_cropped_once(estimator):
    truth = car_at(0.5, 12.0, 60.0)
    image = photograph(truth, CAMERA)
    box = tuple(estimator.covered(estimator.estimate(image, CAMERA, [WHOLE])[0], CAMERA))
    crops = []
    solve = estimator.pipeline.solve
    estimator.pipeline.solve = lambda *arguments: crops.append(len(arguments[2])) or solve(*arguments)
    try:
        estimator.estimate(image, CAMERA, [box])
        estimator.estimate(image, CAMERA, [WHOLE])
    finally:
        del estimator.pipeline.solve
    assert crops == [1, 1, 1]


def test_own_proposals_below_the_accepted_score_are_no_poses(estimator):
    """The card's threshold, for what the model proposes to itself; the car scores 0.71."""
    image = photograph(car_at(0.5, 12.0, 60.0), CAMERA)
    with card_changed(estimator, score=ScoreSpec(accept=0.65)):
        assert len(estimator.estimate(image, CAMERA)) == 1
    with card_changed(estimator, score=ScoreSpec(accept=0.78)):
        assert estimator.estimate(image, CAMERA) == []


def test_a_callers_box_is_an_object_whatever_its_score(estimator):
    image = photograph(car_at(0.5, 12.0, 60.0), CAMERA)
    with card_changed(estimator, score=ScoreSpec(accept=0.99)):
        assert len(estimator.estimate(image, CAMERA, [WHOLE])) == 1


def test_a_followed_pose_starts_from_where_it_is_told(estimator):
    """In the camera's frame, its crop about it: the same pose for a start a little off, and None outside the image."""
    truth = car_at(2.0, 12.0, 300.0)
    image = photograph(truth, CAMERA)
    pose, = estimator.estimate(image, CAMERA, [WHOLE])
    shifted, outside = pose.T_cam_obj.copy(), pose.T_cam_obj.copy()
    shifted[:3, 3] += [0.1, -0.05, 0.3]
    outside[0, 3] = 100.0
    near, gone = estimator.follow(image, CAMERA, [replace(pose, T_cam_obj=shifted), replace(pose, T_cam_obj=outside)])
    assert gone is None
    assert rotation_angle(near.T_cam_obj[:3, :3], truth[:3, :3]) < np.radians(2.0)
    np.testing.assert_allclose(near.T_cam_obj[:3, 3], truth[:3, 3], rtol=0.03, atol=0.03)


def test_a_picture_of_another_size_than_its_camera_is_not_followed_in(estimator):
    """Also where there is nothing to follow: whoever tracks hears of it with the first such picture."""
    for poses in ([], estimator.estimate(photograph(car_at(2.0, 12.0, 300.0), CAMERA), CAMERA, [WHOLE])):
        with pytest.raises(CameraError, match="camera_info is for 640x480, the image is 80x60"):
            estimator.follow(np.zeros((60, 80, 3), np.uint8), CAMERA, poses)


def test_of_proposals_on_one_object_one_is_cropped_again(estimator):
    """Half of the car beside its whole box leads to the same car: it is dropped, whatever stands before and after."""
    truth = car_at(0.5, 12.0, 60.0)
    image = photograph(truth, CAMERA)
    whole = estimator.covered(estimator.estimate(image, CAMERA, [WHOLE])[0], CAMERA)
    half, empty = whole.copy(), np.array([10.0, 10.0, 120.0, 90.0])
    half[2] = 0.5 * (whole[0] + whole[2])
    for boxes, expected in (([empty, whole, half], [False, True, False]), ([half, empty, whole], [False, False, True])):
        found = estimator.locate(image, CAMERA, boxes, proposed=True)
        assert [pose is not None and pose.score > 0.5 for pose in found] == expected
    alone, = estimator.locate(image, CAMERA, [half], proposed=True)
    assert rotation_angle(alone.T_cam_obj[:3, :3], truth[:3, :3]) < np.radians(3.0), "looked at again where it lies"


def test_the_covariance_is_about_the_cameras_axes_and_knows_the_symmetry(estimator):
    """Off the optical axis the distance is uncertain along the ray; of a bottle's azimuth nothing is known."""
    truth = car_at(4.0, 11.0, 60.0)
    image = photograph(truth, CAMERA)
    pose, = estimator.estimate(image, CAMERA, [WHOLE])
    values, vectors = np.linalg.eigh(pose.covariance[:3, :3])
    ray = truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    assert abs(vectors[:, 2] @ ray) > 0.999 and values[2] > 4 * values[1] > 0
    with card_changed(estimator, symmetry=Symmetry("z", 0)):
        bottle, = estimator.estimate(image, CAMERA, [WHOLE])
    assert axis_variance(bottle.covariance, bottle.T_cam_obj[:3, :3]) == pytest.approx(UNIFORM_VARIANCE)
    assert axis_variance(pose.covariance, pose.T_cam_obj[:3, :3]) < 0.1 * UNIFORM_VARIANCE
