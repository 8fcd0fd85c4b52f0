# SPDX-License-Identifier: Apache-2.0
"""The one way kernels are compiled here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .kernel_cache import KERNEL_FOLDER, KernelCache
from .kernel_key import called
from .numba_import import numba

_KERNELS: list = []
_TELLERS: list[threading.Event] = []  # one for each body of compilation_told: set as soon as something is compiled


class Progress(NamedTuple):
    """How many of the kernels can be called without waiting, and how many were compiled here, not read from disk."""

    ready: int
    total: int
    compiled: int


_compiled = 0


def kernel(function: Callable) -> Callable:
    """Compile ``function`` with numba, fast and without the GIL, kept on disk, see :func:`kept`."""
    compiled = kept(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")(function)
    if compiled is not function:
        _KERNELS.append(compiled)
    return compiled


def kept(**options: object) -> Callable[[Callable], Callable]:
    """Decorator: ``numba.njit(**options)``, kept on disk where that can be, see ``kernel_cache.py``.

    With NUMBA_DISABLE_JIT=1 a function stays the Python function that it is.
    """
    def compiler(function: Callable) -> Callable:
        compiled = numba.njit(**options)(function)
        if compiled is not function:
            compiled._cache = KernelCache(function, _compiling)  # what Dispatcher.enable_caching does with numba's own
        return compiled

    return compiler


def kernels() -> list[str]:
    """Names of the kernels that are imported so far."""
    return [kernel._cache._name for kernel in _KERNELS]


def progress() -> Progress:
    """Of the kernels that are imported so far; a millisecond, for whoever reports while another thread compiles.

    Machine code read from disk holds that of the kernels it calls, so these are ready with it.
    """
    there = [kernel.py_func for kernel in _KERNELS if kernel.signatures]
    return Progress(len(set(there).union(*map(called, there))), len(_KERNELS), _compiled)


@contextmanager
def compilation_told(say: Callable[[str], None], period_s: float = 5.0) -> Iterator[None]:
    """While the body runs, say when compiling starts, then every ``period_s`` seconds how far it is; else nothing."""
    started, over = threading.Event(), threading.Event()
    _TELLERS.append(started)

    def tell() -> None:
        started.wait()
        if not over.is_set():
            say(f"compiling the solver: {_kept()}")
        while not over.wait(period_s):
            state = progress()
            say(f"compiling the solver: {state.ready} of {state.total} kernels")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        started.set()
        _TELLERS.remove(started)
        teller.join()


def _kept() -> str:
    if KERNEL_FOLDER.store is None:
        return "every start waits for this, because they cannot be kept"
    return f"only the first start waits for this, later ones read them from {KERNEL_FOLDER.folder}"


def _compiling() -> None:
    """Called before numba compiles a kernel."""
    global _compiled
    _compiled += 1
    for started in list(_TELLERS):
        started.set()
