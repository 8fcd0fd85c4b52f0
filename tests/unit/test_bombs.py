# SPDX-License-Identifier: Apache-2.0
"""Small picture files that would unpack to gigabytes or take minutes cost next to nothing, and good ones are read."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from bombs import PNG, assert_cheap, black_png, chunk, cost, jpeg_of_many_scans, packed_zeros
from encoded_pictures import encoded as encoded_picture

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import ImageError
from dinemo_ros.io.image_codec import decode_compressed, decode_file, peek_size
from dinemo_ros.io.picture_guard import read_picture_file
from dinemo_ros.io.picture_read import imread
from dinemo_ros.io.sources import open_source

PICTURE = np.random.default_rng(14).integers(0, 256, (40, 60, 3), np.uint8)


def encoded(suffix: str, picture=PICTURE, options=()) -> bytes:
    return encoded_picture(suffix, picture, options)


def text_png(name: bytes, head: bytes) -> bytes:
    """2 MB with 300 chunks that unpack to 8 MB each."""
    return black_png(16, 16, chunk(name, head + packed_zeros(7_900_000)) * 300)


def tiff(*tags: tuple[int, int], pixels: bytes = b"") -> bytes:
    """Grey and deflated, little endian, of the given tags, each one number."""
    entries = list(tags)
    at = 8 + 2 + 12 * (len(entries) + 5) + 4
    entries += [(258, 8), (259, 8), (262, 1), (324, at), (325, len(pixels))]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + pixels


def huge_jpeg(before_frame: bytes = b"", options=()) -> bytes:
    """Of 30,000 x 30,000 by its header, which ``before_frame`` stands before."""
    data = bytearray(encoded(".jpg", options=options))
    at = next(data.find(bytes([0xFF, kind])) for kind in (0xC0, 0xC2) if bytes([0xFF, kind]) in data)
    data[at + 5:at + 9] = struct.pack(">HH", 30_000, 30_000)
    return bytes(data[:at]) + before_frame + bytes(data[at:])


def large_progressive_jpeg() -> bytes:
    data = bytearray(encoded(".jpg", options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)))
    at = data.index(b"\xff\xc2")
    data[at + 5:at + 9] = struct.pack(">HH", 10_000, 11_000)
    return bytes(data)


def jpeg_2000(liar: bool) -> bytes:
    """With a box that says it is small and a code stream of another opinion, or in a million tiles."""
    data = bytearray(encoded(".jp2", np.zeros((255, 255, 3), np.uint8)))
    stream = data.index(b"\xff\x4f\xff\x51")
    if liar:
        data[stream + 8:stream + 16] = struct.pack(">II", 20_000, 20_000)
    else:
        data[stream + 24:stream + 32] = struct.pack(">II", 1, 1)
    return bytes(data)


def animated_gif(frames: int) -> bytes:
    data = encoded(".gif", np.zeros((16, 16, 3), np.uint8))
    at = data.index(b"\x21\xf9") if b"\x21\xf9" in data else data.index(b"\x2c")
    return data[:at] + data[at:-1] * frames + b";"


def webp_animation() -> bytes:
    side = struct.pack("<I", 9_999)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X\x0a\0\0\0\x02\0\0\0" + 2 * side + bytes(40)


def avif_of_another_size() -> bytes:
    """6,000 x 6,000 in its code, 16 x 16 in its boxes."""
    data = bytearray(encoded(".avif", np.zeros((6_000, 6_000, 3), np.uint8)))
    at = data.index(b"ispe")
    data[at + 8:at + 16] = struct.pack(">II", 16, 16)
    return bytes(data)


def avif_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(".avif"))
    at = data.index(b"ispe")
    data[at + 8:at + 16] = struct.pack(">II", width, height)
    return bytes(data)


#: What makes it, and the words of its refusal; "" where it is read (or found damaged) at no cost.
PICTURES = {
    "png of a gigapixel": (lambda: black_png(32_000, 32_000), "image size is 32000x32000"),
    "png, packed texts": (lambda: text_png(b"zTXt", b"a\0\0"), "(16, 16, 3)"),
    "png, packed texts of any language": (lambda: text_png(b"iTXt", b"a\0\1\0\0\0"), "(16, 16, 3)"),
    "png, packed colour profiles": (lambda: text_png(b"iCCP", b"a\0\0"), "(16, 16, 3)"),
    "png in four million chunks": (lambda: black_png(16, 16, chunk(b"tEXt") * 4_000_000), "more than 100000 chunks"),
    "png, four million empty pieces": (lambda: black_png(16, 16, chunk(b"IDAT") * 4_000_000), "100000 chunks"),
    "png, four billion frames": (lambda: black_png(16, 16, chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0))),
                                 "(16, 16, 3)"),
    "png of 16 bits": (lambda: PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 16, 2, 0, 0, 0)),
                       "takes 463 MiB beside its pixels"),
    "jpeg, filling of 50 MB": (lambda: b"\xff\xd8" + b"\xff" * 50_000_000, "a JPEG picture that is damaged"),
    "jpeg, ten million segments": (lambda: b"\xff\xd8" + b"\xff\xe3\0\2" * 10_000_000 + encoded(".jpg")[2:],
                                   "a JPEG picture that is damaged"),
    "jpeg, header behind a restart": (lambda: huge_jpeg(b"\xff\xd0"), "image size is 30000x30000"),
    "jpeg, header behind bytes of nothing": (lambda: huge_jpeg(b"abc"), "image size is 30000x30000"),
    "jpeg of twenty thousand scans": (lambda: jpeg_of_many_scans(640, 480, 20_000), "more than 64 scans"),
    "jpeg, large and of many scans": (lambda: jpeg_of_many_scans(4_000, 3_000, 40), "more than 25 scans"),
    "jpeg of coefficients": (large_progressive_jpeg, "in several scans (progressive) takes"),
    "tiff of one huge tile": (lambda: tiff((256, 16), (257, 16), (322, 16_000), (323, 16_000),
                                           pixels=packed_zeros(16_000 * 16_000)), "takes 976 MiB beside its pixels"),
    "tiff of two widths": (lambda: tiff((256, 30_000), (256, 16), (257, 30_000), (257, 16)), "size is 30000x30000"),
    "bmp": (lambda: b"BM" + bytes(12) + struct.pack("<Iii", 40, 32_000, -32_000) + bytes(40), "size is 32000x32000"),
    "gif of a large screen": (lambda: b"GIF89a" + struct.pack("<HH", 10_000, 10_000) + bytes(50),
                              "takes 667 MiB beside its pixels"),
    "gif of a million frames": (lambda: animated_gif(1_000_000), "(16, 16, 3)"),
    "webp, animated": (webp_animation, "takes 858 MiB beside its pixels"),
    "avif": (lambda: avif_of(9_000, 9_000), "beside its pixels"),
    "avif in a small box": (avif_of_another_size, "takes 377 MiB beside its pixels"),
    "hdr with a size in its words": (lambda: b"#?RADIANCE\n-Y 16 +X 16\nFORMAT=32-bit_rle_rgbe\n\n-Y 9000 +X 9000\n"
                                     + bytes(99), "takes 695 MiB beside its pixels"),
    "pgm with a size in its comment": (lambda: b"P5 #\r 32000 32000 255\r#\n 16 16 255\n" + bytes(300),
                                       "image size is 32000x32000"),
    "pam of two sizes": (lambda: b"P7\nWIDTH 32000\nWIDTH 16\nHEIGHT 32000\nHEIGHT 16\nDEPTH 1\nMAXVAL 255\n"
                         b"TUPLTYPE GRAYSCALE\nENDHDR\n" + bytes(300), "image size is 32000x32000"),
    "jpeg 2000 in a small box": (lambda: jpeg_2000(liar=True), "image size is 20000x20000"),
    "jpeg 2000 in thousands of tiles": (lambda: jpeg_2000(liar=False), "beside its pixels"),
    "unknown header": (lambda: b"\x9d\x01\x2a" * 1000, "not an image that can be decoded"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(tmp_path, name):
    make, words = PICTURES[name]
    file = tmp_path / "a.bin"
    file.write_bytes(make())
    answer, seconds, megabytes = cost(
        "from dinemo_ros.io.image_codec import decode_compressed\ndata = open(sys.argv[1], 'rb').read()",
        "decode_compressed('jpeg', data).shape", str(file))
    assert words in answer
    assert_cheap(seconds, megabytes)
    answer, seconds, megabytes = cost(
        "from dinemo_ros.io.picture_read import imread", "imread(sys.argv[1]) is None", str(file))
    assert answer == str("3)" not in words)
    assert_cheap(seconds, megabytes, file.stat().st_size / 1e6)


@pytest.mark.parametrize(("name", "head"), [("a.png", black_png(16, 16)[:-12]), ("a.jpg", encoded(".jpg")[:-2]),
                                            ("a.tif", b"II*\0" + bytes(8)), ("a.bmp", b"BM" + bytes(60)),
                                            ("a.webp", b"RIFF\0\0\0\0WEBPVP8 "), ("a.pgm", b"P5 16 16 255\n")])
def test_a_sparse_file_of_40_gigabytes_is_known_by_its_head(tmp_path, name, head):
    file = tmp_path / name
    with file.open("wb") as out:
        out.write(head)
        out.truncate(40 << 30)
    answer, seconds, megabytes = cost(
        "from dinemo_ros.io.sources import open_source",
        "(lambda source: (list(source), source.skipped))(open_source(sys.argv[1]))", str(file))
    assert name in answer and ("40960 MiB and is not read" in answer or "image size is 0x0" in answer)
    assert_cheap(seconds, megabytes)
    assert imread(file) is None


def test_what_swells_is_left_away_and_the_picture_is_the_same():
    plain = encoded(".png")
    assert (decode_file(plain)[..., ::-1] == PICTURE).all()
    at = plain.index(b"IDAT") - 4
    more = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1000))) + chunk(b"tIME", bytes(7)) + chunk(b"pHYs", bytes(9))
    assert (decode_file(plain[:at] + more + plain[at:-12] + more + plain[-12:])[..., ::-1] == PICTURE).all()


def test_a_png_with_transparent_colour_is_read():
    grey = PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)) + chunk(b"tRNS", b"\0\x07") + \
        chunk(b"IDAT", zlib.compress(bytes([0, 7, 7, 7, 7] * 4))) + chunk(b"IEND")
    assert decode_file(grey).shape == (4, 4, 3)


def test_progressive_jpegs_of_encoders_are_read():
    data = encoded(".jpg", options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert 3 < data.count(b"\xff\xda") < 16
    assert decode_compressed("jpeg", data).shape == (40, 60, 3)
    assert decode_compressed("jpeg", jpeg_of_many_scans(64, 48, 20)).shape == (48, 64, 3)


def test_a_header_behind_a_large_preview_is_found(tmp_path):
    preview = b"".join(b"\xff\xe2" + struct.pack(">H", 65_000) + bytes(64_998) for _ in range(40))
    data = encoded(".jpg")
    data = data[:2] + preview + data[2:]
    assert peek_size("jpeg", data) == (60, 40)
    (tmp_path / "a.jpg").write_bytes(data + bytes(30 << 20))  # a film behind it, as telephones have it
    assert [frame.image_rgb.shape for frame in open_source(tmp_path)] == [(40, 60, 3)]


def test_a_picture_larger_than_its_pixels_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(black_png(16, 16) + bytes(70 << 20))
    with pytest.raises(ImageError, match="70 MiB and is not read, a picture of 16x16 takes much less"):
        read_picture_file(tmp_path / "a.png")


CAMERA = ("image_width: 640\nimage_height: 480\n"
          "camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320, 0, 500, 240, 0, 0, 1]}\n")


def test_a_picture_of_another_size_than_its_camera_is_not_decoded(tmp_path):
    """Of 108 megapixels, which would be read without a calibration."""
    (tmp_path / "a.png").write_bytes(black_png(12_000, 9_000))
    (tmp_path / "camera_info.yaml").write_text(CAMERA)
    setup = ("from dinemo_ros.io.sources import open_source\nfrom dinemo_ros.cli.camera_choice import CameraChoice\n"
             "source = open_source(sys.argv[1])\n"
             "source.required_camera = CameraChoice({choice}, lambda sentence: None).required")
    for choice in ("None, None", f"{str(tmp_path / 'camera_info.yaml')!r}, None"):
        answer, seconds, megabytes = cost(setup.format(choice=choice),
                                          "[frame.image_rgb.shape for frame in source]", str(tmp_path))
        assert answer == "[(9000, 12000, 3)]"
        assert megabytes < 50
        assert_cheap(seconds, megabytes)
    answer, _, megabytes = cost(setup.format(choice="None, 60.0"), "[f.image_rgb.shape for f in source]", str(tmp_path))
    assert answer == "[(9000, 12000, 3)]" and megabytes > 300, "with a field of view any size will do"


def test_a_turned_picture_is_compared_as_it_is_seen(tmp_path):
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, 6, 0)
    data = encoded(".jpg", np.zeros((640, 480, 3), np.uint8))[2:]
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data)
    (tmp_path / "camera_info.yaml").write_text(CAMERA)
    source = open_source(tmp_path)
    source.required_camera = lambda own: own
    assert [(frame.image_rgb.shape, frame.image_rgb.flags.writeable) for frame in source] == [((480, 640, 3), True)]
    source.required_camera = lambda own: Camera.from_hfov(480, 640, 60.0)
    assert [(frame.image_rgb.shape, frame.image_rgb.flags.writeable) for frame in source] == [((480, 640, 3), False)]


def test_a_video_of_frames_larger_than_8k_is_not_read(tmp_path):
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W8000 H8000 F30:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(200_000))
    answer, seconds, megabytes = cost("from dinemo_ros.io.sources import open_source", "open_source(sys.argv[1])",
                                      str(tmp_path / "a.y4m"))
    assert "a frame is 8000x8000; of a video at most 36000000 pixels are read" in answer
    assert_cheap(seconds, megabytes)


@pytest.mark.parametrize("content", [struct.pack(">I", 8) + b"free", struct.pack(">I", 8) + b"mdat"])
def test_a_video_of_millions_of_boxes(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + content * 5_000_000)
    answer, seconds, megabytes = cost("from pathlib import Path\nfrom dinemo_ros.io.sources.video_turn import "
                                      "stored_orientation\nfrom dinemo_ros.io.sources.video_end import missing_bytes",
                                      "[f(Path(sys.argv[1])) for f in (stored_orientation, missing_bytes)]",
                                      str(tmp_path / "a.mp4"))
    assert answer == "[None, 0]"
    assert_cheap(seconds, megabytes)


def test_a_sparse_index_of_a_video(tmp_path):
    with (tmp_path / "a.mp4").open("wb") as out:
        out.write(struct.pack(">I", 16) + b"ftypisom\0\0\0\0" + struct.pack(">I", 1) + b"moov"
                  + struct.pack(">Q", 1 << 35))
        out.truncate(1 << 35)
    answer, seconds, megabytes = cost("from dinemo_ros.io.sources import open_source", "open_source(sys.argv[1])",
                                      str(tmp_path / "a.mp4"))
    assert "cannot be opened as a video" in answer
    assert_cheap(seconds, megabytes)
