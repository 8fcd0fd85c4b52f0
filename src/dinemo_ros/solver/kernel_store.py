# SPDX-License-Identifier: Apache-2.0
"""A folder of compiled kernels.

An entry is two files: ``NAME.nbi``, a line of JSON with the kernel, its signature and the length and sha256 of the
other, and ``NAME.nbc``, a pickle of what numba has compiled. A pickle runs what is in it, so nothing is read that
somebody else may have written: folder and files must belong to this user (or to root, whose files run anyway) and give
nobody else the right to write; files are opened by their name in the folder that was looked at, and never through a
link. Files appear under their names when complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ..process.own_folder import UntrustedError, open_folder, read_file, untrusted, write_file
from ..process.own_folder import sweep as sweep_parts

_KEY = re.compile(r"[0-9a-f]{16}")
_OURS = re.compile(r"[\w.<>-]+\.(nbi|nbc|part)|\.lock")
_PART = re.compile(r"\.?([\w.<>-]+\.nb[ic]|try-[0-9a-f]{8}\.part)\.[0-9a-f]{1,16}\.part|try-[0-9a-f]{8}\.part")
_KEPT_FOLDERS = 16  # of other versions or machines, 3 MB each
_LARGEST = 64 << 20  # bytes of a file; a kernel takes a tenth of a megabyte
_DAY_S = 86400.0


class DamagedError(Exception):
    """An entry that is there and cannot be believed; the text says what is wrong with it."""


class Survey(NamedTuple):
    """Entries of a folder: the names of those that are whole, and of the others what is wrong with them by name."""

    ready: list[str]
    damaged: dict[str, str]

    def kernels(self) -> set[str]:
        """The kernels that have whole entries."""
        return {kernel_of(name) for name in self.ready}


def kernel_of(entry: str) -> str:
    """The kernel that an entry is of: the name without what tells its signatures apart."""
    return entry.rpartition("-")[0]


class KernelStore:
    """Entries in ``folder``. While this object lives nobody sweeps the folder away.

    make: the folder, where it is not there.

    Raises:
        UntrustedError: what is in the folder cannot be trusted.
        OSError: it is not there and cannot be made.
    """

    def __init__(self, folder: Path, make: bool = True) -> None:
        self.folder = folder
        self._handle = _opened(folder, make)
        weakref.finalize(self, os.close, self._handle).atexit = False

    def read(self, name: str) -> bytes | None:
        """The content of an entry, None if there is none.

        Raises:
            DamagedError: it is damaged, or may be somebody else's.
        """
        index = self._read_file(f"{name}.nbi", 65536)
        if index is None:
            return None
        try:
            about = json.loads(index)
            size, digest = about["bytes"], about["sha256"]
        except (ValueError, KeyError, TypeError):
            raise DamagedError(f"{name}.nbi is {'damaged' if index else 'empty'}") from None
        content = self._read_file(f"{name}.nbc", _LARGEST)
        if content is None:
            raise DamagedError(f"{name}.nbc is missing")
        if len(content) != size:
            raise DamagedError(f"{name}.nbc has {len(content)} of {size} bytes")
        if hashlib.sha256(content).hexdigest() != digest:
            raise DamagedError(f"{name}.nbc has another content than was written")
        return content

    def write(self, name: str, content: bytes, **about: str) -> None:
        """Keep an entry; a good one of that name that another process has written meanwhile is left alone.

        Raises:
            OSError: the disk will not have it.
        """
        index = {**about, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        with self._locked():  # the two files of one entry are of one process
            with contextlib.suppress(DamagedError):
                if self.read(name) is not None:
                    return
            self._write_file(f"{name}.nbc", content)
            self._write_file(f"{name}.nbi", json.dumps(index).encode() + b"\n")

    def survey(self) -> Survey:
        """Look at every entry."""
        ready, damaged = [], {}
        for file in sorted(os.listdir(self._handle)):
            if not file.endswith(".nbi") or not _OURS.fullmatch(file):
                continue
            try:
                if self.read(file[:-4]) is not None:
                    ready.append(file[:-4])
            except DamagedError as error:
                damaged[file[:-4]] = str(error)
        return Survey(ready, damaged)

    def remove(self, names: Iterable[str]) -> None:
        """Forget entries, as far as the disk lets itself be written; what lies in their place goes with them."""
        for file in (f"{name}{suffix}" for name in names for suffix in (".nbi", ".nbc")):
            with contextlib.suppress(OSError):
                try:
                    os.unlink(file, dir_fd=self._handle)
                except IsADirectoryError:
                    os.rmdir(file, dir_fd=self._handle)

    def write_obstacle(self) -> str:
        """Empty if entries can be written, else why not."""
        name = f"try-{uuid.uuid4().hex[:8]}"
        try:
            self._write_file(f"{name}.part", bytes(4096))
            os.unlink(f"{name}.part", dir_fd=self._handle)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _read_file(self, file: str, limit: int) -> bytes | None:
        try:
            return read_file(self._handle, file, limit)
        except FileNotFoundError:
            return None
        except UntrustedError as error:
            raise DamagedError(f"{file} {error}") from None
        except OSError as error:
            raise DamagedError(f"{file} cannot be read ({error.strerror})") from None

    def _write_file(self, file: str, content: bytes) -> None:
        write_file(self._handle, file, content)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock; after a second without it all the same, at the price of an entry made twice."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # not waiting for the reader of a pipe
        handle = os.open(".lock", flags, 0o644, dir_fd=self._handle)
        try:
            _lock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _lock(file: IO[bytes] | int, kind: int) -> None:
    """Lock a file or handle; after a second go on without: somebody who holds it for ever must not stop a start."""
    for _ in range(50):
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # some network file systems have no locks
            return None
    return None


def sweep(folder: Path) -> None:
    """Remove the files of dead writers in ``folder``, and its longest unused siblings that no process has open."""
    with contextlib.suppress(OSError, UntrustedError):
        handle = open_folder(folder)
        try:
            sweep_parts(handle, _PART)
        finally:
            os.close(handle)
    with contextlib.suppress(OSError):
        others = [path for path in folder.parent.iterdir() if _KEY.fullmatch(path.name) and path.name != folder.name
                  and not path.is_symlink() and path.is_dir()]
        for other in sorted(others, key=lambda path: -path.stat().st_mtime)[_KEPT_FOLDERS:]:
            with contextlib.suppress(OSError):
                _removed(other)


def _removed(folder: Path) -> None:
    """Remove a folder of kernels, unless somebody has it open or keeps something else in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        files = os.listdir(handle)
        if not untrusted(os.fstat(handle)) and all(_OURS.fullmatch(file) for file in files):
            for file in files:
                os.unlink(file, dir_fd=handle)
            folder.rmdir()
    finally:
        os.close(handle)


def _opened(folder: Path, make: bool) -> int:
    """A handle of ``folder`` with a lock that keeps it from being swept away."""
    for _ in range(3):
        if folder.is_symlink():
            raise UntrustedError("is a link")
        try:
            handle = open_folder(folder, make)
        except FileNotFoundError:
            if make:  # swept away just now
                continue
            raise
        _lock(handle, fcntl.LOCK_SH)
        about = os.fstat(handle)
        if about.st_nlink:
            _touch(handle, about.st_mtime)
            return handle
        os.close(handle)
    raise FileNotFoundError(2, "it is removed again and again", str(folder))


def _touch(handle: int, last: float) -> None:
    """Note that the folder is in use, once a day."""
    if abs(time.time() - last) > _DAY_S:
        with contextlib.suppress(OSError):
            os.utime(handle)
