# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a ROS image to RGB pixels.

Free of ROS: takes the fields of ``sensor_msgs/Image`` and ``sensor_msgs/CompressedImage``, so that the node, the bag
reader and the folder reader decode alike. Encodings are those of ``sensor_msgs/image_encodings.hpp``; what YUV means
is ITU-R BT.601 with limited range (Y 16 to 235), as cameras and cv_bridge have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .errors import ImageError
from .jpeg_end import lacks_end, require_all_rows, with_end

# A wrong header must not make us allocate the whole memory; 400 megapixels is beyond any camera in use.
_MAX_PIXELS = 400_000_000


@dataclass(frozen=True)
class _Encoding:
    """How the pixels of one encoding lie in memory.

    Attributes:
        row_bytes: bytes per pixel along a row of the first plane.
        to_rgb: uint8 or uint16 rows [rows, width(, channels)] to RGB uint8 [height, width, 3].
        channels: trailing dimension; 1 means none.
        depth: bytes per sample.
        rows: (numerator, denominator) of stored rows per image row; 3/2 with a half-height chroma plane below.
        even: (height, width) must be multiples of these (chroma subsampling, colour filter).
        least: smallest height and width (OpenCV leaves an image of two rows black when it demosaics).
    """

    to_rgb: Callable[[np.ndarray], np.ndarray]
    channels: int = 1
    depth: int = 1
    rows: tuple[int, int] = (1, 1)
    even: tuple[int, int] = (1, 1)
    least: int = 1

    @property
    def row_bytes(self) -> int:
        return self.channels * self.depth


def _cv(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _mono16_to_rgb(pixels: np.ndarray) -> np.ndarray:
    # 65535 / 255 = 257: the full range of 16 bits maps onto the full range of 8, rounded.
    return cv2.cvtColor(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8), cv2.COLOR_GRAY2RGB)


_RGB = _Encoding(np.copy, channels=3)
_BGR = _Encoding(_cv(cv2.COLOR_BGR2RGB), channels=3)
_MONO = _Encoding(_cv(cv2.COLOR_GRAY2RGB))
_UYVY = _Encoding(_cv(cv2.COLOR_YUV2RGB_UYVY), channels=2, even=(1, 2))
_YUY2 = _Encoding(_cv(cv2.COLOR_YUV2RGB_YUY2), channels=2, even=(1, 2))

_ENCODINGS = {
    "rgb8": _RGB,
    "bgr8": _BGR,
    "8UC3": _BGR,  # OpenCV's own channel order, which is what drivers that publish 8UC3 fill in
    "rgba8": _Encoding(_cv(cv2.COLOR_RGBA2RGB), channels=4),
    "bgra8": _Encoding(_cv(cv2.COLOR_BGRA2RGB), channels=4),
    "mono8": _MONO,
    "8UC1": _MONO,
    "mono16": _Encoding(_mono16_to_rgb, depth=2),
    # OpenCV names a pattern by the pixels of the second row and column: ROS "rggb" is OpenCV's "BG".
    "bayer_rggb8": _Encoding(_cv(cv2.COLOR_BayerBG2RGB), even=(2, 2), least=4),
    "bayer_bggr8": _Encoding(_cv(cv2.COLOR_BayerRG2RGB), even=(2, 2), least=4),
    "bayer_gbrg8": _Encoding(_cv(cv2.COLOR_BayerGR2RGB), even=(2, 2), least=4),
    "bayer_grbg8": _Encoding(_cv(cv2.COLOR_BayerGB2RGB), even=(2, 2), least=4),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "nv12": _Encoding(_cv(cv2.COLOR_YUV2RGB_NV12), rows=(3, 2), even=(2, 2)),
    "nv21": _Encoding(_cv(cv2.COLOR_YUV2RGB_NV21), rows=(3, 2), even=(2, 2)),
}

SUPPORTED_ENCODINGS = tuple(_ENCODINGS)


