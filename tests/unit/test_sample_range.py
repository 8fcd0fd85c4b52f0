# SPDX-License-Identifier: Apache-2.0
"""Samples of 16 bits that hold fewer, in one picture and in a stream."""

import cv2
import numpy as np
import pytest

from dinemo_ros.io.image_codec import decode_compressed, decode_image
from dinemo_ros.io.sample_range import SampleRange
from dinemo_ros.io.sources import open_source


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_every_sample_is_scaled_and_rounded(bits):
    samples = np.arange(1 << bits, dtype=np.uint16).reshape(2, -1)
    assert np.array_equal(SampleRange().to_8_bits(samples), np.round(samples * (255 / ((1 << bits) - 1))))


@pytest.mark.parametrize(("highest", "bits"), [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12),
                                               (4096, 14), (16383, 14), (16384, 16), (65535, 16)])
def test_the_fewest_bits_that_hold_the_largest_sample(highest, bits):
    samples = SampleRange()
    samples.to_8_bits(np.array([[0, highest]], np.uint16))
    assert samples.bits == bits


def test_a_dark_picture_of_a_stream_stays_dark():
    samples, dark, bright = SampleRange(), np.full((2, 2), 300, np.uint16), np.full((2, 2), 4000, np.uint16)
    assert (samples.to_8_bits(dark) == 75).all()  # of 10 bits, as far as is known
    assert (samples.to_8_bits(bright) == 249).all()
    assert (samples.to_8_bits(dark) == 19).all()  # of 12


def test_one_range_for_the_images_of_a_topic():
    samples = SampleRange()
    for grey, expected in ((4095, 255), (300, 19)):
        data = np.full((4, 4), grey, "<u2").tobytes()
        assert (decode_image("mono16", 4, 4, 8, data, samples=samples) == expected).all()
        png = cv2.imencode(".png", np.full((4, 4), grey, np.uint16))[1]
        assert (decode_compressed("mono16; png compressed ", png, samples) == expected).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_a_folder_share_theirs_and_say_so(tmp_path, suffix, channels):
    if suffix == ".pgm" and channels == 3:
        suffix = ".ppm"
    for index, value in enumerate((4095, 300)):
        picture = np.full((4, 4, 3)[:2 if channels == 1 else 3], value, np.uint16)
        cv2.imwrite(str(tmp_path / f"{index}{suffix}"), picture)
    source = open_source(tmp_path)
    for _ in range(2):
        assert [f.image_rgb.max() for f in source] == [255, 19]
    note, = source.notes
    assert "hold at most 12 and are taken as 12 bits" in note
    assert ("if they are depth, give the colour pictures instead" in note) == (channels == 1)


def test_pictures_of_8_bits_have_nothing_to_say(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4), 40, np.uint8))
    source = open_source(tmp_path)
    assert [f.image_rgb.max() for f in source] == [40] and source.notes == []
