# SPDX-License-Identifier: Apache-2.0
"""``~/enable`` and ``~/reset``, and the gates of the stream, over DDS."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from ros_support.pose_node_here import CAMERA, IMAGE, ScriptedModel, model_of, pose_node_here
from std_srvs.srv import SetBool, Trigger

from dinemo_ros.errors import BackendError
from dinemo_ros.geometry import HALF_TURN, se3
from dinemo_ros.node import conversions
from dinemo_ros.pose import ObjectPose

NAMESPACE = "/switch_test"
CAR = ObjectPose(se3(np.eye(3), np.array([0.5, -0.2, 8.0])), 0.6, np.array([4.0, 1.8, 1.5]), category="car")
FLIP = replace(CAR, T_cam_obj=CAR.T_cam_obj @ se3(HALF_TURN, np.zeros(3)))


@pytest.fixture
def scene(monkeypatch, make_probe):
    """Makes a node with a script and parameters, and a probe."""
    contexts = []

    def make(script=lambda number: [CAR], **parameters):
        contexts.append(pose_node_here(monkeypatch, NAMESPACE, script, **parameters))
        return contexts[-1].__enter__(), make_probe(NAMESPACE, outputs=("detections", "/diagnostics"))

    yield make
    for context in contexts:
        context.__exit__(None, None, None)


def enable(probe, on: bool):
    return probe._call(SetBool, "pose_node/enable", SetBool.Request(data=on))


def reset(probe):
    return probe._call(Trigger, "pose_node/reset", Trigger.Request())


def test_disabled_node_lets_go_of_images_and_model(scene):
    """Nothing holds the model any more, nobody is subscribed, and both come back."""
    node, probe = scene(tracking=False)
    probe.wait_for_node()
    probe.answer("detections", probe.send(IMAGE, CAMERA))
    model = weakref.ref(model_of(node))
    answer = enable(probe, False)
    assert answer.success and "is disabled: no images are taken and memory is free" in answer.message
    gc.collect()
    assert model() is None and model_of(node) is None
    probe.wait(lambda: probe.images.get_subscription_count() == 0 == probe.infos.get_subscription_count(), "no takers")
    values = probe.diagnosis()
    assert values["enabled"] == "false" and values["level"] == 0 and values["state"] == "active"
    assert values["message"].startswith("disabled: no images are taken") and "backend" not in values
    assert "was already disabled" in enable(probe, False).message

    answer = enable(probe, True)
    assert answer.success and "is enabled: images are taken, ready after" in answer.message
    probe.wait_for_node()
    assert probe.answer("detections", probe.send(IMAGE, CAMERA)).detections
    assert ScriptedModel.loaded == 2 and "was already enabled" in enable(probe, True).message
    assert ScriptedModel.loaded == 2, "not loaded for nothing"
    values = probe.diagnosis()
    assert values["enabled"] == "true" and values["message"] == "estimating"


def test_disabled_at_the_start(scene):
    """The model is loaded once, so that errors are known, and let go of; images are taken when it is enabled."""
    node, probe = scene(enabled_at_start=False)
    assert model_of(node) is None and ScriptedModel.loaded == 1
    assert probe.images.get_subscription_count() == 0
    assert not probe.set_parameter("enabled_at_start", True).successful
    assert enable(probe, True).success
    probe.wait_for_node()
    assert probe.answer("detections", probe.send(IMAGE, CAMERA)).detections


def test_a_request_wakes_a_disabled_node_for_its_time(scene):
    """It is answered, the stream stays silent, and the memory is free again."""
    node, probe = scene()
    probe.wait_for_node()
    assert enable(probe, False).success
    answer = probe.estimate(IMAGE, CAMERA)
    assert answer.success and answer.objects[0].used == 5 and answer.T == pytest.approx(CAR.T_cam_obj)
    assert probe.received["detections"] == [] and model_of(node) is None
    probe.wait(lambda: probe.images.get_subscription_count() == 0, "no takers")
    assert probe.diagnosis()["enabled"] == "false"


def test_the_switch_outlives_transitions(scene):
    node, probe = scene()
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE)
    answer = enable(probe, False)
    assert answer.success and "no images will be taken, the node is inactive" in answer.message
    assert probe.change_state(Transition.TRANSITION_CLEANUP)
    assert probe.change_state(Transition.TRANSITION_CONFIGURE)
    assert probe.change_state(Transition.TRANSITION_ACTIVATE)
    assert model_of(node) is None and node._inputs is None
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE)
    assert "images will be taken once the node is active" in enable(probe, True).message
    assert model_of(node) is not None and node._inputs is None
    assert probe.change_state(Transition.TRANSITION_ACTIVATE)
    probe.wait_for_node()


def test_a_model_that_does_not_load_again_is_a_sentence(scene, monkeypatch):
    node, probe = scene()
    assert enable(probe, False).success

    def refuse(*_, **__):
        raise BackendError("the GPU is gone")

    monkeypatch.setattr("dinemo_ros.node.pose_node.PoseEstimator", refuse)
    answer = enable(probe, True)
    assert not answer.success and answer.message == "cannot be enabled: the GPU is gone"
    assert probe.diagnosis()["enabled"] == "false" and probe.state() == "active"
    answer = probe._call(Trigger, "pose_node/estimate", Trigger.Request())
    assert not answer.success and answer.message.startswith("cannot estimate: the GPU is gone\n")
    assert probe.diagnosis()["message"].startswith("disabled")


def test_reset_forgets_tracks_gates_and_stamps(scene, monkeypatch):
    """After a jump that is held back: it is none after a reset. A stamp a little older is not out of order then."""
    node, probe = scene(lambda number: [FLIP if number else CAR], gate_angle_deg=30.0, time_jump_s=10.0)
    probe.wait_for_node()
    first = probe.header()
    assert probe.answer("detections", probe.send(IMAGE, CAMERA, first)).detections
    assert not probe.answer("detections", probe.send(IMAGE, CAMERA)).detections
    forget = node._categories.forget
    with monkeypatch.context() as patched:
        patched.setattr(node._categories, "forget", lambda: 2 + forget())
        answer = reset(probe)
    assert answer.success and answer.message == "2 tracks forgotten, with gates and the last stamp"
    assert probe.answer("detections", probe.send(IMAGE, CAMERA)).detections
    old = probe.header(conversions.nanoseconds(first.stamp) - 500_000_000)
    probe.send(IMAGE, CAMERA, old)
    probe.spin(0.5)
    assert not probe.answered("detections", old)
    assert reset(probe).message.startswith("0 tracks"), "without tracking there are none"
    assert probe.answer("detections", probe.send(IMAGE, CAMERA, old)).detections


def test_stream_with_a_planted_flip(scene):
    """The flip never gets out, a real change does after three images; both are told."""
    node, probe = scene(lambda number: [FLIP if number == 1 or number >= 3 else CAR], gate_angle_deg=30.0)
    probe.wait_for_node()
    out = [len(probe.answer("detections", probe.send(IMAGE, CAMERA)).detections) for _ in range(7)]
    assert out == [1, 0, 1, 0, 0, 1, 1]
    probe.spin(0.5)  # what was told before the last image is not meant
    values = probe.diagnosis()
    assert values["held_back_outlier"] == "3" and values["held_back_unstable"] == "0"
    assert values["message"] == "estimating; held back: outlier 3" and values["level"] == 0
    assert values["objects_published"] == "4"


def test_stability_gate_is_live(scene):
    node, probe = scene()
    probe.wait_for_node()

    def out():
        return [len(probe.answer("detections", probe.send(IMAGE, CAMERA)).detections) for _ in range(4)]

    assert out() == [1, 1, 1, 1], "off by default"
    assert probe.set_parameter("stable_frames", 3).successful
    assert out() == [0, 0, 1, 1]
    probe.spin(0.5)
    assert probe.diagnosis()["message"] == "estimating; held back: unstable 2"
    assert probe.set_parameter("stable_frames", 0).successful
    assert out() == [1, 1, 1, 1]
