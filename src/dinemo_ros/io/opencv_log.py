# SPDX-License-Identifier: Apache-2.0
"""OpenCV without its own words on the terminal, where what it cannot do becomes a sentence of ours."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import cv2

_SILENT = 0  # cv::utils::logging::LOG_LEVEL_SILENT
#: Sets the level and returns the one before; OpenCV 5 has moved it.
set_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel


class _Level:
    """The setting is one of the process: the first thread that enters keeps it, the last that leaves gives it back."""

    def __init__(self) -> None:
        self._lock, self._inside, self._kept = threading.Lock(), 0, 0

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._kept = set_level(_SILENT)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                set_level(self._kept)


_LEVEL = _Level()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """No warnings and errors of OpenCV are printed while the context lasts; the user's own setting comes back."""
    _LEVEL.enter()
    try:
        yield
    finally:
        _LEVEL.leave()
