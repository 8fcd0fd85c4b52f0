# SPDX-License-Identifier: Apache-2.0
"""Whether images get lost between the camera's driver and here; nobody would notice: those that come are right."""

from __future__ import annotations

import time
from collections import deque

_WINDOW_S = 5.0
_ENOUGH = 20  # images or camera_infos in the window, below which nothing is said
_LOST = 0.25  # share of images
_OFTEN = 2.0  # times as often
_BUSY = 0.5  # share of the time; a busy node takes the newest image only, and that is no loss
_ADVICE = ("set the Fast DDS profile config/fastdds.xml for the camera's driver, too, or image_reliability to reliable "
           "(docs/tutorials/your_camera.md)")


class Arrivals:
    """Counts what came and what was lost in the last seconds.

    Attributes:
        told_of_losses: the middleware counts lost messages; otherwise camera_infos stand for the images of the driver.
    """

    def __init__(self) -> None:
        self.told_of_losses = True
        self._images: deque[tuple[float, float]] = deque()  # when, and how long it was worked on
        self._infos: deque[tuple[float, float]] = deque()
        self._lost: deque[tuple[float, float]] = deque()  # when, and how many

    def image(self, work_s: float) -> None:
        """One came and was worked on for ``work_s``."""
        self._images.append((time.monotonic(), work_s))

    def info(self) -> None:
        """A camera_info came."""
        self._infos.append((time.monotonic(), 1.0))

    def lost(self, count: int) -> None:
        """The middleware missed ``count`` images."""
        self._lost.append((time.monotonic(), count))

    def clear(self) -> None:
        """Begin anew, as with another subscription."""
        for events in (self._images, self._infos, self._lost):
            events.clear()

    def problem(self) -> str:
        """Where images are lost, and what helps, one sentence; empty where all is well."""
        since = time.monotonic() - _WINDOW_S
        for events in (self._images, self._infos, self._lost):
            while events and events[0][0] < since:
                events.popleft()
        came, infos, lost = len(self._images), len(self._infos), sum(count for _, count in self._lost)
        if self.told_of_losses:
            if came + lost < _ENOUGH or lost < _LOST * (came + lost):
                return ""
            return f"{100 * lost / (came + lost):.0f} % of the images are lost on their way here: {_ADVICE}"
        busy = sum(work for _, work in self._images) > _BUSY * _WINDOW_S
        if busy or infos < _ENOUGH or infos < _OFTEN * max(came, 1):
            return ""
        return (f"camera_info comes at {infos / _WINDOW_S:.0f} Hz and images at {came / _WINDOW_S:.0f} Hz, so they may "
                f"be lost on their way here: {_ADVICE}")
