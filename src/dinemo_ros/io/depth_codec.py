# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a ROS depth image to numbers: uint16 millimetres or float32 metres.

Free of ROS, as :mod:`dinemo_ros.io.image_codec` is, and with the same limits before anything is decoded.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import ImageError
from .image_encodings import standard_name
from .opencv_log import silent
from .picture_guard import guarded
from .picture_header import read_header, require_size
from .quoting import quoted

if TYPE_CHECKING:
    from .image_codec import Buffer

#: Type of a sample, in this machine's byte order. mono16 is what some drivers call millimetres.
_KINDS = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
# What compressed_depth_image_transport puts before the PNG: a format, and two numbers a, b of z = a / (sample - b).
_CONFIG = struct.Struct("<iff")
_PNG_START = b"\x89PNG"


def decode_depth(encoding: str, height: int, width: int, step: int, data: Buffer,
                 is_bigendian: bool = False) -> np.ndarray:
    """uint16 or float32 [height, width] of a ``sensor_msgs/Image``: 16UC1 (mono16), millimetres, or 32FC1, metres.

    Args:
        step: bytes from one row to the next; may exceed the row (padding).
        is_bigendian: byte order of the samples.

    Returns:
        A new array that shares no memory with ``data``.

    Raises:
        ImageError: another encoding, a size that is not positive or too large (120 megapixels), ``step`` smaller than a
            row, or fewer bytes than ``step`` x rows.
    """
    kind = np.dtype(_kind(encoding)).newbyteorder(">" if is_bigendian else "<")
    height, width, step = int(height), int(width), int(step)
    require_size(width, height)
    row = width * kind.itemsize
    flat = np.frombuffer(data, np.uint8)
    if step < row:
        raise ImageError(f"step is {step} bytes, a row of {width} pixels in {quoted(encoding)} takes {row}: encoding, "
                         "width and step of the depth image do not fit together")
    if flat.size < height * step:
        raise ImageError(f"depth image has {flat.size} bytes, {width}x{height} in {quoted(encoding)} with step {step} "
                         f"takes {height * step}: the message was cut short")
    rows = np.ascontiguousarray(flat[:height * step].reshape(height, step)[:, :row])
    return rows.view(kind).astype(kind.newbyteorder("="))


def decode_compressed_depth(image_format: str, data: Buffer) -> np.ndarray:
    """uint16 (millimetres) or float32 (metres) [H, W] of a ``sensor_msgs/CompressedImage`` from
    compressed_depth_image_transport (``"16UC1; compressedDepth png"``, also 32FC1), or of a 16-bit PNG.

    Raises:
        ImageError: another format (RVL), empty, larger than 120 megapixels, damaged, or no picture of 16 bits.
    """
    kind = _kind(image_format[:1000].split(";")[0])
    data = np.frombuffer(data, np.uint8).tobytes()
    begin = _CONFIG.size if data[_CONFIG.size:][:4] == _PNG_START else 0
    picture, header = guarded(data[begin:])
    if header is None or data[begin:][:4] != _PNG_START:
        raise ImageError(f"compressed depth ({len(data)} bytes, format {quoted(image_format)}) is no PNG: set the "
                         "transport's format to png, or publish the depth image raw")
    try:
        with silent():
            samples = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # a header that leads it astray
        samples = None
    if samples is None or samples.ndim != 2 or samples.dtype != np.uint16:
        raise ImageError(f"compressed depth ({len(data)} bytes, format {quoted(image_format)}) is damaged, or no PNG "
                         "of one channel with 16 bits")
    return samples if kind is np.uint16 else _metres(samples, data[:begin])


def _metres(samples: np.ndarray, config: bytes) -> np.ndarray:
    """float32 metres [H, W] of quantised inverse depth, NaN where there is none."""
    a, b = _CONFIG.unpack(config)[1:] if config else (math.nan, math.nan)
    if not (math.isfinite(a) and a > 0.0 and math.isfinite(b)):
        raise ImageError("compressed depth in 32FC1 lacks the numbers that it was quantised with: publish the depth "
                         "image raw, or as 16UC1")
    metres = np.full(samples.shape, np.nan, np.float32)
    known = samples > 0
    with np.errstate(divide="ignore"):
        metres[known] = a / (samples[known].astype(np.float64) - b)
    return metres


def compressed_depth_size(data: Buffer) -> tuple[int, int] | None:
    """(width, height) in pixels from the PNG's header alone; None if it does not tell."""
    head = np.frombuffer(data, np.uint8)[:1 << 10].tobytes()
    begin = _CONFIG.size if head[_CONFIG.size:][:4] == _PNG_START else 0
    header = read_header(head[begin:])
    return None if header is None else (header.width, header.height)


def _kind(encoding: str) -> type:
    kind = _KINDS.get(standard_name(encoding))
    if kind is None:
        raise ImageError(f"depth encoding {quoted(encoding)} is not supported; supported are 16UC1 (millimetres) and "
                         "32FC1 (metres): choose the depth topic, or convert with depth_image_proc")
    return kind
