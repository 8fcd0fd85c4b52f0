# SPDX-License-Identifier: Apache-2.0
"""What the package says through Python's ``logging`` (choice of backend, engine builds, fallbacks), in ROS's log."""

from __future__ import annotations

import logging


class RosHandler(logging.Handler):
    """Hands records to a node's logger.

    Each severity is called from a line of its own, because rclpy refuses one call site with changing severity.
    """

    def __init__(self, logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        else:
            self._logger.info(message)


def bridge_logging(logger) -> None:
    """From now on the package's log goes to ``logger`` (of rclpy), and nowhere else."""
    package = logging.getLogger("dinemo_ros")
    package.handlers[:] = [RosHandler(logger)]
    package.setLevel(logging.INFO)
    package.propagate = False
