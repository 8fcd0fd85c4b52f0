# SPDX-License-Identifier: Apache-2.0
"""Grasp frames: their axes, how they scale with the object, and that a gripper fits where the shipped cards say."""

import math
from dataclasses import replace

import numpy as np
import pytest
from shared_data import ROOT

from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.model.grasps import GraspSpec, grasp_frames
from dinemo_ros.model.symmetry import with_axis_variance
from dinemo_ros.pose import ObjectPose

FINGER = (0.012, 0.01, 0.04)  # metres: half its width, its thickness, its length
RIM = GraspSpec("rim", (0.0, 0.5, 1.0), (0.0, 0.0, -3.0), (0.0, 2.0, 0.0), offset_m=(0.0, 0.0, 0.01), opening_m=0.03,
                turns_deg=(0.0, 90.0), pregrasp_m=0.2)


def pose_of(size, sigma_deg: float = 1.0) -> ObjectPose:
    T = np.array([[1.0, 0, 0, 0.1], [0, 0, -1, 0], [0, 1, 0, 0.8], [0, 0, 0, 1]])
    covariance = with_axis_variance(np.eye(6) * 1e-6, T[:3, :3], math.radians(sigma_deg) ** 2)
    return ObjectPose(T_cam_obj=T, score=1.0, size=np.array(size, float), covariance=covariance)


def shipped(category: str):
    bundle = load_bundle(ROOT / "engines" / category)
    return bundle, pose_of(bundle.card.size_prior.mean_m)


def test_convention_z_approaches_y_closes_and_the_origin_is_between_the_fingertips():
    first, _ = RIM.frames(np.array([0.2, 0.1, 0.4]))
    np.testing.assert_allclose(first.T_obj_grasp, [[-1, 0, 0, 0], [0, 1, 0, 0.025], [0, 0, -1, 0.19], [0, 0, 0, 1]],
                               atol=1e-12)
    assert np.linalg.det(first.T_obj_grasp[:3, :3]) == pytest.approx(1.0)


def test_the_gripper_waits_back_along_the_approach():
    first, _ = RIM.frames(np.array([0.2, 0.1, 0.4]))
    np.testing.assert_allclose(first.T_obj_pregrasp[:3, 3], [0.0, 0.025, 0.19 + 0.2])
    np.testing.assert_array_equal(first.T_obj_pregrasp[:3, :3], first.T_obj_grasp[:3, :3])


def test_positions_scale_with_the_size_and_offsets_do_not():
    small, large = (RIM.frames(np.array(size))[0].T_obj_grasp[:3, 3] for size in ((1, 0.1, 0.2), (1, 0.3, 0.4)))
    np.testing.assert_allclose(small, [0, 0.025, 0.09], atol=1e-12)
    np.testing.assert_allclose(large, [0, 0.075, 0.19], atol=1e-12)


def test_a_turned_grasp_stays_on_a_circle_however_long_the_object_is():
    """The length of a cup is its handle's as well: its rim is as wide as the body all the same."""
    first, second = RIM.frames(np.array([0.9, 0.1, 0.4]))
    assert (first.name, second.name) == ("rim_0", "rim_1")
    np.testing.assert_allclose(second.T_obj_grasp[:3, 3], [-0.025, 0.0, 0.19], atol=1e-12)
    np.testing.assert_allclose(second.T_obj_grasp[:3, 1], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(second.T_obj_grasp[:3, 2], [0, 0, -1], atol=1e-12)


def test_the_opening_is_a_share_of_what_lies_between_the_fingers_and_room():
    across = replace(RIM, opening=0.5, turns_deg=(0.0,))
    assert across.frames(np.array([0.2, 0.1, 0.4]))[0].opening_m == pytest.approx(0.05 + 0.03)
    along = replace(across, closing=(1.0, 0.0, 0.0))
    assert along.frames(np.array([0.2, 0.1, 0.4]))[0].opening_m == pytest.approx(0.1 + 0.03)


def test_nearly_perpendicular_directions_make_a_rotation():
    R = replace(RIM, closing=(0.0, 1.0, 5e-4)).axes()
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("sigma_deg, there", [(29.0, True), (31.0, False), (103.0, False)])
def test_a_cup_is_taken_by_the_handle_only_where_its_turn_is_known(sigma_deg, there):
    bundle, _ = shipped("cup")
    names = [grasp.name for grasp in grasp_frames(bundle.card, pose_of((0.113, 0.082, 0.095), sigma_deg))]
    assert names == [f"rim_{k}" for k in range(5)] + ["handle"] * there


def test_a_bottle_is_taken_from_any_side():
    bundle, pose = shipped("bottle")
    pose = replace(pose, covariance=bundle.card.symmetry.covariance(pose.covariance, pose.T_cam_obj[:3, :3]))
    grasps = grasp_frames(bundle.card, pose)
    assert [grasp.name for grasp in grasps] == ["body", "neck", "top"]
    assert all(grasp.symmetric_about_axis for grasp in grasps)


def test_a_car_has_none():
    bundle, pose = shipped("car")
    assert grasp_frames(bundle.card, pose) == []


def surface(mesh) -> np.ndarray:
    """[N, 3] points on the mesh, a few on every face; metres."""
    weights = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    return np.einsum("kc,fcx->fkx", weights, mesh.vertices[mesh.faces].astype(float)).reshape(-1, 3)


@pytest.mark.parametrize("category", ["cup", "bottle", "chair"])
@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (0.85, 0.85, 0.85), (1.2, 1.2, 1.25)])
def test_there_is_something_between_the_fingers_and_nothing_in_their_way(category, scale):
    bundle, pose = shipped(category)
    points = surface(bundle.mesh) * scale
    grasps = grasp_frames(bundle.card, replace(pose, size=pose.size * scale))
    assert len(grasps) == {"cup": 6, "bottle": 3, "chair": 2}[category]
    for grasp in grasps:
        T = grasp.T_obj_grasp
        x, y, z = ((points - T[:3, 3]) @ T[:3, :3]).T
        beside, half = abs(x) < FINGER[0], grasp.opening_m / 2
        reached = beside & (-FINGER[2] < z) & (z < 0.001)
        assert (reached & (abs(y) < half)).any(), grasp.name
        assert not (reached & (abs(y) >= half) & (abs(y) < half + FINGER[1])).any(), grasp.name


def test_a_cup_is_held_at_the_middle_of_its_wall_and_of_its_handle():
    bundle, pose = shipped("cup")
    points = surface(bundle.mesh)
    for grasp in grasp_frames(bundle.card, pose):
        T = grasp.T_obj_grasp
        x, y, z = ((points - T[:3, 3]) @ T[:3, :3]).T
        y = y[(abs(x) < 0.004) & (abs(z + 0.01) < 0.01) & (abs(y) < grasp.opening_m / 2)]
        assert abs(y.max() + y.min()) / 2 < 0.002, grasp.name
