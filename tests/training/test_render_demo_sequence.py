# SPDX-License-Identifier: Apache-2.0
"""The sequence that ships: its truth must fit its pictures and its camera."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dinemo_ros.camera.pinhole import Camera

FOLDER = Path(__file__).resolve().parents[2] / "config" / "demo_sequence"
TRUTH = json.loads((FOLDER / "ground_truth.json").read_text())["frames"]


@pytest.fixture(scope="module")
def camera():
    return Camera.from_yaml(FOLDER / "camera_info.yaml")


def box_pixels(camera, frame):
    T, half = np.array(frame["T_cam_obj"]), np.array(frame["size"]) / 2
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    return camera.project(corners @ T[:3, :3].T + T[:3, 3])


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_roi_is_the_car_inside_the_projected_box(camera, name):
    x_min, y_min, x_max, y_max = TRUTH[name]["roi"]
    pixels = box_pixels(camera, TRUTH[name])
    lower, upper = pixels.min(axis=0), pixels.max(axis=0)
    side = (upper - lower).max()
    # Wing mirrors stick out of the box by up to 0.11 m = 3 % of its length.
    assert (np.array([x_min, y_min]) >= lower - 0.04 * side).all()
    assert (np.array([x_max, y_max]) <= upper + 0.04 * side).all()
    assert (x_max - x_min) * (y_max - y_min) > 0.6 * np.prod(upper - lower)
    assert 0 <= x_min < x_max <= camera.width - 1 and 0 <= y_min < y_max <= camera.height - 1


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_the_picture_shows_the_blue_car_where_the_truth_says(camera, name):
    picture = cv2.imread(str(FOLDER / name))
    camera.require_size(picture.shape[1], picture.shape[0])
    hue, saturation, value = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(int), -1, 0)
    rows, columns = np.nonzero((np.abs(hue - 108) < 10) & (saturation > 110) & (value > 50))
    x_min, y_min, x_max, y_max = TRUTH[name]["roi"]
    inside = (columns > x_min) & (columns < x_max) & (rows > y_min) & (rows < y_max)
    assert inside.sum() > 0.2 * (x_max - x_min) * (y_max - y_min)
    assert inside.mean() > 0.97  # nothing else in the scene is of that blue


def test_poses_are_rigid_and_go_round_the_car_from_14_to_5_metres(camera):
    bearings = []
    for frame in TRUTH.values():
        T = np.array(frame["T_cam_obj"])
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-5)
        assert np.linalg.det(T[:3, :3]) == pytest.approx(1, abs=1e-5)
        assert 4.5 < np.linalg.norm(T[:3, 3]) < 14.5
        eye = -T[:3, :3].T @ T[:3, 3]
        bearings.append(np.degrees(np.arctan2(eye[1], eye[0])) % 360)
    assert np.ptp(bearings) > 200
    stamps = [frame["stamp_s"] for frame in TRUTH.values()]
    assert stamps == sorted(stamps) and len(stamps) >= 24


def test_folder_is_small_and_names_its_sources():
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) < 3_000_000
    assert "Creative Commons Attribution 3.0" in (FOLDER / "ATTRIBUTION.md").read_text()
