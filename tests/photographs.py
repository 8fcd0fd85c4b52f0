# SPDX-License-Identifier: Apache-2.0
"""EXIF data as cameras write them, byte by byte: how Pillow is asked to write some differs between its versions."""

import struct

_ORIENTATION, _EXIF_DIRECTORY, _FOCAL_LENGTH_IN_35MM_FILM = 0x0112, 0x8769, 0xA405
_SHORT, _LONG = 3, 4  # types


def exif(focal_mm: int, orientation: int = 1) -> bytes:
    """What goes into ``PIL.Image.Image.save(..., exif=...)``."""
    first, second = 8, 8 + 2 + 2 * 12 + 4  # where the two directories begin
    header = struct.pack("<2sHI", b"II", 42, first)
    main = struct.pack("<H", 2) + _entry(_ORIENTATION, _SHORT, orientation) + _entry(_EXIF_DIRECTORY, _LONG, second)
    more = struct.pack("<H", 1) + _entry(_FOCAL_LENGTH_IN_35MM_FILM, _SHORT, focal_mm)
    end = struct.pack("<I", 0)  # no directory follows
    return b"Exif\0\0" + header + main + end + more + end


def _entry(tag: int, kind: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, 1, value)
