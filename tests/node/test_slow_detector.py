# SPDX-License-Identifier: Apache-2.0
"""Over the real graph: a camera of 30 Hz and a detector that answers late; every answer of it gets a pose's answer."""

import time

import numpy as np
import pytest
from ros_support.pose_node_here import CAMERA, IMAGE, pose_node_here
from std_msgs.msg import Header

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.node.conversions import nanoseconds

BOX = (10.0, 10.0, 40.0, 40.0)
HD, HD_CAMERA = np.full((720, 1280, 3), 90, np.uint8), Camera.from_hfov(1280, 720, 60.0)


def film(probe, picture, camera, late_s: float, seconds: float, hz: float = 30.0, each_s: float = 0.0) -> list[Header]:
    """Images at ``hz``, and ``late_s`` after each of them its boxes; ``each_s``: time the detector is busy with one, in
    which it takes no other. The headers that it answered."""
    probe.start_detector()
    probe.spin(0.5)  # the node looks who publishes four times a second
    due, answers, busy_until, start = [], [], 0.0, time.monotonic()
    for number in range(int(seconds * hz)):
        header = probe.send(picture, camera)
        if time.monotonic() >= busy_until:
            busy_until = time.monotonic() + each_s
            due.append((time.monotonic() + late_s, header))
        while (now := time.monotonic()) < start + (number + 1) / hz:
            if due and due[0][0] <= now:
                answers.append(due.pop(0)[1])
                probe.send_boxes(answers[-1], [BOX])
            probe.spin(min(start + (number + 1) / hz - now, 0.005))
    for moment, header in due:
        probe.spin(max(0.0, moment - time.monotonic()))
        answers.append(header)
        probe.send_boxes(header, [BOX])
    probe.spin(1.0)
    return answers


def share(probe, headers: list[Header]) -> float:
    """Of ``headers``, those that the node answered."""
    seen = {nanoseconds(message.header.stamp) for message in probe.received["detections"]}
    return sum(nanoseconds(header.stamp) in seen for header in headers) / len(headers)


@pytest.mark.parametrize("each_s", [0.0, None], ids=["all images", "one at a time"])
@pytest.mark.parametrize("late_s", [0.17, 0.4, 0.9])
def test_every_late_box_is_answered_on_its_own_image(monkeypatch, make_probe, late_s, each_s):
    with pose_node_here(monkeypatch, "/slow_test"):
        probe = make_probe("/slow_test", outputs=("detections", "/diagnostics"))
        probe.wait_for_node()
        headers = film(probe, IMAGE, CAMERA, late_s, 3.0, each_s=late_s if each_s is None else each_s)
        assert len(headers) >= 3 and share(probe, headers) == 1.0
        values = probe.diagnosis()
        assert values["rejected_detections"] == "0" and values["level"] == 0, values["message"]


def test_images_that_come_while_the_node_works_are_kept(monkeypatch, make_probe):
    """A busy node takes only the newest image, except where images wait for their boxes."""
    def busy(number: int) -> list:
        time.sleep(0.12)
        return []

    with pose_node_here(monkeypatch, "/busy_test", busy):
        probe = make_probe("/busy_test", outputs=("detections",))
        probe.wait_for_node()
        headers = film(probe, IMAGE, CAMERA, 0.17, 3.0, each_s=0.17)
        assert len(headers) >= 14 and share(probe, headers) == 1.0


def test_pictures_of_720p_fit_the_memory(monkeypatch, make_probe):
    """At 10 Hz here, because this process also is the camera; tests/node/test_synchronizer.py counts 30."""
    with pose_node_here(monkeypatch, "/large_test", detections_buffer_mb=40):
        probe = make_probe("/large_test", outputs=("detections",))
        probe.wait_for_node()
        headers = film(probe, HD, HD_CAMERA, 0.9, 3.0, hz=10.0)
        assert len(headers) >= 25 and share(probe, headers) == 1.0


def test_a_detector_slower_than_the_limit_is_told_what_helps(monkeypatch, make_probe):
    with pose_node_here(monkeypatch, "/late_test", detections_max_age_s=0.3, warn_period_s=0.0):
        probe = make_probe("/late_test", outputs=("detections", "/diagnostics"))
        probe.wait_for_node()
        headers = film(probe, IMAGE, CAMERA, 0.6, 2.0)
        assert share(probe, headers) < 0.5  # those after the last image are still held
        words = probe.diagnosis()["last_error"]
        assert "/late_test/detections_2d: boxes come 0." in words and "detections_max_age_s" in words, words
        assert "header" not in words
        assert probe.set_parameter("detections_max_age_s", 1.5).successful
        headers = film(probe, IMAGE, CAMERA, 0.6, 2.0)
        assert share(probe, headers) == 1.0
