# SPDX-License-Identifier: Apache-2.0
"""What the package logs reaches ROS's log with its severity."""

import logging
import re

import rclpy.logging

from dinemo_ros.node.log_bridge import bridge_logging


def test_records_reach_ros(capfd):
    """rclpy's own logger, which refuses a call site whose severity changes."""
    package = logging.getLogger("dinemo_ros")
    before = package.handlers[:], package.level, package.propagate
    try:
        for _ in range(2):  # configured twice: still one line each
            bridge_logging(rclpy.logging.get_logger("bridge"))
        log = logging.getLogger("dinemo_ros.features.engine_build")
        log.debug("too much")
        log.info("building %s", "car")
        log.warning("truncated")
        log.error("broken")
    finally:
        package.handlers[:], package.level, package.propagate = before
    said = re.findall(r"\[(\w+)\] \[[\d.]+\] \[bridge\]: (.*)", "".join(capfd.readouterr()))
    assert sorted(said) == [("ERROR", "broken"), ("INFO", "building car"), ("WARN", "truncated")]
