# SPDX-License-Identifier: Apache-2.0
"""No node outlives the launch that started it.

``ros2 launch`` ends its nodes on Ctrl-C. When it fails in the middle, or is ended by SIGTERM or SIGKILL, it leaves them
running. So the launch files name their process to the nodes, and these wait for its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import threading
from collections.abc import Callable

#: The variable of the environment that holds the process id of the launch.
LAUNCHED_BY = "DINEMO_LAUNCHED_BY"

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_launcher(end: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM)) -> None:
    """From now on call ``end``, in a thread of its own, once the launch is gone; nothing where there is none."""
    number = os.environ.get(LAUNCHED_BY, "")
    if not number.isdecimal() or not hasattr(os, "pidfd_open"):  # Linux from 5.3 on
        return
    try:
        process = os.pidfd_open(int(number))
    except ProcessLookupError:
        return end()
    except OSError:  # a kernel without it
        return None
    threading.Thread(target=_wait, args=(process, end), name="dinemo_launcher", daemon=True).start()


def _wait(process: int, end: Callable[[], None]) -> None:
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    waiting.poll()
    end()


def end_program_with_parent() -> None:
    """The same for the program that this process becomes by ``exec``: the kernel sends it SIGTERM."""
    if os.environ.get(LAUNCHED_BY):
        with contextlib.suppress(AttributeError, OSError):  # no Linux
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
