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
    tail = f"...({len(text)} characters)" if len(text) > limit else ""
    return "".join(c if c.isprintable() else _escape(c) for c in text[:limit]) + tail


def shown_path(path: str | PurePath) -> str:
    """A path as it can be read in a sentence; whole, as far as a system takes it."""
    return shown(path, 4096)


def quoted(text: str, limit: int = 80) -> str:
    """As :func:`shown`, between quotation marks."""
    return f"'{shown(text, limit)}'"


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte of a name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
