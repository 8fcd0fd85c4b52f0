# SPDX-License-Identifier: Apache-2.0
"""Memory that is free, back to the system.

Loading a bundle takes a few hundred megabytes for a moment, in several threads. glibc gives threads heaps of their own,
keeps in each what was freed there and rarely finds it fitting the next time: over some cycles of configure and cleanup
the process would grow by a quarter. Other C libraries have no such calls and need none.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_HEAPS = 2


def share_heaps() -> None:
    """Have all threads share two heaps. Before there are threads."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """Return what nobody uses any more to the system, and to the GPU where torch has put something there."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # it keeps what was freed for itself
    trim()


def trim() -> None:
    """Return to the system what is free already; 2 ms. Large messages leave holes in the heaps of all threads."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