def decode_image(encoding: str, height: int, width: int, step: int, data, is_bigendian: bool = False) -> np.ndarray:
    """RGB uint8 [height, width, 3] of a ``sensor_msgs/Image``.

    Args:
        encoding: one of :data:`SUPPORTED_ENCODINGS`.
        height, width: pixels.
        step: bytes from one row to the next; may exceed the row (padding).
        data: anything with the buffer protocol (``bytes``, ``array.array``, numpy array).
        is_bigendian: byte order of 16-bit samples.

    Returns:
        A new array that shares no memory with ``data``.

    Raises:
        ImageError: unknown encoding, size that is not positive or not even where chroma is subsampled, ``step``
            smaller than a row, or fewer bytes than ``step`` x rows.
    """
    layout = _ENCODINGS.get(encoding)
    if layout is None:
        raise ImageError(f"image encoding {encoding!r} is not supported; supported are {', '.join(_ENCODINGS)}: set "
                         "the camera driver to one of them, or convert with image_proc")
    height, width, step = int(height), int(width), int(step)
    if height <= 0 or width <= 0 or height * width > _MAX_PIXELS:
        raise ImageError(f"image size is {width}x{height}; both must be positive and the product at most "
                         f"{_MAX_PIXELS}: the publisher filled the header wrongly")
    if height % layout.even[0] or width % layout.even[1] or min(height, width) < layout.least:
        raise ImageError(f"encoding {encoding!r} needs a width divisible by {layout.even[1]}, a height divisible by "
                         f"{layout.even[0]} and at least {layout.least} pixels of each, the image is {width}x{height}")
    row = width * layout.row_bytes
    if step < row:
        raise ImageError(f"step is {step} bytes, a row of {width} pixels in {encoding!r} takes {row}: encoding, width "
                         "and step of the image do not fit together")
    rows = height * layout.rows[0] // layout.rows[1]
    flat = _as_bytes(data)
    if flat.size < rows * step:
        raise ImageError(f"image data has {flat.size} bytes, {width}x{height} in {encoding!r} with step {step} takes "
                         f"{rows * step}: the message was cut short")
    pixels = flat[: rows * step].reshape(rows, step)[:, :row]
    if layout.depth == 2:
        pixels = np.ascontiguousarray(pixels).view(">u2" if is_bigendian else "<u2")
    if layout.channels > 1:
        pixels = pixels.reshape(rows, width, layout.channels)
    return layout.to_rgb(np.ascontiguousarray(pixels))


def decode_compressed(image_format: str, data) -> np.ndarray:
    """RGB uint8 [H, W, 3] of a ``sensor_msgs/CompressedImage`` or of the bytes of an image file.

    Args:
        image_format: the message's ``format``, e.g. ``"jpeg"`` or ``"rgb8; jpeg compressed bgr8"``; for a file its
            suffix. Only depth is told apart by it, the codec is recognised by the data.
        data: anything with the buffer protocol.

    Raises:
        ImageError: empty, cut short (a JPEG that lacks rows, a PNG without its end), a depth image, or no image at all.
    """
    if "compresseddepth" in image_format.replace(" ", "").lower():
        raise ImageError(f"format {image_format!r} is a depth image; a colour image is needed: choose the colour topic")
    flat = _as_bytes(data)
    if flat.size == 0:
        raise ImageError(f"compressed image ({image_format or 'no format given'}) is empty")
    size, cut = flat.size, lacks_end(flat.tobytes())
    if cut:
        flat = np.frombuffer(with_end(flat.tobytes()), np.uint8)
    _require_png_end(flat)
    try:
        bgr = cv2.imdecode(flat, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"compressed image ({image_format}, {size} bytes) cannot be decoded: "
                         f"{error.err}") from error
    if bgr is None:
        raise ImageError(f"{size} bytes ({image_format or 'no format given'}) are not an image that can be "
                         "decoded; jpeg and png can")
    if cut:
        require_all_rows(bgr, size)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _as_bytes(data) -> np.ndarray:
    """The bytes of ``data`` as uint8 [N], without a copy."""
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if hasattr(data, "__len__") and len(data) == 0:
            return np.empty(0, np.uint8)
        raise ImageError(f"image data of type {type(data).__name__} has no buffer of bytes") from error


def _require_png_end(flat: np.ndarray) -> None:
    """Refuse a PNG without its last chunk, which other bytes may follow: decoders leave the missing rows black."""
    if flat[:8].tobytes() == b"\x89PNG\r\n\x1a\n" and b"IEND\xaeB`\x82" not in flat.tobytes():
        raise ImageError(f"PNG of {flat.size} bytes has no end marker: it was cut short")
