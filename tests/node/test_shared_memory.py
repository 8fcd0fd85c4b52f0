# SPDX-License-Identifier: Apache-2.0
"""The pose node with our Fast DDS profile: a small piece of shared memory, and large overlays all the same."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from ament_index_python.packages import get_package_share_path
from rclpy.utilities import get_rmw_implementation_identifier
from ros_support.processes import running_node

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.process.fastdds_profile import PROFILE_VARIABLES

NAMESPACE = "/shared_memory_test"


def segments_mb(pid: int) -> list[float]:
    """Sizes of all shared memory of Fast DDS that the process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    found = [re.match(r"([0-9a-f]+)-([0-9a-f]+) rw\S* .*/fastdds_[0-9a-f]{16}$", line) for line in lines]
    return [(int(one[2], 16) - int(one[1], 16)) / 1e6 for one in found if one]


@pytest.mark.skipif("fastrtps" not in get_rmw_implementation_identifier(), reason="another middleware than Fast DDS")
def test_the_node_takes_a_quarter_of_a_cameras_and_still_shows_overlays_of_1080p(tmp_path, monkeypatch, make_probe,
                                                                                 demo_frames):
    for name in PROFILE_VARIABLES:
        monkeypatch.setenv(name, str(get_package_share_path("dinemo_ros") / "config" / "fastdds.xml"))
    with running_node(tmp_path, NAMESPACE) as node:
        assert any(16 < size < 20 for size in segments_mb(node.process.pid)), "its own; others are of who sends to it"
        probe = make_probe(NAMESPACE, outputs=("overlay",))
        probe.wait_for_node()
        frame = demo_frames[0]
        large = cv2.resize(frame.image, (1920, 1080))
        scale = np.diag([1920 / frame.camera.width, 1080 / frame.camera.height, 1.0])
        camera = Camera(1920, 1080, scale @ frame.camera.K)
        for _ in range(3):
            header = probe.send(large, camera)
            assert len(probe.answer("overlay", header).data) == 1920 * 1080 * 3
