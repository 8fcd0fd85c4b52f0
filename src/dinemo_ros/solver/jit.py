# SPDX-License-Identifier: Apache-2.0
"""The one way kernels are compiled here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numba

_KERNELS: list = []


def kernel(function: Callable) -> Callable:
    """Compile ``function`` with numba, without the GIL, cached on disk where a cache can be written."""
    options = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": read-only installation and home
        compiled = numba.njit(**options)(function)
    _KERNELS.append(compiled)
    return compiled


@contextmanager
def compilation_told(say: Callable[[str], None], period_s: float = 3.0) -> Iterator[None]:
    """While the body runs, say every ``period_s`` how many kernels are compiled; nothing where it is over before."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(period_s):
            ready = sum(bool(k.signatures) for k in _KERNELS)
            say(f"compiling the solver: {ready} of {len(_KERNELS)} kernels; only the first start on this machine waits "
                "for this, later ones read numba's cache")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
