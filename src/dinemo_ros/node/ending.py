# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM end the process soon, whatever its threads are doing, and are no error.

rclpy's own handlers end an executor that waits. What they cannot end is Python in the middle of something: libraries
that are being loaded, kernels that are being compiled, an engine that is being built; and they take the context away
from under a node that is being made. So a thread of its own hears of each signal by the pipe that Python's C code
writes to at once, begins the orderly end where there is something to end, gives it a moment, and then leaves.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

GRACE_S = 0.7  # for the orderly end; an image is finished in a fifth of that
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SEGMENT_LOCK = re.compile(r"/dev/shm/fast(?:dds|rtps)_(?!port)\w+_el")  # beside the segment, which has no _el

_pipe: tuple[int, int] | None = None
_stop: Callable[[], None] | None = None


def heed_signals() -> None:
    """From now on either signal ends the process with 0; at once until :func:`begin`. In the main thread."""
    global _pipe
    for number in _SIGNALS:
        # Not the KeyboardInterrupt of Python: it strikes anywhere, also inside of a library's clean-up.
        signal.signal(number, _heard)
    if _pipe is None:
        _pipe = os.pipe()
        os.set_blocking(_pipe[1], False)
        threading.Thread(target=_watch, args=(_pipe[0],), name="dinemo_ending", daemon=True).start()
    signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)


def _heard(*_: object) -> None:
    """Where the main thread can hear, before there is the other one."""
    if _stop is None:
        _exit(0)


def begin(stop: Callable[[], None]) -> None:
    """From now on a signal calls ``stop``, in a thread of its own, and waits a moment for what follows of it."""
    global _stop
    _stop = stop


def leave(code: int) -> NoReturn:
    """End the process here and now.

    Python's own ending would wait for threads that work, or pull the interpreter away from under those it does not
    wait for, which C++ answers with an abort.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    _exit(code)


def _watch(source: int) -> None:
    while not any(number in _SIGNALS for number in os.read(source, 64)):
        pass
    if _stop:
        threading.Thread(target=_stop, name="dinemo_stop", daemon=True).start()
        time.sleep(GRACE_S)
    _exit(0)


def _exit(code: int) -> NoReturn:
    with contextlib.suppress(Exception):  # the end comes before tidiness
        _give_back_shared_memory()
    os._exit(code)


def _give_back_shared_memory() -> None:
    """Remove the segments of Fast DDS that are this process' own, some 70 MB for each of its participants.

    Only their destructors do it otherwise, which Python runs when nothing holds the context any more, and then not
    where threads still work. A process has its own segment's lock file open, no one else's.
    """
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            lock = os.readlink(f"/proc/self/fd/{descriptor}")
            if _SEGMENT_LOCK.fullmatch(lock):
                os.unlink(lock.removesuffix("_el"))
                os.unlink(lock)
