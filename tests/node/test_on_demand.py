# SPDX-License-Identifier: Apache-2.0
"""``~/estimate`` over DDS: one answer from the next images, with the right numbers, or the reason why there is none."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support.pose_node_here import CAMERA, IMAGE, ScriptedModel, pose_node_here
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection3DArray

from dinemo_ros.geometry import HALF_TURN, rotation_angle, se3, so3_exp
from dinemo_ros.node import conversions
from dinemo_ros.node.answer import PoseAnswer
from dinemo_ros.node.demo_listener import transform
from dinemo_ros.pose import ObjectPose

NAMESPACE = "/on_demand_test"
SIGMAS = np.array([0.01, 0.01, 0.1, 0.05, 0.05, 0.05])
TRUTH = se3(so3_exp(np.array([0.3, -0.8, 0.2])), np.array([0.5, -0.2, 8.0]))
CAR = ObjectPose(TRUTH, 0.6, np.array([4.0, 1.8, 1.5]), category="car", covariance=np.diag(SIGMAS**2), probability=0.9)
FLIP = replace(CAR, T_cam_obj=TRUTH @ se3(HALF_TURN, np.zeros(3)), score=0.7)


def moved(x: float) -> ObjectPose:
    return replace(CAR, T_cam_obj=se3(TRUTH[:3, :3], TRUTH[:3, 3] + [x, 0, 0]))


class Asking:
    """One request of a probe, with images sent while it waits."""

    def __init__(self, probe) -> None:
        self.probe = probe
        self.client = probe.create_client(Trigger, "pose_node/estimate")
        assert self.client.wait_for_service(30.0)
        self.sent = []

    def ask(self):
        self.future = self.client.call_async(Trigger.Request())
        return self

    def send(self, frame_id: str = "camera") -> None:
        self.sent.append(self.probe.send(IMAGE, CAMERA, self.probe.header(frame_id=frame_id)))

    def answer(self, sending: bool = True, frame_ids=("camera",), timeout_s: float = 20.0) -> PoseAnswer:
        deadline = time.monotonic() + timeout_s
        while not self.future.done():
            assert time.monotonic() < deadline, "no answer"
            if sending:
                self.send(frame_ids[len(self.sent) % len(frame_ids)])
            self.probe.spin(0.1)
        response = self.future.result()
        answer = PoseAnswer.read(response.message)
        first, _, line = response.message.partition("\n")
        assert answer.success == response.success == json.loads(line)["success"] == bool(answer.objects)
        assert first == answer.reason and "\n" not in line
        return answer


@pytest.fixture
def scene(monkeypatch, make_probe):
    """Makes a node with a script and parameters, a probe and somebody who asks."""
    nodes = []

    def make(script, **parameters):
        context = pose_node_here(monkeypatch, NAMESPACE, script, **parameters)
        node = context.__enter__()
        nodes.append(context)
        probe = make_probe(NAMESPACE, outputs=("detections", "/diagnostics"))
        return node, probe, Asking(probe)

    yield make
    for context in nodes:
        context.__exit__(None, None, None)


def latched(probe) -> list[Detection3DArray]:
    """What somebody who comes late gets."""
    got = []
    subscription = probe.create_subscription(Detection3DArray, "estimate/detections", got.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    probe.spin(1.0)
    probe.destroy_subscription(subscription)
    return got


def test_still_object_is_one_answer_of_all_images(scene):
    """Mean, covariance, size and the rest are those of the planted poses; who subscribes later has them, too."""
    errors = np.array([-0.01, 0.01, 0.0, 0.02, -0.02])
    node, probe, asking = scene(lambda number: [moved(errors[number % 5])])
    probe.wait_for_node()
    answer = asking.ask().answer()
    found, = answer.objects
    assert (found.used, found.dropped, found.id) == (5, 0, "on_demand_test/car_0")
    assert (found.category, found.frame) == ("car", "camera")
    assert found.T == pytest.approx(TRUTH, abs=1e-9) and found.size == pytest.approx(CAR.size)
    assert (found.score, found.probability, found.source) == (pytest.approx(0.6), pytest.approx(0.9), "rgb")
    scatter = np.var(errors, ddof=1)
    common = 1 - np.sum(errors**2) / SIGMAS[0]**2 / 24
    assert found.covariance[0, 0] == pytest.approx(SIGMAS[0]**2 * (1 + 4 * common) / 5 + scatter / 5, rel=1e-6)
    assert found.covariance[2, 2] == pytest.approx(SIGMAS[2]**2 * (1 + 4 * common) / 5, rel=1e-6)
    assert answer.reason == ("1 object in 5 images: on_demand_test/car_0 at x +0.500 y -0.200 z +8.000 m in 'camera', "
                             "score 0.60, from 5 images")
    stamps = [conversions.nanoseconds(header.stamp) for header in asking.sent]
    assert found.stamp_ns in stamps

    message, = latched(probe)
    detection, = message.detections
    assert transform(detection.bbox.center) == pytest.approx(found.T, abs=1e-9)
    assert detection.id == "on_demand_test/car_0"
    assert np.array(detection.results[0].pose.covariance) == pytest.approx(found.covariance.ravel())
    assert conversions.nanoseconds(message.header.stamp) == found.stamp_ns and message.header.frame_id == "camera"


def test_only_images_after_the_request_count(scene):
    """What was seen before it was elsewhere."""
    node, probe, asking = scene(lambda number: [moved(3.0 if number < 3 else 0.0)], estimate_frames=3)
    probe.wait_for_node()
    for _ in range(3):
        probe.answer("detections", probe.send(IMAGE, CAMERA))
    answer = asking.ask().answer()
    assert answer.T == pytest.approx(TRUTH, abs=1e-9) and answer.objects[0].used == 3


def test_one_planted_flip_is_dropped(scene):
    node, probe, asking = scene(lambda number: [FLIP if number % 5 == 2 else CAR])
    probe.wait_for_node()
    answer = asking.ask().answer()
    assert (answer.objects[0].used, answer.objects[0].dropped) == (4, 1)
    assert answer.T == pytest.approx(TRUTH, abs=1e-9) and "from 4 images, 1 dropped" in answer.reason


def test_poses_that_disagree_are_no_answer(scene):
    node, probe, asking = scene(lambda number: [FLIP if number % 2 else CAR], estimate_frames=4, estimate_min_frames=2)
    probe.wait_for_node()
    reason = asking.ask().answer().reason
    assert "the poses of 4 images disagree" in reason and "at most 2 agree" in reason and "180 deg" in reason
    assert [message.detections for message in latched(probe)] == [[]]


@pytest.mark.parametrize(("seen", "words"), [
    (0, "nothing found in 5 of 5 images"),
    (2, "nothing found in 3 of 5 images, and no object in more than 2 of them; 3 are needed")])
def test_absent_object_is_a_reason(scene, seen, words):
    """And an empty array for those who listen, not the answer before."""
    shown = {"of five": 5}
    node, probe, asking = scene(lambda number: [CAR] if number % 5 < shown["of five"] else [])
    probe.wait_for_node()
    assert asking.ask().answer().success
    shown["of five"] = seen
    assert words in asking.ask().answer().reason
    assert [message.detections for message in latched(probe)] == [[]]


def test_two_objects_are_two(scene):
    node, probe, asking = scene(lambda number: [CAR, replace(moved(-3.0), score=0.4)])
    probe.wait_for_node()
    answer = asking.ask().answer()
    assert [(found.id, found.T[0, 3]) for found in answer.objects] == [("on_demand_test/car_0", pytest.approx(0.5)),
                                                                       ("on_demand_test/car_1", pytest.approx(-2.5))]


def test_not_active(scene):
    node, probe, asking = scene(lambda number: [CAR])
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE)
    assert "the node is inactive, not active" in asking.ask().answer(sending=False).reason
    assert probe.change_state(Transition.TRANSITION_CLEANUP)
    assert "the node is unconfigured, not active" in asking.ask().answer(sending=False).reason
    assert not ScriptedModel.asked


def test_no_image_came(scene):
    node, probe, asking = scene(lambda number: [CAR], estimate_timeout_s=0.5)
    probe.wait_for_node()
    begin = time.monotonic()
    reason = asking.ask().answer(sending=False).reason
    assert "no image came on /on_demand_test/image in 0.5 s (1 publisher): is the camera running" in reason
    assert time.monotonic() - begin < 2.0


def test_images_that_are_refused(scene):
    node, probe, asking = scene(lambda number: [CAR], estimate_timeout_s=1.0)
    probe.wait_for_node()
    reason = asking.ask().answer(frame_ids=("",)).reason
    assert "came on /on_demand_test/image" in reason and "header.frame_id is empty" in reason


def test_a_few_images_are_enough_when_the_time_is_over(scene):
    node, probe, asking = scene(lambda number: [CAR], estimate_timeout_s=1.5, estimate_min_frames=2)
    probe.wait_for_node()
    asking.ask()
    probe.spin(0.3)
    for _ in range(2):
        probe.answer("detections", probe.send(IMAGE, CAMERA))
    assert asking.answer(sending=False).objects[0].used == 2
    asking.ask()
    probe.spin(0.3)
    probe.answer("detections", probe.send(IMAGE, CAMERA))
    reason = asking.answer(sending=False).reason
    assert reason.startswith("1 of 5 images were answered, 2 are needed") and "1 image came on" in reason


def test_images_of_two_frames(scene):
    node, probe, asking = scene(lambda number: [CAR])
    probe.wait_for_node()
    reason = asking.ask().answer(frame_ids=("left", "right")).reason
    assert "'left'" in reason and "'right'" in reason and "cannot be one" in reason


def test_second_request_is_refused_at_once_and_the_state_is_told(scene):
    node, probe, asking = scene(lambda number: [CAR])
    probe.wait_for_node()
    asking.ask()
    probe.spin(0.3)
    second, begin = Asking(probe).ask(), time.monotonic()
    assert "another request is being answered" in second.answer(sending=False).reason
    assert time.monotonic() - begin < 0.5
    slowest = 0.0
    for _ in range(10):
        begin = time.monotonic()
        assert probe.state() == "active"
        slowest = max(slowest, time.monotonic() - begin)
    assert slowest < 0.5 and not asking.future.done()
    assert asking.answer().success, "the first one has lost nothing"


def test_deactivation_ends_a_request(scene):
    node, probe, asking = scene(lambda number: [CAR])
    probe.wait_for_node()
    asking.ask()
    probe.spin(0.3)
    begin = time.monotonic()
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE)
    assert "the node was deactivated while it was answering" in asking.answer(sending=False).reason
    assert time.monotonic() - begin < 2.0
    assert probe.change_state(Transition.TRANSITION_ACTIVATE)
    assert asking.ask().answer().success, "and the next one is answered"


def test_gates_of_the_stream_do_not_hold_back_an_answer(scene):
    node, probe, asking = scene(lambda number: [CAR], stable_frames=100)
    probe.wait_for_node()
    assert asking.ask().answer().objects[0].used == 5
    assert all(not message.detections for message in probe.received["detections"])


def test_a_bug_is_a_sentence(scene, monkeypatch):
    node, probe, asking = scene(lambda number: [CAR])
    probe.wait_for_node()
    monkeypatch.setattr("dinemo_ros.node.on_demand.fuse_categories", lambda *_: 1 / 0)
    assert "cannot estimate: unexpected ZeroDivisionError" in asking.ask().answer().reason
    monkeypatch.undo()


def test_many_ask_at_once(scene):
    """Of eight one is answered, the others are refused, and the node is well afterwards."""
    node, probe, asking = scene(lambda number: [CAR])
    probe.wait_for_node()
    several = [asking.client.call_async(Trigger.Request()) for _ in range(8)]
    probe.wait(lambda: sum(future.done() for future in several) == 7, "seven refusals")
    for _ in range(5):
        probe.answer("detections", probe.send(IMAGE, CAMERA))
    probe.wait(lambda: all(future.done() for future in several), "the answer")
    assert sum(future.result().success for future in several) == 1
    assert asking.ask().answer().success


def test_rotations_of_the_answer_are_the_mean(scene):
    turns = [se3(so3_exp(np.array([0.0, 0.0, angle])), np.zeros(3)) for angle in (-0.02, -0.01, 0.0, 0.01, 0.02)]
    poses = [replace(CAR, T_cam_obj=se3(turn[:3, :3] @ TRUTH[:3, :3], TRUTH[:3, 3])) for turn in turns]
    node, probe, asking = scene(lambda number: [poses[number % 5]])
    probe.wait_for_node()
    assert rotation_angle(asking.ask().answer().T[:3, :3], TRUTH[:3, :3]) < 1e-9
