# SPDX-License-Identifier: Apache-2.0
"""Symbolic links on the way to a file: those of this user and of root are followed, those of others are not.

Who may write to a folder that others write to as well, like /tmp, may lay a link there under a name that is going to be
written, and have any file of the writer's replaced.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import lru_cache
from pathlib import Path

from .quoting import shown_path

_MOST = 40  # as Linux


def owners() -> set[int]:
    """Who may have made links and folders that are believed: this user and root.

    A container of an ordinary user may know no root; the folders of the machine then show a number that stands for all
    whom it does not know.
    """
    return {os.geteuid(), 0, *_root_elsewhere()}


@lru_cache(maxsize=1)
def _root_elsewhere() -> tuple[int, ...]:
    try:
        known = [int(line.split()[0]) for line in Path("/proc/self/uid_map").read_text().splitlines()]
        return () if 0 in known else (int(Path("/proc/sys/kernel/overflowuid").read_text()),)
    except (OSError, ValueError, IndexError):
        return ()


class ForeignLink(PermissionError):
    """A link that another user has made; ``strerror`` says which and what to do."""


def resolved(path: str | Path) -> Path:
    """``path`` absolute and without links; what is not there is taken as it is written.

    Raises:
        ForeignLink: one of the links belongs to another user. OSError: the links go round in a circle, or a folder on
            the way cannot be looked into.
    """
    path = Path(path)
    whole = path if path.is_absolute() else Path.cwd() / path
    todo = list(reversed(whole.parts[1:]))
    found, links = Path("/"), 0
    while todo:
        name = todo.pop()
        if name == "..":
            found = found.parent
            continue
        here = found / name
        try:
            about = here.lstat()
        except (FileNotFoundError, NotADirectoryError):
            found = here
            continue
        if not stat.S_ISLNK(about.st_mode):
            found = here
            continue
        links += 1
        if links > _MOST:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if about.st_uid not in owners():
            raise ForeignLink(errno.EACCES, f"is reached by {shown_path(here)}, a link that another user "
                              f"({about.st_uid}) has made; remove it, or give another name", str(path))
        target = Path(os.readlink(here))
        if target.is_absolute():
            found = Path("/")
        todo += reversed(target.parts[target.is_absolute():])
    return found
