# SPDX-License-Identifier: Apache-2.0
"""The numbers of a depth message come out as they are, and what is none is refused before it costs anything."""

import struct

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import ImageError
from dinemo_ros.io.depth_codec import compressed_depth_size, decode_compressed_depth, decode_depth

MILLIMETRES = np.array([[0, 1, 500], [1000, 2500, 65535]], np.uint16)
METRES = np.array([[0.0, np.nan, np.inf], [0.25, 1.5, 9.0]], np.float32)


def png(samples: np.ndarray) -> bytes:
    return cv2.imencode(".png", samples)[1].tobytes()


@pytest.mark.parametrize("depth, encoding", [(MILLIMETRES, "16UC1"), (MILLIMETRES, " 16uc1"), (MILLIMETRES, "mono16"),
                                             (METRES, "32FC1")])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 5])
def test_numbers_come_out_as_they_are(depth, encoding, big, padding):
    rows = depth.astype(depth.dtype.newbyteorder(">" if big else "<")).view(np.uint8).reshape(2, -1)
    stored = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    found = decode_depth(encoding, 2, 3, stored.shape[1], stored.tobytes(), big)
    assert found.dtype == depth.dtype and found.dtype.isnative
    np.testing.assert_array_equal(found, depth)


@pytest.mark.parametrize("arguments, words", [
    (("rgb8", 2, 3, 9, bytes(18)), "depth encoding 'rgb8' is not supported; supported are 16UC1"),
    (("\x1b[2J", 2, 3, 9, bytes(18)), r"'\\x1b\[2J' is not supported"),
    (("16UC1", 2, 3, 5, bytes(12)), "a row of 3 pixels in '16UC1' takes 6"),
    (("32FC1", 2, 3, 12, bytes(23)), "depth image has 23 bytes, 3x2 in '32FC1' with step 12 takes 24"),
    (("16UC1", 0, 3, 6, b""), "size|pixels"), (("16UC1", 2**31, 2**31, 2**32, bytes(8)), "pixels")])
def test_what_is_no_depth_image_is_refused(arguments, words):
    with pytest.raises(ImageError, match=words):
        decode_depth(*arguments)


def test_compressed_millimetres():
    for data in (struct.pack("<iff", 0, 0.0, 0.0) + png(MILLIMETRES), png(MILLIMETRES)):
        for name in ("16UC1; compressedDepth png", "16UC1; compressedDepth", "16UC1; png compressed "):
            np.testing.assert_array_equal(decode_compressed_depth(name, data), MILLIMETRES)
        assert compressed_depth_size(data) == (3, 2)


def test_compressed_metres_are_quantised_inverse_depth():
    """z = a / (sample - b), as compressed_depth_image_transport computes it; a sample of 0 is a hole."""
    a, b = 1000.0, -20.5
    samples = np.where(np.isfinite(METRES) & (METRES > 0), np.round(a / np.maximum(METRES, 0.1) + b), 0)
    data = struct.pack("<iff", 0, a, b) + png(samples.astype(np.uint16))
    found = decode_compressed_depth("32FC1; compressedDepth png", data)
    assert found.dtype == np.float32 and np.isnan(found[0]).all()
    assert found[1] == pytest.approx(METRES[1], rel=0.01)


@pytest.mark.parametrize("name, data, words", [
    ("16UC1; compressedDepth rvl", bytes(12) + b"rvl" * 20, "is no PNG: set the transport's format to png"),
    ("jpeg", png(MILLIMETRES), "depth encoding 'jpeg' is not supported"),
    ("16UC1; compressedDepth png", b"", "is no PNG"),
    ("16UC1; compressedDepth png", png(MILLIMETRES)[:60], "PNG"),
    ("16UC1; compressedDepth png", png(MILLIMETRES.astype(np.uint8)), "no PNG of one channel with 16 bits"),
    ("16UC1; compressedDepth png", png(np.zeros((4, 4, 3), np.uint16)), "no PNG of one channel with 16 bits"),
    ("32FC1; compressedDepth png", png(MILLIMETRES), "lacks the numbers that it was quantised with"),
    ("32FC1; compressedDepth png", struct.pack("<iff", 0, np.nan, 0.0) + png(MILLIMETRES), "lacks the numbers")])
def test_what_is_no_compressed_depth_is_refused(name, data, words):
    with pytest.raises(ImageError, match=words):
        decode_compressed_depth(name, data)


def test_a_png_that_says_it_is_huge_is_not_decoded():
    data = bytearray(png(MILLIMETRES))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(ImageError, match="60000x60000|pixels"):
        decode_compressed_depth("16UC1; compressedDepth png", bytes(data))
    assert compressed_depth_size(b"none") is None
