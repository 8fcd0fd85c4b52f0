# SPDX-License-Identifier: Apache-2.0
"""The client of a pose node, in a script and inside another node; and the real model behind it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_support.pose_node_here import CAMERA, IMAGE, model_of, pose_node_here
from ros_support.processes import running_node
from std_srvs.srv import Trigger

from dinemo_ros.client import PoseClient
from dinemo_ros.geometry import rotation_angle, se3
from dinemo_ros.node.answer import AnswerError, FoundObject, PoseAnswer
from dinemo_ros.pose import ObjectPose

NAMESPACE = "/client_test"
CAR = ObjectPose(se3(np.eye(3), np.array([0.5, -0.2, 8.0])), 0.6, np.array([4.0, 1.8, 1.5]), category="car")
SCRIPT = """
from dinemo_ros.client import PoseClient
client = PoseClient("/client_test/pose_node")
answer = client.estimate()
assert answer.success, answer.reason
print(*answer.T[:3, 3], answer.frame, answer.covariance.shape, *answer.size, answer.score)
"""


class Camera:
    """Sends images as long as it is open, from a thread."""

    def __init__(self, probe, image=IMAGE, camera=CAMERA) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(probe, image, camera))

    def _run(self, probe, image, camera) -> None:
        while not self._stop.wait(0.1):
            probe.send(image, camera)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def scripted(monkeypatch, make_probe):
    with pose_node_here(monkeypatch, NAMESPACE, lambda number: [CAR]) as node:
        probe = make_probe(NAMESPACE, outputs=("detections",))
        probe.wait_for_node()
        yield node, probe


def test_three_lines_in_a_script(scripted):
    """In a process of its own, without rclpy.init and without a spin."""
    with Camera(scripted[1]):
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.5", "-0.2", "8.0", "camera", "(6,", "6)", "4.0", "1.8", "1.5", "0.6"]
    assert done.stderr == ""


def test_all_of_its_requests(scripted):
    node, probe = scripted
    with Camera(probe), PoseClient(f"{NAMESPACE}/pose_node") as client:
        answer = client.estimate()
        assert answer.success and answer.T == pytest.approx(CAR.T_cam_obj) and answer.best.used == 5
        done = client.enable(False)
        assert done.success and "is disabled" in done.reason and model_of(node) is None
        assert client.enable().success and model_of(node) is not None
        assert client.reset().reason == "0 tracks forgotten, with gates and the last stamp"


def test_inside_a_callback_of_a_node_that_something_else_spins(scripted):
    """The robot's own node asks while it answers somebody: the name is relative to its namespace."""
    robot = Node("robot", namespace=NAMESPACE)
    client, answers = PoseClient("pose_node", node=robot), []
    robot.create_service(Trigger, "grasp", lambda request, response: (
        answers.append(client.estimate()), response)[1], callback_group=ReentrantCallbackGroup())
    executor = SingleThreadedExecutor()
    executor.add_node(robot)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        with Camera(scripted[1]):
            asking = rclpy.create_node("asking", namespace=NAMESPACE)
            caller = asking.create_client(Trigger, "grasp")
            assert caller.wait_for_service(10.0)
            rclpy.spin_until_future_complete(asking, caller.call_async(Trigger.Request()), timeout_sec=20.0)
            asking.destroy_node()
    finally:
        executor.shutdown()
        thread.join(5.0)
        client.close()
        robot.destroy_node()
    answer, = answers
    assert answer.success and answer.T == pytest.approx(CAR.T_cam_obj)


def test_no_node_is_a_sentence():
    begin = time.monotonic()
    with PoseClient("/nobody/pose_node", find_s=0.5) as client:
        answer, done = client.estimate(), client.enable(False)
    assert time.monotonic() - begin < 5.0
    assert not answer.success and answer.T is None and answer.frame is None and answer.objects == ()
    assert "no service '/nobody/pose_node/estimate' was found in 0.5 s: is the pose node running" in answer.reason
    assert not done.success and "/nobody/pose_node/enable" in done.reason


