# SPDX-License-Identifier: Apache-2.0
"""A lock between processes that long work is done under, and that nobody can hold for ever.

Who holds it says so every few seconds, by the time of its file; who only sits on it (a process that hangs, or one of
another user, which may lock every file that it may read and may not touch this one's time) is waited for no longer.
The death of a process releases what it holds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator

BEAT_S = 5.0  # a sign of life
SILENCE_S = 30.0  # after so long without one nobody is at work
_POLL_S = 0.1
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def open_lock(name: str | os.PathLike, folder: int | None = None) -> int:
    """A handle of a lock's file, which is made if need be and never emptied.

    Raises:
        OSError: it cannot be had, or is a link, a pipe or anything else but a file of this user's.
    """
    handle = os.open(name, _FLAGS, 0o600, dir_fd=folder)  # others, who cannot open it, cannot lock it
    about, above = os.fstat(handle), os.stat(os.path.dirname(name) or ".", dir_fd=folder)
    if not stat.S_ISREG(about.st_mode) or about.st_uid not in (os.geteuid(), 0, above.st_uid):
        os.close(handle)
        raise OSError(errno.EPERM, "is no file of this user", str(name))
    return handle


@contextlib.contextmanager
def locked(handle: int, waiting: Callable[[], None], given_up: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of ``handle``, which is closed at the end; without it where whoever has it does not work.

    Args:
        waiting: called once before there is anything to wait for; given_up: when it is not waited for any longer.
    """
    over = threading.Event()
    try:
        if _taken(handle, waiting):
            threading.Thread(target=_beat, args=(os.dup(handle), over), daemon=True, name="dinemo_lock").start()
        else:
            given_up()
        yield
    finally:
        over.set()
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # children that were forked meanwhile have the handle, too
        os.close(handle)


def _taken(handle: int, waiting: Callable[[], None]) -> bool:
    """Whether the lock was had; True as well where the file system has no locks."""
    beat, since, told = None, time.monotonic(), False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        except OSError:  # some network file systems have no locks
            return True
        if not told:
            waiting()
            told = True
        now = os.fstat(handle).st_mtime_ns
        if now != beat:
            beat, since = now, time.monotonic()
        if time.monotonic() - since > SILENCE_S:
            return False
        time.sleep(_POLL_S)


def _beat(handle: int, over: threading.Event) -> None:
    """Say every few seconds that there is work going on; closes ``handle``."""
    try:
        while True:
            with contextlib.suppress(OSError):
                os.utime(handle)
            if over.wait(BEAT_S):
                return
    finally:
        os.close(handle)
