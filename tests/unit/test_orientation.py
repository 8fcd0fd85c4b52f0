# SPDX-License-Identifier: Apache-2.0
"""Which way up: picture files are turned as they ask for, each kind that can ask; pixels of messages never."""

import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from photographs import exif

from dinemo_ros.io.image_codec import decode_compressed, decode_file
from dinemo_ros.io.orientation import as_stored, orientation_of, upright
from dinemo_ros.io.sources import open_source

STORED = np.random.default_rng(5).integers(0, 256, (24, 40, 3), np.uint8)
# Where the pixel of row i and column j of the picture to be seen is stored, by EXIF 2.32; rows h and columns w of what
# is stored.
WHERE = {1: lambda i, j, h, w: (i, j), 2: lambda i, j, h, w: (i, w - 1 - j),
         3: lambda i, j, h, w: (h - 1 - i, w - 1 - j), 4: lambda i, j, h, w: (h - 1 - i, j),
         5: lambda i, j, h, w: (j, i), 6: lambda i, j, h, w: (h - 1 - j, i),
         7: lambda i, j, h, w: (h - 1 - j, w - 1 - i), 8: lambda i, j, h, w: (j, w - 1 - i)}


def seen(stored: np.ndarray, orientation: int) -> np.ndarray:
    h, w = stored.shape[:2]
    rows, columns = (w, h) if orientation > 4 else (h, w)
    i, j = np.mgrid[:rows, :columns]
    return stored[WHERE[orientation](i, j, h, w)]


def jpeg(orientation):
    data = cv2.imencode(".jpg", STORED[..., ::-1])[1].tobytes()
    content = exif(35, orientation)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


def png(orientation, behind=False):
    data = cv2.imencode(".png", STORED[..., ::-1])[1].tobytes()
    body = b"eXIf" + exif(35, orientation)[6:]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    at = len(data) - 12 if behind else 33  # before the end, or behind the header
    return data[:at] + chunk + data[at:]


def webp(orientation):
    data = cv2.imencode(".webp", STORED[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    image = data[12:]
    size = struct.pack("<I", STORED.shape[1] - 1)[:3] + struct.pack("<I", STORED.shape[0] - 1)[:3]
    if image[:4] == b"VP8X":
        image = image[18:]
    content = exif(35, orientation)[6:]
    content = struct.pack("<4sI", b"EXIF", len(content)) + content + b"\0" * (len(content) & 1)
    body = b"WEBP" + struct.pack("<4sII", b"VP8X", 10, 0x08) + size + image + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(orientation, order="<"):
    rows = STORED.tobytes()
    h, w = STORED.shape[:2]
    tags = [(256, 4, 1, w), (257, 4, 1, h), (258, 3, 3, 8 + len(rows)), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8),
            (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, h), (279, 4, 1, len(rows))]
    first = 8 + len(rows) + 6
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, first)
    entries = b"".join(struct.pack(order + "HHI", tag, kind, count) + (
        struct.pack(order + "HH", value, 0) if kind == 3 and count == 1 else struct.pack(order + "I", value))
        for tag, kind, count, value in tags)
    return head + rows + struct.pack(order + "HHH", 8, 8, 8) + struct.pack(order + "H", len(tags)) + entries + bytes(4)


KINDS = {"jpg": jpeg, "png": png, "png_behind": lambda o: png(o, True), "webp": webp, "tif": tiff,
         "tif_big_endian": lambda o: tiff(o, ">")}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_of_a_file_comes_to_where_it_is_to_be_seen(tmp_path, kind, orientation):
    data = KINDS[kind](orientation)
    stored = decode_file(KINDS[kind](1))  # a JPEG's pixels are not those that went in
    assert kind == "jpg" or np.array_equal(stored, STORED)
    (tmp_path / f"a.{kind[:3]}").write_bytes(data)
    frame, = open_source(tmp_path)
    assert np.array_equal(frame.image_rgb, seen(stored, orientation))
    assert orientation_of(data) == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_a_message_are_as_stored_for_its_camera_info_describes_those(kind, orientation):
    assert np.array_equal(decode_compressed("jpeg", KINDS[kind](orientation)), decode_file(KINDS[kind](1)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_by_its_own_properties(orientation):
    """Pillow writes the orientation as ``irot`` and ``imir``, which are what the standard asks readers to follow."""
    features = pytest.importorskip("PIL.features", reason="Pillow is not installed")
    if not features.check("avif") or not re.search(r"AVIF:\s+(?!NO)", cv2.getBuildInformation()):
        pytest.skip("this Pillow or OpenCV has no AVIF")
    import io

    from PIL import Image
    picture = cv2.resize(STORED, (160, 96), interpolation=cv2.INTER_NEAREST)
    files = []
    for number in (1, orientation):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "AVIF", quality=90, exif=exif(35, number))
        files.append(file.getvalue())
    stored = decode_file(files[0])
    assert np.array_equal(decode_file(files[1]), seen(stored, orientation))
    assert np.array_equal(decode_compressed("avif", files[1]), stored)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_an_orientation_that_does_not_exist_turns_nothing(kind, orientation):
    data = KINDS[kind](orientation)
    assert orientation_of(data) == 1 and decode_file(data).shape == STORED.shape


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\x7f",
                                  b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffeXIf", b"II*\0\xff\xff\xff\xff",
                                  b"RIFF\0\0\0\0WEBPEXIF\xff\xff\xff\xff", b"\0\0\0\x10ftypavif\0\0\0\0\0\0\0\x10meta"])
def test_damaged_headers_turn_nothing(data):
    assert orientation_of(data) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_back(orientation):
    assert np.array_equal(as_stored(upright(STORED, orientation), orientation), STORED)
