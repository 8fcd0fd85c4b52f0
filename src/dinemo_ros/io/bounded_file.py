# SPDX-License-Identifier: Apache-2.0
"""Files of strangers, read as far as they are allowed to be long: what is too large is refused by its size, unread."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from ..errors import DocumentError

_CHUNK = 1 << 20  # bytes
_LONGEST_NAME = 255  # bytes, on nearly all file systems
_UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"))


def read_bounded(path: str | os.PathLike, largest: int, pipes: bool = False) -> bytes:
    """Content of a plain file, or of a pipe or device where ``pipes`` are allowed, of up to ``largest`` bytes.

    Raises:
        DocumentError: it is larger, no plain file, or cannot be read.
    """
    try:
        # A pipe that nobody writes to would keep open() for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK))
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode) or not (pipes or stat.S_ISREG(found.st_mode)):
                raise DocumentError("cannot be read (Is a directory)" if stat.S_ISDIR(found.st_mode) else
                                    "cannot be read (it is a pipe, a socket or a device); give a file")
            if found.st_size > largest:
                raise DocumentError(f"is larger than {size_in_words(largest)}, which is the most that is read "
                                    f"({size_in_words(found.st_size)})")
            data = _up_to(file, largest + 1, found.st_size)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"cannot be read ({reason})") from error
    if len(data) > largest:  # a device, or a file that grows
        raise DocumentError(f"is larger than {size_in_words(largest)}, which is the most that is read")
    return data


def _up_to(file: BinaryIO, most: int, expected: int) -> bytes:
    """``file.read(most)``, which takes all that memory beforehand however short the file is."""
    data = file.read(min(most, expected + 1))
    parts, count = [data], len(data)
    while data and count < most:
        data = file.read(min(most - count, _CHUNK))
        parts.append(data)
        count += len(data)
    return b"".join(parts)


def size_in_words(count: int) -> str:
    """Bytes as a person reads them: "64 KiB"."""
    for bits, unit in _UNITS:
        if count >= 1 << bits:
            return f"{count / (1 << bits):.3g} {unit}" if count < 1000 << bits else f"{count >> bits} {unit}"
    return f"{count} bytes"


def is_name(text: str) -> bool:
    """Whether ``text`` is one name of a file or folder, and not a way to another place."""
    return text not in ("", ".", "..") and not set("/\0") & set(text) and len(os.fsencode(text)) <= _LONGEST_NAME
