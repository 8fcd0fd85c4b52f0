# SPDX-License-Identifier: Apache-2.0
"""Bags that unpack to gigabytes, or state them, are refused with a sentence and cost next to nothing."""

import functools
import sqlite3
import struct

import numpy as np
import pytest
from bombs import assert_cheap, black_png, cost, mcap, message_record

from dinemo_ros.io.sources import open_source
from dinemo_ros.io.sources.bag_limits import RECORD_BYTES, UNPACKED_BYTES

pytest.importorskip("rosbags")
zstd = pytest.importorskip("backports.zstd")
lz4 = pytest.importorskip("lz4.frame")
GIGABYTE = 1 << 30


@functools.cache
def packed(packing: str, size: int) -> bytes:
    """``size`` zeros, packed in pieces."""
    piece = bytes(1 << 22)
    if packing == "zstd":
        packer = zstd.ZstdCompressor()
        return b"".join([*(packer.compress(piece) for _ in range(size >> 22)), packer.flush()])
    packer = lz4.LZ4FrameCompressor()
    return b"".join([packer.begin(), *(packer.compress(piece) for _ in range(size >> 22)), packer.flush()])


def read(path) -> str:
    """What ``dinemo`` would read of it, at a bearable cost."""
    answer, seconds, megabytes = cost(
        "from dinemo_ros.io.sources import open_source",
        "(lambda source: (len(list(source)), source.skipped, source.notes))(open_source(sys.argv[1]))", str(path))
    assert_cheap(seconds, megabytes, UNPACKED_BYTES / 1e6)
    return answer


def compressed_image(data: bytes) -> bytes:
    """CDR of a CompressedImage."""
    return (b"\0\1\0\0" + struct.pack("<II", 0, 0) + struct.pack("<I", 1) + b"\0\0\0\0" + struct.pack("<I", 4)
            + b"png\0" + struct.pack("<I", len(data)) + data)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("packing", ["zstd", "lz4"])
@pytest.mark.parametrize("stated", [None, 1000])
def test_a_chunk_of_a_gigabyte(tmp_path, packing, indexed, stated):
    file = tmp_path / "a.mcap"
    file.write_bytes(mcap([(packing.encode(), packed(packing, GIGABYTE), GIGABYTE)], indexed, stated))
    assert file.stat().st_size < 6_000_000
    answer = read(file)
    # One that states a thousand bytes is damaged or, where it is not even opened for its topics, empty.
    assert "has 1024 MiB, at most 64 are read" in answer or stated and ("damaged" in answer or "at most" in answer
                                                                        or "(0, [], " in answer)


def test_chunks_of_one_time_are_not_held_together(tmp_path):
    """64 MB each, and a hundred of them in 700 kB."""
    file, each = tmp_path / "a.mcap", 60 << 20
    file.write_bytes(mcap([(b"zstd", packed("zstd", each), each)] * 100))
    assert "what is of one time in its chunks has 6000 MiB, at most 128 are read" in read(file)


def test_a_record_of_40_gigabytes_is_not_read(tmp_path):
    file = tmp_path / "a.mcap"
    end = mcap([], indexed=False)
    start = end[:-37]
    with file.open("wb") as out:
        out.write(start + struct.pack("<BQ", 5, 40 << 30) + struct.pack("<HIQQ", 1, 0, 0, 0))
        out.seek(len(start) + 9 + (40 << 30))
        out.write(end[-37:])
    assert "a record has 40959 MiB, at most 128 are read" in read(file) or "has 40960 MiB" in read(file)


def test_a_value_that_the_database_makes_up(tmp_path):
    """A table may compute a column, gigabytes of zeros as well."""
    file = tmp_path / "a.db3"
    with sqlite3.connect(file) as database:
        database.executescript(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT,"
            " offered_qos_profiles TEXT);"
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,"
            " data BLOB GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL);"
            "INSERT INTO topics VALUES (1, '/image', 'sensor_msgs/msg/CompressedImage', 'cdr', '');"
            "INSERT INTO messages(topic_id, timestamp) VALUES (1, 1);")
    assert "too big" in read(file)


def bag_folder(folder, compression: str, storage: str) -> None:
    (folder / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: " + storage.split(".")[1].replace(
            "db3", "sqlite3") + "\n  duration: {nanoseconds: 1}\n  starting_time: {nanoseconds_since_epoch: 0}\n"
        "  message_count: 1\n  topics_with_message_count:\n    - topic_metadata: {name: /image, type: "
        "sensor_msgs/msg/CompressedImage, serialization_format: cdr, offered_qos_profiles: ''}\n"
        "      message_count: 1\n"
        f"  compression_format: zstd\n  compression_mode: {compression}\n  relative_file_paths: [{storage}]\n")


def test_a_message_of_a_gigabyte(tmp_path):
    bag_folder(tmp_path, "MESSAGE", "a.mcap")
    record = message_record(packed("zstd", GIGABYTE))
    (tmp_path / "a.mcap").write_bytes(mcap([(b"", record, len(record))]))
    assert "a message has 64 MiB, at most 64 are read" in read(tmp_path)


def test_a_storage_file_that_unpacks_to_gigabytes(tmp_path, monkeypatch):
    """It would fill the disk."""
    bag_folder(tmp_path, "FILE", "a.mcap.zstd")
    (tmp_path / "a.mcap.zstd").write_bytes(packed("zstd", GIGABYTE))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    assert "unpacks to more than 50 times its size" in read(tmp_path)
    assert list(scratch.iterdir()) == []


def test_metadata_of_megabytes(tmp_path):
    with (tmp_path / "metadata.yaml").open("w") as out:
        out.write("rosbag2_bagfile_information: {version: 5}\n" + "- [[[[a, b, c]]]]\n" * 3_000_000)
    assert "metadata.yaml: is larger than 192 KiB and is not read" in read(tmp_path)


@pytest.mark.parametrize("packing", ["", "zstd", "lz4"])
def test_chunks_of_usual_size_are_read(tmp_path, packing):
    import cv2

    picture = np.full((30, 40, 3), 77, np.uint8)
    records = message_record(compressed_image(cv2.imencode(".png", picture)[1].tobytes()))
    pack = {"": bytes, "zstd": zstd.compress, "lz4": lz4.compress}[packing]
    (tmp_path / "a.mcap").write_bytes(mcap([(packing.encode(), pack(records), len(records))] * 3))
    source = open_source(tmp_path / "a.mcap")
    assert [frame.image_rgb.shape for frame in source] == [(30, 40, 3)] * 3 and source.skipped == []


def test_a_picture_of_another_size_than_its_camera_is_not_decoded(tmp_path):
    """With a calibration of the user's; of a bag's own it is the same."""
    record = message_record(compressed_image(black_png(12_000, 9_000)))
    (tmp_path / "a.mcap").write_bytes(mcap([(b"", record, len(record))]))
    setup = ("from dinemo_ros.io.sources import open_source\nfrom dinemo_ros.camera.pinhole import Camera\n"
             "source = open_source(sys.argv[1])\nsource.required_camera = lambda own: Camera.from_hfov(640, 480, 60.0)")
    answer, seconds, megabytes = cost(setup, "[frame.image_rgb.shape for frame in source]", str(tmp_path / "a.mcap"))
    assert answer == "[(9000, 12000, 3)]" and megabytes < 50
    assert_cheap(seconds, megabytes)


def test_the_limits_are_those_of_the_sentences():
    assert (UNPACKED_BYTES >> 20, RECORD_BYTES >> 20) == (64, 128)
