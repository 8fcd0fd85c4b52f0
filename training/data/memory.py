# SPDX-License-Identifier: Apache-2.0
"""Memory that stays with the process between two training steps."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_memory() -> bool:
    """Let freed memory stay with this process (glibc; elsewhere nothing happens); returns whether it does.

    A step on a processor frees all its activations, some gigabytes. By default glibc gives them back to the system, and
    the next step waits for the same pages to be cleared and mapped again.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return all(mallopt(option, value) for option, value in
               ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1)))
