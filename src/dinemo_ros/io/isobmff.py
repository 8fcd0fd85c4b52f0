# SPDX-License-Identifier: Apache-2.0
"""Boxes of ISO media files (ISO/IEC 14496-12), as AVIF pictures and MP4 videos are made of."""

from __future__ import annotations

from collections.abc import Iterator

_BOXES = 10_000  # of a level that are looked at; MP4 and AVIF have dozens
_TABLE_BYTES = 1 << 18  # of the table of which properties are whose


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of every box between two places; ends at the first that leads out of it."""
    end = len(data) if end is None else end
    for _ in range(_BOXES):
        if start + 8 > end:
            return
        size, name, header = int.from_bytes(data[start:start + 4], "big"), data[start + 4:start + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8:start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            return
        yield name, start + header, start + size
        start += size


def child(data: bytes, place: tuple[int, int], name: bytes) -> tuple[int, int] | None:
    """(start, end) of the content of the first box of that name among the boxes of ``place``."""
    return next(((start, end) for found, start, end in boxes(data, *place) if found == name), None)


def primary_properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, content) of the properties of a HEIF or AVIF file's primary picture, in their order; [] if damaged."""
    meta = child(data, (0, len(data)), b"meta")
    if meta is None:
        return []
    inside = (meta[0] + 4, meta[1])  # behind version and flags
    pitm, iprp = child(data, inside, b"pitm"), child(data, inside, b"iprp")
    ipco = child(data, iprp, b"ipco") if iprp else None
    ipma = child(data, iprp, b"ipma") if iprp else None
    if pitm is None or ipco is None or ipma is None:
        return []
    properties = [(name, data[start:end]) for name, start, end in boxes(data, *ipco)]
    primary = int.from_bytes(data[pitm[0] + 4:pitm[0] + (6 if data[pitm[0]] == 0 else 8)], "big")
    chosen = _associations(data[ipma[0]:min(ipma[1], ipma[0] + _TABLE_BYTES)], primary)
    return [properties[index - 1] for index in chosen if 0 < index <= len(properties)]


def _associations(ipma: bytes, item: int) -> list[int]:
    """Numbers (from 1) of the properties of ``item``."""
    if len(ipma) < 8:
        return []
    id_bytes, wide = (2 if ipma[0] == 0 else 4), bool(ipma[3] & 1)
    at = 8
    for _ in range(int.from_bytes(ipma[4:8], "big")):
        if at + id_bytes + 1 > len(ipma):
            return []
        found, count = int.from_bytes(ipma[at:at + id_bytes], "big"), ipma[at + id_bytes]
        at += id_bytes + 1
        step = 2 if wide else 1
        entries = [ipma[at + step * i:at + step * (i + 1)] for i in range(count)]
        at += step * count
        if found == item:
            return [int.from_bytes(e, "big") & (0x7FFF if wide else 0x7F) for e in entries]
    return []


def item_contents(data: bytes) -> list[bytes]:
    """The bytes of every item of a HEIF or AVIF file (ISO/IEC 14496-12, 8.11.3); ValueError where the table of their
    places is damaged or makes more of the file than it holds."""
    meta = child(data, (0, len(data)), b"meta")
    inside = None if meta is None else (meta[0] + 4, meta[1])
    table = inside and child(data, inside, b"iloc")
    if inside is None or not table:
        return []
    own = child(data, inside, b"idat") or (0, 0)
    read = _Numbers(data, table[0], table[1])
    version, _, sizes = read(1), read(3), read(2)
    wide = 4 if version == 2 else 2
    offset_bytes, length_bytes, base_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_bytes = sizes & 15 if version else 0
    contents, total = [], 0
    for _ in range(min(read(wide), _BOXES)):
        read(wide)
        inner = version > 0 and read(2) & 15 == 1  # places are within idat
        read(2)
        base, parts = read(base_bytes) + (own[0] if inner else 0), []
        for _ in range(read(2)):
            read(index_bytes)
            start, length = base + read(offset_bytes), read(length_bytes)
            parts.append(data[start:start + length if length else None])
            total += len(parts[-1])
            if total > len(data):
                raise ValueError("items overlap")
        contents.append(b"".join(parts))
    return contents


class _Numbers:
    """Reads one number of big-endian bytes after the other; ValueError at the end."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self._at, self._end = data, at, end

    def __call__(self, size: int) -> int:
        self._at += size
        if self._at > self._end:
            raise ValueError("the table breaks off")
        return int.from_bytes(self._data[self._at - size:self._at], "big")
