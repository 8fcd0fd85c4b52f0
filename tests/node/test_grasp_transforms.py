# SPDX-License-Identifier: Apache-2.0
"""Grasp frames in TF: what they are called, where they are, and, over DDS, that they come when they are asked for."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from ros_support import moveit_stand_in
from ros_support.processes import running_node, start_node
from shared_data import ROOT
from std_msgs.msg import Header

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import load_bundle, rewrite_card
from dinemo_ros.model.grasps import GraspSpec, grasp_frames
from dinemo_ros.model.symmetry import axis_variance
from dinemo_ros.node.grasp_transforms import grasp_transforms
from dinemo_ros.node.gripper_outputs import GripperOutputs
from dinemo_ros.pose import ObjectPose

NAMESPACE = "/grasp_test"
OBJECT = "grasp_test/cup_0"
RIM = GraspSpec("rim", (0.0, 1.0, 1.0), (0, 0, -1), (0, 1, 0), opening_m=0.03, turns_deg=(0.0, 180.0))
HANDLE = GraspSpec("handle", (1.0, 0.0, 0.0), (-1, 0, 0), (0, 1, 0), opening_m=0.04, pregrasp_m=0.08,
                   azimuth_within_deg=15.0)


def matrix(message) -> np.ndarray:
    """[4, 4] of a TransformStamped."""
    p, q = message.transform.translation, message.transform.rotation
    x, y, z, w = q.x, q.y, q.z, q.w
    R = [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
         [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
         [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
    return se3(np.array(R), np.array([p.x, p.y, p.z]))


def test_frames_are_below_the_object_s_frame_with_its_stamp():
    header = Header(frame_id="camera", stamp=Time(sec=7, nanosec=5))
    grasps = HANDLE.frames(np.array([0.11, 0.08, 0.10]))
    grasp, pregrasp = grasp_transforms(header, "left/cup_3", grasps)
    assert [grasp.child_frame_id, pregrasp.child_frame_id] == ["left/cup_3/handle", "left/cup_3/handle/pregrasp"]
    for message in (grasp, pregrasp):
        assert (message.header.frame_id, message.header.stamp) == ("left/cup_3", header.stamp)
    np.testing.assert_allclose(matrix(grasp)[:3, 3], [0.055, 0, 0], atol=1e-12)
    np.testing.assert_allclose(matrix(grasp)[:3, 2], [-1, 0, 0], atol=1e-12)  # z approaches
    np.testing.assert_allclose(matrix(grasp)[:3, 1], [0, 1, 0], atol=1e-12)  # y closes
    np.testing.assert_allclose(matrix(pregrasp)[:3, 3], [0.135, 0, 0], atol=1e-12)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The shipped cups with two grasps of the test's own."""
    folder = tmp_path_factory.mktemp("bundle") / "cup"
    shutil.copytree(ROOT / "engines" / "cup", folder)
    loaded = load_bundle(folder)
    return rewrite_card(loaded, replace(loaded.card, grasps=(RIM, HANDLE)))


@pytest.fixture(scope="module")
def sample():
    """A rendered cup whose handle is seen, with its box."""
    return synthetic_entries(read_synthetic(ROOT / "tests" / "unit" / "vessels" / "cup"))[2].load()


def of_image(probe, header) -> dict:
    """The frames of TF with the stamp of ``header``, by name."""
    return {t.child_frame_id: t for message in probe.received["/tf"] for t in message.transforms
            if t.header.stamp == header.stamp}


