# SPDX-License-Identifier: Apache-2.0
"""Images that get lost on their way are noticed, told, and asked for as reliable; a busy node's choice is no loss."""

import os
import sys
from types import SimpleNamespace

import pytest
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support.pose_node_here import CAMERA, IMAGE, pose_node_here
from ros_support.processes import NodeProcess
from sensor_msgs.msg import Image

from dinemo_ros.node import arrivals
from dinemo_ros.node.arrivals import Arrivals

# A camera whose driver knows nothing of the profile: 720p at 30 Hz.
DRIVER = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
rclpy.init()
node = rclpy.create_node("driver", namespace="/lossy_test")
images = node.create_publisher(Image, "image", QoSProfile(depth=5, reliability=ReliabilityPolicy[sys.argv[1]]))
infos = node.create_publisher(CameraInfo, "camera_info", 10)
image = Image(height=720, width=1280, encoding="rgb8", step=3840)
image.header.frame_id = "camera"
image.data = array.array("B", bytes(720 * 3840))
info = CameraInfo(height=720, width=1280, k=[900.0, 0.0, 640.0, 0.0, 900.0, 360.0, 0.0, 0.0, 1.0])
for number in range(30 * 60):
    image.header.stamp = node.get_clock().now().to_msg()
    info.header = image.header
    infos.publish(info)
    images.publish(image)
    time.sleep(1 / 30)
"""


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=50.0)
    monkeypatch.setattr(arrivals, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def fed(clock, seconds: float, image_hz: float, lost_hz: float = 0.0, work_s: float = 0.01,
        told_of_losses: bool = True) -> Arrivals:
    """After ``seconds`` of a camera whose camera_info comes at 30 Hz."""
    here = Arrivals()
    here.told_of_losses = told_of_losses
    for number in range(int(seconds * 30)):
        clock.now += 1 / 30
        here.info()
        if number % round(30 / image_hz) == 0:
            here.image(work_s)
        if lost_hz and number % round(30 / lost_hz) == 0:
            here.lost(1)
    return here


def test_lost_images_are_told_with_what_helps(clock):
    problem = fed(clock, 8.0, 10.0, 15.0).problem()
    assert problem.startswith("60 % of the images are lost on their way here: set the Fast DDS profile")


def test_a_few_lost_ones_and_a_busy_node_are_no_worry(clock):
    """A busy node takes the newest only: it gets few images, and none is lost."""
    assert fed(clock, 8.0, 30.0, 3.0).problem() == ""
    assert fed(clock, 8.0, 5.0, work_s=0.19).problem() == ""
    assert fed(clock, 0.3, 10.0, 15.0).problem() == "", "too few to tell"


def test_it_is_over_when_it_is_over(clock):
    here = fed(clock, 8.0, 10.0, 15.0)
    clock.now += 6.0
    assert here.problem() == ""
    here = fed(clock, 8.0, 10.0, 15.0)
    here.clear()
    assert here.problem() == ""


def test_without_the_middleware_s_count_the_camera_infos_stand_for_the_images(clock):
    problem = fed(clock, 8.0, 10.0, told_of_losses=False).problem()
    assert problem.startswith("camera_info comes at 30 Hz and images at 10 Hz, so they may be lost on their way here")
    assert fed(clock, 8.0, 30.0, told_of_losses=False).problem() == ""
    assert fed(clock, 8.0, 5.0, work_s=0.19, told_of_losses=False).problem() == "", "busy"


@pytest.fixture
def driver(tmp_path):
    """Starts the driver without a profile."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("DEFAULT_PROFILES_FILE")}
    started = []

    def start(reliability: str) -> None:
        started.append(NodeProcess([sys.executable, "-c", DRIVER, reliability], tmp_path / "driver", env))

    yield start
    for process in started:
        process.process.kill()
        process.process.wait()


def test_losses_over_dds_are_noticed_and_helped(monkeypatch, make_probe, driver, capfd):
    """Best effort loses most; then the images are asked for as reliable, and come."""
    driver("RELIABLE")
    with pose_node_here(monkeypatch, "/lossy_test", rois="proposals") as node:
        probe = make_probe("/lossy_test", outputs=("detections", "/diagnostics"))
        probe.destroy_publisher(probe.images)
        probe.wait(lambda: "are lost on their way here" in probe.diagnosis().get("note_lost", ""), "losses", 30.0)
        probe.wait(lambda: of_the_node(node) == ReliabilityPolicy.RELIABLE, "another subscription", 5.0)
        del probe.received["detections"][:]
        probe.spin(4.0)
        assert probe.received["detections"], "how many depends on the machine"
    assert "subscribed to /lossy_test/image as reliable from now on" in capfd.readouterr().err


def of_the_node(node) -> ReliabilityPolicy:
    info, = node.get_subscriptions_info_by_topic("/lossy_test/image")
    return info.qos_profile.reliability


def test_best_effort_stays_where_it_is_asked_for_or_nothing_else_is_offered(monkeypatch, make_probe, driver):
    driver("BEST_EFFORT")
    with pose_node_here(monkeypatch, "/lossy_test", rois="proposals") as node:
        probe = make_probe("/lossy_test", outputs=("/diagnostics",))
        probe.destroy_publisher(probe.images)
        probe.wait(lambda: "are lost on their way here" in probe.diagnosis().get("note_lost", ""), "losses", 30.0)
        probe.spin(1.0)
        assert of_the_node(node) == ReliabilityPolicy.BEST_EFFORT
        assert probe.set_parameter("image_reliability", "reliable").successful
        probe.wait(lambda: "is offered as best effort, image_reliability is 'reliable'" in probe.diagnosis()[
            "last_error"], "the reason")


def test_a_middleware_that_counts_no_losses(monkeypatch, make_probe):
    """Images come all the same."""
    from rclpy.node import Node
    create = Node.create_subscription

    def without_events(self, *args, event_callbacks=None, **kwargs):
        if event_callbacks is not None:
            raise rclpy_implementation.UnsupportedEventTypeError("not here")
        return create(self, *args, **kwargs)

    monkeypatch.setattr(Node, "create_subscription", without_events)
    with pose_node_here(monkeypatch, "/uncounted_test"):
        probe = make_probe("/uncounted_test", outputs=("detections",))
        probe.wait_for_node()
        probe.answer("detections", probe.send(IMAGE, CAMERA))


def test_reliable_from_the_start(monkeypatch, make_probe):
    with pose_node_here(monkeypatch, "/reliable_test", image_reliability="reliable") as node:
        probe = make_probe("/reliable_test", outputs=())
        probe.destroy_publisher(probe.images)
        probe.create_publisher(Image, "image", QoSProfile(depth=1))
        probe.wait(lambda: node.count_subscribers("/reliable_test/image") == 1, "the subscription")
        info, = node.get_subscriptions_info_by_topic("/reliable_test/image")
        assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
