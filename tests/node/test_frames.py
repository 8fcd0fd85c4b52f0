# SPDX-License-Identifier: Apache-2.0
"""Over real DDS: answers in the frame that was asked for, and none where TF does not have it."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from ros_support.node_here import SEEN, node_here
from ros_support.pose_node_here import CAMERA, IMAGE
from ros_support.transform_tree import Tree, ready

from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.node.conversions import nanoseconds
from dinemo_ros.node.demo_listener import transform
from dinemo_ros.pose import Observation

T_BASE_MAST = se3(so3_exp(np.array([0.1, 0.0, 0.7])), np.array([0.2, 0.1, 1.0]))
T_MAST_CAMERA = se3(so3_exp(np.array([-2.1, 0.2, 0.1])), np.array([0.0, 0.03, 0.1]))
T_BASE_CAMERA = T_BASE_MAST @ T_MAST_CAMERA


def rotated(covariance: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Both blocks, and what is between them, about other axes."""
    blocks = [[R @ covariance[3 * i:3 * i + 3, 3 * j:3 * j + 3] @ R.T for j in range(2)] for i in range(2)]
    return np.block(blocks)


@pytest.fixture
def robot(monkeypatch, make_probe):
    """A node that answers in frame base, somebody who publishes TF, and the probe."""
    with node_here(monkeypatch, "/frames_test", target_frame="/base") as estimator:
        probe = make_probe("/frames_test")
        tree = Tree(probe)
        ready(probe, tree)
        yield estimator, probe, tree


def test_everything_is_published_in_the_target_frame(robot):
    """base - mast - camera, both fixed: pose, covariance, runners-up, TF and markers are where numpy says."""
    _, probe, tree = robot
    tree.static("base", "mast", T_BASE_MAST)
    tree.static("mast", "camera", T_MAST_CAMERA)
    probe.spin(0.5)
    header = probe.send(IMAGE, CAMERA)
    detections = probe.answer("detections", header)
    best, T = detections.detections[0], T_BASE_CAMERA @ SEEN.T_cam_obj
    assert detections.header.frame_id == best.header.frame_id == "base"
    assert np.allclose(transform(best.bbox.center), T)
    R = T_BASE_CAMERA[:3, :3]
    assert np.allclose(np.reshape(best.results[0].pose.covariance, (6, 6)), rotated(SEEN.covariance, R))
    assert np.allclose(transform(best.results[1].pose.pose), T_BASE_CAMERA @ SEEN.runners_up[0].T_cam_obj)
    assert best.results[1].pose.covariance[0] == -1.0

    for topic in ("pose", "pose_with_covariance"):
        assert probe.answer(topic, header).header.frame_id == "base"
    assert probe.answer("pose", header).pose == best.bbox.center
    assert probe.answer("pose_with_covariance", header).pose == best.results[0].pose
    child = probe.wait(lambda: next((t for m in probe.received["/tf"] for t in m.transforms
                                     if t.header.stamp == header.stamp), None), "/tf")
    assert (child.header.frame_id, child.child_frame_id) == ("base", "frames_test/car_0")
    t = child.transform.translation
    assert [t.x, t.y, t.z] == pytest.approx(T[:3, 3]) and child.transform.rotation == best.bbox.center.orientation
    markers = probe.wait(lambda: next((m.markers for m in probe.received["markers"] if m.markers), None), "markers")
    assert all(m.header.frame_id == "base" for m in markers)
    assert next(m for m in markers if m.ns == "body").pose == best.bbox.center
    label = next(m for m in markers if m.ns == "label").text
    assert f"{np.linalg.norm(SEEN.T_cam_obj[:3, 3]):.2f} m" in label, "the distance is from the camera"


def test_a_moving_camera_is_where_it_was_when_the_image_was_taken(robot):
    _, probe, tree = robot
    header = probe.header()
    before, after = probe.header(nanoseconds(header.stamp) - 40_000_000), probe.header(
        nanoseconds(header.stamp) + 160_000_000)
    tree.at("base", "camera", se3(so3_exp(np.array([0, 0, 0.1])), np.array([0.0, 0, 1])), before.stamp)
    probe.send(IMAGE, CAMERA, header)
    tree.at("base", "camera", se3(so3_exp(np.array([0, 0, 0.6])), np.array([0.5, 0, 1])), after.stamp)
    found = probe.answer("pose", header)
    T = se3(so3_exp(np.array([0, 0, 0.2])), np.array([0.1, 0, 1])) @ SEEN.T_cam_obj
    assert np.allclose(transform(found.pose), T, atol=1e-9)


def test_without_the_transform_nothing_is_published_and_it_is_told(robot):
    estimator, probe, tree = robot
    header = probe.send(IMAGE, CAMERA)
    values = probe.wait(lambda: (v := probe.diagnosis())["rejected_transform"] == "1" and v, "the rejection")
    assert values["level"] == 2
    assert values["message"] == ("/frames_test/image: frame 'base' is not in TF: nobody has published it on /tf or "
                                 "/tf_static; no pose for this image")
    assert not any(probe.answered(topic, header) for topic in ("detections", "pose", "pose_with_covariance"))
    assert not probe.received["/tf"] and not estimator.asked
    tree.static("base", "camera", T_BASE_CAMERA)
    probe.spin(0.5)
    assert probe.answer("detections", probe.send(IMAGE, CAMERA)).detections, "and it goes on"


