# SPDX-License-Identifier: Apache-2.0
"""What stands between a stranger's picture and the decoder: what it would cost is known before it is decoded, and what
swells in it without being seen is left away."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path

from ..errors import ImageError
from .content import JPEG_START, PNG_START
from .jpeg_header import require_few_scans
from .picture_header import MAX_PIXELS, PICTURE_BITS, PictureHeader, decodable_header
from .quoting import quoted

_HEAD_BYTES = 1 << 20
_CHUNK = 1 << 20  # bytes that are unpacked at a time
# Of a file beside its pixels: a preview, a film behind the picture, colour profiles.
_BESIDE_BYTES = 64 << 20
_PNG_CHUNKS = 100_000  # the largest picture in pieces of 8 KiB, as libpng makes them
_TRANSPARENCY = b"tRNS"
_DEFLATE_FACTOR = 1032  # of bytes, the most that deflate unpacks to
_KEPT_BYTES = 32 << 20
_UNSEEN_BYTES = 250_000_000  # a decoder unpacks what follows the pixels, too: this takes half a second


def guarded(data: bytes, most_bits: int = PICTURE_BITS) -> tuple[bytes, PictureHeader | None]:
    """What to give to a decoder for ``data``, and its header; None of what nothing is known of, which is not for one.

    most_bits: of a sample.

    Raises:
        ImageError: its pixels or decoding them would fill the memory or take minutes, it is a damaged PNG, or of more
            bits.
    """
    header = decodable_header(data, most_bits)
    if data[:2] == JPEG_START:
        require_few_scans(data)
    if data[:8] == PNG_START:
        data = _bare_png(data)
        if header is not None:
            data = _unpacked(data, header)
    return data, header


def read_picture_file(path: Path) -> bytes:
    """The bytes of a picture file. Its head first: a file of gigabytes, of which a picture takes a few, is not read.

    Raises:
        ImageError: see :func:`guarded`, or the file is larger than its picture can be, or no plain file.
        OSError: it cannot be read.
    """
    # A pipe that nobody writes to would keep open() for ever, and some devices have no end.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ImageError("is a device, pipe or socket; write it to a file first")
        size = about.st_size
        head = file.read(_HEAD_BYTES)
        if size > _BESIDE_BYTES:
            header = decodable_header(head)
            pixels = 0 if header is None else header.width * header.height
            pixel_bytes = 4 if header is None or header.bits <= 8 else 8  # unpacked, with an alpha channel
            if size > _BESIDE_BYTES + pixel_bytes * pixels:
                what = "no picture is known to be in it" if header is None else (
                    f"a picture of {header.width}x{header.height} takes much less")
                raise ImageError(f"has {size >> 20} MiB and is not read, {what}: is it a picture file, or was it "
                                 "damaged?")
        file.seek(0)
        return file.read()


def _bare_png(data: bytes) -> bytes:
    """A PNG without the chunks that its pixels do not need: texts and profiles are packed, and unpack to thousands of
    times their size; frames of an animation are pictures of their own.

    Refuses one with a damaged chunk, or without its last one, which other bytes may follow: decoders leave the missing
    rows black.
    """
    view, at, kept, kept_until = memoryview(data), 8, [], 0
    for _ in range(_PNG_CHUNKS):
        if at + 12 > len(data):
            break
        size, name = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        end = at + 12 + size
        if end > len(data):
            break
        if name[:1].isupper():
            if zlib.crc32(view[at + 4:end - 4]) != int.from_bytes(data[end - 4:end], "big"):
                raise ImageError(f"PNG of {len(data)} bytes is damaged: the checksum of its chunk "
                                 f"{quoted(name.decode('ascii', 'replace'))} is wrong; copy the file again, or look at "
                                 "the network")
        elif name != _TRANSPARENCY:
            kept.append(view[kept_until:at])
            kept_until = end
        if name == b"IEND":
            return b"".join([*kept, view[kept_until:end]]) if kept else data
        at = end
    else:
        raise ImageError(f"PNG of {len(data)} bytes has more than {_PNG_CHUNKS} chunks, which no encoder makes of "
                         f"{MAX_PIXELS} pixels: save it anew")
    raise ImageError(f"PNG of {len(data)} bytes has no end marker: it was cut short, or is damaged")


def _unpacked(data: bytes, header: PictureHeader) -> bytes:
    """Refuse a PNG that unpacks to much more than its pixels, for a decoder goes to the end of them.

    Found by unpacking it, where it has the bytes for that; of one that is not large what was unpacked is what the
    decoder gets, so that it is done once.
    """
    packed, begin, end = _pixel_chunks(data)
    row = (header.width * header.bits * max(1, header.channels) + 7) // 8
    expected = header.height * (row + 4)  # filters, and what the last bytes of rows lack in all passes
    if _DEFLATE_FACTOR * sum(map(len, packed)) <= expected + _UNSEEN_BYTES:
        return data
    unpack, size, kept = zlib.decompressobj(), 0, []
    try:
        for piece in packed:
            rest: bytes | memoryview = piece
            while rest and not unpack.eof:
                part = unpack.decompress(rest, _CHUNK)
                rest, size = unpack.unconsumed_tail, size + len(part)
                if size > expected + _UNSEEN_BYTES:
                    raise ImageError(f"PNG of {len(data)} bytes unpacks to much more than its {header.width}x"
                                     f"{header.height} pixels: it is damaged, or made to keep the decoder busy; save "
                                     "it anew")
                if size <= _KEPT_BYTES:
                    kept.append(part)
    except zlib.error:
        return data  # the decoder ends at the same place
    if size > _KEPT_BYTES or not unpack.eof:
        return data
    stored = b"IDAT" + zlib.compress(b"".join(kept), 0)
    chunk = (len(stored) - 4).to_bytes(4, "big"), stored, zlib.crc32(stored).to_bytes(4, "big")
    return b"".join([data[:begin], *chunk, data[end:]])


def _pixel_chunks(data: bytes) -> tuple[list[memoryview], int, int]:
    """What the chunks of the pixels hold, and where the first begins and the last ends; they stand together."""
    view, at, packed, begin, end = memoryview(data), 8, [], 0, 0
    while at + 12 <= len(data):
        size = int.from_bytes(data[at:at + 4], "big")
        if data[at + 4:at + 8] == b"IDAT":
            begin = begin or at
            packed.append(view[at + 8:at + 8 + size])
            end = at + 12 + size
        elif packed:
            break
        at += 12 + size
    return packed, begin, end
