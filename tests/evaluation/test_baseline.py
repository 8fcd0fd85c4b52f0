# SPDX-License-Identifier: Apache-2.0
"""Nearest view: right about a known object to within its grid of views, and no better."""

import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle
from unit.planted import SIZE, car_mesh

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.evaluation.baseline import NearestView, oriented_gradients, views_of
from dinemo_ros.features import create_extractor
from dinemo_ros.geometry import ray_rotation, rotation_angle, rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import load_bundle

CAMERA = Camera.from_hfov(480, 360, 30)


def pose(azimuth_deg, elevation_deg, position):
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, 0.0]))
    return se3(ray_rotation(np.array(position)) @ R, np.array(position))


def box_of(T):
    pixels = CAMERA.project(car_mesh().vertices @ T[:3, :3].T + T[:3, 3]) + 0.5
    return tuple(np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]).tolist())


def test_features_of_the_object_find_its_view(tmp_path):
    bundle = load_bundle(write_painted_bundle(tmp_path / "bundle"))
    nearest = NearestView(bundle, "features", create_extractor(bundle))
    for azimuth, elevation, position in ((33.0, 11.0, (0.5, 0.1, 14.0)), (121.0, 4.0, (-1.0, 0.3, 18.0)),
                                         (286.0, 22.0, (0.0, 0.0, 12.0))):
        T = pose(azimuth, elevation, position)
        found, = nearest.estimate(photograph(T, CAMERA), CAMERA, [box_of(T)])
        # Half a step each way, and an orthographic view of a perspective picture.
        assert np.degrees(rotation_angle(found.T_cam_obj[:3, :3], T[:3, :3])) < 13.0
        assert np.linalg.norm(found.T_cam_obj[:3, 3]) == pytest.approx(np.linalg.norm(position), rel=0.2)
        assert found.size.tolist() == list(SIZE)


def test_outline_tells_broadside_from_head_on(tmp_path):
    """A white object on black: what is left is the outline, which knows the long side from the short one."""
    bundle = load_bundle(write_painted_bundle(tmp_path / "bundle"))
    nearest = NearestView(bundle, "outline")
    for azimuth in (0.0, 90.0):
        T = pose(azimuth, 5.0, (0.0, 0.0, 15.0))
        image = photograph(T, CAMERA)
        white = np.repeat(255 * (image != 114).any(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        found, = nearest.estimate(white, CAMERA, [box_of(T)])
        turn = np.degrees(found.viewpoint()[0]) - azimuth
        assert abs((turn + 90) % 180 - 90) < 30.0  # front and rear, left and right are one outline


def test_no_roi_is_the_whole_picture_and_the_best_comes_first(tmp_path):
    bundle = load_bundle(write_painted_bundle(tmp_path / "bundle"))
    nearest = NearestView(bundle, "outline")
    image = photograph(pose(90.0, 5.0, (0.0, 0.0, 15.0)), CAMERA)
    assert nearest.estimate(image, CAMERA)[0].roi == (0.0, 0.0, 480.0, 360.0)
    scores = [p.score for p in nearest.estimate(image, CAMERA, [(0, 0, 100, 90), (90, 100, 400, 260)])]
    assert scores == sorted(scores, reverse=True)


def test_views_show_the_mesh_from_all_sides():
    views = views_of(car_mesh(), 32)
    assert len(views) == 360
    front, broadside = views[0], views[18]  # azimuth 0 and 90 of the lowest elevation
    assert front.extent[0] == pytest.approx(SIZE[1], abs=1e-6)
    assert broadside.extent[0] == pytest.approx(SIZE[0], abs=1e-6)
    columns = np.flatnonzero((broadside.faces >= 0).any(axis=0))
    assert len(columns) == pytest.approx(32 / 1.15, abs=1.5)


def test_gradients_do_not_depend_on_brightness_or_contrast_sign():
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(40, 160, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    one = oriented_gradients(picture)
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
    assert oriented_gradients(picture + 60) @ one == pytest.approx(1.0, abs=1e-5)
    assert oriented_gradients(200 - picture) @ one == pytest.approx(1.0, abs=1e-5)
    assert oriented_gradients(picture.T.copy()) @ one < 0.9
