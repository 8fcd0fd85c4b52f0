# SPDX-License-Identifier: Apache-2.0
"""Size and depth of a compressed picture from its header: before a small file fills the memory with its pixels."""

from __future__ import annotations

import re
from typing import NamedTuple

from . import tiff
from .errors import ImageError
from .isobmff import boxes, primary_properties

#: Pixels of the largest picture that is decoded: 120 megapixels, more than a telephone's 108, take 360 MB.
MAX_PIXELS = 120_000_000

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type
_PNG = b"\x89PNG\r\n\x1a\n"


class PictureHeader(NamedTuple):
    """Width and height in pixels as stored (before any turn that the file asks for), bits of a sample, and samples of a
    pixel; 0: not told."""

    width: int
    height: int
    bits: int = 0
    channels: int = 0


def read_header(data: bytes) -> PictureHeader | None:
    """Header of JPEG, PNG, WebP, TIFF, BMP, GIF, PNM, PAM, PFM, JPEG 2000, AVIF, HDR, Sun raster; None of others."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == _PNG:
            return PictureHeader(_big(data, 16, 4), _big(data, 20, 4), data[24], _PNG_CHANNELS.get(data[25], 0))
        reader = next((r for magic, at, r in _READERS if data.startswith(magic, at)), None)
        return reader(data) if reader else _netpbm(data)
    except (IndexError, ValueError):  # it breaks off within the header
        return None


def require_size(width: int, height: int) -> None:
    """:class:`ImageError` for a picture without pixels, or with more than :data:`MAX_PIXELS`."""
    if width <= 0 or height <= 0 or width * height > MAX_PIXELS:
        raise ImageError(f"image size is {width}x{height}; both must be positive and the product at most "
                         f"{MAX_PIXELS} pixels: the header is wrong, or make the picture smaller first")


def _big(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at:at + size], "big")


def _little(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at:at + size], "little")


def _jpeg(data: bytes) -> PictureHeader | None:
    at = 2
    while data[at] == 0xFF:
        kind = data[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # tables and extensions lie among the frames
            return PictureHeader(_big(data, at + 7, 2), _big(data, at + 5, 2), data[at + 4], data[at + 9])
        at += 1 if kind == 0xFF else 2 + _big(data, at + 2, 2)
    return None


def _tiff(data: bytes) -> PictureHeader | None:
    tags = tiff.directory(data)
    if tiff.WIDTH not in tags or tiff.HEIGHT not in tags:
        return None
    return PictureHeader(tags[tiff.WIDTH], tags[tiff.HEIGHT], tags.get(tiff.BITS_PER_SAMPLE, 1),
                         tags.get(tiff.SAMPLES_PER_PIXEL, 1))


def _riff(data: bytes) -> PictureHeader | None:
    if data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return PictureHeader(1 + _little(data, 24, 3), 1 + _little(data, 27, 3), 8)
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return PictureHeader(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), 8)
    return PictureHeader(_little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF, 8)


def _bmp(data: bytes) -> PictureHeader:
    if _little(data, 14, 4) == 12:
        return PictureHeader(_little(data, 18, 2), _little(data, 20, 2), 8)
    height = _little(data, 22, 4)
    return PictureHeader(_little(data, 18, 4), height if height < 1 << 31 else (1 << 32) - height, 8)  # upside down


def _gif(data: bytes) -> PictureHeader:
    return PictureHeader(_little(data, 6, 2), _little(data, 8, 2), 8)


def _codestream(data: bytes, at: int = 0) -> PictureHeader:
    """JPEG 2000, marker SIZ: the reference grid less its offset."""
    width = _big(data, at + 8, 4) - _big(data, at + 16, 4)
    return PictureHeader(width, _big(data, at + 12, 4) - _big(data, at + 20, 4), (data[at + 42] & 0x7F) + 1)


def _jp2(data: bytes) -> PictureHeader | None:
    for name, start, end in boxes(data):
        if name == b"jp2h":
            for inner, place, _ in boxes(data, start, end):
                if inner == b"ihdr":
                    return PictureHeader(_big(data, place + 4, 4), _big(data, place, 4), (data[place + 10] & 0x7F) + 1)
    return None


def _avif(data: bytes) -> PictureHeader | None:
    for name, content in primary_properties(data):
        if name == b"ispe":
            return PictureHeader(_big(content, 4, 4), _big(content, 8, 4), 8)  # OpenCV makes 8 bits of 10 and 12
    return None


def _netpbm(data: bytes) -> PictureHeader | None:
    head = data[:1024]
    if head[:2] == b"P7":
        fields = {k: int(v) for k, v in re.findall(rb"\n(WIDTH|HEIGHT|MAXVAL)\s+(\d+)", head)}
        return PictureHeader(fields.get(b"WIDTH", 0), fields.get(b"HEIGHT", 0), fields.get(b"MAXVAL", 0).bit_length())
    found = re.match(rb"(P[1-6Ff])" + rb"(?:\s|#[^\n]*\n)+([\d.+-]+)" * 3, head)
    if found is not None:
        kind, numbers = found[1], [int(float(number)) for number in found.groups()[1:]]
        bits = {b"P1": 1, b"P4": 1, b"PF": 32, b"Pf": 32}.get(kind) or numbers[2].bit_length()
        return PictureHeader(numbers[0], numbers[1], bits, 3 if kind in (b"P3", b"P6", b"PF") else 1)
    found = re.match(rb"P[14]" + rb"(?:\s|#[^\n]*\n)+(\d+)" * 2, head)
    return PictureHeader(int(found[1]), int(found[2]), 1) if found else None


def _hdr(data: bytes) -> PictureHeader | None:
    found = re.search(rb"\n[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n", data[:4096])
    return PictureHeader(int(found[2]), int(found[1]), 8) if found else None  # OpenCV makes 8 bits of them


def _sun_raster(data: bytes) -> PictureHeader:
    return PictureHeader(_big(data, 4, 4), _big(data, 8, 4), 8)


_READERS = ((b"II*\0", 0, _tiff), (b"MM\0*", 0, _tiff), (b"II+\0", 0, _tiff), (b"MM\0+", 0, _tiff),
            (b"RIFF", 0, _riff), (b"BM", 0, _bmp), (b"GIF8", 0, _gif), (b"\xff\x4f\xff\x51", 0, _codestream),
            (b"jP  ", 4, _jp2), (b"ftyp", 4, _avif), (b"#?", 0, _hdr), (b"\x59\xa6\x6a\x95", 0, _sun_raster))
