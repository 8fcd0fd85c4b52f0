# SPDX-License-Identifier: Apache-2.0
"""What is refused before it is read or worked on."""

import time

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray

from dinemo_ros.errors import BundleError
from dinemo_ros.model.bundle import find_bundle
from dinemo_ros.node import validation
from dinemo_ros.node.boxes import MOST_BOXES, REASONS, choose_boxes
from dinemo_ros.node.limited import MOST_BYTES, limited


def heard(kind, topic: str, data: bytes):
    """What is taken and what is refused of ``data``."""
    taken, refused = [], []
    limited(kind, topic, taken.append, lambda *told: refused.append(told))(data)
    return taken, refused


def test_messages_of_usual_size_are_taken():
    message = CameraInfo(width=640, height=480, d=[0.1] * 14, distortion_model="rational_polynomial")
    assert heard(CameraInfo, "camera_info", serialize_message(message)) == ([message], [])
    boxes = Detection2DArray(detections=[Detection2D()] * 2000)
    assert heard(Detection2DArray, "detections_2d", serialize_message(boxes)) == ([boxes], [])


@pytest.mark.parametrize("message", [CameraInfo(d=[0.0] * 10_000), CameraInfo(distortion_model="x" * 70_000),
                                     CameraInfo(header=Header(frame_id="x" * 70_000))])
def test_large_messages_are_not_read(message):
    data = serialize_message(message)
    taken, ((topic, sentence),) = heard(CameraInfo, "camera_info", data)
    assert not taken and topic == "camera_info"
    assert sentence == (f"a CameraInfo of {len(data)} bytes is not read, {MOST_BYTES['camera_info']} are the most: "
                        "have its publisher send less")


@pytest.mark.parametrize("data", [b"", b"\0\1\0\0", b"\0\1\0\0" + b"\xff" * 500])
def test_what_is_no_message_is_told(data):
    taken, ((_, sentence),) = heard(CameraInfo, "camera_info", data)
    assert not taken and sentence.startswith("a message cannot be read as CameraInfo: ") and "\n" not in sentence


def test_more_boxes_than_a_detector_has_cost_no_more():
    """The others are counted and named."""
    box = Detection2D()
    box.bbox.center.position.x = box.bbox.center.position.y = 100.0
    box.bbox.size_x = box.bbox.size_y = 50.0
    begin = time.monotonic()
    choice = choose_boxes(Detection2DArray(detections=[box] * 200_000), 640, 480)
    assert time.monotonic() - begin < 1.0, "all of them take two seconds and more"
    assert len(choice.rois) == 1 and choice.left_out["excess"] == 200_000 - MOST_BOXES and "excess" in REASONS
    assert "195000 boxes left out: of one message the first 5000 are considered" in choice.sentences["excess"]


def test_a_frame_has_an_end():
    validation.check_frame_id(Header(frame_id="x" * validation.FRAME_LIMIT))
    with pytest.raises(validation.HeaderError, match="frame_id has 257 characters, at most 256"):
        validation.check_frame_id(Header(frame_id="x" * (validation.FRAME_LIMIT + 1)))


def test_category_is_no_path(tmp_path):
    (tmp_path / "model.yaml").write_text("")
    up = "../" * 12
    for way in (str(tmp_path), f"{up}{tmp_path}", ".", "..", "", "car/", "./car", "car/../cup"):
        with pytest.raises(BundleError, match="is installed"):
            find_bundle(way)
    assert find_bundle("car").name == "car"
