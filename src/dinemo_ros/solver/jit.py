# SPDX-License-Identifier: Apache-2.0
"""The one way kernels are compiled here."""

from __future__ import annotations

from collections.abc import Callable

import numba


def kernel(function: Callable) -> Callable:
    """Compile ``function`` with numba, without the GIL, cached on disk where a cache can be written."""
    options = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": read-only installation and home
        return numba.njit(**options)(function)
