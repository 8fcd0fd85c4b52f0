# SPDX-License-Identifier: Apache-2.0
"""The estimator around the solver, with the shipped bundle: backends, bad input, frames and rotations."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from shared_data import ROOT
from unit.planted import car_card, car_mesh
from unit.toy_backbone import toy_backbone

from dinemo_ros.camera.crop import crop_camera
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import BundleError, CameraError, ImageError, RoiError
from dinemo_ros.estimator import PoseEstimator, check_image, in_camera, target_of
from dinemo_ros.features import create_extractor
from dinemo_ros.geometry import ray_rotation
from dinemo_ros.model.bundle import FeatureSpec, load_bundle, write_bundle
from dinemo_ros.solver import SolvedPose
from dinemo_ros.verification.spec import PresenceSpec

DEMO = ROOT / "config" / "demo_sequence"
CAMERA = Camera.from_yaml(DEMO / "camera_info.yaml")
WIDE, SMALL = (250.0, 60.0, 760.0, 500.0), (20.0, 40.0, 200.0, 210.0)


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(ROOT / "engines" / "car")


@pytest.fixture(scope="module")
def estimator(bundle):
    # WIDE is no box of a detector, and SMALL shows nothing: a floor would drop them (test_presence.py).
    return PoseEstimator(replace(bundle, card=replace(bundle.card, presence=PresenceSpec())), threads=2)


@pytest.fixture(scope="module")
def image():
    frame = sorted(DEMO.glob("*.jpg"))[0]
    return np.ascontiguousarray(cv2.imread(str(frame))[..., ::-1])


def test_extractor_keeps_its_protocol(bundle):
    extractor = create_extractor(bundle, threads=1)
    features = extractor(np.random.default_rng(1).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8))
    assert features.shape == (2, 64, 8, 12) and features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)


def test_what_the_lens_does_not_show_is_refused_or_left_out(estimator, image):
    """A caller's box is refused; what the model proposes itself, or an old pose leads to, is only not looked at."""
    K = CAMERA.K.copy()
    K[0, 0] = K[1, 1] = CAMERA.width
    lens = Camera(CAMERA.width, CAMERA.height, K, "plumb_bob", (-0.7, 0, 0, 0, 0))
    middle, corner = np.array(WIDE), np.array([0.0, 0, 60, 40])
    with pytest.raises(RoiError, match=r"ROI \[0.0, 0.0, 60.0, 40.0\] cannot be looked at: pixel .29.5, 19.5. lies"):
        estimator.estimate(image, lens, [WIDE, tuple(corner)])
    first, second, third = estimator.locate(image, lens, [corner, middle, corner])
    assert first is None and third is None and second is not None
    assert estimator.follow(image, lens, [second])[0] is not None
    hidden = replace(second, T_cam_obj=second.T_cam_obj.copy())
    hidden.T_cam_obj[:3, 3] = -19.7, -11.0, 30.0  # just beyond the lens, and in the corner of the image
    assert np.min(np.diff(estimator.covered(hidden, lens).reshape(2, 2), axis=0)) > 20
    assert not lens.seen_rays(estimator.covered(hidden, lens).reshape(2, 2).mean(axis=0))[1].any()
    assert estimator.follow(image, lens, [hidden, second])[0] is None


def test_unknown_backend(bundle):
    with pytest.raises(ValueError, match="backend is 'abacus'; allowed: auto, onnxruntime"):
        create_extractor(bundle, "abacus")


def test_backbone_that_is_none(tmp_path):
    with pytest.raises(BundleError, match="backbone.onnx: is no ONNX file, or is cut off"):
        create_extractor(write_bundle(tmp_path, car_card(), b"these bytes are no network", car_mesh()))


def test_backbone_of_another_length(bundle, tmp_path):
    mesh = car_mesh()
    short = [x[:, :32] / np.linalg.norm(x[:, :32], axis=1, keepdims=True) for x in (mesh.features, mesh.clutter)]
    mesh = replace(mesh, features=short[0], clutter=short[1])
    other = write_bundle(tmp_path, car_card(features=FeatureSpec(32)), bundle.backbone_path.read_bytes(), mesh)
    with pytest.raises(BundleError, match=r"features must be float32 \[N, 32, H/8, W/8\], found"):
        create_extractor(other)


@pytest.mark.parametrize("options", [{"output": "embedding"}, {"dtype": "FLOAT"}])
def test_backbone_of_another_kind(tmp_path, options):
    pytest.importorskip("onnx", reason="writes a network with the onnx package of the training extra")
    with pytest.raises(BundleError, match=r"expected input image uint8 \[N, H, W, 3\] and output features"):
        create_extractor(write_bundle(tmp_path, car_card(), toy_backbone(**options), car_mesh()))


def test_one_pose_per_roi_best_first(estimator, image):
    rois = [SMALL, WIDE]
    poses = estimator.estimate(image, CAMERA, rois)
    scores = [pose.score for pose in poses]
    assert scores == sorted(scores, reverse=True) and poses[0].roi == WIDE
    for pose in poses:
        assert pose.category == "car" and pose.roi in rois
        assert pose.T_cam_obj[2, 3] > 0 and np.linalg.det(pose.T_cam_obj[:3, :3]) == pytest.approx(1.0)
        assert np.linalg.eigvalsh(pose.covariance).min() > 0


def test_stages_are_timed(estimator, image):
    estimator.estimate(image, CAMERA, [WIDE])
    assert {"crop", "features", "similarity", "coarse", "refine", "total"} <= set(estimator.timings)
    assert estimator.timings["total"] >= estimator.timings["features"] > 0
    estimator.estimate(image, CAMERA)
    assert estimator.timings["proposals"] > 0


def test_no_roi_no_pose(estimator, image):
    assert estimator.estimate(image, CAMERA, []) == []


def test_same_input_same_pose(estimator, image):
    first, second = (estimator.estimate(image, CAMERA, [WIDE]) for _ in range(2))
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
    with pytest.raises(CameraError, match="camera_info is for 320x240, the image is 960x540"):
        estimator.estimate(image, Camera.from_hfov(320, 240, 60.0), [WIDE])


def test_one_bad_roi_is_named(estimator, image):
    with pytest.raises(RoiError, match=r"ROI \[1000.0, 30.0, 1100.0, 120.0\] lies outside the 960x540 image"):
        estimator.estimate(image, CAMERA, [WIDE, (1000, 30, 1100, 120)])


def test_works_again_after_bad_input(estimator, image):
    before = [p.score for p in estimator.estimate(image, CAMERA, [WIDE])]
    with pytest.raises(RoiError):
        estimator.estimate(image, CAMERA, [(1, 1, 1, 1)])
    assert [p.score for p in estimator.estimate(image, CAMERA, [WIDE])] == before


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
    found = in_camera(R, SolvedPose(T, np.ones(3), 0.5, 1.0, np.eye(6), np.eye(3)))
    assert np.allclose(found.T_cam_obj[:3, 3], 10 * np.array([0.3, -0.2, 1.0]) / np.linalg.norm([0.3, -0.2, 1.0]))
    assert np.allclose(found.T_cam_obj[:3, :3], R)
