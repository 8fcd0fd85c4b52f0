# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels on disk, in the place of numba's own cache.

numba's knows the file that a kernel stands in and not the constants that it imports, and lets what is wrong with its
files through to the caller. This one is keyed on all of them (``kernel_key.py``), believes nothing that is damaged or
may be somebody else's (``kernel_store.py``), and never fails: what cannot be read is compiled again, what cannot be
kept is compiled at every start, and the log says so once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import told
from ..process.cache_home import default_folder
from .kernel_key import called, covers, folder_key, frozen
from .kernel_store import DamagedError, KernelStore, UntrustedError, kernel_of, sweep
from .numba_import import numba

if TYPE_CHECKING:
    from numba.core.compiler import CompileResult
    from numba.core.cpu import CPUContext

Signature = tuple[object, ...]  # numba's types of the arguments

_log = logging.getLogger(__name__)
_REMEDY = "NUMBA_CACHE_DIR names another folder"
_CALLED: dict[str, Callable[[], set[str]]] = {}  # of every kernel that is kept, the names of those that it calls


def base_folder() -> Path:
    """Where the folders of all keys lie: below NUMBA_CACHE_DIR, if that is set, else in the user's cache folder."""
    given = os.environ.get("NUMBA_CACHE_DIR", "")
    return (Path(given) / "dinemo_ros" if given else default_folder()) / "kernels"


def kernel_folder() -> Path:
    """Where kernels of these sources and of this machine lie."""
    return base_folder() / folder_key()


class KernelFolder:
    """The one store of this process, opened when the first kernel is asked for, and what has been said about it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._swept = False

    @cached_property
    def folder(self) -> Path:
        return kernel_folder()

    @cached_property
    def store(self) -> KernelStore | None:
        """None where there is none to use; why has been said."""
        try:
            store = KernelStore(self.folder)
            self._mend(store)
            return store
        except UntrustedError as error:
            self.say("folder", f"{self.folder}: the folder of compiled kernels {error}, so nothing is read from it and "
                     f"every start compiles them again; {_REMEDY}")
        except OSError as error:
            self.say("folder", f"{self.folder}: compiled kernels cannot be kept here ({error.strerror or error}), so "
                     f"every start compiles them again; {_REMEDY}")
        return None

    def _mend(self, store: KernelStore) -> None:
        """Have what is damaged or missing compiled again, by this start.

        Only kernels that are called from Python are asked for. Those that others call are compiled on the way to their
        callers, so with such a one its callers have to go.
        """
        survey = store.survey()
        if survey.damaged:
            first, *others = survey.damaged.values()
            self.damaged(f"{first}{f' and {len(others)} more are damaged' if others else ''}")
        absent = set(_CALLED) - survey.kernels()
        callers = {name for name, others in _CALLED.items() if not absent.isdisjoint(others())}
        store.remove([*survey.damaged, *(entry for entry in survey.ready if kernel_of(entry) in callers)])

    def say(self, kind: str, sentence: str) -> None:
        """Warn, once for each kind of trouble: one full disk is one sentence and not one for every kernel."""
        with self._lock:
            first = kind not in self._said
            self._said.add(kind)
        _log.log(logging.WARNING if first else logging.DEBUG, "%s", sentence)

    def load(self, name: str) -> bytes | None:
        """What is kept under ``name``, None where there is nothing or it is of no use."""
        try:
            return self.store.read(name) if self.store else None
        except (DamagedError, OSError) as error:
            self.damaged(error)
            return None

    def damaged(self, what: object) -> None:
        """Warn of an entry, or several, that will be compiled again."""
        self.say("damaged", f"{self.folder}: {what}; kernels that are damaged are compiled again")

    def keep(self, name: str, content: bytes, **about: str) -> None:
        """Keep ``content`` under ``name``; where that fails, a warning says what to do, and the kernel still works."""
        if self.store is None:
            return
        try:
            self.store.write(name, content, **about)
        except OSError as error:
            self.say("write", f"{self.folder}: compiled kernels cannot be kept here ({error.strerror or error}), so "
                     f"every start compiles them again; {_REMEDY}")
            return
        if not self._swept:
            self._swept = True
            sweep(self.folder)


KERNEL_FOLDER = KernelFolder()


def _name(function: Callable) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"


class KernelCache:
    """What numba asks for the machine code of one kernel: the interface of its ``FunctionCache``.

    compiling: called before numba compiles, because there is nothing to load.
    """

    def __init__(self, function: Callable, compiling: Callable[[], None],
                 kernel_folder: KernelFolder = KERNEL_FOLDER) -> None:
        self._function, self._compiling, self._kernel_folder = function, compiling, kernel_folder
        self._name = _name(function)
        self._enabled = covers(function)
        if self._enabled:
            _CALLED[self._name] = lambda: {_name(other) for other in called(function)}

    @property
    def cache_path(self) -> str:
        return str(self._kernel_folder.folder)

    def load_overload(self, sig: Signature, target_context: CPUContext) -> CompileResult | None:
        """The compiled function for these argument types; None, and numba compiles it."""
        loaded = self._loaded(sig, target_context) if self._enabled else None
        if loaded is None:
            self._compiling()
        return loaded

    def save_overload(self, sig: Signature, data: CompileResult) -> None:
        """Keep what numba has compiled."""
        if not self._enabled or data.lifted or data.library.has_dynamic_globals:
            return
        try:
            content = numba.core.serialize.dumps(data._reduce())
        except Exception as error:  # numba's own objects; the kernel itself works
            _log.warning("%s: cannot be kept compiled (%s)", self._name, told(error))
            return
        self._kernel_folder.keep(self._entry(sig), content, kernel=self._name, signature=str(sig))

    def enable(self) -> None:
        """From now on use the disk, if it can be used for this function."""
        self._enabled = covers(self._function)

    def disable(self) -> None:
        """From now on leave the disk alone."""
        self._enabled = False

    def flush(self) -> None:
        """numba calls this to have everything compiled again; entries are good for what they are named after."""

    def _loaded(self, sig: Signature, target_context: CPUContext) -> CompileResult | None:
        content = self._kernel_folder.load(self._entry(sig))
        if content is None:
            return None
        from numba.core.compiler import CompileResult

        target_context.refresh()
        try:
            result = CompileResult._rebuild(target_context, *pickle.loads(content))
            if tuple(result.signature.args) == tuple(sig):
                return result
            problem = "it is of other argument types"
        except Exception as error:  # written whole and still of no use: another build of numba under the same version
            problem = told(error)
        self._kernel_folder.damaged(f"{self._entry(sig)}.nbc cannot be used ({problem})")
        return None

    def _entry(self, sig: Signature) -> str:
        digest = hashlib.sha256(f"{self._frozen}\n{sig}".encode()).hexdigest()[:16]
        return f"{self._name}-{digest}"

    @cached_property
    def _frozen(self) -> str:
        return frozen(self._function)
