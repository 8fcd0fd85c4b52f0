# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a depth picture, or of a ROS depth image, to distances as they are stored.

uint16 is millimetres and float32 metres, as REP 118 has it; what is a hole, and whether the unit can be right, is for
:class:`dinemo_ros.scene.depth_image.DepthImage` to say. Free of ROS, as :mod:`.image_codec` is.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import DocumentError, ImageError
from .bounded_file import read_bounded
from .image_encodings import standard_name
from .opencv_log import silent
from .picture_guard import guarded
from .picture_header import DEPTH_BITS, require_size
from .quoting import quoted, shown

if TYPE_CHECKING:
    from .image_codec import Buffer

#: Names of files that hold depth.
DEPTH_SUFFIXES = (".png", ".tif", ".tiff")
_LARGEST_FILE = 64 << 20  # bytes; 16 megapixels in 32 bits, unpacked
_EXPECTED = "16-bit PNG or TIFF in millimetres, or 32-bit float TIFF in metres, one number per pixel"
_RAW = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
# compressed_depth_image_transport: a 32-bit integer for the format, then two floats that turn numbers into metres.
_HEAD = struct.Struct("<iff")


def read_depth_file(path: Path) -> np.ndarray:
    """uint16 millimetres or float32 metres [H, W] of a depth picture; ImageError names the file and what is wrong."""
    name = shown(path.name)
    try:
        return decode_depth(read_bounded(path, _LARGEST_FILE))
    except (DocumentError, ImageError) as error:
        raise ImageError(f"{name}: {error}") from error


def decode_depth(data: bytes) -> np.ndarray:
    """uint16 millimetres or float32 metres [H, W] of the bytes of a PNG or TIFF.

    Raises:
        ImageError: too large, damaged, or no depth: several channels, 8 bits.
    """
    whole, header = guarded(data, DEPTH_BITS)
    if header is None:
        raise ImageError(f"{len(data)} bytes are no depth picture; allowed is a {_EXPECTED}")
    try:
        with silent():
            depth = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # a header that leads it astray
        depth = None
    if depth is None:
        raise ImageError(f"{len(data)} bytes cannot be decoded as a depth picture: copy the file again; allowed is a "
                         f"{_EXPECTED}")
    if depth.ndim != 2 or depth.dtype not in (np.uint16, np.float32):
        channels = 1 if depth.ndim == 2 else depth.shape[2]
        raise ImageError(f"is a picture with {channels} channels of {depth.dtype}, which holds no distances; allowed "
                         f"is a {_EXPECTED}")
    return depth


def decode_depth_image(encoding: str, height: int, width: int, step: int, data: Buffer,
                       is_bigendian: bool = False) -> np.ndarray:
    """uint16 millimetres or float32 metres [height, width] of a ``sensor_msgs/Image``; a new array.

    Args: as of :func:`dinemo_ros.io.image_codec.decode_image`.

    Raises:
        ImageError: another encoding than 16UC1, mono16 and 32FC1, too large, or fewer bytes than it says.
    """
    kind = _RAW.get(standard_name(encoding))
    if kind is None:
        raise ImageError(f"depth image encoding {quoted(encoding)} is not supported; 16UC1 (millimetres) and 32FC1 "
                         "(metres) are")
    height, width, step = int(height), int(width), int(step)
    require_size(width, height)
    row = width * int(kind[1])
    flat = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data.reshape(-1).view(np.uint8)
    if step < row or flat.size < height * step:
        raise ImageError(f"depth image of {width}x{height} in {quoted(encoding)} takes {row} bytes a row, its step is "
                         f"{step} and it has {flat.size} bytes: the message was cut short or is damaged")
    rows = flat[:height * step].reshape(height, step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(f"{'>' if is_bigendian else '<'}{kind}")
    return pixels.astype(kind)


def decode_depth_compressed(image_format: str, data: Buffer) -> np.ndarray:
    """The same of a ``sensor_msgs/CompressedImage``: a PNG or TIFF, or what compressed_depth_image_transport writes.

    Args:
        image_format: its ``format``, e.g. ``"16UC1; compressedDepth png"`` or ``"16UC1; png compressed "``.

    Raises:
        ImageError: another format (rvl), damaged, or no depth.
    """
    stored = bytes(data)
    words = image_format[:1000].replace(" ", "").lower()
    if "compresseddepth" not in words:
        return decode_depth(stored)
    if "rvl" in words or len(stored) < _HEAD.size:
        raise ImageError(f"compressed depth of format {quoted(image_format)} is not supported; compressedDepth png is: "
                         "set the transport's parameter format to png")
    numbers = decode_depth(stored[_HEAD.size:])
    if not words.startswith("32fc1"):
        return numbers
    _, a, b = _HEAD.unpack_from(stored)
    return _from_inverse(numbers, a, b, image_format)


def _from_inverse(numbers: np.ndarray, a: float, b: float, image_format: str) -> np.ndarray:
    """float32 metres [H, W] of the inverse depths that the transport stores of 32FC1: number = a / metres + b."""
    if numbers.dtype != np.uint16 or not np.isfinite([a, b]).all() or a <= 0.0:
        raise ImageError(f"compressed depth of format {quoted(image_format)} has a damaged header: the message was cut "
                         "short")
    known = (numbers > 0) & (numbers > b)
    metres = np.zeros(numbers.shape, np.float32)
    metres[known] = a / (numbers[known].astype(np.float64) - b)
    return metres
