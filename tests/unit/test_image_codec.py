# SPDX-License-Identifier: Apache-2.0
"""ROS image bytes to RGB, against formulas written out here, and every way a message can be wrong."""

import array

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import ImageError
from dinemo_ros.image_codec import SUPPORTED_ENCODINGS, decode_compressed, decode_image

HEIGHT, WIDTH = 6, 8
RNG = np.random.default_rng(7)


def bt601_limited(y, u, v):
    """ITU-R BT.601, Y 16 to 235, chroma 16 to 240, to full-range RGB [..., 3]."""
    y, u, v = 1.164383 * (y.astype(float) - 16), u.astype(float) - 128, v.astype(float) - 128
    rgb = np.stack([y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u], axis=-1)
    return np.clip(rgb, 0, 255)


def decode(encoding, pixels, **changes):
    """Decode an array whose rows are the message's rows."""
    pixels = np.ascontiguousarray(pixels)
    rows = pixels.reshape(pixels.shape[0], -1)
    fields = {"height": HEIGHT, "width": WIDTH, "step": rows.strides[0], "data": rows.tobytes()} | changes
    return decode_image(encoding, **fields)


@pytest.mark.parametrize(("encoding", "order"), [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("8UC3", [2, 1, 0]),
                                                 ("rgba8", [0, 1, 2, 3]), ("bgra8", [2, 1, 0, 3])])