def test_no_answer_in_time_is_a_sentence(scripted):
    with PoseClient(f"{NAMESPACE}/pose_node") as client:
        answer = client.estimate(timeout_s=0.3)
    assert not answer.success and "pose_node/estimate' did not answer in 0.3 s: wait longer" in answer.reason


def test_a_stranger_under_that_name_is_a_sentence():
    """Nothing it writes becomes more than a sentence."""
    stranger = Node("stranger", namespace="/stranger_test")
    stranger.create_service(Trigger, "pose_node/estimate", lambda request, response: Trigger.Response(
        success=True, message="yes\n\x1b[31m{not json"))
    executor = SingleThreadedExecutor()
    executor.add_node(stranger)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        with PoseClient("/stranger_test/pose_node") as client:
            answer = client.estimate()
    finally:
        executor.shutdown()
        thread.join(5.0)
        stranger.destroy_node()
    assert not answer.success and "the answer cannot be read" in answer.reason and answer.reason.isprintable()


FOUND = FoundObject("car_0", "car", "camera", 1_796_013_626_955_428_565, CAR.T_cam_obj, np.eye(6), CAR.size, 0.6, None,
                    "rgb", 4, 1, 0.9)


def test_an_answer_is_read_as_it_was_written():
    answer = PoseAnswer.read(PoseAnswer(True, "one car", (FOUND,)).text())
    assert answer.success and answer.reason == "one car"
    assert answer.T == pytest.approx(FOUND.T) and answer.covariance == pytest.approx(np.eye(6))
    assert answer.best.stamp_ns == FOUND.stamp_ns and answer.best.probability is None
    assert (answer.best.used, answer.best.dropped, answer.best.id, answer.best.presence) == (4, 1, "car_0", 0.9)
    older = PoseAnswer(True, "", (FOUND,)).text().replace('"presence": 0.9, ', "")
    assert PoseAnswer.read(older).best.presence is None


@pytest.mark.parametrize("text", [
    "", "no second line", "x\n[]", "x\n{}", 'x\n{"success": true, "reason": "", "objects": [{}]}',
    "x\n" + "[" * 100_000,
    "x\n" + PoseAnswer(True, "", (FOUND,)).text().split("\n")[1].replace("4.0", "NaN"),
    "x\n" + PoseAnswer(True, "", (FOUND,)).text().split("\n")[1].replace('"T": [[', '"T": [[7, '),
    "x\n" + PoseAnswer(True, "", (FOUND,)).text().split("\n")[1].replace('"sec": ', '"sec": 1e999, "old": ')])
def test_other_texts_are_no_answer(text):
    with pytest.raises(AnswerError, match="cannot be read"):
        PoseAnswer.read(text)


def test_nothing_of_ros_is_loaded_before_it_is_needed():
    code = ("import sys, dinemo_ros.client as c; c.PoseAnswer; print('rclpy' in sys.modules); c.PoseClient; "
            "print('rclpy' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_round_trip_with_the_shipped_model(tmp_path, make_probe, demo_frames):
    """A still picture of the car, with tracking: the answer is right, and its track is forgotten when asked to."""
    frame = demo_frames[0]
    with running_node(tmp_path, NAMESPACE, tracking=True):
        probe = make_probe(NAMESPACE, outputs=("detections",))
        probe.wait_for_node()
        with PoseClient(f"{NAMESPACE}/pose_node") as client:
            with Camera(probe, frame.image, frame.camera):
                answer = client.estimate()
            assert answer.success and answer.best.used == 5, answer.reason
            assert np.degrees(rotation_angle(answer.T[:3, :3], frame.T_cam_obj[:3, :3])) < 18.0
            assert np.linalg.norm(answer.T[:3, 3] - frame.T_cam_obj[:3, 3]) < 0.48
            assert answer.best.id == "client_test/car_0" and answer.best.category == "car"
            assert client.reset().reason == "1 track forgotten, with gates and the last stamp"
