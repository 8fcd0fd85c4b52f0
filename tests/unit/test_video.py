# SPDX-License-Identifier: Apache-2.0
"""Videos as a source: the stamps of their container, every kind of file that OpenCV reads, names in any bytes, videos
that break off. The files are made by ``tests/data/videos/make.sh``."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from video_files import VIDEOS

from dinemo_ros.errors import DatasetError
from dinemo_ros.io.sources import open_source
from dinemo_ros.io.sources.video import _Clock
from dinemo_ros.io.sources.video_end import missing_bytes
from dinemo_ros.io.sources.video_turn import stored_orientation

LUMA = np.arange(40, 200, 30)
GREYS = 1.164 * (LUMA - 16)  # ITU-R BT.601, limited range
VARIABLE = (0.0, 0.033, 0.066, 1.066, 1.1, 5.0)
CONSTANT = tuple(0.04 * i for i in range(6))
OWN_STAMPS = ("mp4", "mkv", "mov", "3gp", "3g2", "flv", "webm", "wmv", "asf", "ts", "m2ts", "mts")
BY_RATE = ("avi", "h264", "hevc", "mjpg", "mjpeg", "ogv", "vob", "mpg", "gif")


def read(path, **options):
    source = open_source(path, **options)
    return list(source), source


def greys(frames):
    return [float(np.median(f.image_rgb)) for f in frames]


@pytest.mark.parametrize(("suffix", "stamps"), [*((suffix, VARIABLE) for suffix in OWN_STAMPS),
                                                *((suffix, CONSTANT) for suffix in BY_RATE)])
def test_every_kind_is_read_with_the_stamps_of_its_container(suffix, stamps):
    frames, source = read(VIDEOS / f"grey.{suffix}")
    assert [f.stamp_s for f in frames] == pytest.approx(stamps, abs=5e-4)
    assert greys(frames) == pytest.approx(GREYS, abs=25 if suffix == "gif" else 3)  # a GIF has few colours
    assert [f.name for f in frames] == [f"grey.{suffix}:{i:06d}" for i in range(6)]
    assert source.skipped == []
    assert [n for n in source.notes if "no time stamps" in n] == (
        [f"grey.{suffix}: the video has no time stamps, 25 frames per second are taken"] if suffix in ("h264", "hevc")
        else [])


@pytest.mark.parametrize("suffix", ["mp4", "h264", "mkv"])
def test_the_rate_that_the_user_gives_wins(suffix):
    frames, source = read(VIDEOS / f"grey.{suffix}", fps=20.0)
    assert [f.stamp_s for f in frames] == pytest.approx([0.05 * i for i in range(6)])
    assert source.notes == []


def test_reading_again_gives_the_same_stamps():
    source = open_source(VIDEOS / "grey.mp4")
    assert [f.stamp_s for f in source] == [f.stamp_s for f in source]


@pytest.mark.parametrize(("container", "expected"), [
    ([0, 0, 0, 0], [0, 0.1, 0.2, 0.3]),  # no stamps at all
    ([0, 0.5, 0.6, 0], [0, 0.5, 0.6, 0.7]),  # none for the last frame
    ([0, 0.5, 0, 0.8], [0, 0.5, 0.6, 0.8]),  # one missing in between
    ([3, 4, 0, 1], [3, 4, 4.1, 4.2]),  # a clock that starts again
    ([0.2, 0.3, 0.3, 0.5], [0.2, 0.3, 0.4, 0.5]),  # the same twice
    ([-0.5, -0.4, 0.1, 0.2], [0, 0.1, 0.6, 0.7]),  # ROS has no negative time
    ([float("nan"), 0.1, float("inf"), 0.3], [0, 0.1, 0.2, 0.3]),
])
def test_frames_without_a_stamp_follow_by_the_frame_rate(container, expected):
    clock = _Clock(None, 10.0)
    assert [clock.stamp(value) for value in container] == pytest.approx(expected)
    assert bool(clock.note) == (container == [0, 0, 0, 0])


@pytest.mark.parametrize("name", ["trimmed.mp4", "with_sound.mkv", "index_first.mp4"])
def test_counts_that_are_estimates_are_no_complaint(name):
    """The container of each states more frames, or a longer time, than there is to be shown."""
    frames, source = read(VIDEOS / name)
    assert len(frames) == (3 if name == "trimmed.mp4" else 6)
    assert source.skipped == []


@pytest.mark.parametrize("name", ["index_first.mp4", "grey.mkv", "grey.webm", "grey.avi", "motion_jpeg.avi", "grey.flv",
                                  "grey.wmv", "grey.gif", "grey.mpg", "grey.ts", "grey.m2ts", "grey.ogv", "grey.mjpg"])
@pytest.mark.parametrize("share", [0.75, 0.97])
def test_a_video_that_was_cut_is_told(tmp_path, name, share):
    data = (VIDEOS / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[:int(share * len(data)) | 1])  # odd: not between two packets of a stream
    try:
        frames, source = read(cut)
    except DatasetError as error:
        assert "it is cut short" in str(error)
    else:
        assert 0 < len(frames) <= 6
        sentence, = source.skipped
        assert sentence.startswith(f"{name}: the video breaks off, ") and f"{len(frames)} frames were read" in sentence


@pytest.mark.parametrize("name", ["grey.mp4", "grey.mov", "grey.3gp"])
def test_a_cut_video_with_its_index_at_the_end_says_why_it_cannot_be_opened(tmp_path, name):
    (tmp_path / name).write_bytes((VIDEOS / name).read_bytes()[:900])
    with pytest.raises(DatasetError, match="cannot be opened as a video; it is cut short"):
        open_source(tmp_path / name)


def test_a_download_that_stopped_in_a_reserved_file_is_told(tmp_path):
    data = bytearray((VIDEOS / "motion_jpeg.avi").read_bytes())
    data[6300:] = bytes(len(data) - 6300 + 8192)
    (tmp_path / "a.avi").write_bytes(data)
    frames, source = read(tmp_path / "a.avi")
    assert 0 < len(frames) < 6 and "breaks off" in source.skipped[0]


@pytest.mark.parametrize("name", sorted(p.name for p in VIDEOS.iterdir() if p.suffix != ".sh"))
def test_whole_videos_miss_nothing_even_with_other_bytes_behind_them(tmp_path, name):
    assert missing_bytes(VIDEOS / name) == 0
    if Path(name).suffix in (".mp4", ".mkv", ".avi", ".wmv", ".webm"):
        (tmp_path / name).write_bytes((VIDEOS / name).read_bytes() + b"\1\2\3\4\5\6\7\x08\x09" * 3)
        assert missing_bytes(tmp_path / name) == 0


@pytest.mark.parametrize(("degrees", "turn"), [(90, 1), (180, 2), (270, 3)])
def test_a_telephones_video_is_turned_once(degrees, turn):
    """``-display_rotation 90`` is to be shown turned counter-clockwise by 90 degrees."""
    upright, _ = read(VIDEOS / "upright.mp4")
    turned, _ = read(VIDEOS / f"turned_{degrees}.mp4")
    expected = np.rot90(upright[0].image_rgb, turn)
    assert turned[0].image_rgb.shape == expected.shape
    assert np.array_equal(turned[0].image_rgb, expected)


@pytest.mark.parametrize(("name", "show"), [("mirrored", lambda a: a[:, ::-1]),
                                           ("mirrored_90", lambda a: np.rot90(a)[:, ::-1])])
def test_a_mirrored_video_is_mirrored_back(name, show):
    """``-display_hflip`` applies behind the rotation."""
    upright, _ = read(VIDEOS / "upright.mp4")
    frames, _ = read(VIDEOS / f"{name}.mp4")
    assert np.array_equal(frames[0].image_rgb, show(upright[0].image_rgb))


@pytest.mark.parametrize("name", ["grey.mkv", "grey.avi", "make.sh", "nothing.mp4"])
def test_other_files_have_no_matrix(name):
    assert stored_orientation(VIDEOS / name) is None


def test_a_matrix_that_is_no_turn_is_left_to_opencv(tmp_path):
    data = (VIDEOS / "turned_90.mp4").read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    (tmp_path / "a.mp4").write_bytes(data[:at] + b"\0\0\x80\0" + data[at + 4:])
    assert stored_orientation(VIDEOS / "turned_90.mp4") == 8 and stored_orientation(tmp_path / "a.mp4") is None
    assert len(read(tmp_path / "a.mp4")[0]) == 6


def test_a_track_of_sound_has_no_say_in_it(tmp_path):
    data = (VIDEOS / "turned_90.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data.replace(b"vide", b"soun"))
    assert stored_orientation(tmp_path / "a.mp4") is None


NAMES = [b"v\xf6.mp4", b"\xff\xfe\x80", b"a\nb\t.mp4", b"-x.mp4", b"frame%03d.mp4", b"clip007.mp4", b"http:a.mp4",
         b"a?b#c&d.mp4", b"'\"`$(x).mp4", "\u5f71\U0001f3a5.mp4".encode(), b"x" * 250 + b".mp4", b" .mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_a_video_of_any_name_is_read(tmp_path, name):
    path = os.fsencode(tmp_path) + b"/" + name
    shutil.copy(VIDEOS / "grey.mp4", path)
    frames, source = read(os.fsdecode(path))
    assert [f.stamp_s for f in frames] == pytest.approx(VARIABLE)
    assert source.description.isprintable() and source.skipped == []


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_video_of_any_name_is_an_error_on_one_line(tmp_path, name):
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes((VIDEOS / "grey.mp4").read_bytes()[:900])
    with pytest.raises(DatasetError, match="it is cut short") as caught:
        open_source(os.fsdecode(path))
    assert str(caught.value).isprintable()


def test_without_proc_a_link_of_a_plain_name_serves(tmp_path, monkeypatch):
    monkeypatch.setattr("dinemo_ros.io.sources.safe_name.os.path.exists", lambda path: False)
    shutil.copy(VIDEOS / "grey.mp4", os.fsencode(tmp_path) + b"/v\xf6%d.mp4")
    frames, _ = read(next(tmp_path.iterdir()))
    assert len(frames) == 6


def test_a_codec_that_opencv_lacks_is_named(tmp_path):
    """The codec's name in the file is changed to one that does not exist."""
    data = (VIDEOS / "motion_jpeg.avi").read_bytes().replace(b"MJPG", b"XyZ9")
    (tmp_path / "a.avi").write_bytes(data)
    with pytest.raises(DatasetError, match=r"XyZ9|cannot be opened as a video.*codec is unknown"):
        list(open_source(tmp_path / "a.avi"))


