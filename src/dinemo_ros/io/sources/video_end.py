# SPDX-License-Identifier: Apache-2.0
"""Whether a video file is whole, by the sizes that its container states.

Counting frames does not tell: the count of most containers is an estimate, duration times frame rate, and a telephone's
trimmed video holds frames that are not to be shown. A cut cannot be seen where the container states no size (raw
streams, transport streams cut between two packets, recordings that were not closed).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..content import HEAD_BYTES, JPEG_START

_TAIL_BYTES = 1 << 16
_SEGMENT = 0x18538067
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST = 1  # its size was not known when the header was written
_MANY = 100_000  # boxes and chunks that are looked at
_NAME = re.compile(rb"[\x20-\x7e\xa9]{4}")  # of a box
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"pnot", b"skip", b"free", b"styp", b"moof")


def missing_bytes(path: Path) -> int:
    """How many bytes the container states that the file does not have, at least; 0 if it is whole as far as can be
    told. A number of 1 stands for an end that is missing, of unknown size."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            return max(0, _measure(head)(file, head, size))
    except (OSError, IndexError):
        return 0


def ends_in_zeros(path: Path) -> bool:
    """True where the last 4096 bytes are zeros: a place that was reserved and never written."""
    try:
        with path.open("rb") as file:
            return not _tail(file, os.fstat(file.fileno()).st_size)[-4096:].strip(b"\0")
    except OSError:
        return False


def _measure(head: bytes) -> Callable[[BinaryIO, bytes, int], int]:
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska
    if head[:4] == b"RIFF":
        return _avi
    if head[:3] == b"FLV":
        return _flash
    if head[:4] == b"\x30\x26\xb2\x75":
        return _asf
    if head[:4] == b"GIF8":
        return lambda file, head, size: 0 if _tail(file, size).rstrip(b"\0").endswith(b";") else 1
    if head[:4] == b"OggS":
        return _ogg
    if head[:4] == b"\0\0\1\xba":
        return _program_stream
    if head[4:8] in _FIRST_BOXES:
        return _mp4
    if head[:2] == JPEG_START:  # motion JPEG: the last picture has an end marker
        return lambda file, head, size: 0 if b"\xff\xd9" in _tail(file, size)[-64:] else 1
    if head[:4] == b"DKIF":
        return _ivf
    if head[:1] == b"G" or head[4:5] == b"G":
        return _transport_stream
    return lambda file, head, size: 0


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read(_TAIL_BYTES)


def _mp4(file: BinaryIO, head: bytes, size: int) -> int:
    at = 0
    for _ in range(_MANY):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8 or not _NAME.fullmatch(header[4:8]):  # the end, or other bytes behind it
            return 8 - len(header) if 0 < len(header) < 8 else 0
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # to the end of the file
            return 0
        if length < 8:
            return 0
        at += length
        if at >= size:
            return at - size
    return 0


def _vint(data: bytes, at: int, keep_marker: bool) -> tuple[int, int, bool]:
    """EBML's numbers of variable length: value, where it ends, whether it stands for unknown."""
    length = 9 - data[at].bit_length()
    if length > 8:
        raise IndexError(at)
    value = int.from_bytes(data[at:at + length], "big")
    bare = value & ((1 << 7 * length) - 1)
    return (value if keep_marker else bare), at + length, bare == (1 << 7 * length) - 1


def _matroska(file: BinaryIO, head: bytes, size: int) -> int:
    at = 0
    for _ in range(8):
        name, place, _ = _vint(head, at, keep_marker=True)
        length, place, unknown = _vint(head, place, keep_marker=False)
        if name == _SEGMENT:
            return 0 if unknown else place + length - size
        at = place + length
    return 0


def _avi(file: BinaryIO, head: bytes, size: int) -> int:
    """One chunk, or with OpenDML several of a gigabyte each."""
    at = 0
    for _ in range(_MANY):
        file.seek(at)
        header = file.read(8)
        if header[:4] != b"RIFF" or len(header) < 8:
            return 0
        length = int.from_bytes(header[4:8], "little")
        if length in (0, 0xFFFFFFFF):  # a recording that was not closed does not know
            return 0
        at += 8 + length
        if at > size:
            return at - size
        at += length & 1
    return 0


def _flash(file: BinaryIO, head: bytes, size: int) -> int:
    """Tags, each followed by its length; some writers state the size of the file in the first."""
    tail = _tail(file, size)
    last = int.from_bytes(tail[-4:], "big")
    if last + 4 <= len(tail):
        tag = tail[-4 - last:]
        return 0 if last == 0 or (tag[0] & 0x1F in (8, 9, 18) and int.from_bytes(tag[1:4], "big") + 11 == last) else 1
    if last + 4 > size:
        return 1
    file.seek(size - 4 - last)
    return 0 if int.from_bytes(file.read(4)[1:], "big") + 11 == last else 1


def _ivf(file: BinaryIO, head: bytes, size: int) -> int:
    """Frames behind a header of 12 bytes each, the first four their length."""
    at = int.from_bytes(head[6:8], "little")
    for _ in range(_MANY):
        file.seek(at)
        header = file.read(12)
        if not header:
            return 0
        at += 12 + int.from_bytes(header[:4], "little")
        if at >= size:
            return at - size
    return 0


def _asf(file: BinaryIO, head: bytes, size: int) -> int:
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or int.from_bytes(head[at + 88:at + 92], "little") & _BROADCAST:
        return 0
    return int.from_bytes(head[at + 40:at + 48], "little") - size


def _ogg(file: BinaryIO, head: bytes, size: int) -> int:
    """Pages with a table of the lengths that follow; a page's flag of 4 ends its stream."""
    tail = _tail(file, size)
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return 1
    segments = tail[at + 27:at + 27 + tail[at + 26]]
    missing = at + 27 + tail[at + 26] + sum(segments) - len(tail)
    return missing if missing > 0 else 0 if tail[at + 5] & 4 else 1


def _program_stream(file: BinaryIO, head: bytes, size: int) -> int:
    """The last packet of a stream; its length, where it has one, is known."""
    tail = _tail(file, size)
    packets = [m.start() for m in re.finditer(rb"\x00\x00\x01[\xbb-\xef]", tail)]
    if not packets:
        return 0
    at = packets[-1]
    return at + 6 + int.from_bytes(tail[at + 4:at + 6], "big") - len(tail) if at + 6 <= len(tail) else 1


def _transport_stream(file: BinaryIO, head: bytes, size: int) -> int:
    packet = 188 if head[188:189] == b"G" == head[:1] else 192 if head[196:197] == b"G" == head[4:5] else 1
    return -size % packet
