# SPDX-License-Identifier: Apache-2.0
"""use_sim_time without /clock is told within three seconds, and time that comes is no worry."""

import time

import pytest
import rclpy
from ament_index_python.packages import get_package_share_path
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_support.processes import start_node
from rosgraph_msgs.msg import Clock

from dinemo_ros.node.sim_clock import SimClock

NO_TIME = "use_sim_time is set and no time comes on /clock"


@pytest.fixture
def watched():
    """Makes a node with simulated time or without, and the list of what it is told."""
    nodes = []

    def make(simulated: bool) -> tuple[Node, list[str]]:
        told: list[str] = []
        node = Node(f"watched_{len(nodes)}", parameter_overrides=[Parameter("use_sim_time", value=simulated)])
        nodes.append(node)
        SimClock(node, told.append)
        return node, told

    yield make
    for node in nodes:
        node.destroy_node()


def spin(node: Node, seconds: float, until=lambda: False) -> float:
    """Seconds it took."""
    start = time.monotonic()
    while time.monotonic() - start < seconds and not until():
        rclpy.spin_once(node, timeout_sec=0.05)
    return time.monotonic() - start


def test_a_missing_clock_is_told_within_three_seconds(watched):
    node, told = watched(True)
    assert spin(node, 6.0, lambda: told) < 3.0
    assert told[0].startswith(f"{NO_TIME}, nobody publishes it: start the simulation")


def test_a_publisher_that_says_nothing_is_told_as_such(watched):
    node, told = watched(True)
    node.create_publisher(Clock, "/clock", 1)
    spin(node, 6.0, lambda: told)
    assert told[0].startswith(f"{NO_TIME}, of 1 publishers none has sent a time:")


def test_time_that_comes_and_then_stands_still_is_no_worry(watched):
    """As in a simulation that pauses."""
    node, told = watched(True)
    clock = node.create_publisher(Clock, "/clock", 1)
    spin(node, 5.0, lambda: node.get_clock().now().nanoseconds or clock.publish(Clock(clock=Time(sec=5))))
    spin(node, 3.0)
    assert not told


def test_the_clock_of_the_machine_is_no_worry_and_a_change_at_run_time_is_seen(watched):
    node, told = watched(False)
    spin(node, 2.5)
    assert not told
    node.set_parameters([Parameter("use_sim_time", value=True)])
    assert spin(node, 6.0, lambda: told) < 3.0


@pytest.mark.parametrize("name", ["pose_node", "image_source_node"])
def test_the_nodes_tell_it(tmp_path, name):
    """Also one that is not configured, and a source that nobody looks at."""
    demo = get_package_share_path("dinemo_ros") / "config" / "demo_sequence"
    given = {"autostart": False} if name == "pose_node" else {"path": str(demo)}
    node = start_node(name, tmp_path / "log", "/clockless", use_sim_time=True, **given)
    node.wait_for_output(NO_TIME)
    assert node.interrupt() == 0
