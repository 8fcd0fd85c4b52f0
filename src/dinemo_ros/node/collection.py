# SPDX-License-Identifier: Apache-2.0
"""The images of one request: a thread works on images and adds what it found, another one waits for enough of it."""

from __future__ import annotations

import threading
import time

from std_msgs.msg import Header

from ..pose import ObjectPose


class Collection:
    """Poses of the next ``wanted`` images; for one thread that waits and others that add and end."""

    def __init__(self, wanted: int) -> None:
        self._wanted, self._changed = wanted, threading.Condition()
        self._frames: list[tuple[Header, list[ObjectPose]]] = []
        self._ended = ""

    def add(self, header: Header, poses: list[ObjectPose]) -> None:
        """What was found in an image with that ``header``; what comes after the last one wanted is left out."""
        with self._changed:
            if len(self._frames) < self._wanted:
                self._frames.append((header, poses))
            self._changed.notify_all()

    def end(self, reason: str) -> None:
        """Wait for no more; the first sentence that says why counts."""
        with self._changed:
            self._ended = self._ended or reason
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> tuple[list[tuple[Header, list[ObjectPose]]], str]:
        """The images so far, as soon as there are enough, or it was ended, or the time is over; and why it was ended,
        an empty string where it was not."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(self._frames) < self._wanted and not self._ended:
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            return list(self._frames), self._ended
