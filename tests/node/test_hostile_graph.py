# SPDX-License-Identifier: Apache-2.0
"""Whoever is on the graph sends what they like: the node answers meanwhile, stays small, and works on afterwards."""

from __future__ import annotations

import functools
import re
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
from sensor_msgs.msg import CameraInfo, Image
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

    def ask(self, kind, service: str, request):
        """The response of one of the node's services."""
        client = self.create_client(kind, f"pose_node/{service}")
        assert client.wait_for_service(30.0)
        future = client.call_async(request)
        self.wait(future.done, service)
        self.destroy_client(client)
        return future.result()

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
    robot.infos.publish([b"", data[:60], b"\0\1\0\0" + b"\xff" * 300,
                         data.replace(b"plumb_bob", b"pl\xff\xfe_bob")][k % 4])


def odd_depth(robot: Robot, k: int) -> None:
    """Of a size that it has not, of an encoding that is none, or all of it; the images go on."""
    if not hasattr(robot, "depth"):
        robot.depth = robot.create_publisher(Image, "depth/image", 5)
    height, width = [(0, 0), (2**32 - 1, 2**32 - 1), (2000, 2000), (10_000, 10_000)][k % 4]
    header = robot.send(robot.frame.image, robot.frame.camera)
    robot.depth.publish(Image(header=header, height=height, width=width, step=2 * width % 2**32, data=RUBBISH,
                              encoding=["16UC1", "32FC1", "\x1b[2J"][k % 3]))


RUBBISH = array("B", np.random.default_rng(0).integers(0, 256, 8_000_000, np.uint8).tobytes())
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
    "region of interest": lambda robot, k: robot.send_info(roi__width=2**32 - 1, roi__height=1,
                                                            roi__x_offset=2**32 - 1),
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
    "depth that is none": odd_depth,
}


def assert_withstands(robot, attack) -> None:
    """For ``ATTACK_S`` seconds the node answers, does not grow, and works on afterwards."""
    before = most = robot.resident_mb()
    slowest, until, k = 0.0, time.monotonic() + ATTACK_S, 0
    while time.monotonic() < until:
        attack(robot, k)
        k += 1
        slowest, most = max(slowest, robot.answer_s()), max(most, robot.resident_mb())
    assert robot.good_image(), robot.node.output[-2000:]
    assert slowest < ANSWER_S + BUSY_MACHINE_S
    assert max(most, robot.resident_mb()) - before < GROWTH_MB


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_node_answers_stays_small_and_works_on(robot, attack):
    assert_withstands(robot, attack)


def value(kind: int = 0, **fields) -> ParameterValue:
    return ParameterValue(type=kind, **fields)


def one(name: str, kind: int = 0, **fields) -> list[Parameter]:
    return [Parameter(name=name, value=value(kind, **fields))]


SETTINGS = {
    "a type that ROS does not have": (one("min_score", 99), "type 99"),
    "no name": (one("", 1), "there is no parameter ''"),
    "a name that was never declared": (one("nope", 3, double_value=1.0), "there is no parameter 'nope'"),
    "a name of 8 MB": (one(LONG, 3), "there is no parameter 'xxx"),
    "a name with controls": (one("a\n\x1b[31m", 3), r"'a\n\x1b[31m'"),
    "nothing": (one("min_score"), "undeclared"),
    "bytes": (one("min_score", 5), "Wrong parameter type"),
    "a prefix of 8 MB": (one("child_frame_prefix", 4, string_value=LONG), "8000000 characters; at most 256"),
    "a prefix with controls": (one("child_frame_prefix", 4, string_value="\x1b[31m\n"), "can be printed"),
    "a choice of 8 MB": (one("rois", 4, string_value=LONG), "allowed: auto, detections, detector, proposals"),
    "NaN": (one("min_score", 3, double_value=NAN), "out of range"),
    "infinity": (one("warn_period_s", 3, double_value=INF), "out of range"),
    "an integer that overflows": (one("max_objects", 2, integer_value=-2**63), "out of range"),
    "a folder to read": (one("bundle", 4, string_value="/etc"), "fixed at the start"),
    "a folder to write": (one("engine_cache", 4, string_value="/etc"), "fixed at the start"),
    "10,000 names": ([Parameter(name=f"n{k}") for k in range(10_000)], "at most 1000"),
    "one name 10,000 times": (one("min_score", 3, double_value=0.1) * 10_000, "at most 1000"),
}


@pytest.mark.parametrize(("parameters", "words"), SETTINGS.values(), ids=SETTINGS)
def test_what_cannot_be_set_is_refused_in_a_sentence(robot, parameters, words):
    """Whatever it is: the node lives, and says in a few words why not."""
    before, begin = robot.resident_mb(), time.monotonic()
    answers = robot.ask(SetParameters, "set_parameters", SetParameters.Request(parameters=parameters)).results
    whole = robot.ask(SetParametersAtomically, "set_parameters_atomically",
                      SetParametersAtomically.Request(parameters=parameters)).result
    assert len(answers) == len(parameters)
    for answer in (answers[0], answers[-1], whole):
        assert not answer.successful and words in answer.reason and len(answer.reason) < 300
    assert time.monotonic() - begin < 10.0, "two requests of up to 8 MB each"
    assert robot.answer_s() < ANSWER_S + BUSY_MACHINE_S and robot.resident_mb() - before < GROWTH_MB


