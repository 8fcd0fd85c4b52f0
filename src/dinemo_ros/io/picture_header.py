# SPDX-License-Identifier: Apache-2.0
"""Size and depth of a compressed picture from its header: before a small file fills the memory with its pixels.

Read where OpenCV's decoders read it, for a header that shows them another size than us would pass every limit.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import ImageError
from . import jpeg_header, tiff
from .av1 import largest_frame
from .content import JPEG_START, PNG_START
from .isobmff import boxes, item_contents, primary_properties

#: Pixels of the largest picture that is decoded: 120 megapixels, more than a telephone's 108, take 360 MB.
MAX_PIXELS = 120_000_000
#: Bits of a sample of a picture, and of depth, which may be floats.
PICTURE_BITS, DEPTH_BITS = 16, 32
#: What a decoder may hold beside the picture and one copy of it, in bytes.
SPARE_BYTES = 200_000_000

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type
# Bytes that OpenCV's decoders hold for each pixel beside the picture and one copy of it, as measured.
_DEEP, _GIF, _ANIMATED, _HDR, _JPEG_2000, _AVIF = 6, 7, 9, 9, 9, 11
_CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000
_JPEG_2000_TILE = 4096  # bytes for every component of every tile


class PictureHeader(NamedTuple):
    """Width and height in pixels as stored (before any turn that the file asks for), bits of a sample, and samples of a
    pixel; 0: not told."""

    width: int
    height: int
    bits: int = 0
    channels: int = 0


class _Found(NamedTuple):
    """The same, and ``working``: bytes that its decoder needs beside the pixels."""

    width: int
    height: int
    bits: int = 0
    channels: int = 0
    working: int = 0


def read_header(data: bytes) -> PictureHeader | None:
    """Header of JPEG, PNG, WebP, TIFF, BMP, GIF, PNM, PAM, PFM, JPEG 2000, AVIF, HDR, Sun raster; None of others."""
    found = _find(data)
    return None if found is None else PictureHeader(*found[:4])


def decodable_header(data: bytes, most_bits: int = PICTURE_BITS) -> PictureHeader | None:
    """As :func:`read_header`; :class:`ImageError` for samples of more than ``most_bits``, which are depth, and where
    the pixels or decoding them would fill the memory."""
    found = _find(data)
    if found is None:
        return None
    if found.bits > most_bits:
        raise ImageError(f"its samples have {found.bits} bits: depth, disparity or radiance, not a picture; a picture "
                         "of 8 or 16 bits a sample is needed, and a colour one is best")
    require_size(found.width, found.height)
    needed = max(found.working, _DEEP * found.width * found.height if found.bits > 8 else 0)
    if needed > SPARE_BYTES:
        raise ImageError(f"decoding this picture of {found.width}x{found.height} takes {needed >> 20} MiB beside its "
                         f"pixels, at most {SPARE_BYTES >> 20} are allowed: make it smaller, or save it as JPEG or "
                         "as PNG of 8 bits")
    return PictureHeader(*found[:4])


def _find(data: bytes) -> _Found | None:
    try:
        if data[:2] == JPEG_START:
            return _jpeg(data)
        if data[:8] == PNG_START:
            return _Found(_big(data, 16, 4), _big(data, 20, 4), data[24], _PNG_CHANNELS.get(data[25], 0))
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


def _jpeg(data: bytes) -> _Found | None:
    _, header = jpeg_header.frame(data)
    if len(header) < 6:
        return None
    return _Found(_big(header, 3, 2), _big(header, 1, 2), header[0], header[5])


def _tiff(data: bytes) -> _Found | None:
    tags = tiff.directory(data)
    if tiff.WIDTH not in tags or tiff.HEIGHT not in tags:
        return None
    width, height, bits = tags[tiff.WIDTH], tags[tiff.HEIGHT], tags.get(tiff.BITS_PER_SAMPLE, 1)
    tile = tags.get(tiff.TILE_WIDTH, 0) * tags.get(tiff.TILE_HEIGHT, 0)
    strip = width * min(tags.get(tiff.ROWS_PER_STRIP, height), height)
    return _Found(width, height, bits, tags.get(tiff.SAMPLES_PER_PIXEL, 1),
                         4 * max(tile, strip) * max(1, bits // 8))


def _riff(data: bytes) -> _Found | None:
    if data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        width, height, animated = 1 + _little(data, 24, 3), 1 + _little(data, 27, 3), data[20] & 2
        return _Found(width, height, 8, working=_ANIMATED * width * height if animated else 0)
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return _Found(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), 8)
    return _Found(_little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF, 8)


def _bmp(data: bytes) -> _Found:
    if _little(data, 14, 4) == 12:
        return _Found(_little(data, 18, 2), _little(data, 20, 2), 8)
    height = _little(data, 22, 4)
    return _Found(_little(data, 18, 4), height if height < 1 << 31 else (1 << 32) - height, 8)  # upside down


def _gif(data: bytes) -> _Found:
    width, height = _little(data, 6, 2), _little(data, 8, 2)
    return _Found(width, height, 8, working=_GIF * width * height)


def _codestream(data: bytes, at: int = 0) -> _Found:
    """JPEG 2000, marker SIZ: the reference grid less its offset, and the tiles that it is cut into."""
    right, bottom, left, top, *tile = (_big(data, at + 8 + 4 * k, 4) for k in range(8))
    across, down = (-((end - start) // -max(size, 1)) for end, start, size in
                    ((right, tile[2], tile[0]), (bottom, tile[3], tile[1])))
    working = _JPEG_2000 * (right - left) * (bottom - top) + _JPEG_2000_TILE * across * down * _big(data, at + 40, 2)
    return _Found(right - left, bottom - top, (data[at + 42] & 0x7F) + 1, working=working)


def _jp2(data: bytes) -> _Found | None:
    """Of its code stream; what the box before it says is for whoever lists pictures."""
    inside = next(((start, end) for name, start, end in boxes(data) if name == b"jp2c"), None)
    return None if inside is None or data[inside[0]:inside[0] + 4] != _CODESTREAM else _codestream(data, inside[0])


def _avif(data: bytes) -> _Found | None:
    """Of a single picture; a sequence is a video, and has its size elsewhere. The code of it (or of the tiles that it
    is put together of) may be larger than what it says to be."""
    told = next((content for name, content in primary_properties(data) if name == b"ispe"), None)
    if told is None or data[8:12] == b"avis":
        return None
    coded = [size for size in map(largest_frame, item_contents(data)) if size is not None]
    if not coded:
        return None
    width, height = _big(told, 4, 4), _big(told, 8, 4)
    pixels = max(width * height, *(w * h for w, h in coded))
    return _Found(width, height, 8, working=_AVIF * pixels)  # OpenCV makes 8 bits of 10 and 12


def _netpbm(data: bytes) -> _Found | None:
    head = data[:1024]
    if head[:2] == b"P7":
        found = sorted((k, int(v)) for k, v in re.findall(rb"\n\s*(WIDTH|HEIGHT|MAXVAL)\s+(\d{1,18})", head))
        fields = dict(found)  # of several the largest
        return _Found(fields.get(b"WIDTH", 0), fields.get(b"HEIGHT", 0), fields.get(b"MAXVAL", 0).bit_length())
    found = re.match(rb"(P[1-6Ff])" + rb"(?:\s|#[^\r\n]*[\r\n])+([\d.+-]{1,18})" * 3, head)
    if found is not None:
        kind, numbers = found[1], [int(float(number)) for number in found.groups()[1:]]
        bits = {b"P1": 1, b"P4": 1, b"PF": 32, b"Pf": 32}.get(kind) or numbers[2].bit_length()
        return _Found(numbers[0], numbers[1], bits, 3 if kind in (b"P3", b"P6", b"PF") else 1)
    found = re.match(rb"P[14]" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,18})" * 2, head)
    return _Found(int(found[1]), int(found[2]), 1) if found else None


def _hdr(data: bytes) -> _Found | None:
    end = data.find(b"\n\n", 0, 4096)  # of the words about it
    found = re.match(rb"\n\n[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n", data[end:end + 64]) if end > 0 else None
    if found is None:
        return None
    width, height = int(found[2]), int(found[1])
    return _Found(width, height, 8, working=_HDR * width * height)  # OpenCV makes 8 bits of them


def _sun_raster(data: bytes) -> _Found:
    return _Found(_big(data, 4, 4), _big(data, 8, 4), 8)


_READERS = ((b"II*\0", 0, _tiff), (b"MM\0*", 0, _tiff), (b"II+\0", 0, _tiff), (b"MM\0+", 0, _tiff),
            (b"RIFF", 0, _riff), (b"BM", 0, _bmp), (b"GIF8", 0, _gif), (_CODESTREAM, 0, _codestream),
            (b"jP  ", 4, _jp2), (b"ftyp", 4, _avif), (b"#?", 0, _hdr), (b"\x59\xa6\x6a\x95", 0, _sun_raster))
