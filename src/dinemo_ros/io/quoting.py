# SPDX-License-Identifier: Apache-2.0
"""Text that others chose (names, formats, encodings) in our sentences: one line, printable, of a size to read."""

from __future__ import annotations

import os
from collections.abc import Collection
from itertools import islice

#: Characters of a file name that are shown; file systems allow 255 bytes.
NAME_LIMIT = 120
_HEAD, _TAIL = 500, 200  # of a long sentence its beginning, where it is, and its end, what to do


def shown(text: object, limit: int = NAME_LIMIT) -> str:
    """The beginning of ``text`` in at most ``limit`` characters, and ``...`` where that is not all; what is not
    printable (line ends, terminal controls, bytes of a file name that are no UTF-8) as escapes."""
    text = str(text)
    begin = _begin(text, limit)
    return "".join(begin) + "..." * (len(begin) < len(text))


def shown_path(path: str | os.PathLike) -> str:
    """A path as it can be read in a sentence; whole, as far as a system takes it."""
    return shown(path, 4096)


def quoted(text: object, limit: int = 80) -> str:
    """``text`` in quotes, cut and escaped as by :func:`shown`. A quote or backslash in it gets a backslash before it:
    where it ends is said by us and not by who wrote it."""
    text = str(text)
    begin = _begin(text, limit, "\\'")
    return f"'{''.join(begin)}'" + "..." * (len(begin) < len(text))


def named(names: Collection[str], most: int, limit: int = 40) -> str:
    """The first ``most`` of ``names``, each in quotes and cut to ``limit``; ``...`` where there are more."""
    return ", ".join(quoted(name, limit) for name in islice(names, most)) + ", ..." * (len(names) > most)


def one_line(text: str, head: int = _HEAD, tail: int = _TAIL) -> str:
    """A whole sentence for a log or an error: one line, what is not printable escaped, of a long one both ends."""
    if len(text) <= head + tail and len(escaped := _escaped(text)) <= head + tail:
        return escaped
    end = _begin(text[-tail:][::-1], tail)
    return f"{''.join(_begin(text, head))} ... {''.join(reversed(end))}"


def harmless(text: str, layout: str = "\n\t") -> str:
    """Text of many lines for a terminal: what lays it out stays, any other control is escaped."""
    return text if text.isprintable() else "".join(c if c in layout or c.isprintable() else _escape(c) for c in text)


def _begin(text: str, limit: int, marked: str = "") -> list[str]:
    """Letters and escapes, one for each character of the beginning of ``text`` that has room in ``limit``."""
    begin, room = [], limit
    for c in text[:limit]:
        begin.append(f"\\{c}" if c in marked else c if c.isprintable() else _escape(c))
        room -= len(begin[-1])
        if room < 0:
            begin.pop()
            break
    return begin


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte of a name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
