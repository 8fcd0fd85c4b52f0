# SPDX-License-Identifier: Apache-2.0
"""Files are taken for what they hold, and what is not read is called what it is, with the way out."""

import os
import struct

import cv2
import numpy as np
import pytest
from video_files import VIDEOS

from dinemo_ros.errors import DatasetError, ImageError
from dinemo_ros.io.content import HEAD_BYTES, Kind, content_of
from dinemo_ros.io.image_codec import decode_compressed
from dinemo_ros.io.sources import open_source

PICTURE = np.random.default_rng(3).integers(0, 256, (96, 128, 3), np.uint8)


def encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, PICTURE)[1].tobytes()


def box(brand: bytes, others: bytes = b"") -> bytes:
    return struct.pack(">I4s4sI", 16 + len(others), b"ftyp", brand, 0) + others + bytes(64)


def raw_camera_tiff(*tags: tuple[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(64)


# What is not read: first bytes, name, and a word of the way out.
NOT_READ = [
    (b"#ROSBAG V2.0\n" + bytes(100), "a bag of ROS 1", "rosbags-convert"),
    (b"\x28\xb5\x2f\xfd" + bytes(100), "compressed with Zstandard", "zstd -d"),
    (box(b"heic", b"mif1heic"), "HEIC", "heif-convert"),
    (box(b"mif1", b"mif1heic"), "HEIC", "heif-convert"),
    (box(b"crx "), "raw picture", "develop"),
    (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "raw picture", "develop"),
    (raw_camera_tiff((254, 1), (256, 160), (330, 100)), "raw picture", "develop"),
    (raw_camera_tiff((256, 160), (50706, 0x401)), "raw picture", "develop"),
    (b"FUJIFILMCCD-RAW 0201", "raw picture", "develop"),
    (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "rsvg-convert"),
    (b"<svg width='1'>", "SVG", "rsvg-convert"),
    (b"%PDF-1.7\n", "PDF", "pdftoppm"),
    (b"8BPS\0\1", "Photoshop", "PNG"),
    (b"\xff\x0a" + bytes(50), "JPEG XL", "djxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "djxl"),
    (b"PK\x03\x04", "ZIP", "unzip"),
    (b"\x1f\x8b\x08", "gzip", "unpack"),
    (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "web page", "download"),
    (b"<html>\n404", "web page", "download"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", "git lfs pull"),
    (b"", "empty file", "download it again"),
    (b"hello world\n", "text file", ""),
    (bytes(5000), "file of zeros", "copy or download"),
    (b"\x93NUMPY\1\0", "NumPy", "imwrite"),
    (b"ID3\4", "sound", ""),
    (b"RIFF\0\0\0\0WAVEfmt ", "sound", ""),
    (b"Pf\n4 4\n-1.0\n" + bytes(64), "floating-point", "depth"),
]


@pytest.mark.parametrize("suffix", ["", ".jpg", ".mp4", ".mcap", ".bag"])
@pytest.mark.parametrize(("data", "name", "way_out"), NOT_READ, ids=[n for _, n, _ in NOT_READ])
def test_what_is_not_read_is_called_what_it_is(tmp_path, data, name, way_out, suffix):
    path = tmp_path / f"given{suffix}"
    path.write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        open_source(path)
    assert name in str(caught.value) and way_out in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(("data", "name", "way_out"), NOT_READ, ids=[n for _, n, _ in NOT_READ])
def test_so_it_is_among_pictures_and_in_a_message(tmp_path, data, name, way_out):
    (tmp_path / "a.png").write_bytes(encoded(".png"))
    (tmp_path / "b.jpg").write_bytes(data)
    source = open_source(tmp_path)
    assert len(list(source)) == 1
    sentence, = source.skipped
    assert sentence.startswith("b.jpg: ") and name in sentence and way_out in sentence
    if data and not data.startswith(b"Pf"):
        with pytest.raises(ImageError, match=name):
            decode_compressed("jpeg", data)


def test_a_folder_of_nothing_but_those_names_them(tmp_path):
    for index in range(3):
        (tmp_path / f"IMG_{index}.HEIC").write_bytes(box(b"heic"))
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(DatasetError, match=r"no image here.*here is a HEIC/HEIF picture: .*; a bag of ROS 1") as caught:
        open_source(tmp_path)
    assert str(caught.value).count("HEIC/HEIF") == 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".ppm", ".jp2", ".sr"])
@pytest.mark.parametrize("name", ["x", "x.jpg", "x.mp4", "x.db3", "x.unheard", "x.mkv"])
def test_a_picture_is_read_whatever_its_name(tmp_path, suffix, name):
    (tmp_path / name).write_bytes(encoded(suffix))
    source = open_source(tmp_path / name)
    frame, = source
    assert frame.image_rgb.shape == (96, 128, 3) and frame.name == name
    assert bool(source.notes) == name.endswith((".mp4", ".db3", ".mkv"))
    frame, = open_source(tmp_path) if not name.endswith(".db3") else open_source(tmp_path / name)
    assert frame.name == name


@pytest.mark.parametrize("name", ["x", "x.jpg", "x.png", "x.db3", "x.yaml"])
def test_a_video_is_played_whatever_its_name_and_told_among_pictures(tmp_path, name):
    (tmp_path / name).write_bytes((VIDEOS / "grey.mkv").read_bytes())
    source = open_source(tmp_path / name)
    assert len(list(source)) == 6
    assert bool(source.notes) == name.endswith((".jpg", ".png", ".db3"))
    if name == "x.jpg":
        assert "x.jpg is a Matroska or WebM video, other than its name says" in source.notes
        (tmp_path / "a.png").write_bytes(encoded(".png"))
        folder = open_source(tmp_path)
        assert len(list(folder)) == 1 and "x.jpg: not an image file but a Matroska" in folder.skipped[0]


@pytest.mark.parametrize("suffix", [".nef", ".DNG", ".arw", ".cr2"])
def test_a_raw_file_is_not_taken_for_the_small_picture_in_front(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(encoded(".tif"))
    with pytest.raises(DatasetError, match="raw picture"):
        open_source(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("make", [os.mkfifo, None], ids=["pipe", "device"])
def test_a_pipe_or_device_is_refused_at_once(tmp_path, make):
    path = tmp_path / "p.jpg" if make else "/dev/null"
    if make:
        make(path)
    with pytest.raises(DatasetError, match="a device, pipe or socket"):
        open_source(path)


def test_names_too_long_or_impossible_are_an_error_on_one_line(tmp_path):
    for name in ("x" * 300, "a/" * 5000, "nothing\nhere", "a\0b"):
        with pytest.raises(DatasetError) as caught:
            open_source(tmp_path / name)
        assert str(caught.value).isprintable()


NAMES = [b"v\xf6.png", b"\xff\xfe.jpg", b"a\nb.png", b"-x.png", b"frame%03d.png", b"a?b#c.png", b" .png"]


def test_pictures_of_any_name_are_read_and_damaged_ones_named_on_one_line(tmp_path):
    for name in NAMES:
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(encoded(".png"))
        with open(os.fsencode(tmp_path) + b"/cut" + name, "wb") as file:
            file.write(encoded(".png")[:200])
    source = open_source(tmp_path)
    frames = list(source)
    assert {os.fsencode(f.name) for f in frames} == set(NAMES)
    assert len(source.skipped) == len(NAMES) and all(s.isprintable() for s in source.skipped)
    for name in NAMES:
        assert len(list(open_source(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))) == 1


def test_the_head_is_enough_for_every_kind():
    for path in VIDEOS.iterdir():
        if path.suffix in (".sh", ".mjpg", ".mjpeg"):
            continue
        found = content_of(path.read_bytes()[:HEAD_BYTES])
        assert found is not None and found.kind is Kind.VIDEO, path
