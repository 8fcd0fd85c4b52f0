# SPDX-License-Identifier: Apache-2.0
"""Sizes before pixels: a small file of a huge picture is refused in milliseconds."""

import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from encoded_pictures import encoded as encoded_picture

from dinemo_ros.errors import ImageError
from dinemo_ros.io.image_codec import decode_compressed, decode_file, peek_size
from dinemo_ros.io.picture_header import MAX_PIXELS, read_header
from dinemo_ros.io.sources import open_source

PICTURE = np.random.default_rng(9).integers(0, 256, (110, 130, 3), np.uint8)
SUFFIXES = (".jpg", ".png", ".bmp", ".tif", ".webp", ".ppm", ".jp2", ".sr", ".gif", ".hdr", ".avif")


def encoded(suffix: str, picture=PICTURE, options=()) -> bytes:
    return encoded_picture(suffix, picture, options)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_size_of_every_kind(suffix):
    data = encoded(suffix, PICTURE.astype(np.float32) / 255 if suffix == ".hdr" else PICTURE)
    assert peek_size("", data) == (130, 110)
    assert read_header(data)[:2] == (130, 110)
    assert peek_size("", np.frombuffer(data, np.uint8)) == (130, 110)


@pytest.mark.parametrize("options", [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_size_of_other_jpegs(options):
    assert peek_size("jpeg", encoded(".jpg", options=options)) == (130, 110)


@pytest.mark.parametrize(("suffix", "picture", "bits", "channels"), [
    (".png", PICTURE[..., 0], 8, 1), (".png", PICTURE[..., 0].astype(np.uint16), 16, 1), (".png", PICTURE, 8, 3),
    (".tif", PICTURE.astype(np.uint16), 16, 3), (".tif", PICTURE[..., 0].astype(np.uint16), 16, 1)])
def test_bits_and_channels(suffix, picture, bits, channels):
    assert read_header(encoded(suffix, picture))[2:] == (bits, channels)


@pytest.mark.parametrize("text", [b"P6 # a word\n# and more\n 130\n110 255\n", b"P5\t130 110 65535\n", b"P4\n130 110\n",
                                  b"P7\nWIDTH 130\nHEIGHT 110\nDEPTH 3\nMAXVAL 255\nENDHDR\n", b"Pf\n130 110\n-1.0\n"])
def test_size_of_portable_bitmaps(text):
    assert peek_size("", text) == (130, 110)


def test_size_of_a_bmp_whose_rows_go_down():
    data = bytearray(encoded(".bmp"))
    data[22:26] = struct.pack("<i", -110)
    assert peek_size("bmp", bytes(data)) == (130, 110)


@pytest.mark.parametrize("bits", [np.float32, np.float64])
def test_floating_point_values_are_no_picture(bits):
    with pytest.raises(ImageError, match="its samples have (32|64) bits: depth, disparity or radiance, not a picture"):
        decode_file(encoded(".tif", PICTURE[..., 0].astype(bits)))


def test_size_of_webp_without_loss():
    assert peek_size("webp", encoded(".webp", options=(cv2.IMWRITE_WEBP_QUALITY, 101))) == (130, 110)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_header_that_breaks_off_anywhere_is_no_error(suffix):
    data = encoded(suffix, PICTURE.astype(np.float32) / 255 if suffix == ".hdr" else PICTURE)
    for length in range(min(len(data), 700)):
        assert peek_size("", data[:length]) in (None, (130, 110))


def bomb(width: int, height: int) -> bytes:
    """A PNG of one grey, a thousandth of its pixels' size."""
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    packer = zlib.compressobj(9)
    rows = packer.compress(bytes((width + 1) * min(height, 2000))) + packer.flush()
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def huge(kind: str) -> bytes:
    size = 32000
    if kind == "png":
        return bomb(size, size)
    if kind == "jpeg":
        data = bytearray(encoded(".jpg"))
        at = data.index(b"\xff\xc0")
        data[at + 5:at + 9] = struct.pack(">HH", size, size)
    elif kind == "bmp":
        data = bytearray(encoded(".bmp"))
        data[18:26] = struct.pack("<ii", size, -size)
    elif kind == "webp":
        data = bytearray(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + 2 * struct.pack("<I", 16000)[:3])
    else:
        data = bytearray(encoded(".tif"))
        at = data.index(struct.pack("<HHII", 256, 4, 1, 130)) if struct.pack("<HHII", 256, 4, 1, 130) in data else -1
        if at < 0:
            at = data.index(struct.pack("<HHIHH", 256, 3, 1, 130, 0))
        data[at:at + 24] = struct.pack("<HHII", 256, 4, 1, size) + struct.pack("<HHII", 257, 4, 1, size)
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "webp", "tiff"])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, kind):
    data = huge(kind)
    for decode in (decode_file, lambda d: decode_compressed("jpeg", d)):
        start = time.process_time()
        with pytest.raises(ImageError, match=f"at most {MAX_PIXELS} pixels"):
            decode(data)
        assert time.process_time() - start < 0.1  # decoding takes seconds
    (tmp_path / "a.png").write_bytes(data)
    source = open_source(tmp_path)
    assert list(source) == [] and source.skipped[0].startswith("a.png: image size is ")


def test_a_telephones_108_megapixels_pass_the_limit():
    assert 12_000 * 9_000 <= MAX_PIXELS
