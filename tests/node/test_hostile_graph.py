# SPDX-License-Identifier: Apache-2.0
"""Whoever is on the graph sends what they like: the node answers meanwhile, stays small, and works on afterwards."""

from __future__ import annotations

import functools
import time
from array import array
from pathlib import Path

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.serialization import serialize_message
from ros_support.probe import Probe
from ros_support.processes import start_node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from dinemo_ros.node.conversions import camera_to_info, rgb_to_image

NAMESPACE = "/hostile_test"
ANSWER_S, BUSY_MACHINE_S, GROWTH_MB = 0.5, 1.0, 200.0  # the second: more, for a test that shares its cores
ATTACK_S = 2.0
LONG = "x" * 8_000_000
NAN, INF = float("nan"), float("inf")


class Robot(Probe):
    """A probe beside a node that is attacked."""

    def __init__(self, namespace: str, node, frame) -> None:
        super().__init__(namespace, outputs=("detections",))
        self.node, self.frame = node, frame
        self._get_state = self.create_client(GetState, "pose_node/get_state")
        self.clock = self.create_publisher(Clock, "/clock", 10)
        self._boxes: dict[tuple, list] = {}
        assert self._get_state.wait_for_service(30.0)

    def answer_s(self) -> float:
        begin, future = time.monotonic(), self._get_state.call_async(GetState.Request())
        self.wait(future.done, "get_state")
        return time.monotonic() - begin

    def resident_mb(self) -> float:
        return int(Path(f"/proc/{self.node.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    def info(self, **fields) -> CameraInfo:
        message = camera_to_info(self.header(), self.frame.camera)
        for name, value in fields.items():
            *parts, last = name.split("__")
            setattr(functools.reduce(getattr, parts, message), last, value)
        return message

    def send_info(self, **fields) -> None:
        """A camera_info with these fields, and an image of its header."""
        message = self.info(**fields)
        self.infos.publish(message)
        self.images.publish(rgb_to_image(message.header, self.frame.image))

    def send_detections(self, count: int, hypotheses: int = 0, class_id: str = "car") -> None:
        self.start_detector()
        header = self.header()
        message = Detection2DArray(header=header, detections=self._detections_of(count, hypotheses, class_id))
        self.infos.publish(camera_to_info(header, self.frame.camera))
        self.images.publish(rgb_to_image(header, self.frame.image))
        self._detector.publish(message)

    def _detections_of(self, count: int, hypotheses: int, class_id: str) -> list[Detection2D]:
        if (count, hypotheses, class_id) not in self._boxes:
            made = []
            for k in range(count):
                detection = Detection2D()
                detection.bbox.center.position.x, detection.bbox.center.position.y = 100.0 + k % 500, 200.0 + k % 7
                detection.bbox.size_x, detection.bbox.size_y = 100.0, 80.0
                for _ in range(hypotheses):
                    result = ObjectHypothesisWithPose()
                    result.hypothesis.class_id, result.hypothesis.score = class_id, 0.5
                    detection.results.append(result)
                made.append(detection)
            self._boxes = {(count, hypotheses, class_id): made}
        return self._boxes[count, hypotheses, class_id]

    def good_image(self, timeout_s: float = 20.0) -> bool:
        """Whether a good image is answered; best effort loses one now and then."""
        self.stop_detector()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            header = self.send(self.frame.image, self.frame.camera)
            attempt = min(deadline, time.monotonic() + 2.0)
            while time.monotonic() < attempt:
                rclpy.spin_once(self, timeout_sec=0.05)
                if self.answered("detections", header):
                    return True
        return False


@pytest.fixture(scope="module")
def robot(ros, demo_frames, tmp_path_factory):
    """One node for all attacks, as it would be."""
    node = start_node("pose_node", tmp_path_factory.mktemp("hostile") / "log", NAMESPACE, use_sim_time=True)
    made = Robot(NAMESPACE, node, demo_frames[0])
    made.wait_for_node()
    assert made.good_image()
    yield made
    made.destroy_node()
    assert node.interrupt() == 0
    assert "Traceback" not in node.output
    assert max(map(len, node.output.splitlines())) < 1500, "no sentence of any length"


def flood(publish, count: int) -> None:
    for _ in range(count):
        publish()


def odd_stamp(robot: Robot, k: int) -> None:
    second, nanosecond = [(2**31 - 1, 2**32 - 1), (-2**31, 0), (0, 2**32 - 1), (2**31 - 1, 0)][k % 4]
    robot.send_info(header__stamp__sec=second, header__stamp__nanosec=nanosecond)


def jumping_clock(robot: Robot, k: int) -> None:
    for second, nanosecond in [(0, 0), (2**31 - 1, 2**32 - 1), (-2**31, 5), (5, 999_999_999), (10**6, 7)] * 20:
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = second, nanosecond
        robot.clock.publish(clock)


def damaged_image(robot: Robot, k: int) -> None:
    data = serialize_message(rgb_to_image(robot.header(), robot.frame.image))
    robot.images.publish([b"", data[:100], b"\0\1\0\0" + b"\xff" * 2000,
                          data.replace(b"camera", b"c\xff\xfe\x80ra").replace(b"rgb8", b"r\xff\xc3(")][k % 4])


def damaged_info(robot: Robot, k: int) -> None:
    data = serialize_message(robot.info())
    robot.infos.publish([b"", data[:60], b"\0\1\0\0" + b"\xff" * 300, data.replace(b"plumb_bob", b"pl\xff\xfe_bob")][k % 4])


BLACK = np.zeros((48, 64, 3), np.uint8)

ATTACKS = {
    "a million coefficients": lambda robot, k: robot.send_info(d=array("d", np.ones(1_000_000))),
    "eight thousand coefficients": lambda robot, k: robot.send_info(d=array("d", np.ones(7_900))),
    "a lens model of 8 MB": lambda robot, k: robot.send_info(distortion_model=LONG),
    "a frame of 8 MB": lambda robot, k: robot.send_info(header__frame_id=LONG),
    "K of NaN": lambda robot, k: robot.send_info(k=[NAN] * 9),
    "K of infinity": lambda robot, k: robot.send_info(k=[INF] * 9),
    "K negative": lambda robot, k: robot.send_info(k=[-500.0, 0, 300, 0, -500, 200, 0, 0, 1]),
    "K huge": lambda robot, k: robot.send_info(k=[1e308, 0, 1e308, 0, 1e308, 1e308, 0, 0, 1]),
    "K tiny": lambda robot, k: robot.send_info(k=[1e-308, 0, 300, 0, 1e-308, 300, 0, 0, 1]),
    "a telescope": lambda robot, k: robot.send_info(k=[1e30, 0, 300, 0, 1e30, 300, 0, 0, 1]),
    "R and P of rubbish": lambda robot, k: robot.send_info(r=[NAN] * 9, p=[INF, NAN, -1e308] * 4),
    "60000 x 60000 with a lens": lambda robot, k: robot.send_info(
        width=60_000, height=60_000, k=[30_000.0, 0, 30_000, 0, 30_000, 30_000, 0, 0, 1], d=[-0.1, 0.01, 0, 0, 0.0]),
    "four billion pixels wide": lambda robot, k: robot.send_info(width=2**32 - 1, height=2**32 - 1),
    "binning": lambda robot, k: robot.send_info(binning_x=2**32 - 1, binning_y=[0, 1, 2**32 - 1][k % 3]),
    "region of interest": lambda robot, k: robot.send_info(roi__width=2**32 - 1, roi__height=1, roi__x_offset=2**32 - 1),
    "another lens every time": lambda robot, k: robot.send_info(d=[-0.1 + 1e-6 * k, 0.01, 0, 0, 0.0]),
    "camera_info flood": lambda robot, k: flood(lambda: robot.infos.publish(robot.info()), 30),
    "stamps": odd_stamp,
    "image flood": lambda robot, k: flood(lambda: robot.images.publish(rgb_to_image(robot.header(), BLACK)), 30),
    "20,000 boxes": lambda robot, k: robot.send_detections(20_000),
    "10,000 hypotheses": lambda robot, k: robot.send_detections(1, 10_000),
    "a class of 5 MB": lambda robot, k: robot.send_detections(1, 1, LONG[:5_000_000]),
    "detections at 1 kHz": lambda robot, k: flood(lambda: robot.send_detections(3, 1), 20),
    "images that are none": damaged_image,
    "camera_info that is none": damaged_info,
    "a clock that jumps": jumping_clock,
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_node_answers_stays_small_and_works_on(robot, attack):
    before = most = robot.resident_mb()
    slowest, until, k = 0.0, time.monotonic() + ATTACK_S, 0
    while time.monotonic() < until:
        attack(robot, k)
        k += 1
        slowest, most = max(slowest, robot.answer_s()), max(most, robot.resident_mb())
    assert robot.good_image(), robot.node.output[-2000:]
    assert slowest < ANSWER_S + BUSY_MACHINE_S
    assert max(most, robot.resident_mb()) - before < GROWTH_MB
