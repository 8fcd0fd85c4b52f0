# SPDX-License-Identifier: Apache-2.0
"""Whether the solver is compiled for this machine, and what is wrong with the folder that it is kept in."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import told
from .finding import Finding

_SUBJECT = "kernel cache"


def kernel_cache() -> Finding:
    """Where compiled kernels are kept, how many are ready for these sources and this processor, and what is wrong."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return Finding("!!", _SUBJECT, "NUMBA_DISABLE_JIT is set: nothing is compiled, and a pose takes minutes")
    try:
        from .. import estimator  # noqa: F401  brings every kernel
        from ..solver.jit import kernels
        from ..solver.kernel_cache import kernel_folder

        return _examined(kernel_folder(), set(kernels()))
    except Exception as error:  # a broken installation of numba raises what it likes
        return Finding("!!", _SUBJECT, f"cannot be used ({told(error)}): pip install numba")


def _examined(folder: Path, wanted: set[str]) -> Finding:
    from ..solver.kernel_store import KernelStore, UntrustedError

    try:
        store = KernelStore(folder, make=False)
    except UntrustedError as error:
        return Finding("!!", _SUBJECT, f"{folder} {error}: nothing is read from it and every start compiles for half a "
                       "minute; mend it, or name another folder with NUMBA_CACHE_DIR")
    except (FileNotFoundError, NotADirectoryError):
        return _absent(folder, len(wanted))
    except OSError as error:
        return Finding("!!", _SUBJECT, f"{folder} cannot be opened ({error.strerror}): every start compiles for half a "
                       "minute; mend it, or name another folder with NUMBA_CACHE_DIR")
    survey = store.survey()
    damaged, missing, obstacle = list(survey.damaged.values()), wanted - survey.kernels(), store.write_obstacle()
    text = f"{len(wanted) - len(missing)} of {len(wanted)} kernels ready for these sources and this CPU in {folder}"
    if damaged:
        return Finding("!!", _SUBJECT, f"{text}, {len(damaged)} damaged ({damaged[0]}"
                       f"{', ...' if len(damaged) > 1 else ''}): " + (f"and cannot be written ({obstacle}), so every "
                       "start compiles them; name another folder with NUMBA_CACHE_DIR" if obstacle else
                       "the next start compiles them again, or now: dinemo compile"))
    if missing and obstacle:
        return Finding("!!", _SUBJECT, f"{text}, which cannot be written ({obstacle}): every start compiles the "
                       "others; make room, or name another folder with NUMBA_CACHE_DIR")
    if missing:
        return Finding("--", _SUBJECT, f"{text}: the next start compiles the others, or now: dinemo compile")
    return Finding("ok", _SUBJECT, text + (f", read only ({obstacle})" if obstacle else ""))


def _absent(folder: Path, count: int) -> Finding:
    """The folder is not there: made at the first start, if its place can be written."""
    place = next(path for path in folder.parents if path.exists() or path.is_symlink())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding("!!", _SUBJECT, f"{folder} cannot be made, because {place} is no folder that can be written: "
                       "every start compiles for half a minute; mend it, or name another folder with NUMBA_CACHE_DIR")
    return Finding("--", _SUBJECT, f"0 of {count} kernels ready in {folder}: the first start compiles for half a "
                   "minute, or now: dinemo compile")