def test_nothing_seen_is_an_empty_array_and_no_transform(robot):
    """In the frame that was asked for, with the reason; whatever way nothing is found on."""
    estimator, probe, tree = robot
    tree.static("base", "camera", T_BASE_CAMERA)
    probe.spin(0.5)
    probe.answer("pose", probe.send(IMAGE, CAMERA))
    probe.spin(0.3)
    for topic in ("pose", "pose_with_covariance", "/tf"):
        del probe.received[topic][:]
    estimator.answer = []
    reasons = []

    def answered(boxes=None) -> None:
        header = probe.send(IMAGE, CAMERA)
        if boxes is not None:
            probe.send_boxes(header, boxes)
        empty = probe.answer("detections", header)
        assert empty.detections == [] and empty.header.frame_id == "base"
        reasons.append(probe.diagnosis()["last_without_object"])

    answered()
    probe.start_detector()
    answered([])
    answered([(5.0, 5.0, 40.0, 40.0)])
    answered([(-90.0, -90.0, -50.0, -50.0)])  # no box of this image
    assert probe.set_parameter("min_score", 0.9).successful
    estimator.answer = [SEEN]
    answered([(5.0, 5.0, 40.0, 40.0)])
    assert reasons == ["no object was found in the whole image", "the detector sent no box that is looked at",
                       "no object was found in 1 box of the detector", "the detector sent no box that is looked at",
                       "the best of 1 poses has score 0.500, below min_score 0.9"]
    values = probe.diagnosis()
    assert (values["images_without_object"], values["rejected_internal"]) == ("5", "0")
    probe.spin(0.3)
    assert not any(probe.received[topic] for topic in ("pose", "pose_with_covariance"))
    assert not any("car" in t.child_frame_id for m in probe.received["/tf"] for t in m.transforms)


def test_diagnostics_tell_where_the_distance_is_from(robot):
    estimator, probe, tree = robot
    tree.static("base", "camera", T_BASE_CAMERA)
    probe.spin(0.5)
    broken = Observation("support", False, 0.05, "the object is 5.0 cm above the plane: held, or on something")
    apart = [se3(SEEN.T_cam_obj[:3, :3], SEEN.T_cam_obj[:3, 3] + [x, 0.0, 0.0]) for x in (-0.3, 0.0, 0.3)]
    estimator.answer = [replace(SEEN, T_cam_obj=apart[0], source="support+depth"),
                        replace(SEEN, T_cam_obj=apart[1], source="support"),
                        replace(SEEN, T_cam_obj=apart[2], source="rgb", observations=(broken,))]
    probe.answer("detections", probe.send(IMAGE, CAMERA))
    values = probe.diagnosis()
    assert [values[f"poses_from_{source}"] for source in ("rgb", "support", "depth", "support_depth")] == list("1101")
    assert [values[f"observations_refused_{name}"] for name in ("support", "depth")] == ["1", "0"]
    assert values["last_observation_refused"] == f"support: {broken.reason}"
    assert values["solver_device"] == "none"


@pytest.mark.parametrize(("prefix", "names"), [("", ["left/arm/car_0", "right/car_0", "car_0"]),
                                               ("my_", ["my_car_0"] * 3), ("/", ["car_0"] * 3)])
def test_frames_of_two_namespaces_do_not_collide(monkeypatch, make_probe, prefix, names):
    """Three nodes of one category on one graph; whoever sets a prefix has it."""
    with ExitStack() as running:
        probes = []
        for namespace in ("/left/arm", "/right", "/"):
            running.enter_context(node_here(monkeypatch, namespace, child_frame_prefix=prefix))
            probes.append(make_probe(namespace, outputs=("detections", "/tf")))
        for probe, name in zip(probes, names, strict=True):
            probe.wait_for_node()
            header = probe.send(IMAGE, CAMERA)
            assert [d.id for d in probe.answer("detections", header).detections] == [name]
            child = probe.wait(lambda probe=probe, header=header: next((
                t for m in probe.received["/tf"] for t in m.transforms if t.header == header), None), "/tf")
            assert child.child_frame_id == name


def test_nobody_listens_to_tf_unless_a_parameter_needs_it(monkeypatch, make_probe):
    with node_here(monkeypatch, "/quiet_test") as estimator:
        probe = make_probe("/quiet_test", outputs=("detections",))
        tree = Tree(probe)
        probe.wait_for_node()
        assert probe.answer("detections", probe.send(IMAGE, CAMERA)).header.frame_id == "camera"
        assert tree.moving.get_subscription_count() == 0 and probe.count_subscribers("/tf_static") == 0
        assert estimator.asked[0]["support"] is None and estimator.asked[0]["depth"] is None
        assert probe.set_parameter("target_frame", "camera").successful
        probe.wait(lambda: tree.moving.get_subscription_count(), "the node to listen to TF")
        assert probe.answer("detections", probe.send(IMAGE, CAMERA)).detections, "the images' own frame needs none"
        assert probe.set_parameter("target_frame", "").successful
        probe.wait(lambda: not tree.moving.get_subscription_count(), "the node not to listen to TF")
