# SPDX-License-Identifier: Apache-2.0
"""The one way in which files are written: whole or not at all, and through pipes, devices and links, never over them.

A plain file is written beside its place and moved there when it is complete, whatever happens meanwhile: full disk,
kill, power cut. Of a symbolic link the file behind it is replaced and the link stays. A pipe, a terminal or another
character device is opened and written to. Sockets, disks and folders are refused, and so are links and pipes of other
users: they decide where the output goes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from .links import ForeignLink, owners, resolved

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)
_PART = ".part"  # what a file is called, behind a dot, its name and something random, until it is complete
_TRIES = 10
_MAX_LINKS = 40  # as Linux


class RefusedOutput(OSError):
    """A place that is no place for an output; ``strerror`` says what it is and what to give."""


@dataclass(frozen=True)
class Destination:
    """What the name of an output stands for.

    path: of the file itself, links followed. in_place: a pipe or a device, to be opened and never replaced.
    descriptor: which open one of this process is meant (``/dev/stdout``, ``>(command)`` of a shell), None: none.
    """

    path: Path
    in_place: bool = False
    descriptor: int | None = None


def destination(path: str | Path) -> Destination:
    """Where an output called ``path`` goes; nothing is opened.

    Raises:
        RefusedOutput: it cannot be an output. OSError: it cannot be looked at.
    """
    path = Path(path)
    plain = _resolved(path)  # before a link is believed that says which open file is meant
    descriptor = _own_descriptor(path)
    if descriptor is not None:
        if descriptor == 1 and (sys.stdout is None or sys.stdout.closed):  # only held open, see console.py
            raise RefusedOutput(errno.EBADF, "is closed; redirect it to a file")
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise RefusedOutput(errno.EBADF, "is not open for writing")
        return Destination(path, True, descriptor)
    try:
        about = path.stat()
    except FileNotFoundError:
        return Destination(plain)  # new, or what a link points to in vain
    mode = about.st_mode
    if stat.S_ISREG(mode):
        return Destination(plain)
    if stat.S_ISDIR(mode):
        raise RefusedOutput(errno.EISDIR, "is a folder; give the name of a file")
    if stat.S_ISSOCK(mode):
        raise RefusedOutput(errno.ENXIO, "is a socket; give the name of a file or a pipe")
    if stat.S_ISBLK(mode):
        raise RefusedOutput(errno.EINVAL, "is a disk; give the name of a file on it")
    if stat.S_ISFIFO(mode) and about.st_uid not in owners():
        raise RefusedOutput(errno.EACCES, f"is a pipe of another user ({about.st_uid}); give another name")
    return Destination(path, True)


def _resolved(path: Path) -> Path:
    try:
        return resolved(path)
    except ForeignLink as error:
        raise RefusedOutput(error.errno, error.strerror) from None


def own_place(path: str | Path) -> Path:
    """``path`` without links, to make a folder there.

    Raises:
        OutputError: it is reached by a link that another user has made, or cannot be looked at.
    """
    try:
        return _resolved(Path(path))
    except OSError as error:
        raise _told(path, error) from error


def require_plain(path: str | Path) -> None:
    """Have a plain file of this user's called ``path``, an empty one if need be, for libraries that write in place.

    Raises:
        OutputError: it cannot be written, or is something else: a link, a pipe, a file with a second name.
    """
    try:
        os.close(_open_own(_resolved(Path(path).parent) / Path(path).name))
    except OSError as error:
        raise _told(path, error) from error


def open_log(path: str | Path) -> io.TextIOWrapper:
    """A text file to add lines to, made if need be.

    Raises:
        OutputError: it cannot be written, or is no plain file of this user's under this one name.
    """
    try:
        return os.fdopen(_open_own(_resolved(Path(path).parent) / Path(path).name, os.O_APPEND), "a", encoding="utf-8")
    except OSError as error:
        raise _told(path, error) from error


def _told(path: str | Path, error: OSError) -> OutputError:
    """What went wrong in one sentence."""
    reason = error.strerror or error
    return OutputError(f"{readable(str(path))}: " + (f"{reason}" if isinstance(error, RefusedOutput) else
                                                     f"cannot be written ({reason})"))


def _own_descriptor(path: Path) -> int | None:
    """The number of ``/dev/fd/N``, ``/dev/stdout`` and of links to them."""
    ours = os.path.realpath("/proc/self/fd")
    for _ in range(_MAX_LINKS):
        if path.name.isdecimal() and os.path.realpath(path.parent) in (ours, "/dev/fd"):
            return int(path.name)
        try:
            path = path.parent / os.readlink(path)
        except OSError:  # no link
            return None
    return None


class AtomicFile:
    """Text file, opened at once, that has its name when it is complete; see the module for what is no plain file.

    Every line is on its way when it is written. After an exception what was written so far stays in ``NAME.part``, and
    the log says so: hours of poses are not thrown away. Two processes cannot write the same file.

    Raises:
        OutputError: the place cannot be written; at once, not after the work is done.
    """

    def __init__(self, path: str | Path) -> None:
        self._name = readable(str(path))
        with self._told():
            place = destination(path)
            self._path = place.path
            self._part = None if place.in_place else self._path.with_name(self._path.name + _PART)
            if self._part is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                handle = _open_part(self._part)
            elif place.descriptor is not None:
                handle = os.dup(place.descriptor)
            else:
                handle = os.open(self._path, os.O_WRONLY | os.O_NOCTTY)  # of a pipe: waits for its reader
            self._file = os.fdopen(handle, "w", encoding="utf-8")
        self._empty = True

    def __enter__(self) -> AtomicFile:
        return self

    def write(self, text: str) -> None:
        """Append ``text``, which is on its way to the disk when this returns.

        Raises:
            OutputError: it cannot be written.
        """
        with self._told():
            self._file.write(readable(text))
            self._file.flush()
        self._empty = self._empty and not text

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._told():
            if kind is None and self._part is not None:
                os.fsync(self._file.fileno())
                _take_place(self._part, self._path)
            elif self._part is not None and self._empty:
                self._part.unlink(missing_ok=True)
            elif self._part is not None:
                _log.warning("%s is not complete; what was finished is in %s", self._name, readable(str(self._part)))
            self._file.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """OSError as one sentence."""
        try:
            yield
        except OSError as error:
            raise _told(self._name, error) from error


def check_output_file(path: str | Path | None) -> None:
    """OutputError now and not after the work, if the file (None: no file is wanted) will not be writable.

    A pipe or a device is not opened for that: its reader would see the end.
    """
    if not path:
        return
    try:
        place = destination(path)
        if place.in_place:
            if place.descriptor is None and not os.access(place.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        place.path.parent.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix=f".{place.path.name[:40]}.", suffix=_PART, dir=place.path.parent)
        os.close(handle)
        os.unlink(probe)
    except OSError as error:
        raise _told(path, error) from error


def write_file(path: str | Path, content: bytes | str, durable: bool = True) -> None:
    """Give the file called ``path`` this content (text as UTF-8), whole or not at all.

    durable: see :func:`replace_files`.

    Raises:
        OutputError: it cannot be written; a plain file is what it was.
    """
    data = readable(content).encode() if isinstance(content, str) else content
    try:
        place = destination(path)
        if not place.in_place:
            replace_files(place.path.parent, {place.path.name: data}, durable)
            return
        handle = os.open(place.path, os.O_WRONLY | os.O_NOCTTY) if place.descriptor is None else os.dup(
            place.descriptor)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError as error:
        raise _told(path, error) from error


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """``arrays`` [...] of any shape, by their names, as a compressed npz called ``path``.

    Raises:
        OutputError: as for :func:`write_file`.
    """
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # by numpy's stub one may be allow_pickle
    write_file(path, buffer.getvalue())


@contextlib.contextmanager
def completed(path: str | Path) -> Iterator[Path]:
    """A name to write to, with the same ending, for libraries that want one; at the end of the block it is ``path``.

    Raises:
        OutputError: ``path`` cannot be written. Nothing is left of a block that failed.
    """
    try:
        place = destination(path)
        folder = None if place.in_place else place.path.parent
        ending = _PART + place.path.suffix
        handle, name = tempfile.mkstemp(prefix=f".{place.path.stem[:200]}.", suffix=ending, dir=folder)
        os.fchmod(handle, 0o644)
        os.close(handle)
    except OSError as error:
        raise _told(path, error) from error
    part = Path(name)
    try:
        yield part
        if place.in_place:
            write_file(path, part.read_bytes())
        else:
            _take_place(part, place.path)
    except OSError as error:
        raise _told(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def replace_files(folder: Path, contents: Mapping[str, bytes], durable: bool = True) -> None:
    """Give the files of ``folder`` these contents, in this order; links in it stay links.

    All are written before the first takes its place, so what remains to go wrong is a kill between two renames.
    durable: they are on the disk before that, for a power cut; without, thousands of pictures are written faster.

    Raises:
        OSError: the disk will not have them, or one is no plain file; every file is what it was.
    """
    parts: list[tuple[str, Path]] = []
    try:
        for name, content in contents.items():
            place = destination(folder / name)
            if place.in_place:
                raise RefusedOutput(errno.EINVAL, "is a pipe or a device; remove it, or name another folder", name)
            target = place.path
            handle, part = tempfile.mkstemp(prefix=f".{target.name[:200]}.", suffix=_PART, dir=target.parent)
            parts.append((part, target))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)  # written by root for the user that the robot runs as
                file.flush()
                if durable:
                    os.fsync(file.fileno())  # a power cut must not leave the name without the content
        for part, target in parts:
            _take_place(Path(part), target)
    except BaseException:
        for part, _ in parts:
            with contextlib.suppress(OSError):
                Path(part).unlink(missing_ok=True)
        raise


def readable(text: str) -> str:
    """``text`` with what is no Unicode, as in file names of other encodings, as ``\\xNN``."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape" if _from_bytes(text) else "backslashreplace").decode(
            "utf-8", "backslashreplace")


