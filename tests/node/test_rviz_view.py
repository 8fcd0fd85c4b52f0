# SPDX-License-Identifier: Apache-2.0
"""RViz is started in the frame of what is published; a small program stands for it."""

import sys

import pytest
from ros_support.processes import NodeProcess, executable
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from dinemo_ros.node import rviz_view

NAMESPACE = "/rviz_test"


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """A workspace with a package rviz2, whose program tells its arguments and waits."""
    program = tmp_path / "prefix/lib/rviz2/rviz2"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nimport sys, time\nprint('RViz', sys.argv[1:], flush=True)\n"
                       "time.sleep(60)\n")
    program.chmod(0o755)
    marker = tmp_path / "prefix/share/ament_index/resource_index/packages/rviz2"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "prefix"), prepend=":")
    return tmp_path


def start(tmp_path, *words: str) -> NodeProcess:
    command = [executable("rviz_view"), *words, "--ros-args", "-r", f"__ns:={NAMESPACE}", "-r", "__node:=rviz2"]
    return NodeProcess(command, tmp_path / "log")


def test_it_opens_in_the_frame_of_the_first_answer(prefix, make_probe):
    view = start(prefix, "-d", "some.rviz")
    view.wait_for_output(f"RViz opens with the first answer on {NAMESPACE}/detections")
    probe = make_probe(NAMESPACE, outputs=())
    answers = probe.create_publisher(Detection3DArray, "detections", 10)
    probe.wait(lambda: answers.get_subscription_count() > 0, "the view to subscribe")
    probe.spin(0.5)
    answers.publish(Detection3DArray(header=Header(frame_id="")))
    answers.publish(Detection3DArray(header=Header(frame_id="front_left_optical")))
    view.wait_for_output("RViz [")
    assert ("RViz ['-d', 'some.rviz', '--fixed-frame=front_left_optical', '--ros-args', '-r', "
            f"'__ns:={NAMESPACE}', '-r', '__node:=rviz2']") in view.output
    view.process.terminate()
    view.process.wait(5)


def test_it_ends_well_while_it_waits(prefix):
    view = start(prefix)
    view.wait_for_output("RViz opens with")
    assert view.interrupt() == 0 and "Traceback" not in view.output


def test_without_rviz_it_says_so(tmp_path):
    view = start(tmp_path)
    assert view.process.wait(30) == 1
    assert "rviz_view: RViz is not installed: install the package rviz2" in view.output


def test_the_frame_stands_before_what_is_for_ros():
    assert rviz_view.arguments(["-d", "x"], "a b") == ["-d", "x", "--fixed-frame=a b"]
    assert rviz_view.arguments(["--ros-args", "-r"], "-v") == ["--fixed-frame=-v", "--ros-args", "-r"]
