# SPDX-License-Identifier: Apache-2.0
"""A node's log for sentences that hold what others wrote: names of files and frames, formats, words of libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..io.quoting import harmless, one_line

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

_TRACE = 20_000  # characters


class NodeLog:
    """Hands every sentence to rclpy's logger as one printable line of bounded length.

    Each severity is called from a line of its own, because rclpy refuses one call site with changing severity.
    """

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger

    def debug(self, text: str) -> None:
        """Many lines, for those who look for a bug."""
        self._logger.debug(harmless(text[-_TRACE:]))

    def info(self, sentence: str) -> None:
        """A sentence about the ordinary run."""
        self._logger.info(one_line(sentence))

    def warning(self, sentence: str) -> None:
        """A sentence about what is wrong and does not stop the work."""
        self._logger.warning(one_line(sentence))

    def error(self, sentence: str) -> None:
        """A sentence about work that was not done."""
        self._logger.error(one_line(sentence))