def test_over_dds_grasps_come_when_they_are_asked_for_and_only_valid_ones(tmp_path, bundle, sample, make_probe):
    with running_node(tmp_path, NAMESPACE, bundle=str(bundle.path), precision="fp32"):
        probe = make_probe(NAMESPACE)
        probe.wait_for_node()
        probe.start_detector()

        def ask():
            header = probe.send(sample.image, sample.camera)
            probe.send_boxes(header, [sample.roi])
            best = probe.answer("detections", header).detections[0]
            probe.wait(lambda: of_image(probe, header), "/tf")
            return header, best

        header, _ = ask()
        assert set(of_image(probe, header)) == {OBJECT}, "none unless they are asked for"
        assert probe.set_parameter("publish_grasps", True).successful
        header, best = ask()
        frames = of_image(probe, header)
        covariance = np.array(best.results[0].pose.covariance).reshape(6, 6)
        found = ObjectPose(matrix(frames[OBJECT]), 0.5, np.array([best.bbox.size.x, best.bbox.size.y,
                                                                    best.bbox.size.z]), covariance=covariance)
        expected = grasp_frames(bundle.card, found)
        known = np.degrees(np.sqrt(axis_variance(covariance, found.T_cam_obj[:3, :3]))) <= HANDLE.azimuth_within_deg
        assert (f"{OBJECT}/handle" in frames) == known
        assert set(frames) == {OBJECT} | {f"{OBJECT}/{g.name}{tail}" for g in expected for tail in ("", "/pregrasp")}
        for grasp in expected:
            message = frames[f"{OBJECT}/{grasp.name}"]
            assert message.header.frame_id == OBJECT
            np.testing.assert_allclose(matrix(message), grasp.T_obj_grasp, atol=1e-6)


def test_node_asked_for_collision_objects_without_moveit_says_what_is_missing(tmp_path):
    if not moveit_stand_in.absent():
        pytest.skip("moveit_msgs is installed")
    node = start_node("pose_node", tmp_path / "log", NAMESPACE + "_moveit", publish_collision_objects=True)
    node.wait_for_output("moveit_msgs is not installed")
    line = next(line for line in node.output.splitlines() if "moveit_msgs is not installed" in line)
    assert "cannot configure: publish_collision_objects is true" in line
    assert node.interrupt() == 0 and "Traceback" not in node.output


class Graph:
    """A node of which only a parameter matters."""

    def get_parameter(self, name):
        assert name == "publish_collision_objects"
        return SimpleNamespace(value=False)


def test_a_handle_is_no_frame_while_the_turn_is_not_known(bundle):
    outputs = GripperOutputs(Graph(), bundle.card)
    pose = ObjectPose(np.eye(4), 0.5, np.array([0.11, 0.08, 0.10]), covariance=1e-4 * np.eye(6))
    unknown = ObjectPose(np.eye(4), 0.5, pose.size, covariance=np.diag([1e-4] * 5 + [0.5]))
    asked = SimpleNamespace(publish_grasps=True)
    names = [[t.child_frame_id for t in outputs.transforms(Header(), [OBJECT], [p], asked)] for p in (pose, unknown)]
    assert f"{OBJECT}/handle" in names[0] and not any("handle" in name for name in names[1])
    assert {f"{OBJECT}/rim_0", f"{OBJECT}/rim_1"} <= set(names[1])
    assert outputs.transforms(Header(), ["cup_0"], [pose], SimpleNamespace(publish_grasps=False)) == []


def test_the_overlay_shows_the_grasps_that_are_frames_and_no_others(bundle):
    outputs, camera = GripperOutputs(Graph(), bundle.card), Camera.from_hfov(320, 240, 40)
    T = se3(rotation_from_viewpoint(*np.radians([60.0, 30.0, 0.0])), np.array([0, 0, 0.6]))
    grey, size = np.full((240, 320, 3), 128, np.uint8), np.array([0.11, 0.08, 0.10])
    known = ObjectPose(T, 0.5, size, covariance=1e-4 * np.eye(6))
    unknown = ObjectPose(T, 0.5, size, covariance=np.diag([1e-4] * 3 + [0.5] * 3))
    asked = SimpleNamespace(publish_grasps=True)
    assert outputs.draw(grey, camera, [known], SimpleNamespace(publish_grasps=False)) is grey
    with_handle, without = (np.any(outputs.draw(grey, camera, [pose], asked) != 128, axis=2).sum()
                            for pose in (known, unknown))
    assert with_handle > without > 50
