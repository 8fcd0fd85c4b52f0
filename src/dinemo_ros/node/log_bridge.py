# SPDX-License-Identifier: Apache-2.0
"""What the package says through Python's ``logging`` (choice of backend, engine builds, fallbacks), in ROS's log."""

from __future__ import annotations

import logging
from collections.abc import Callable

import rclpy

from ..io.quoting import one_line
from .node_log import NodeLog


class RosHandler(logging.Handler):
    """Hands records to a node's logger.

    Each severity is called from a line of its own, because rclpy refuses one call site with changing severity.

    heard: is told every line as well.
    """

    def __init__(self, logger: NodeLog, heard: Callable[[str], None]) -> None:
        super().__init__()
        self._logger, self._heard = logger, heard

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record as one line, with its severity; nothing after rclpy has been shut down."""
        if not rclpy.ok():  # a signal has ended it: rcl would only complain
            return
        message = one_line(record.getMessage())
        self._heard(message)
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        else:
            self._logger.info(message)


def bridge_logging(logger: NodeLog, heard: Callable[[str], None] = lambda line: None) -> None:
    """From now on the package's log goes to ``logger`` (of rclpy), line by line to ``heard``, and nowhere else."""
    package = logging.getLogger("dinemo_ros")
    package.handlers[:] = [RosHandler(logger, heard)]
    package.setLevel(logging.INFO)
    package.propagate = False
