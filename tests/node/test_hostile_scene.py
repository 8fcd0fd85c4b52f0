# SPDX-License-Identifier: Apache-2.0
"""As ``test_hostile_graph.py``, on what the node listens to beside the picture: TF, depth, and requests for poses."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from bombs import black_png
from geometry_msgs.msg import TransformStamped
from node.test_hostile_graph import LONG, NAN, Robot, assert_withstands, flood
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.serialization import serialize_message
from ros_support.processes import start_node
from ros_support.transform_tree import Tree
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

NAMESPACE = "/hostile_scene"
DEEP = struct.pack("<iff", 0, 1.0, 0.0)  # what compressed_depth_image_transport puts before the PNG


@pytest.fixture(scope="module")
def robot(ros, demo_frames, tmp_path_factory):
    """One node for all attacks; the frames that it asks for are there all the time."""
    node = start_node("pose_node", tmp_path_factory.mktemp("hostile") / "log", NAMESPACE, target_frame="base",
                      support_frame="table", support_offset_sigma_m=0.01)
    made = Robot(NAMESPACE, node, demo_frames[0])
    tree = Tree(made)
    frame, level = made.header().frame_id, np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
    tree.static("base", frame, level)
    tree.static("base", "table", np.eye(4))
    made.wait_for_node()
    made.wait(tree.moving.get_subscription_count, "the node to listen to TF")
    made.spin(0.5)
    made.tree, made.statics = tree, made.create_publisher(TFMessage, "/tf_static", 10)
    made.depths = made.create_publisher(CompressedImage, "depth/image", 5)
    made.depth_infos = made.create_publisher(CameraInfo, "depth/camera_info", 5)
    made.estimate = made.create_client(Trigger, "pose_node/estimate")
    assert made.good_image()
    yield made
    made.destroy_node()
    assert node.interrupt() == 0
    assert "Traceback" not in node.output and "\x1b[2J" not in node.output
    assert max(map(len, node.output.splitlines())) < 1500, "no sentence of any length"


def link(parent: str, child: str, stamp: tuple[int, int] = (0, 0), **fields) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, (message.header.stamp.sec, message.header.stamp.nanosec) = parent, stamp
    for name, value in {"x": 0.0, **fields}.items():
        setattr(message.transform.translation, name, value)
    return message


def frames(robot: Robot, k: int) -> None:
    """Others every time, a thousand at once."""
    robot.tree.moving.publish(TFMessage(transforms=[link("odom", f"f{k}_{n}\x1b[2J") for n in range(1000)]))


def chain(robot: Robot, k: int) -> None:
    """Each below the one before, and the last below itself."""
    names = [f"c{n}" for n in range(900)]
    links = [link(one, other, (k, 0)) for one, other in zip([names[-1], *names], names, strict=False)]
    robot.tree.moving.publish(TFMessage(transforms=links))


def stamps(robot: Robot, k: int) -> None:
    wild = [(2**31 - 1, 2**32 - 1), (-2**31, 0), (0, 1), (k, 7)]
    robot.tree.moving.publish(TFMessage(transforms=[link("base", f"s{n % 7}", wild[n % 4]) for n in range(500)]))


def damaged(robot: Robot, k: int) -> None:
    data = serialize_message(TFMessage(transforms=[link("base", "d")]))
    wrong = [b"", data[:20], b"\0\1\0\0" + b"\xff" * 2000, data.replace(b"base", b"b\xff\xfee")][k % 4]
    with contextlib.suppress(_rclpy.RCLError):  # some middleware sends no message of nothing
        robot.tree.moving.publish(wrong)


def deep(robot: Robot, data: bytes, form: str = "16UC1; compressedDepth png") -> None:
    """A picture with this as its depth."""
    header = robot.send(robot.frame.image, robot.frame.camera)
    robot.depths.publish(CompressedImage(header=header, format=form, data=data))


def depth_camera(robot: Robot, k: int) -> None:
    fields = [{"k": [NAN] * 9}, {"width": 2**32 - 1, "height": 2**32 - 1}, {"distortion_model": LONG},
              {"d": [1e308] * 8, "distortion_model": "plumb_bob"}, {"k": [1e-308, 0, 0, 0, 1e-308, 0, 0, 0, 1]}][k % 5]
    robot.depth_infos.publish(robot.info(**fields))
    deep(robot, black_png(64, 48))


def requests(robot: Robot, k: int) -> None:
    for _ in range(20):
        robot.estimate.call_async(Trigger.Request())


BOMBS = [black_png(32_000, 32_000), black_png(10_900, 10_900), black_png(960, 540)[:-9],
         DEEP + black_png(30_000, 4_000), b"", b"\x89PNG", DEEP, b"x" * 8_000_000]
ATTACKS = {
    "frames": frames,
    "a chain with a loop": chain,
    "stamps of frames": stamps,
    "a frame of 200 kB": lambda robot, k: robot.tree.moving.publish(TFMessage(transforms=[link("a" * 200_000, "b")])),
    "a frame of 8 MB": lambda robot, k: robot.tree.moving.publish(TFMessage(transforms=[link("base", LONG)])),
    "numbers": lambda robot, k: robot.tree.moving.publish(TFMessage(transforms=[
        link("base", f"n{n}", x=[NAN, 1e308, -1e308][n % 3]) for n in range(300)])),
    "flood of static frames": lambda robot, k: flood(lambda: robot.statics.publish(TFMessage(
        transforms=[link("base", f"t{k}_{n}") for n in range(500)])), 5),
    "TF that is none": damaged,
    "depth that unpacks": lambda robot, k: deep(robot, BOMBS[k % len(BOMBS)]),
    "formats": lambda robot, k: deep(robot, black_png(64, 48), f"16UC1\x1b[2J{k}; " + LONG[:500_000]),
    "depth cameras": depth_camera,
    "requests": requests,
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_node_answers_stays_small_and_works_on(robot, attack):
    assert_withstands(robot, attack)