@pytest.mark.parametrize("text", ["#EXTM3U\n/etc/passwd\n", "ffconcat version 1.0\nfile '/etc/hostname'\n", "v=0\n"])
def test_a_list_of_other_files_is_not_followed(tmp_path, text):
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(DatasetError, match="cannot be opened as a video; it is a (playlist|text file)"):
        open_source(tmp_path / "a.mp4")


def test_a_video_too_large_to_decode_is_refused(monkeypatch):
    monkeypatch.setattr("dinemo_ros.io.picture_header.MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(DatasetError, match=r"grey\.mp4: image size is 64x48; .* at most 3071"):
        open_source(VIDEOS / "grey.mp4")


def test_a_video_written_by_opencv_itself(tmp_path):
    path = str(tmp_path / "a.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (64, 48))
    for grey in (30, 90, 150):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    frames, source = read(path)
    assert [f.stamp_s for f in frames] == pytest.approx([0, 0.08, 0.16])
    assert greys(frames) == pytest.approx([30, 90, 150], abs=3) and source.skipped == []


@pytest.mark.skipif(not hasattr(cv2, "CAP_PROP_N_THREADS"), reason="this OpenCV does not tell its threads")
def test_theora_is_decoded_by_one_thread():
    """With several, one reading in ten on a busy machine brought black frames."""
    assert open_source(VIDEOS / "grey.ogv")._open().get(cv2.CAP_PROP_N_THREADS) == 1
    assert open_source(VIDEOS / "grey.mp4")._open().get(cv2.CAP_PROP_N_THREADS) != 1
