# SPDX-License-Identifier: Apache-2.0
"""An output is never an input, by whatever name: path, symbolic or hard link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..errors import OutputError
from ..io.files import destination, readable

Identity = tuple[int, int]  # device and number of a file on it


def identity(path: str | Path) -> Identity | None:
    """Of the plain file that the name leads to; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def refuse_inputs(outputs: Mapping[str, str | Path | None], inputs: Iterable[str | Path | None],
                  deep: bool = False) -> None:
    """Before the work: no output may be a file that is read, or another output.

    Args:
        outputs: name by option, None where it was not given.
        inputs: files and folders; of a folder every file counts, with ``deep`` also those further down.

    Raises:
        OutputError: names the option and both files.
    """
    given = {option: Path(path) for option, path in outputs.items() if path}
    _refuse_twins(given)
    taken: dict[Identity, tuple[str, Path]] = {}
    for option, path in given.items():
        for name in (path, path.with_name(path.name + ".part") if path.name else path):
            if (found := identity(name)) is not None:
                taken.setdefault(found, (option, name))
    if not taken:
        return  # what does not exist yet cannot be read
    for file in input_files(inputs, deep):
        if (found := identity(file)) in taken:
            option, name = taken[found]
            same = "" if os.path.abspath(name) == os.path.abspath(file) else f" (the same file as {_name(file)})"
            raise OutputError(f"{option} {_name(name)}{same} is read by this command and would be overwritten; give "
                              "the name of another file")


def input_files(inputs: Iterable[str | Path | None], deep: bool = False) -> Iterator[Path]:
    """The files that are meant by files and folders; a folder that is linked in a circle is entered once."""
    waiting, entered = [Path(path) for path in inputs if path], set()
    tops = set(map(id, waiting))
    while waiting:
        path = waiting.pop()
        if not path.is_dir():
            yield path
            continue
        if not (deep or id(path) in tops):
            continue
        real = os.path.realpath(path)
        if real in entered:
            continue
        entered.add(real)
        try:
            waiting += sorted(path.iterdir())
        except OSError:
            continue


def _refuse_twins(given: Mapping[str, Path]) -> None:
    seen: dict[object, str] = {}
    for option, path in given.items():
        with contextlib.suppress(OSError):  # what cannot be written is told by who opens it
            if destination(path).in_place:
                continue  # two may well go to one terminal
        key = identity(path) or os.path.realpath(path)
        if key in seen:
            raise OutputError(f"{seen[key]} and {option} name the same file, {_name(path)}; give two names")
        seen[key] = option


def _name(path: Path) -> str:
    return readable(str(path))
