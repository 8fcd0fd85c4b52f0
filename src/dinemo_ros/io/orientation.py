# SPDX-License-Identifier: Apache-2.0
"""Which way up the pixels of a picture file are stored, as numbers of EXIF 2.32, tag 274: 1 as they are to be seen,
2 mirrored left to right, 3 turned by half, 4 mirrored top to bottom, 5 rows and columns exchanged, 6 to be turned
clockwise, 7 exchanged about the other diagonal, 8 to be turned counter-clockwise."""

from __future__ import annotations

from typing import Literal

import numpy as np

from . import tiff
from .content import JPEG_START, PNG_START
from .isobmff import primary_properties
from .jpeg_header import segments

_TURNS = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
          5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
          8: lambda a: np.rot90(a)}
_CHUNKS = 100_000  # that are looked through for EXIF data
_BACK = {6: 8, 8: 6}  # all the others undo themselves
# ISO/IEC 23008-12: quarter turns counter-clockwise, then mirrored: axis 0 top to bottom, 1 left to right.
_AVIF = {(0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6, (0, 0): 4, (0, 1): 2, (1, 0): 5, (1, 1): 7,
         (2, 0): 2, (2, 1): 4, (3, 0): 7, (3, 1): 5}


def upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    """``picture`` [H, W, ...], stored as ``orientation`` (EXIF 2.32, tag 274) says, as it is to be seen.

    uint8 or any other samples, masks too. The very array for 1, else a new one; for 5 to 8 it is [W, H, ...].
    """
    return picture if orientation == 1 else np.ascontiguousarray(_TURNS[orientation](picture))


def as_stored(picture: np.ndarray, orientation: int) -> np.ndarray:
    """Undo :func:`upright`: ``picture`` [H, W, ...] as it is to be seen, uint8 or other samples, as it is stored."""
    return upright(picture, _BACK.get(orientation, orientation))


def is_tiff(data: bytes) -> bool:
    """TIFF is the one kind that OpenCV turns whether asked to or not."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def orientation_of(data: bytes) -> int:
    """1 to 8 of the bytes of a JPEG, PNG, WebP, TIFF or AVIF file; 1 where it does not say or says nonsense."""
    if data[:2] == JPEG_START:
        found = _of_exif(data, _exif_of_jpeg(data))
    elif data[:8] == PNG_START:
        found = _of_exif(data, _chunk(data, b"eXIf", 8, "big", crc=4, name_first=False))
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        found = _of_exif(data, _chunk(data, b"EXIF", 12, "little", crc=0, name_first=True))
    elif is_tiff(data):
        found = _of_exif(data, 0)
    elif data[4:8] == b"ftyp":
        found = _of_avif(data)
    else:
        found = 1
    return found if found in _TURNS else 1


def _of_exif(data: bytes, at: int | None) -> int:
    if at is None:
        return 1
    at += 6 if data[at:at + 6] == b"Exif\0\0" else 0
    return tiff.directory(data, at).get(tiff.ORIENTATION, 1)


def _exif_of_jpeg(data: bytes) -> int | None:
    """Where the first EXIF segment's content begins."""
    return next((start for kind, start, _ in segments(data)
                 if kind == 0xE1 and data[start:start + 6] == b"Exif\0\0"), None)


def _chunk(data: bytes, name: bytes, at: int, order: Literal["little", "big"], crc: int,
           name_first: bool) -> int | None:
    """Where the content of the first chunk of that name begins, in a PNG (length, name, ..., CRC) or in a RIFF file
    (name, length, ..., padded to even)."""
    for _ in range(_CHUNKS):
        if at + 8 > len(data):
            break
        found, length = data[at + 4:at + 8], data[at:at + 4]
        if name_first:
            found, length = length, found
        size = int.from_bytes(length, order)
        if found == name:
            return at + 8
        at += 8 + size + crc + (size & 1 if name_first else 0)
    return None


def _of_avif(data: bytes) -> int:
    turns, axis = 0, None
    for name, content in primary_properties(data):
        if name == b"irot" and content:
            turns = content[0] & 3
        elif name == b"imir" and content:
            axis = content[0] & 1
    return _AVIF[turns, axis]
