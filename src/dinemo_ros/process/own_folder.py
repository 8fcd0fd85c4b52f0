# SPDX-License-Identifier: Apache-2.0
"""Folders that nobody else can have written to, and the files in them: what every cache of this package is kept in.

As ssh looks at its keys: the folder belongs to this user (or to root, whose files run anyway) and gives nobody else the
right to write, and so does every folder above it, but for those like /tmp in which nobody moves what is another's.
Files are opened by their names in the folder that was looked at, never through a link, and only regular ones.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
import uuid
from pathlib import Path

from ..io.links import owners, resolved
from ..io.quoting import shown_path

ABANDONED_S = 3600.0  # age of an incomplete file from which on nobody is writing it any more
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LOOK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW  # needs no right to list what is in it
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class UntrustedError(Exception):
    """A folder or file that somebody else may have written; the text says why, to stand behind its name."""


def untrusted(about: os.stat_result) -> str:
    """Empty if only this user and root may have written what ``about`` is about, else why not."""
    if about.st_uid not in (os.geteuid(), 0):
        return f"belongs to another user ({about.st_uid})"
    return _open_to_others(about) if about.st_mode & _OTHERS_MAY_WRITE else ""


def _open_to_others(about: os.stat_result) -> str:
    return f"can be written by others (mode {stat.S_IMODE(about.st_mode):o})"


def open_folder(folder: Path, make: bool = False) -> int:
    """A handle of ``folder``; whoever asks for it closes it.

    make: it and what is missing above it, where it is not there; without the right to write for others.

    Raises:
        UntrustedError: somebody else may have written to it, or put it there. OSError: it is not there.
    """
    if not folder.is_absolute():
        raise UntrustedError("is no absolute path")
    try:
        *above, last = resolved(folder).parts[1:] or ("",)
    except PermissionError as error:
        raise UntrustedError(error.strerror) from None
    handle, place = os.open("/", _LOOK), Path("/")
    try:
        for name in (*above, last) if last else ():
            if why := _unsafe_above(handle):
                raise UntrustedError(f"lies in {shown_path(place)}, which {why}")
            place, inner = place / name, _entered(name, handle, make)
            os.close(handle)
            handle = inner
        if why := untrusted(os.fstat(handle)):
            raise UntrustedError(why)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


def _entered(name: str, above: int, make: bool) -> int:
    try:
        return os.open(name, _LOOK, dir_fd=above)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):  # another process of ours was quicker
        os.mkdir(name, 0o755, dir_fd=above)
    return os.open(name, _LOOK, dir_fd=above)


def _unsafe_above(handle: int) -> str:
    """Empty if nobody else can put something else into the place of what lies in this folder, else why not."""
    about = os.fstat(handle)
    if about.st_uid not in owners():
        return untrusted(about)
    if not about.st_mode & _OTHERS_MAY_WRITE or about.st_mode & stat.S_ISVTX or _only_my_group(handle, about):
        return ""
    return _open_to_others(about)


def _only_my_group(handle: int, about: os.stat_result) -> bool:
    """Whether only a group may write that this user alone is in: so accounts of Debian and Fedora are made."""
    import grp
    import pwd

    if about.st_mode & stat.S_IWOTH or about.st_gid == 0:  # which containers run anybody in
        return False
    try:
        if "system.posix_acl_access" in os.listxattr(f"/proc/self/fd/{handle}"):
            return False  # further users, of whom the mode says nothing
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(about.st_gid)
        others = {account.pw_name for account in pwd.getpwall() if account.pw_gid == about.st_gid}
        return group.gr_name == me.pw_name and {*others, *group.gr_mem} <= {me.pw_name}
    except (KeyError, OSError):
        return False


def open_file(folder: int, name: str) -> int:
    """A handle to read a regular file with that only this user and root may have written.

    Raises:
        UntrustedError: it is something else. OSError: it is not there, or cannot be read.
    """
    try:
        handle = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UntrustedError("is a link") from None
        if error.errno == errno.ENXIO:
            raise UntrustedError("is no regular file") from None
        raise
    about = os.fstat(handle)
    why = untrusted(about) if stat.S_ISREG(about.st_mode) else "is no regular file"
    if why:
        os.close(handle)
        raise UntrustedError(why)
    return handle


def read_file(folder: int, name: str, limit: int) -> bytes:
    """The content of a file.

    Raises:
        UntrustedError: as for :func:`open_file`, or it has more than ``limit`` bytes. OSError: it cannot be read.
    """
    with os.fdopen(open_file(folder, name), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else b""
    if size > limit or len(content) > limit:
        raise UntrustedError(f"is too large (more than {limit / 1e6:.0f} MB)")
    return content


def write_file(folder: int, name: str, content: bytes, durable: bool = False) -> None:
    """Give a file this content, whole or not at all; what was there, a link too, is replaced.

    durable: it is on the disk before it has its name, for a power cut.

    Raises:
        OSError: the disk will not have it.
    """
    part = f".{name}.{uuid.uuid4().hex[:16]}.part"
    try:
        with os.fdopen(os.open(part, _WRITE, 0o644, dir_fd=folder), "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # readable for the user that the robot runs as, whatever the umask
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise


def sweep(folder: int, ours: re.Pattern) -> list[str]:
    """Remove what writers that were killed have left: old regular files of this user whose names are ``ours``."""
    removed = []
    with contextlib.suppress(OSError):
        for name in filter(ours.fullmatch, os.listdir(folder)):
            with contextlib.suppress(OSError):
                about = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid() and (
                        time.time() - about.st_mtime > ABANDONED_S):
                    os.unlink(name, dir_fd=folder)
                    removed.append(name)
    return removed
