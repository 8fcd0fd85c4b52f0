# SPDX-License-Identifier: Apache-2.0
"""What libjpeg says about a damaged picture while OpenCV decodes it.

A JPEG that was damaged in its middle still decodes: from there on it is shifted, off in colour or grey. Only libjpeg
notices, in passing (codes that do not exist, data left over or missing), and writes it to the standard error stream;
OpenCV and Pillow offer no other way to it, and decoding a second time to look costs as much as the first. So the stream
is caught while the decoder works, some milliseconds; what others write to it in that time is passed on.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable
from typing import TypeVar

_STDERR = 2
_LIBJPEG = re.compile(rb"^(?:Corrupt JPEG data: |Premature end of JPEG|Warning: unknown JFIF|Inconsistent progression|"
                      rb"Invalid SOS|Invalid component ID|Bogus|Unsupported marker|Application transferred)[^\n]*\n?",
                      re.M)
_DAMAGE = (b"Corrupt JPEG data: ", b"Premature end of JPEG")  # the others are of files that are odd and whole
_EXTRANEOUS = re.compile(rb"(\d+) extraneous bytes before marker 0xd9")
_FEW = 8  # bytes: what is damaged in its middle leaves more
_Result = TypeVar("_Result")


class _Catcher:
    """The file that stands in for the standard error stream; one of the process, for the stream is one as well."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._file: int | None = None
        self._owner = 0

    def file(self) -> int:
        if self._file is None or self._owner != os.getpid():  # a forked child must not share its parent's
            if hasattr(os, "memfd_create"):
                self._file = os.memfd_create("libjpeg_warnings")
            else:
                with tempfile.TemporaryFile() as file:
                    self._file = os.dup(file.fileno())
            self._owner = os.getpid()
        return self._file


_CATCHER = _Catcher()


def with_warnings(decode: Callable[[], _Result]) -> tuple[_Result, bytes]:
    """``decode()`` and the first line that libjpeg wrote meanwhile, b"" if none (or if there is no standard error)."""
    with _CATCHER.lock:
        try:
            file = _CATCHER.file()
            kept = os.dup(_STDERR)
        except OSError:  # closed, as under some daemons, or no more files: then there is nothing to catch
            return decode(), b""
        try:
            os.dup2(file, _STDERR, inheritable=True)
            try:
                result = decode()
            finally:
                os.dup2(kept, _STDERR, inheritable=True)
                written = _take(file)
        finally:
            os.close(kept)
    found = _LIBJPEG.search(written)
    others = _LIBJPEG.sub(b"", written)
    if others:
        _pass_on(others)
    return result, found[0].strip() if found and found[0].startswith(_DAMAGE) else b""


def _take(file: int) -> bytes:
    """What was written into ``file`` since the last time."""
    size = os.lseek(file, 0, os.SEEK_CUR)
    if size == 0:
        return b""
    os.lseek(file, 0, os.SEEK_SET)  # the next one writes over it
    return os.pread(file, size, 0)


def _pass_on(text: bytes) -> None:
    try:
        os.write(_STDERR, text)
    except OSError:  # a full or closed stream is not our matter
        pass


def is_padding(warning: bytes, data: bytes) -> bool:
    """True if ``warning`` is only about bytes of filling before the end marker of ``data``.

    Many webcams leave some in every picture: zeros, 0xff, or a few of whatever was in their buffer.
    """
    found = _EXTRANEOUS.search(warning)
    end = data.rfind(b"\xff\xd9")
    if found is None or end < 0:
        return False
    filling = data[max(0, end - int(found[1])):end]
    return len(filling) <= _FEW or not filling.strip(b"\0") or not filling.strip(b"\xff")


def of_known_version(data: bytes) -> bytes:
    """``data`` with a JFIF version that libjpeg knows: it says one thing of a picture, and that should be of damage."""
    if data[2:4] == b"\xff\xe0" and data[6:11] == b"JFIF\0" and data[11:12] != b"\x01":
        return data[:11] + b"\x01" + data[12:]
    return data
