# SPDX-License-Identifier: Apache-2.0
"""The segments of a JPEG before its pixels, and how many scans it has: what decoding it will cost.

Read as libjpeg reads them (ITU-T T.81, annex B): filling and bytes that belong to nothing are passed over, and markers
without a segment have none. Otherwise a picture could show one size here and have another there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import ImageError

_MARKER = re.compile(rb"\xff[^\x00\xff]")  # 0xff 0x00 is a byte of a scan, 0xff before a marker is filling
_NOT_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # restarts belong to the scan
_SCAN, _END = 0xDA, 0xD9
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a segment
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables and extensions lie among the frames
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_SEGMENTS = 10_000  # a colour profile of 16 MB takes 256
_GAP = 4096  # bytes that belong to nothing, at most

# Every scan goes over the whole picture: encoders make 16 at most, and a few kilobytes hold thousands.
_MOST_SCANS, _USUAL_SCANS = 64, 16
_SCANNED_PIXELS = 300_000_000  # of more than the usual scans together, under a second
_COEFFICIENT_BYTES = 200_000_000  # a picture of several scans is held as coefficients of 2 bytes


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(second byte of the marker, start and end of the content) of every segment up to the first scan's header."""
    at = 2
    for _ in range(_SEGMENTS):
        found = _MARKER.search(data, at, at + _GAP)
        if found is None:
            return
        kind, at = data[found.end() - 1], found.end()
        if kind in _ALONE:
            continue
        end = at + int.from_bytes(data[at:at + 2], "big")
        if kind == _END or end < at + 2:
            return
        yield kind, at + 2, end
        if kind == _SCAN:
            return
        at = end


def frame(data: bytes) -> tuple[int, bytes]:
    """Second byte of the frame header's marker and the header's content; (0, b"") if there is none before the scan."""
    for kind, start, end in segments(data):
        if 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            return kind, data[start:end]
    return 0, b""


def require_few_scans(data: bytes) -> None:
    """:class:`ImageError` for a JPEG of more scans, or of more coefficients held for them, than a picture needs."""
    kind, header = frame(data)
    first = next((start for found, start, _ in segments(data) if found == _SCAN), None)
    if first is None or first >= len(data) or len(header) < 6:
        return
    if kind not in _PROGRESSIVE and data[first] >= header[5]:  # one scan holds all, and libjpeg looks for no other
        return
    height, width = int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")
    needed = _coefficient_bytes(width, height, header)
    if needed > _COEFFICIENT_BYTES:
        raise ImageError(f"JPEG of {width}x{height} in several scans (progressive) takes {needed >> 20} MiB beside its "
                         f"pixels, at most {_COEFFICIENT_BYTES >> 20} are allowed: save it as a baseline JPEG, or "
                         "make it smaller")
    most = _MOST_SCANS if _MOST_SCANS * width * height <= _SCANNED_PIXELS else max(
        _USUAL_SCANS, _SCANNED_PIXELS // (width * height))
    if _more_scans(data, first, most):
        raise ImageError(f"JPEG of {width}x{height} has more than {most} scans, each of which takes the time of a "
                         "picture; encoders make 16 at most: save it anew")


def _coefficient_bytes(width: int, height: int, header: bytes) -> int:
    """Of all components [header: precision, height, width, number, then id, sampling and table of each]."""
    sampling = [(max(s >> 4, 1), max(s & 15, 1)) for s in header[7:6 + 3 * header[5]:3]]
    widest, highest = max((h for h, _ in sampling), default=1), max((v for _, v in sampling), default=1)
    return sum(2 * (width * h // widest) * (height * v // highest) for h, v in sampling)


def _more_scans(data: bytes, at: int, most: int) -> bool:
    """Whether ``data`` has more than ``most`` scans, the first of which begins at ``at``."""
    scans = 1
    for _ in range(_SEGMENTS):
        found = _NOT_IN_SCAN.search(data, at)
        if found is None or data[found.end() - 1] == _END:
            return False
        scans += data[found.end() - 1] == _SCAN
        if scans > most:
            return True
        at = found.end() + (int.from_bytes(data[found.end():found.end() + 2], "big")
                            if data[found.end() - 1] not in _ALONE else 0)
    return True