def test_colour_channels_come_out_as_rgb(encoding, order):
    rgba = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    assert np.array_equal(decode(encoding, rgba[..., order]), rgba[..., :3])


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_copied_to_all_channels(encoding):
    grey = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    assert np.array_equal(decode(encoding, grey), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(("big_endian", "dtype"), [(False, "<u2"), (True, ">u2")])
def test_mono16_maps_its_full_range_in_either_byte_order(big_endian, dtype):
    grey = np.linspace(0, 65535, HEIGHT * WIDTH).round().astype(dtype).reshape(HEIGHT, WIDTH)
    rgb = decode("mono16", grey, is_bigendian=big_endian)
    assert np.array_equal(rgb[..., 0], np.round(grey.astype(float) / 257))
    assert rgb.min() == 0
    assert rgb.max() == 255


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_pattern_is_read_row_by_row_as_its_name_says(pattern):
    colour = {"r": 200, "g": 100, "b": 50}
    mosaic = np.tile(np.array([[colour[c] for c in pattern[:2]], [colour[c] for c in pattern[2:]]], np.uint8),
                     (HEIGHT // 2, WIDTH // 2))
    rgb = decode(f"bayer_{pattern}8", mosaic)
    assert (rgb == [200, 100, 50]).all()


@pytest.mark.parametrize(("encoding", "luma"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)])
def test_packed_yuv_is_bt601_limited(encoding, luma):
    y = RNG.integers(16, 236, (HEIGHT, WIDTH), np.uint8)
    u, v = RNG.integers(60, 196, (2, HEIGHT, WIDTH // 2), np.uint8)
    packed = np.empty((HEIGHT, WIDTH, 2), np.uint8)
    packed[..., luma], packed[:, 0::2, 1 - luma], packed[:, 1::2, 1 - luma] = y, u, v
    expected = bt601_limited(y, u.repeat(2, axis=1), v.repeat(2, axis=1))
    assert np.abs(decode(encoding, packed) - expected).max() < 1.5  # OpenCV computes with 20-bit fixed point


@pytest.mark.parametrize(("encoding", "first"), [("nv12", "u"), ("nv21", "v")])
def test_planar_yuv_is_bt601_limited(encoding, first):
    y = RNG.integers(16, 236, (HEIGHT, WIDTH), np.uint8)
    u, v = RNG.integers(60, 196, (2, HEIGHT // 2, WIDTH // 2), np.uint8)
    chroma = np.stack([u, v] if first == "u" else [v, u], axis=-1).reshape(HEIGHT // 2, WIDTH)
    expected = bt601_limited(y, *(c.repeat(2, axis=0).repeat(2, axis=1) for c in (u, v)))
    assert np.abs(decode(encoding, np.concatenate([y, chroma])) - expected).max() < 1.5


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_row_padding_changes_nothing(encoding):
    rows = HEIGHT * 3 // 2 if encoding.startswith("nv") else HEIGHT
    for bytes_per_pixel in (1, 2, 3, 4):
        row = RNG.integers(0, 256, (rows, WIDTH * bytes_per_pixel), np.uint8)
        try:
            plain = decode(encoding, row)
        except ImageError:  # fewer bytes per pixel than this encoding has
            continue
        padded = np.concatenate([row, np.full((rows, 5), 77, np.uint8)], axis=1)
        assert np.array_equal(decode(encoding, padded), plain)
        return
    pytest.fail("no row size was accepted")


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda b: array.array("B", b),
                                  lambda b: np.frombuffer(b, np.uint8), lambda b: np.frombuffer(b, np.int8)])
def test_any_buffer_will_do_and_the_result_shares_no_memory(wrap):
    rgb = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = wrap(rgb.tobytes())
    decoded = decode("rgb8", rgb, data=data)
    assert np.array_equal(decoded, rgb)
    assert decoded.flags.writeable
    assert not np.shares_memory(decoded, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(("encoding", "changes", "says"), [
    ("rgb9", {}, "'rgb9' is not supported; supported are rgb8"),
    ("", {}, "'' is not supported"),
    ("16UC1", {}, "'16UC1' is not supported"),
    ("rgb8", {"height": 0}, "size is 8x0"),
    ("rgb8", {"width": -8}, "size is -8x6"),
    ("rgb8", {"height": 2**31, "width": 2**31}, "at most"),
    ("rgb8", {"step": WIDTH}, "step is 8 bytes, a row of 8 pixels in 'rgb8' takes 24"),
    ("rgb8", {"step": 0}, "step is 0"),
    ("mono16", {"step": WIDTH}, "takes 16"),
    ("rgb8", {"data": b"\0" * 100}, "has 100 bytes, 8x6 in 'rgb8' with step 24 takes 144"),
    ("rgb8", {"data": b""}, "has 0 bytes"),
    ("rgb8", {"data": []}, "has 0 bytes"),
    ("rgb8", {"data": [1, 2, 3]}, "type list has no buffer"),
    ("nv12", {"step": WIDTH, "data": b"\0" * (WIDTH * HEIGHT)}, "takes 72"),
    ("nv12", {"height": 5}, "height divisible by 2"),
    ("yuv422", {"width": 7}, "width divisible by 2"),
    ("bayer_rggb8", {"height": 2}, "at least 4 pixels"),
])
def test_wrong_image_is_refused_with_the_reason(encoding, changes, says):
    with pytest.raises(ImageError) as caught:
        decode(encoding, np.zeros((HEIGHT, WIDTH, 3), np.uint8), **changes)
    assert says in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_image_comes_out_as_rgb(suffix):
    rgb = np.full((16, 24, 3), (200, 120, 30), np.uint8)
    _, data = cv2.imencode(suffix, rgb[..., ::-1])
    assert np.abs(decode_compressed(suffix[1:], data.tobytes()).astype(int) - rgb).max() <= 2


def test_16_bit_png_becomes_8_bit():
    _, data = cv2.imencode(".png", np.full((4, 4), 0x8000, np.uint16))
    assert (decode_compressed("png", data) == 128).all()


def jpeg(thumbnail: bytes = b"") -> bytes:
    """A JPEG, with bytes of an EXIF thumbnail if given."""
    picture = cv2.imencode(".jpg", RNG.integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail if thumbnail else b""
    return picture[:2] + segment + picture[2:]


@pytest.mark.parametrize(("data", "says"), [
    (b"", "is empty"),
    (b"this is no image", "not an image"),
    (jpeg()[:900], "no end marker"),
    (jpeg()[:-1200], "lacks rows"),
    (jpeg()[:-1200] + b"\0" * 2000, "lacks rows"),
    (jpeg(thumbnail=jpeg()[:600] + b"\xff\xd9")[:2000], "no end marker"),
    (cv2.imencode(".png", RNG.integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()[:900], "no end marker"),
])
def test_broken_compressed_image_is_refused_with_the_reason(data, says):
    with pytest.raises(ImageError, match=says):
        decode_compressed("jpeg", data)


def test_jpeg_with_padding_behind_its_end_is_read():
    assert decode_compressed("jpeg", jpeg() + b"\0" * 512).shape == (64, 64, 3)


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2], [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
                                     [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]], ids=["plain", "restarts", "optimal", "prog"])
def test_jpeg_without_its_end_marker_is_read_if_nothing_else_is_missing(options):
    """Cut at every byte: what is read is the whole picture, but for a block or two of 16 x 16 pixels at its end."""
    picture = cv2.resize(RNG.integers(0, 256, (5, 7, 3), np.uint8), (90, 74))
    data = cv2.imencode(".jpg", picture, options)[1].tobytes()
    whole, accepted = decode_compressed("jpeg", data), []
    for length in range(len(data)):
        for padding in (b"", b"\0" * 100):
            try:
                read = decode_compressed("jpeg", data[:length] + padding)
            except ImageError:
                continue
            assert (read != whole).any(axis=2).sum() <= 2 * 17 * 17 and np.array_equal(read[:62], whole[:62])
            accepted.append(len(data) - length)
    if options[:1] == [cv2.IMWRITE_JPEG_PROGRESSIVE]:  # blurred where it was cut: nothing to see it by
        assert not accepted
    else:
        assert {1, 2} <= set(accepted)
        assert np.array_equal(decode_compressed("jpeg", data[:-2]), whole)


def test_png_with_other_bytes_behind_its_end_is_read():
    data = cv2.imencode(".png", RNG.integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()
    assert decode_compressed("png", data + b"\0" * 500).shape == (64, 64, 3)


def test_compressed_depth_is_not_taken_for_colour():
    with pytest.raises(ImageError, match="depth"):
        decode_compressed("16UC1; compressedDepth png", b"\x89PNG")
