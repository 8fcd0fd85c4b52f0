# SPDX-License-Identifier: Apache-2.0
"""Depth pictures as files: numbers as they are stored, and nothing that fills the memory."""

import os
import zlib

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import ImageError
from dinemo_ros.io.depth_file import read_depth_file

MM = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)


@pytest.mark.parametrize(("name", "depth"), [("a.png", MM), ("a.tif", MM), ("a.tiff", MM.astype(np.float32) / 1000)])
def test_numbers_are_those_that_were_written(tmp_path, name, depth):
    cv2.imwrite(str(tmp_path / name), depth)
    found = read_depth_file(tmp_path / name)
    assert found.dtype == depth.dtype and np.array_equal(found, depth)


def png_of(width, height):
    """A PNG whose header says so, and no more."""
    def chunk(name, content):
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, 0, 0, 0, 0])
    pixels = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("content", "says"), [
    (b"", "0 bytes are no depth picture"), (b"nothing", "7 bytes are no depth picture"),
    (cv2.imencode(".png", MM)[1].tobytes()[:200], "a.png: PNG of 200 bytes"),
    (png_of(60_000, 60_000), "image size is 60000x60000"),
    (png_of(11_000, 10_000), "takes 629 MiB beside its pixels"),
    (cv2.imencode(".jpg", MM.astype(np.uint8))[1].tobytes(), "has 1 channel of uint8, which is no depth"),
    (cv2.imencode(".tiff", MM.astype(np.float64))[1].tobytes(), "its samples have 64 bits"),
    (cv2.imencode(".tiff", np.dstack([MM] * 3).astype(np.float32))[1].tobytes(), "has 3 channels of float32"),
    ("large", "is larger than 64 MiB"), ("missing", "cannot be read"), ("folder", "Is a directory"),
    ("pipe", "it is a pipe")], ids=range(12))
def test_what_is_no_depth_is_refused(tmp_path, content, says):
    path = tmp_path / "a.png"
    if content == "pipe":
        os.mkfifo(path)
    elif content == "folder":
        path.mkdir()
    elif content != "missing":
        path.write_bytes(b"" if content == "large" else content)
    if content == "large":
        os.truncate(path, 40 << 30)
    with pytest.raises(ImageError, match=says):
        read_depth_file(path)


def test_a_picture_of_32_bits_stays_no_picture(tmp_path):
    """The limit for depth is not that for pictures."""
    from dinemo_ros.io.sources.folder import read_image
    cv2.imwrite(str(tmp_path / "a.tiff"), MM.astype(np.float32))
    with pytest.raises(ImageError, match="its samples have 32 bits: depth"):
        read_image(tmp_path / "a.tiff")
