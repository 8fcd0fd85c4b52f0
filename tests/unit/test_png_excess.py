# SPDX-License-Identifier: Apache-2.0
"""A small PNG may hold gigabytes behind its pixels, which a decoder unpacks to throw them away."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from bombs import PNG, assert_cheap, chunk, cost, packed_zeros

from dinemo_ros.errors import ImageError
from dinemo_ros.io.image_codec import decode_compressed

_SETUP = ("from dinemo_ros.io.image_codec import decode_compressed\nfrom pathlib import Path\n"
          "data = Path(sys.argv[1]).read_bytes()")


def _png(width, height, colour, packed, interlaced=0, pieces=1):
    size = -(-len(packed) // pieces)
    data = b"".join(chunk(b"IDAT", packed[k:k + size]) for k in range(0, len(packed), size))
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)) + data + chunk(
        b"IEND")


@pytest.mark.parametrize("width, height, colour, pieces", [(8, 8, 0, 1), (8, 8, 6, 100), (1200, 1000, 2, 3),
                                                           (1, 1, 3, 1)])
def test_more_than_the_pixels(tmp_path, width, height, colour, pieces):
    palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    data = _png(width, height, colour, packed_zeros(3_000_000_000), pieces=pieces)
    data = data[:33] + palette + data[33:]
    (tmp_path / "bomb.png").write_bytes(data)
    answer, seconds, megabytes = cost(_SETUP, "decode_compressed('png', data).shape", str(tmp_path / "bomb.png"))
    assert "unpacks to much more" in answer
    assert_cheap(seconds, megabytes)


@pytest.mark.parametrize("shape", [(700, 900), (700, 900, 3), (700, 900, 4), (2600, 4100, 3)])
def test_noise_is_what_it_was(shape):
    """Pictures with so many bytes that they are unpacked; the last one is too large to be handed on unpacked."""
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    colours = noise[..., None].repeat(3, 2) if noise.ndim == 2 else noise[..., :3]
    assert (decode_compressed("png", data) == colours[..., ::-1]).all()


def test_adam7():
    noise = np.random.default_rng(0).integers(0, 256, (701, 903), np.uint8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in noise[y::dy, x::dx])
    data = _png(903, 701, 0, zlib.compress(rows), interlaced=1)
    assert (decode_compressed("png", data)[..., 0] == noise).all()


def test_damaged_inside_its_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in noise)
    packed = bytearray(zlib.compress(rows))
    packed[len(packed) // 2:len(packed) // 2 + 200] = bytes(200)
    with pytest.raises(ImageError):
        decode_compressed("png", _png(900, 700, 2, bytes(packed)))
