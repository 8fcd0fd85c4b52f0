# SPDX-License-Identifier: Apache-2.0
"""ROS image bytes to RGB, against formulas written out here, and every way a message can be wrong."""

import array

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import ImageError
from dinemo_ros.io.image_codec import decode_compressed, decode_image
from dinemo_ros.io.image_encodings import LAYOUTS

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
                                                 ("rgba8", [0, 1, 2, 3]), ("bgra8", [2, 1, 0, 3]),
                                                 ("8UC4", [2, 1, 0, 3])])
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
@pytest.mark.parametrize(("bits", "dtype"), [(8, "u1"), (16, "<u2"), (16, ">u2")])
def test_bayer_pattern_is_read_row_by_row_as_its_name_says(pattern, bits, dtype):
    full = 255 if bits == 8 else 4095  # a camera of 12 bits
    colour = {"r": full, "g": full * 100 // 255, "b": full * 50 // 255}
    mosaic = np.tile(np.array([[colour[c] for c in pattern[:2]], [colour[c] for c in pattern[2:]]], dtype),
                     (HEIGHT // 2, WIDTH // 2))
    rgb = decode(f"bayer_{pattern}{bits}", mosaic, is_bigendian=dtype == ">u2")
    assert (rgb == [255, 100, 50]).all()


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_pattern_compressed_as_grey_comes_out_in_colour(pattern, dtype):
    """As compressed_image_transport does, whose format then names no second encoding."""
    full = 255 if dtype == np.uint8 else 4095
    colour = {"r": full, "g": full * 100 // 255, "b": full * 50 // 255}
    mosaic = np.tile(np.array([[colour[c] for c in pattern[:2]], [colour[c] for c in pattern[2:]]], dtype), (4, 4))
    data = cv2.imencode(".png", mosaic)[1]
    image_format = f"bayer_{pattern}{8 * mosaic.itemsize}; png compressed "
    assert (decode_compressed(image_format, data) == [255, 100, 50]).all()
    in_colour = cv2.imencode(".png", np.full((8, 8, 3), (10, 20, 30), np.uint8))[1]
    assert (decode_compressed(image_format + "bgr8", in_colour) == [30, 20, 10]).all()


@pytest.mark.parametrize(("encoding", "order"), [("rgb16", [0, 1, 2]), ("bgr16", [2, 1, 0]), ("16UC3", [2, 1, 0]),
                                                 ("rgba16", [0, 1, 2, 3]), ("bgra16", [2, 1, 0, 3]),
                                                 ("16UC4", [2, 1, 0, 3])])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colour_of_16_bits_is_scaled_by_the_bits_that_it_uses(encoding, order, dtype, bits):
    highest = (1 << bits) - 1
    rgba = RNG.integers(0, highest + 1, (HEIGHT, WIDTH, 4))
    rgba[2, 3] = highest
    rgb = decode(encoding, rgba[..., order].astype(dtype), is_bigendian=dtype == ">u2")
    assert np.array_equal(rgb, np.round(rgba[..., :3] * 255 / highest))


@pytest.mark.parametrize(("encoding", "standard"), [("RGB8", "rgb8"), ("Bgr8", "bgr8"), ("8uc3", "8UC3"),
                                                    ("rgb8\0", "rgb8"), (" BAYER_RGGB8 ", "bayer_rggb8"),
                                                    ("MONO16", "mono16"), ("YUV422_YUY2", "yuv422_yuy2")])
def test_case_and_blanks_of_an_encoding_do_not_matter(encoding, standard):
    data = RNG.integers(0, 256, (HEIGHT, WIDTH * 3), np.uint8)
    assert np.array_equal(decode(encoding, data), decode(standard, data))


@pytest.mark.parametrize("padding", [0, 5])
def test_nv24_has_chroma_rows_of_twice_the_step(padding):
    y, u, v = RNG.integers(60, 196, (3, HEIGHT, WIDTH), np.uint8)
    step = WIDTH + padding
    luma = np.concatenate([y, np.zeros((HEIGHT, padding), np.uint8)], axis=1)
    chroma = np.concatenate([np.stack([u, v], axis=-1).reshape(HEIGHT, -1), np.zeros((HEIGHT, 2 * padding), np.uint8)],
                            axis=1)
    rgb = decode_image("nv24", HEIGHT, WIDTH, step, luma.tobytes() + chroma.tobytes())
    assert np.abs(rgb - bt601_limited(y, u, v)).max() < 1.5


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


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
def test_row_padding_changes_nothing(encoding):
    if encoding == "nv24":
        pytest.skip("its chroma rows are longer than step: test_nv24_has_chroma_rows_of_twice_the_step")
    rows = HEIGHT * 3 // 2 if encoding.startswith("nv") else HEIGHT
    for bytes_per_pixel in (1, 2, 3, 4, 6, 8):
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
    ("16UC1", {}, "'16UC1' is not supported: it is a depth image"),
    ("32FC1", {}, "'32FC1' is not supported: it is a depth image"),
    (" 32fc1\0", {}, r"' 32fc1\x00' is not supported: it is a depth image"),
    ("8SC1", {}, "'8SC1' is not supported"),
    ("x" * 500_000, {}, "xxx'... is not supported; supported are rgb8"),
    ("rgb8\n[ERROR] all is lost", {}, r"'rgb8\n[ERROR] all is lost' is not supported"),
    ("rgb8", {"height": 12_000, "width": 12_000}, "at most 120000000 pixels"),
    ("nv24", {"data": b"\0" * (WIDTH * HEIGHT * 2), "step": WIDTH}, "takes 144"),
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


@pytest.mark.parametrize("image_format", ["16UC1; compressedDepth png", "32FC1; compressedDepth rvl", "16UC1; png "
                                          "compressed ", "32FC1; png compressed ", "16uc1;png compressed",
                                          "compressedDepth", "16SC1; png compressed ", "32SC1; tiff compressed "])
def test_depth_is_not_taken_for_colour(image_format):
    _, data = cv2.imencode(".png", np.full((8, 8), 1234, np.uint16))
    with pytest.raises(ImageError, match=r"it is a depth image .*choose the colour topic"):
        decode_compressed(image_format, data)


@pytest.mark.parametrize("image_format", ["mono16; png compressed ", "png", "", "rgb8; png compressed bgr8", ".png",
                                          "depth of field; png", "x" * 500_000])
def test_other_formats_are_pictures(image_format):
    _, data = cv2.imencode(".png", np.full((8, 8), 65535, np.uint16))
    assert (decode_compressed(image_format, data) == 255).all()


def test_a_long_format_does_not_fill_the_log():
    with pytest.raises(ImageError) as caught:
        decode_compressed("16UC1;\n" + "y" * 500_000, b"no image")
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()
