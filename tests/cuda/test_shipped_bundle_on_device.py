# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The shipped car on the demo sequence and on photographs: the device finds the poses that the CPU finds.

Where two hypotheses are nearly as good, float32 and float64 may choose apart; so a share has to agree, not every crop.
"""

import cv2
import numpy as np
import pytest
from shared_data import ROOT, shared_data

torch = pytest.importorskip("torch", reason="torch is not installed")

from dinemo_ros.benchmark.demo import demo_entries, demo_sequence
from dinemo_ros.camera.crop import warp_crop
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cuda.solver import DeviceSolver
from dinemo_ros.estimator import PoseEstimator, checked_boxes, crops_and_targets
from dinemo_ros.features.flip_tta import beside, flipped
from dinemo_ros.geometry import rotation_angle
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.solver import Start, prepare_category
from dinemo_ros.solver.category import for_flip_tta

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(ROOT / "engines" / "car")


@pytest.fixture(scope="module")
def estimator(bundle):
    return PoseEstimator(bundle, threads=1, precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def device(estimator):
    """The one for flip test-time augmentation, with more channels; the other tests have the plain one."""
    torch.set_num_threads(1)
    return DeviceSolver(for_flip_tta(prepare_category(estimator.bundle.mesh, estimator.bundle.card)), DEVICE)


def features_of(estimator, images, cameras, rois):
    """Feature maps and targets of one region of each image."""
    maps, targets = [], []
    for image, camera, roi in zip(images, cameras, rois, strict=True):
        (crop,), target = crops_and_targets(estimator.bundle.card.image, camera, checked_boxes(image, camera, [roi]),
                                            box_is_observed=True)
        pixels = np.empty((1, crop.size, crop.size, 3), np.uint8)
        warp_crop(image, camera, crop, pixels[0])
        maps.append(beside(estimator.extractor(pixels), estimator.extractor(flipped(pixels)))[0])
        targets += target
    return maps, targets


def differences(found, expected):
    """Degrees of rotation, degrees of azimuth and share of the distance between best poses, [n, 3]."""
    rows = []
    for a, b in zip(found, expected, strict=True):
        A, B = a[0].T_crop_obj, b[0].T_crop_obj
        turned = B[:3, :3].T @ A[:3, :3]
        rows.append((np.degrees(rotation_angle(A[:3, :3], B[:3, :3])),
                     abs(np.degrees(np.arctan2(turned[1, 0], turned[0, 0]))),
                     np.linalg.norm(A[:3, 3] - B[:3, 3]) / B[2, 3]))
    return np.array(rows)


def compare(estimator, device, maps, targets):
    expected, found = estimator.pipeline.flip_solver.solve_batch(maps, targets), device.solve_batch(maps, targets)
    apart = differences(found, expected)
    assert (apart[:, 1] < 1.0).mean() >= 0.8 and np.median(apart[:, 0]) < 0.1, apart
    starts = [Start(poses[0].T_crop_obj, poses[0].size) for poses in expected]
    expected, found = (s.follow_batch(maps, targets, starts) for s in (estimator.pipeline.flip_solver, device))
    apart = differences(found, expected)
    assert (apart[:, 1] < 1.0).mean() >= 0.8 and np.median(apart[:, 0]) < 0.1, apart


def test_demo_sequence(estimator, device):
    samples = [entry.load() for entry in demo_entries(demo_sequence())[::5]]
    maps, targets = features_of(estimator, *zip(*((s.image, s.camera, s.roi) for s in samples), strict=True))
    compare(estimator, device, maps, targets)


def test_photographs(estimator, device):
    """Four cars on a turntable from three sides, the regions from the model itself."""
    folder = shared_data("cars_sequences")
    images = [np.ascontiguousarray(cv2.imread(str(picture))[..., ::-1]) for car in sorted(folder.iterdir())
              if car.is_dir() for picture in sorted(car.glob("*.jpg"))[7::14]]
    cameras = [Camera.from_hfov(image.shape[1], image.shape[0], 25.0) for image in images]
    rois = [tuple(estimator.find(image).boxes[0]) for image in images]
    maps, targets = features_of(estimator, images, cameras, rois)
    compare(estimator, device, maps, targets)