@pytest.mark.parametrize("names", [["min_score"] * 200_000, [LONG], ["", "\0", "a b", "/", "..", "\x1b[2J"]],
                         ids=["many", "long", "odd"])
def test_questions_about_parameters_cost_little(robot, names):
    before = robot.resident_mb()
    for kind, service, field in ((GetParameters, "get_parameters", "names"),
                                 (GetParameterTypes, "get_parameter_types", "names"),
                                 (DescribeParameters, "describe_parameters", "names"),
                                 (ListParameters, "list_parameters", "prefixes")):
        begin = time.monotonic()
        robot.ask(kind, service, kind.Request(**{field: names}))
        assert time.monotonic() - begin < 5.0, service
        assert robot.answer_s() < ANSWER_S + BUSY_MACHINE_S
    assert robot.resident_mb() - before < GROWTH_MB
    assert robot.ask(GetParameters, "get_parameters", GetParameters.Request(names=["min_score"])).values[0].type == 3


def test_a_thousand_transitions_that_cannot_be(robot):
    """Refused without a line each; those that only the node itself may take, too."""
    client = robot.create_client(ChangeState, "pose_node/change_state")
    assert client.wait_for_service(30.0)
    before, said, slowest = robot.resident_mb(), len(robot.node.output), 0.0
    for k in range(1000):
        request = ChangeState.Request()
        request.transition.id = (1, 2, 3, 10, 255)[k % 5]
        request.transition.label = ("", "", "no\nsuch", "\x1b[31m", f"x{k}" * 5000)[k % 5]
        client.call_async(request)
        if k % 50 == 0:
            slowest = max(slowest, robot.answer_s())
    robot.spin(1.0)
    robot.destroy_client(client)
    assert robot.state() == "active" and slowest < ANSWER_S + BUSY_MACHINE_S
    assert robot.resident_mb() - before < GROWTH_MB
    assert len(robot.node.output) - said < 20_000
    assert "change_state: transition 'configure" not in robot.node.output
    assert "is refused, the node is active; possible: deactivate, shutdown" in robot.node.output
    assert robot.good_image()


def test_nobody_but_the_node_ends_a_transition(tmp_path, make_probe, monkeypatch):
    """transition_success from outside would make it inactive before there is anything to activate."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))  # compiling: there is time
    node = start_node("pose_node", tmp_path / "log", "/ending_test")
    node.wait_for_output("compiling the solver")
    probe = make_probe("/ending_test", outputs=())
    assert probe.state() == "configuring"
    for identity in (10, 11, 12, 60, 61, 62):
        assert not probe.change_state(identity)
    assert probe.state() == "configuring"
    assert "is refused, the node is configuring; possible: none until that has ended" in node.output
    assert probe.change_state(Transition.TRANSITION_CONFIGURE) is False
    assert node.interrupt() == 0


def test_lifecycle_by_label_still_works(tmp_path, make_probe):
    """As some tools ask: by the name of the transition, whatever number stands beside it."""
    node = start_node("pose_node", tmp_path / "log", "/label_test", autostart=False)
    probe = make_probe("/label_test", outputs=())
    for label in ("configure", "activate", "deactivate", "cleanup", "shutdown"):
        request = ChangeState.Request()
        request.transition.label = label
        assert probe._call(ChangeState, "pose_node/change_state", request).success, label
    assert probe.state() == "finalized"
    assert node.interrupt() == 0


def test_category_is_a_name_and_no_way_to_a_folder(tmp_path, make_probe):
    """What can be set before configure chooses among the installed bundles, and does not read other folders."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "model.yaml").write_text("model: planted\n")
    node = start_node("pose_node", tmp_path / "log", "/category_test", autostart=False)
    probe = make_probe("/category_test", outputs=())
    for way in (str(folder), f"../../../../../../../../..{folder}", "car/../car", "./car", ""):
        assert probe.set_parameter("category", way).successful
        assert not probe.change_state(Transition.TRANSITION_CONFIGURE)
        assert "is installed (found: bottle, car, chair, cup)" in node.output.splitlines()[-1]
    for name in ("bundle", "engine_cache"):
        refused = probe.set_parameter(name, str(folder))
        assert not refused.successful and f"'{name}' is fixed at the start" in refused.reason
    assert probe.set_parameter("category", "cup").successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE)
    assert "configured: cup" in node.output
    assert len(re.findall(r"weights of cup [0-9.]+: LicenseRef-research-only \(taught with CAD", node.output)) == 1
    assert node.interrupt() == 0


def test_image_source_plays_what_it_was_started_with(tmp_path, make_probe, demo_frames):
    """Nothing of it can be set by others: it publishes files that it reads."""
    folder = Path(__file__).parents[2] / "config" / "demo_sequence"
    node = start_node("image_source_node", tmp_path / "log", "/source_test", path=str(folder), lockstep=True)
    node.wait_for_output("playing")
    probe = make_probe("/source_test", outputs=())
    for name, wanted in (("path", 4), ("camera_file", 4), ("frame_id", 4), ("hfov_deg", 3), ("stamps", 4),
                         ("use_sim_time", 1), ("nope", 4), ("path", 99)):
        parameters = one(name, wanted, bool_value=True, string_value="/etc", double_value=50.0)
        answer, = probe._call(SetParameters, "image_source_node/set_parameters",
                              SetParameters.Request(parameters=parameters)).results
        assert not answer.successful and f"'{name}'" in answer.reason
    assert node.process.poll() is None
    assert node.interrupt() == 0
