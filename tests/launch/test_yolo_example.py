# SPDX-License-Identifier: Apache-2.0
"""examples/yolo.launch.py starts a detector beside the pose node, and the boxes of yolo_ros become standard ones."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from ament_index_python.packages import get_package_share_directory
from ros_support.launch_stand_in import Launch
from ros_support.processes import start_node
from std_msgs.msg import Header

from dinemo_ros.node.boxes import choose_boxes
from dinemo_ros.node.yolo_boxes import converted

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/yolo.launch.py"


def yolo_detection(class_name="cup", class_id=41, score=0.8, **bbox):
    """A yolo_msgs/Detection, as far as boxes go."""
    at = {"x": 50.0, "y": 40.0, "theta": 0.0, "width": 20.0, "height": 10.0, **bbox}
    center = SimpleNamespace(position=SimpleNamespace(x=at["x"], y=at["y"]), theta=at["theta"])
    return SimpleNamespace(class_id=class_id, class_name=class_name, score=score, id="7", bbox=SimpleNamespace(
        center=center, size=SimpleNamespace(x=at["width"], y=at["height"])))


def test_boxes_of_yolo_become_standard_ones():
    header = Header(frame_id="camera")
    header.stamp.sec = 12
    message = converted(SimpleNamespace(header=header, detections=[
        yolo_detection(), yolo_detection("", 2, 0.5, x=100, width=30)]))
    first, second = message.detections
    assert message.header == first.header == header
    assert (first.id, first.results[0].hypothesis.class_id, first.results[0].hypothesis.score) == ("7", "cup", 0.8)
    assert second.results[0].hypothesis.class_id == "2"
    choice = choose_boxes(message, 640, 480)
    assert choice.rois == [(40, 35, 60, 45), (85, 35, 115, 45)]
    assert choose_boxes(message, 640, 480, "cup").rois == [(40, 35, 60, 45)]


def test_nothing_seen_is_an_answer_too():
    assert converted(SimpleNamespace(header=Header(), detections=[])).detections == []


def test_without_yolo_msgs_the_converter_says_so(tmp_path):
    node = start_node("yolo_boxes", tmp_path / "log")
    assert node.process.wait(30) == 1
    assert "yolo_boxes: yolo_msgs cannot be imported" in node.output and "build and source yolo_ros" in node.output


@pytest.fixture
def yolo(monkeypatch):
    """yolo_ros is installed."""
    here = get_package_share_directory
    monkeypatch.setattr("ament_index_python.packages.get_package_share_directory",
                        lambda name: f"/opt/yolo/share/{name}" if name == "yolo_bringup" else here(name))


def test_yolo_ros_beside_the_pose_node(yolo):
    """Its own launch file and ours, each with its own arguments only; ours has all that it is given."""
    launch = Launch(EXAMPLE, image="/front/image", detector_class="mug")
    (theirs, (their_arguments, group)), (ours, (our_arguments, other)) = launch.included.items()
    assert str(theirs) == "/opt/yolo/share/yolo_bringup/launch/yolo.launch.py"
    assert their_arguments["input_image_topic"] == "/front/image"
    for scope in (group, other):
        assert scope.scoped and not scope.forwarding
    assert [node.executable for node in launch.nodes] == ["yolo_boxes"]
    pose = Launch(ours, included=True, **our_arguments)
    assert set(our_arguments) <= set(pose.arguments)
    assert dict(launch.nodes[0].remappings)["detections_2d"] == our_arguments["detections_2d"]
    assert pose.values["detections_class_id"] == "mug" and pose.values["rois"] == "detections"


def test_any_other_detector_beside_the_pose_node():
    launch = Launch(EXAMPLE, detector="my_package/my_node", detections_2d="/my/boxes")
    node, = launch.nodes
    assert (node.package, node.executable) == ("my_package", "my_node")
    assert dict(node.remappings) == {"image": "/camera/image_raw", "detections_2d": "/my/boxes"}
    assert Launch(EXAMPLE, detector="").nodes == []


def test_a_detector_that_is_not_installed_is_told():
    with pytest.raises(RuntimeError, match="the package yolo_bringup is not installed"):
        Launch(EXAMPLE)
