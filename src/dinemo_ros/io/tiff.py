# SPDX-License-Identifier: Apache-2.0
"""The first directory of a TIFF file (TIFF 6.0, 1992), which EXIF data and camera raw files are as well."""

from __future__ import annotations

import struct

WIDTH, HEIGHT, BITS_PER_SAMPLE, ORIENTATION, SAMPLES_PER_PIXEL = 256, 257, 258, 274, 277
ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT = 278, 322, 323
_SUBFILE_TYPE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 330, 50706
# Of the kinds of number that the tags above have, or that readers take for them.
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}


def directory(data: bytes, at: int = 0) -> dict[int, int]:
    """First value of every number in the first directory of the TIFF that begins at ``at``; what is damaged is left
    out, and what is no TIFF has none.

    Bytes behind the end of ``data`` (the head of a file) are left out as well.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[at:at + 2])
    if order is None:
        return {}
    found: dict[int, int] = {}
    try:
        version, = struct.unpack_from(order + "H", data, at + 2)
        big = version == 43  # BigTIFF: offsets of 64 bits
        first, = struct.unpack_from(order + ("Q" if big else "I"), data, at + (8 if big else 4))
        count, = struct.unpack_from(order + ("Q" if big else "H"), data, at + first)
        start, size, inline = at + first + (8 if big else 2), 20 if big else 12, 8 if big else 4
        for entry in range(min(count, 512)):
            place = start + entry * size
            tag, kind = struct.unpack_from(order + "HH", data, place)
            number, = struct.unpack_from(order + ("Q" if big else "I"), data, place + 4)
            form = _FORMATS.get(kind)
            if form is None or number == 0:
                continue
            value = place + size - inline
            if number * struct.calcsize(form) > inline:
                value = at + struct.unpack_from(order + ("Q" if big else "I"), data, value)[0]
            if value + struct.calcsize(form) <= len(data):
                number, = struct.unpack_from(order + form, data, value)
                found[tag] = max(number, found.get(tag, number))  # readers differ in which of several they take
    except struct.error:  # it leads out of the data
        pass
    return found


def raw_camera_file(head: bytes) -> bool:
    """True for CR2, DNG, NEF and their like: TIFF files whose first picture is a thumbnail of the sensor's data."""
    tags = directory(head)
    return (head[8:10] == b"CR" or _DNG_VERSION in tags
            or (_SUB_DIRECTORIES in tags and bool(tags.get(_SUBFILE_TYPE, 0) & 1)))
