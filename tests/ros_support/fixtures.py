# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that need ROS 2: a private domain, the demo frames with their truth."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

# Before rclpy loads the middleware: nobody else on this network takes part, nor does a second run of these tests.
os.environ["ROS_DOMAIN_ID"] = str(1 + secrets.randbelow(100))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

import numpy as np
import pytest
import rclpy
from ament_index_python.packages import get_package_share_path

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.io.sources import open_source
from dinemo_ros.node.demo_listener import read_truth

from .probe import Probe
from .processes import STARTED


@dataclass(frozen=True)
class DemoFrame:
    """One rendered image of the demo sequence with the true pose [4, 4] of its car."""

    name: str
    image: np.ndarray
    camera: Camera
    T_cam_obj: np.ndarray


@pytest.fixture(scope="session")
def demo_frames() -> list[DemoFrame]:
    folder = get_package_share_path("dinemo_ros") / "config" / "demo_sequence"
    truth = read_truth(folder)
    return [DemoFrame(f.name, f.image_rgb, f.camera, truth[f.name]) for f in open_source(folder)]


@pytest.fixture(scope="session", autouse=True)
def ros(tmp_path_factory):
    """rclpy for the whole session; the nodes' log files stay out of the home folder."""
    os.environ["ROS_LOG_DIR"] = str(tmp_path_factory.mktemp("ros_log"))
    if not rclpy.ok():  # imported by two conftest files
        rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_probe():
    """Makes probes and takes them away afterwards."""
    probes = []

    def make(*args, **kwargs) -> Probe:
        probes.append(Probe(*args, **kwargs))
        return probes[-1]

    yield make
    for probe in probes:
        probe.destroy_node()


@pytest.fixture(autouse=True)
def no_node_is_left():
    """A test that fails leaves no node behind: it would answer in the next one's place."""
    before = len(STARTED)
    yield
    for node in STARTED[before:]:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()
