# SPDX-License-Identifier: Apache-2.0
"""The generated message packages are those of a real distribution: their type hashes agree."""

import pytest
import rclpy
from rclpy.node import Node
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray


@pytest.mark.parametrize(("kind", "digest"), [
    (TFMessage, "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"),
    (Detection3DArray, "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"),
])
def test_type_hash_is_that_of_a_distribution(kind, digest):
    node = Node("hash_probe")
    try:
        node.create_publisher(kind, "hash_probe", 1)
        for _ in range(100):
            publishers = node.get_publishers_info_by_topic("hash_probe")
            if publishers:
                break
            rclpy.spin_once(node, timeout_sec=0.05)
        if not hasattr(publishers[0], "topic_type_hash"):
            pytest.skip("this ROS 2 distribution (before Iron) has no type hashes")
        assert str(publishers[0].topic_type_hash) == f"RIHS01_{digest}"
    finally:
        node.destroy_node()
