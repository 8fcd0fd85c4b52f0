# SPDX-License-Identifier: Apache-2.0
"""JPEGs and PNGs that were damaged in their middle are noticed, as far as libjpeg and the checksums notice it."""

import os
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import ImageError
from dinemo_ros.io.image_codec import decode_compressed, decode_file
from dinemo_ros.io.jpeg_warnings import is_padding, with_warnings
from dinemo_ros.io.opencv_log import set_level, silent
from dinemo_ros.io.sources import open_source

RNG = np.random.default_rng(11)
PICTURE = np.clip(cv2.resize(RNG.integers(0, 256, (9, 12, 3), np.uint8), (320, 240)) + RNG.normal(0, 4, (240, 320, 3)),
                  0, 255).astype(np.uint8)
OPTIONS = {"plain": [], "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4], "optimal": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
           "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]}


def jpeg(kind="plain") -> bytes:
    return cv2.imencode(".jpg", PICTURE, OPTIONS[kind])[1].tobytes()


def damaged(data: bytes, size: int) -> bytes:
    """``size`` bytes of the middle are others."""
    at = int(RNG.integers(len(data) // 3, 2 * len(data) // 3))
    return data[:at] + RNG.bytes(size) + data[at + size:]


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_burst_of_damage_is_noticed(kind):
    """200 bytes that mean nothing nearly always leave codes that do not exist, or a rest."""
    data, noticed = jpeg(kind), 0
    for _ in range(40):
        try:
            decode_compressed("jpeg", damaged(data, 200))
        except ImageError as error:
            noticed += 1
            assert "damaged" in str(error) or "marker" in str(error)
            assert str(error).isprintable()
    assert noticed >= 36  # 39.6 of 40 on average


@pytest.mark.parametrize("kind", OPTIONS)
def test_whatever_libjpeg_warns_of_is_told(kind):
    """The decoder is run in a process of its own, whose standard error stream says what it found."""
    data = jpeg(kind)
    pictures = [damaged(data, 1) for _ in range(25)]
    script = ("import sys, cv2, numpy as np\n"
              "for line in sys.stdin:\n"
              "    print('next', file=sys.stderr, flush=True)\n"
              "    cv2.imdecode(np.frombuffer(bytes.fromhex(line), np.uint8), cv2.IMREAD_COLOR)\n")
    run = subprocess.run([sys.executable, "-c", script], input="\n".join(p.hex() for p in pictures), text=True,
                         capture_output=True, check=True)
    warned = ["JPEG" in part for part in run.stderr.split("next")[1:]]
    assert len(warned) == 25 and 1 <= sum(warned) < 25
    for picture, expected in zip(pictures, warned, strict=True):
        try:
            decode_compressed("jpeg", picture)
            told = False
        except ImageError:
            told = True
        assert told or not expected


def test_whole_pictures_say_nothing(capfd):
    for kind in OPTIONS:
        assert decode_compressed("jpeg", jpeg(kind)).shape == (240, 320, 3)
    assert capfd.readouterr().err == ""


def test_the_decoders_own_words_do_not_reach_the_terminal(capfd):
    with pytest.raises(ImageError, match="the decoder says"):
        while True:
            decode_compressed("jpeg", damaged(jpeg(), 200))
    assert capfd.readouterr().err == ""


def test_a_damaged_file_is_skipped_with_one_sentence(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    data = jpeg()
    (tmp_path / "b.jpg").write_bytes(data[:9000] + data[9400:])
    source = open_source(tmp_path)
    assert [f.name for f in source] == ["a.jpg"]
    assert source.skipped[0].startswith("b.jpg: JPEG of ") and "is damaged" in source.skipped[0]


@pytest.mark.parametrize("filling", [b"\0", b"\0" * 70, b"\xff", b"\xff" * 40, b"\x12\x34\x56\x78"])
def test_filling_before_the_end_marker_is_no_damage(filling):
    """Webcams pad their pictures so, with zeros or what a buffer held; libjpeg calls it extraneous bytes."""
    data = jpeg()
    assert decode_compressed("jpeg", data[:-2] + filling + b"\xff\xd9").shape == (240, 320, 3)
    with pytest.raises(ImageError, match="9 extraneous bytes"):
        decode_compressed("jpeg", data[:-2] + b"\x12\x34\x56\x78\x9a\x11\x22\x33\x44" + b"\xff\xd9")


@pytest.mark.parametrize(("warning", "data", "expected"), [
    (b"Corrupt JPEG data: 2 extraneous bytes before marker 0xd9", b"ab\0\0\xff\xd9", True),
    (b"Corrupt JPEG data: 9 extraneous bytes before marker 0xd9", b"abcdefg\0\0\xff\xd9", False),
    (b"Corrupt JPEG data: 8 extraneous bytes before marker 0xd9", b"abcdefg\0\0\xff\xd9", True),
    (b"Corrupt JPEG data: 2 extraneous bytes before marker 0xd3", b"ab\0\0\xff\xd9", False),
    (b"Corrupt JPEG data: premature end of data segment", b"ab\0\0\xff\xd9", False)])
def test_what_is_filling(warning, data, expected):
    assert is_padding(warning, data) == expected


def test_what_others_write_meanwhile_is_passed_on(capfd):
    def decode():
        os.write(2, b"hello\nCorrupt JPEG data: bad Huffman code\nthere\n")
        return 7

    assert with_warnings(decode) == (7, b"Corrupt JPEG data: bad Huffman code")
    assert capfd.readouterr().err == "hello\nthere\n"
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
    assert with_warnings(lambda: 8) == (8, b"")  # nothing is left over


def test_an_error_in_between_gives_the_stream_back(capfd):
    with pytest.raises(ZeroDivisionError):
        with_warnings(lambda: 1 / 0)
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"


def test_several_threads_do_not_take_each_others_words():
    good, bad, wrong = jpeg(), jpeg()[:9000] + jpeg()[9400:], []

    def work(data, expected):
        for _ in range(30):
            try:
                decode_compressed("jpeg", data)
                outcome = True
            except ImageError:
                outcome = False
            if outcome != expected:
                wrong.append(outcome)

    threads = [threading.Thread(target=work, args=a) for a in ((good, True), (bad, False), (good, True))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_users_log_level_comes_back_after_several_threads():
    before = set_level(2)
    first, second = silent(), silent()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set_level(0) == 0
    second.__exit__(None, None, None)
    assert set_level(before) == 2


def test_without_a_standard_error_stream_pictures_are_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    script = (f"import os; os.close(2)\nfrom dinemo_ros.io.image_codec import decode_file\n"
              f"print(decode_file(open({str(tmp_path / 'a.jpg')!r}, 'rb').read()).shape)")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "(240, 320, 3)"


def test_no_descriptors_are_left_open():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        decode_compressed("jpeg", jpeg())
    assert len(os.listdir("/proc/self/fd")) <= before + 1


PNG = cv2.imencode(".png", PICTURE)[1].tobytes()


@pytest.mark.parametrize("at", [23, 60, len(PNG) // 2, len(PNG) - 30])
def test_a_changed_byte_of_a_png_is_noticed(at):
    data = bytearray(PNG)
    data[at] ^= 0x10
    with pytest.raises(ImageError, match=r"checksum of its chunk '(IHDR|IDAT)' is wrong"):
        decode_file(bytes(data))


def test_a_png_with_a_part_missing_is_noticed():
    with pytest.raises(ImageError, match="PNG of .* (cut short|damaged)"):
        decode_file(PNG[:5000] + PNG[5400:])


@pytest.mark.parametrize("data", [PNG[:40], b"II*\0" + bytes(60), b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(90),
                                  b"GIF89a" + bytes(40)])
def test_opencv_adds_no_words_of_its_own(capfd, data):
    with pytest.raises(ImageError):
        decode_file(data)
    assert capfd.readouterr().err == ""
    level = set_level(3)
    assert set_level(level) == 3 and level > 0


@pytest.mark.parametrize("oddity", [
    lambda d: d[:11] + b"\x02" + d[12:],  # a JFIF version of the future
    lambda d: d.replace(b"\x00\x3f\x00", b"\x00\x00\x00", 1)])  # a baseline scan that names no last coefficient
def test_what_is_odd_and_whole_is_read(oddity):
    odd = oddity(jpeg())
    assert odd != jpeg() and decode_compressed("jpeg", odd).shape == (240, 320, 3)


def test_a_version_of_the_future_hides_no_damage():
    noticed = 0
    for _ in range(20):
        data = damaged(jpeg(), 200)
        try:
            decode_compressed("jpeg", data[:11] + b"\x02" + data[12:])
        except ImageError:
            noticed += 1
    assert noticed >= 17  # 97 to 100 of 100 of another version
