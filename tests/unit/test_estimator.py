# SPDX-License-Identifier: Apache-2.0
"""The estimator around the solver: real ONNX Runtime, a toy network, bad input, frames and rotations."""

import numpy as np
import pytest
from onnx import TensorProto
from unit.planted import car_card, car_mesh
from unit.toy_backbone import toy_backbone

from dinemo_ros.bundle import ScoreSpec, write_bundle
from dinemo_ros.camera import Camera
from dinemo_ros.crop import crop_camera
from dinemo_ros.errors import BundleError, CameraError, ImageError, RoiError
from dinemo_ros.estimator import PoseEstimator, check_image, in_camera, target_of
from dinemo_ros.features import create_extractor
from dinemo_ros.geometry import ray_rotation
from dinemo_ros.solver import SolvedPose

CAMERA = Camera.from_hfov(320, 240, 60.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    card = car_card(score=ScoreSpec(accept=0.0))
    return write_bundle(tmp_path_factory.mktemp("toy"), card, toy_backbone(), car_mesh())


@pytest.fixture(scope="module")
def estimator(bundle):
    return PoseEstimator(bundle, threads=2)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


def test_extractor_keeps_its_protocol(bundle):
    extractor = create_extractor(bundle, threads=1)
    features = extractor(np.random.default_rng(1).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8))
    assert features.shape == (2, 64, 8, 12) and features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)


def test_unknown_backend(bundle):
    with pytest.raises(ValueError, match="backend is 'abacus'; allowed: auto, onnxruntime"):
        create_extractor(bundle, "abacus")


@pytest.mark.parametrize("content, reason", [
    (b"these bytes are no network", "cannot load it"), (toy_backbone(dim=32), "features must be float32"),
    (toy_backbone(output="embedding"), "expected input image uint8"),
    (toy_backbone(dtype=TensorProto.FLOAT), "expected input image uint8")])
def test_foreign_backbone(tmp_path, content, reason):
    with pytest.raises(BundleError, match=reason):
        create_extractor(write_bundle(tmp_path, car_card(), content, car_mesh()))


def test_one_pose_per_roi_best_first(estimator, image):
    rois = [(20, 30, 140, 120), (150, 60, 300, 200)]
    poses = estimator.estimate(image, CAMERA, rois)
    scores = [pose.score for pose in poses]
    assert scores == sorted(scores, reverse=True) and len(poses) <= 2
    for pose in poses:
        assert pose.category == "car" and pose.roi in rois
        assert pose.T_cam_obj[2, 3] > 0 and np.linalg.det(pose.T_cam_obj[:3, :3]) == pytest.approx(1.0)
        assert np.linalg.eigvalsh(pose.covariance).min() > 0


def test_stages_are_timed(estimator, image):
    estimator.estimate(image, CAMERA, [(20, 30, 140, 120)])
    assert {"crop", "features", "similarity", "coarse", "refine", "total"} <= set(estimator.timings)
    assert estimator.timings["total"] >= estimator.timings["features"] > 0
    estimator.estimate(image, CAMERA)
    assert estimator.timings["proposals"] > 0


def test_no_roi_no_pose(estimator, image):
    assert estimator.estimate(image, CAMERA, []) == []


def test_same_input_same_pose(estimator, image):
    first, second = (estimator.estimate(image, CAMERA, [(20, 30, 300, 200)]) for _ in range(2))
    assert [p.score for p in first] == [p.score for p in second]
    assert all(np.array_equal(a.T_cam_obj, b.T_cam_obj) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("bad, found", [
    (np.zeros((240, 320), np.uint8), r"uint8 \[240, 320\]"), (np.zeros((240, 320, 4), np.uint8), r"\[240, 320, 4\]"),
    (np.zeros((240, 320, 3), np.float32), "float32"), ([[1, 2]], "list"), (None, "NoneType"),
    (np.zeros((8, 320, 3), np.uint8), "320x8 pixels; at least 16x16")])
def test_bad_image(bad, found):
    with pytest.raises(ImageError, match=found):
        check_image(bad)


def test_camera_of_another_size(estimator, image):
    with pytest.raises(CameraError, match="camera_info is for 640x480, the image is 320x240"):
        estimator.estimate(image, Camera.from_hfov(640, 480, 60.0), [(20, 30, 140, 120)])


def test_one_bad_roi_is_named(estimator, image):
    with pytest.raises(RoiError, match=r"ROI \[400.0, 30.0, 500.0, 120.0\] lies outside the 320x240 image"):
        estimator.estimate(image, CAMERA, [(20, 30, 140, 120), (400, 30, 500, 120)])


def test_works_again_after_bad_input(estimator, image):
    before = [p.score for p in estimator.estimate(image, CAMERA, [(20, 30, 300, 200)])]
    with pytest.raises(RoiError):
        estimator.estimate(image, CAMERA, [(1, 1, 1, 1)])
    assert [p.score for p in estimator.estimate(image, CAMERA, [(20, 30, 300, 200)])] == before


def test_cells_are_centred_on_stride_8_pixels(bundle):
    """A crop pixel 8 j + 3.5 is cell j; the middle of the crop is the middle of the map."""
    crop = crop_camera(CAMERA, np.array([20.0, 30.0, 140.0, 120.0]), 256, 1.15)
    target = target_of(crop, 8)
    assert target.centre == 15.5 and target.focal == crop.focal / 8
    assert np.allclose(8 * target.box + 3.5, crop.box)


def test_a_crop_pose_turns_with_the_ray():
    R = ray_rotation(np.array([0.3, -0.2, 1.0]))
    T = np.eye(4)
    T[:3, 3] = [0, 0, 10]
    found = in_camera(R, SolvedPose(T, np.ones(3), 0.5, 1.0, np.eye(6)))
    assert np.allclose(found.T_cam_obj[:3, 3], 10 * np.array([0.3, -0.2, 1.0]) / np.linalg.norm([0.3, -0.2, 1.0]))
    assert np.allclose(found.T_cam_obj[:3, :3], R)
