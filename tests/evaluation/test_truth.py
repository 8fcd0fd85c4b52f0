# SPDX-License-Identifier: Apache-2.0
"""Errors of poses worked out by hand."""

import numpy as np
import pytest
from unit.planted import SIZE, car_mesh

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.evaluation.extent import silhouette
from dinemo_ros.evaluation.truth import AzimuthTruth, PoseTruth, ReferenceObject, ViewpointTruth, diameter
from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint, se3, so3_exp
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.pose import Hypothesis
from dinemo_ros.solver.surface import farthest_point_order

CAMERA = Camera.from_hfov(640, 480, 60)


def reference(symmetry=None) -> ReferenceObject:
    mesh = car_mesh()
    order = farthest_point_order(mesh.vertices.astype(np.float64))
    return ReferenceObject(mesh.vertices / mesh.extent, mesh.normals, mesh.faces, order[:24], symmetry or Symmetry())


def looking(azimuth_deg, position=(0.0, 0.0, 10.0), elevation_deg=10.0, theta_deg=0.0) -> np.ndarray:
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, theta_deg]))
    return se3(ray_rotation(np.array(position)) @ R, np.array(position))


def hypothesis(T, size=SIZE) -> Hypothesis:
    return Hypothesis(T, 0.7, np.array(size))


def truth(T, size=SIZE) -> PoseTruth:
    return PoseTruth(T, np.array(size), CAMERA)


def test_the_truth_has_no_error():
    T = looking(40, (-2.0, 0.5, 12.0))
    errors = truth(T).errors(hypothesis(T), reference())
    assert errors["distance_true_m"] == pytest.approx(np.linalg.norm([-2.0, 0.5, 12.0]))
    assert (errors["add_within"], errors["pck"]) == (1.0, 1.0)
    for key in ("error_deg", "azimuth_error_deg", "elevation_offset_deg", "translation_error_m", "distance_error_pct",
                "distance_offset_pct", "add_m"):
        assert errors[key] == pytest.approx(0.0, abs=1e-5)


def test_errors_known_by_hand():
    true = se3(np.eye(3), np.array([0.0, 3.0, 4.0]))
    found = se3(so3_exp(np.radians([0.0, 0.0, 25.0])), np.array([0.0, 3.6, 4.8]))
    errors = truth(true).errors(hypothesis(found), reference())
    assert errors["error_deg"] == pytest.approx(25.0)
    assert errors["distance_error_pct"] == errors["distance_offset_pct"] == pytest.approx(20.0)
    assert errors["translation_error_m"] == pytest.approx(1.0)


@pytest.mark.parametrize("offset", [-6.0, 4.0])
def test_elevation_and_distance_tell_the_direction_of_their_error(offset):
    """Off the optical axis, where elevation is the angle above the ray and not above the camera."""
    near, far = looking(130, (3.0, -1.0, 8.0), elevation_deg=10.0 + offset), looking(130, (6.0, -2.0, 16.0))
    errors = truth(far).errors(hypothesis(near), reference())
    assert errors["elevation_offset_deg"] == pytest.approx(offset)
    assert (errors["distance_offset_pct"], errors["distance_error_pct"]) == pytest.approx((-50.0, 50.0))


def test_add_of_a_shift_is_its_length_whatever_the_estimated_size():
    T = looking(70)
    shifted = T.copy()
    shifted[:3, 3] += [0.3, 0.0, 0.4]
    for size in (SIZE, (9.0, 9.0, 9.0)):
        assert truth(T).errors(hypothesis(shifted, size), reference())["add_m"] == pytest.approx(0.5)
    assert truth(T).errors(hypothesis(shifted), reference())["add_within"] == 0.0  # a tenth of some 4.9 m
    shifted[:3, 3] = T[:3, 3] + [0.0, 0.0, 0.4]
    assert truth(T).errors(hypothesis(shifted), reference())["add_within"] == 1.0


