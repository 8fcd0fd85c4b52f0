# SPDX-License-Identifier: Apache-2.0
"""Which way up an MP4 or QuickTime video is stored, by the matrix of its track (ISO/IEC 14496-12, 8.3.2).

OpenCV turns videos by itself, but mirrored ones wrongly, and some versions by the wrong sign.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..isobmff import boxes, child

_LARGEST_INDEX = 1 << 26  # bytes of a "moov" box that are read
_BOXES = 100_000  # of a file that are looked at; a recording in pieces has two a second
_ONE = 1 << 16  # 16.16 fixed point
# (a, b, c, d) of (x, y) -> (a x + c y, b x + d y), y down, to the numbers of EXIF in dinemo_ros.io.orientation.
_ORIENTATIONS: dict[tuple[int, ...], int] = {
    (1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4, (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8}


def stored_orientation(path: Path) -> int | None:
    """1 to 8 of the first video track; None where there is no such matrix: another container, or a matrix that does
    more than turn and mirror."""
    index = _index(path)
    for name, start, end in boxes(index):
        if name != b"trak":
            continue
        media = child(index, (start, end), b"mdia")
        handler = child(index, media, b"hdlr") if media else None
        header = child(index, (start, end), b"tkhd")
        if handler is None or header is None or index[handler[0] + 8:handler[0] + 12] != b"vide":
            continue
        return _ORIENTATIONS.get(_matrix(index[header[0]:header[1]]))
    return None


def _index(path: Path) -> bytes:
    """Content of the ``moov`` box, b"" if there is none."""
    try:
        with path.open("rb") as file:
            size, at = os.fstat(file.fileno()).st_size, 0
            for _ in range(_BOXES):
                if at + 8 > size:
                    break
                file.seek(at)
                header = file.read(16)
                length, begin = int.from_bytes(header[:4], "big"), 8
                if length == 1:
                    length, begin = int.from_bytes(header[8:16], "big"), 16
                elif length == 0:
                    length = size - at
                if length < begin:
                    return b""
                if header[4:8] == b"moov":
                    file.seek(at + begin)
                    return file.read(min(length - begin, _LARGEST_INDEX))
                at += length
    except OSError:
        pass
    return b""


def _matrix(header: bytes) -> tuple[int, ...]:
    """a, b, c, d of a track header, rounded; () if it is too short."""
    at = 52 if header[:1] == b"\1" else 40
    if len(header) < at + 20:
        return ()
    numbers = [int.from_bytes(header[at + 4 * i:at + 4 * i + 4], "big", signed=True) for i in (0, 1, 3, 4)]
    return tuple(round(number / _ONE) for number in numbers) if all(n % _ONE == 0 for n in numbers) else ()