def _from_bytes(text: str) -> bool:
    """Whether every lone surrogate stands for a byte, as Python has them in file names."""
    return all(not 0xD800 <= ord(c) < 0xE000 or 0xDC80 <= ord(c) < 0xDD00 for c in text)


def _open_part(part: Path) -> int:
    """A descriptor of the empty file ``part``, locked."""
    for _ in range(_TRIES):
        handle = _open_own(part)
        try:
            found = os.fstat(handle)
            _lock(handle)
            if _same(part, found):  # else the other process was just done with it
                os.ftruncate(handle, 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise OSError(errno.EBUSY, f"{part.name} beside it is replaced again and again by another process")


def _open_own(path: Path, flags: int = 0) -> int:
    """A descriptor to write to a plain file of this user's, made if need be.

    Neither through a link, nor waiting for the reader of a pipe of that name, nor into what another user has laid there
    to read it or to keep it afterwards; whose the folder is, his are its files, as on disks that know no owners.
    """
    handle = os.open(path, flags | os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1 and found.st_uid in (
            os.geteuid(), 0, path.parent.stat().st_uid):
        return handle
    os.close(handle)
    raise OSError(errno.EEXIST, f"{path.name} in {path.parent} is no file of ours; remove it")


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EBUSY, "another process is writing it") from None
    except OSError as error:  # some network file systems have no locks
        _log.debug("no lock (%s)", error)


def _same(path: Path, found: os.stat_result) -> bool:
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino)


def _take_place(part: Path, path: Path) -> None:
    """``part`` becomes ``path``, with the owner and the rights of the file that was there."""
    with contextlib.suppress(OSError):
        old = path.lstat()
        if stat.S_ISREG(old.st_mode):  # else laid there meanwhile
            handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fchown(handle, old.st_uid, old.st_gid)
                os.fchmod(handle, stat.S_IMODE(old.st_mode))
            finally:
                os.close(handle)
    _move(part, path)


def _move(part: Path, path: Path) -> None:
    try:
        os.replace(part, path)
    except OSError as error:
        if error.errno != errno.EBUSY:  # a file that is mounted there, as into a container, cannot be replaced
            raise
        path.write_bytes(part.read_bytes())
        part.unlink()
