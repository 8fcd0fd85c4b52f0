# SPDX-License-Identifier: Apache-2.0
"""Memory that is free, back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Return what nobody uses any more to the system.

    Loading a bundle takes a few hundred megabytes for a moment, in several threads. glibc keeps what each of them freed
    in a heap of its own and rarely finds it fitting the next time: over some cycles of configure and cleanup the
    process would grow by a quarter. Other C libraries have no such call and need none.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
