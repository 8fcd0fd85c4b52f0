# SPDX-License-Identifier: Apache-2.0
"""The painted world (see painted_car.py), once per session."""

import cv2
import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint, se3

CAMERA = Camera.from_hfov(640, 480, 60)
CAMERA_INFO = f"""\
image_width: 640
image_height: 480
camera_matrix: {{rows: 3, cols: 3, data: {CAMERA.K.ravel().tolist()}}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}}
"""


def pose(position, azimuth_deg, elevation_deg=10.0, theta_deg=0.0) -> np.ndarray:
    """T_cam_obj of a car seen under these angles along the ray to it."""
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, theta_deg]))
    return se3(ray_rotation(np.array(position)) @ R, np.array(position, float))


def save(path, image) -> None:
    assert cv2.imwrite(str(path), image[..., ::-1])


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return write_painted_bundle(tmp_path_factory.mktemp("painted") / "bundle")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Folder of pictures with their camera, a file that is no image, and the true pose by file name."""
    folder = tmp_path_factory.mktemp("scenes")
    truth = {"a.png": pose((-2.0, 0.6, 10.0), 35.0), "b.png": pose((1.5, 0.2, 13.0), 150.0, 5.0, 3.0),
             "c.png": pose((0.5, 1.0, 9.0), 260.0, 18.0)}
    for name, T in truth.items():
        save(folder / name, photograph(T, CAMERA))
    (folder / "camera_info.yaml").write_text(CAMERA_INFO)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no jpeg")
    return folder, truth
