# SPDX-License-Identifier: Apache-2.0
"""Text that others chose (names, formats, encodings) in our sentences: one line, printable, of a size to read."""

from __future__ import annotations

from pathlib import PurePath

#: Characters of a file name that are shown; file systems allow 255 bytes.
NAME_LIMIT = 120


def shown(text: str | PurePath, limit: int = NAME_LIMIT) -> str:
    """``text`` cut to ``limit`` characters, what is not printable (line ends, terminal controls, bytes of a file name
    that are no UTF-8) as escapes."""
    text = str(text)
    return _escaped(text[:limit]) + "..." * (len(text) > limit)


def shown_path(path: str | PurePath) -> str:
    """A path as it can be read in a sentence; whole, as far as a system takes it."""
    return shown(path, 4096)


def quoted(text: str, limit: int = 80) -> str:
    """``text`` in quotes, escaped as by :func:`shown`; of more than ``limit`` characters the beginning and ``...``."""
    text = str(text)
    return f"'{_escaped(text[:limit])}'" + "..." * (len(text) > limit)


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte of a name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