def test_pck_bounds_the_shift_in_the_picture_by_the_box():
    """A shift across the view of 0.09 and 0.11 of the box's longer side."""
    T = looking(90, elevation_deg=0.0)  # broadside: the box is as long as the car
    points = reference().unit * SIZE @ T[:3, :3].T + T[:3, 3]
    side = np.ptp(CAMERA.project(points), axis=0).max()
    for share, pck in ((0.08, 1.0), (0.12, 0.0)):
        moved = T.copy()
        moved[0, 3] += share * side * T[2, 3] / CAMERA.K[0, 0]
        assert truth(T).errors(hypothesis(moved), reference())["pck"] == pytest.approx(pck, abs=0.2)


def test_pck_of_a_flip_is_low_and_behind_the_camera_zero():
    T = looking(30)
    assert truth(T).errors(hypothesis(looking(210)), reference())["pck"] < 0.4
    assert truth(T).errors(hypothesis(looking(30, (0.0, 0.0, -10.0))), reference())["pck"] == 0.0


@pytest.mark.parametrize(("symmetry", "turn_deg", "error"), [
    (Symmetry(), 180.0, 180.0), (Symmetry("z", 2), 180.0, 0.0), (Symmetry("z", 2), 170.0, 10.0),
    (Symmetry("z", 4), 95.0, 5.0), (Symmetry("z", 0), 77.0, 0.0), (Symmetry("z", 1), 77.0, 77.0),
])
def test_symmetric_objects_are_compared_with_the_nearest_equivalent_pose(symmetry, turn_deg, error):
    T, object_ = looking(40), reference(symmetry)
    turned = T @ se3(so3_exp(np.radians([0, 0, turn_deg])), np.zeros(3))
    errors = truth(T).errors(hypothesis(turned), object_)
    assert errors["error_deg"] == pytest.approx(error, abs=1e-5)
    if symmetry.continuous:
        assert "azimuth_error_deg" not in errors  # any azimuth is right, which is no merit
    else:
        assert errors["azimuth_error_deg"] == pytest.approx(error, abs=1e-5)
    if error == 0.0:
        assert errors["add_m"] == pytest.approx(0.0, abs=1e-6)
    azimuth = 40.0  # of the untouched pose
    assert AzimuthTruth(azimuth).errors(hypothesis(turned), object_)["error_deg"] == pytest.approx(error, abs=1e-5)
    view = ViewpointTruth(azimuth, 10.0, 0.0)
    assert view.errors(hypothesis(turned), object_)["error_deg"] == pytest.approx(error, abs=1e-5)


def test_viewpoint_is_that_along_the_ray():
    """Off the optical axis the same view has another egocentric rotation; only the view counts here."""
    errors = ViewpointTruth(200.0, 15.0, -4.0).errors(hypothesis(looking(200.0, (3.0, -1.0, 9.0), 15.0, -4.0)),
                                                      reference())
    assert errors["error_deg"] == pytest.approx(0.0, abs=1e-5)
    assert (errors["azimuth"], errors["elevation"], errors["theta"]) == pytest.approx((200.0, 15.0, -4.0))
    assert AzimuthTruth(355.0).errors(hypothesis(looking(10.0)), reference())["error_deg"] == pytest.approx(15.0)


def test_diameter_is_the_longest_distance():
    assert diameter(np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 2.0]])) == pytest.approx(3.0)


def test_silhouette_covers_the_projected_vertices_and_little_more():
    T = looking(30, (0.5, 0.2, 9.0))
    mask = silhouette(hypothesis(T), reference(), CAMERA)
    pixels = CAMERA.project(reference().unit * SIZE @ T[:3, :3].T + T[:3, 3])
    inside = np.round(pixels.mean(axis=0) + 0.97 * (pixels - pixels.mean(axis=0))).astype(int)
    assert mask[inside[:, 1], inside[:, 0]].mean() > 0.97
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    found = [columns[0], rows[0], columns[-1], rows[-1]]
    assert found == pytest.approx([*pixels.min(axis=0), *pixels.max(axis=0)], abs=1.5)
