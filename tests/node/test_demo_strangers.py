# SPDX-License-Identifier: Apache-2.0
"""The demo's listeners take messages and files of strangers as the nodes do: nothing ends them, nothing piles up."""

import json

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from dinemo_ros.errors import DatasetError
from dinemo_ros.node.demo_listener import DemoListener, read_truth
from dinemo_ros.node.limited import MOST_BYTES
from dinemo_ros.node.scene_node import TABLE, SceneNode

POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]


def diagnostics(**values: str) -> DiagnosticArray:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(status=[DiagnosticStatus(name="pose_node: pose estimation", message="ok\x1b[2J",
                                                    values=pairs)])


def truth(rows: list) -> str:
    return json.dumps({"frames": {"a": {"T_cam_obj": rows}}})


def hand_over(node, topic: str, message) -> None:
    """As the executor does."""
    subscription = next(s for s in node.subscriptions if s.topic_name == topic)
    subscription.callback(serialize_message(message) if subscription.raw else message)


def test_a_scene_keeps_the_answer_that_it_asked_for_and_no_other(ros):
    node = SceneNode(parameter_overrides=[Parameter("scene", value="cups")])
    try:
        node._asked_ns = 7_000_000_005
        for seconds in range(20):
            answer = Detection3DArray()
            answer.header.frame_id, answer.header.stamp.sec, answer.header.stamp.nanosec = TABLE, seconds, 5
            hand_over(node, "/detections", answer)
        assert node._answer.header.stamp.sec == 7
        kept = [value for value in vars(node).values() if isinstance(value, dict)
                and any(isinstance(item, Detection3DArray) for item in value.values())]
        assert not kept, "what nobody asked for piles up"
    finally:
        node.destroy_node()


@pytest.mark.parametrize("count", ["9" * 6000, "\u0663", "-1", "", "1e9", "x" * 100_000])
def test_a_count_that_is_none(ros, count):
    node = SceneNode(parameter_overrides=[Parameter("scene", value="cups")])
    try:
        hand_over(node, "/diagnostics", diagnostics(poses_from_rgb=count))
        assert node._counts == {} and "\x1b" not in node.diagnosis
        hand_over(node, "/diagnostics", diagnostics(poses_from_rgb="12"))
        assert node._counts == {"poses_from_rgb": 12}
        hand_over(node, "/diagnostics", diagnostics(poses_from_rgb="13", other="x" * MOST_BYTES["/diagnostics"]))
        assert node._counts == {"poses_from_rgb": 12}, "a message of that size is not read"
    finally:
        node.destroy_node()


def hostile_detections() -> list[Detection3D]:
    bare, numbers, words = Detection3D(id="no results"), Detection3D(), Detection3D(id="\x1b[2J" + "x" * 10_000)
    for detection in (numbers, words):
        detection.results = [ObjectHypothesisWithPose()]
        for part in (detection.bbox.center.position, detection.bbox.size):
            part.x = part.y = part.z = float("nan")
        detection.bbox.center.orientation.w = float("inf")
    return [bare, numbers, words]


def test_a_demo_outlives_what_others_publish(ros, tmp_path, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "ground_truth.json").write_text(json.dumps({"frames": {"0.png": {"T_cam_obj": np.eye(4).tolist()}}}))
    listener = DemoListener(tmp_path, tmp_path / "out")
    try:
        for detection in hostile_detections():
            hand_over(listener, "/detections", Detection3DArray(detections=[detection]))
        hand_over(listener, "/detections", Detection3DArray(detections=[Detection3D(id="x" * 2_100_000)]))
        hand_over(listener, "/diagnostics", diagnostics(state="x" * 300_000))
        for image in (Image(), Image(encoding="rgb8\x1b", width=4, height=4, step=12),
                      Image(encoding="rgb8", width=2**31, height=2**31, step=1)):
            hand_over(listener, "/overlay", image)
        listener.summary()
    finally:
        listener.destroy_node()
    said = capsys.readouterr().out
    assert "'no results' has no hypothesis" in said and "is not read" in said and "\x1b" not in said
    assert max(map(len, said.splitlines())) < 1500


@pytest.mark.parametrize("text", [
    "[" * 5000, "7", "{}", '{"frames": []}', '{"frames": {"a": 3}}', truth([1, 2]), "", "\xff",
    truth([[10**300] * 4] * 4), truth([["9" * 5000] * 4] * 4), truth([[float("nan"), 0, 0, 0], *POSE[1:]]),
    truth([[0.0] * 4] * 4)])
def test_truth_that_is_none_is_one_sentence(tmp_path, text):
    (tmp_path / "ground_truth.json").write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match="not a ground truth file") as told:
        read_truth(tmp_path)
    assert len(str(told.value)) < 1500


def test_truth_of_forty_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "ground_truth.json").open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(DatasetError, match="is larger than 16 MiB"):
        read_truth(tmp_path)


def test_truth_is_read(tmp_path):
    (tmp_path / "ground_truth.json").write_text(json.dumps({"frames": {"a.png": {"T_cam_obj": POSE, "more": 1}}}))
    np.testing.assert_allclose(read_truth(tmp_path)["a.png"], POSE)
