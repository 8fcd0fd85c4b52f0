# SPDX-License-Identifier: Apache-2.0
"""How the pixels of every encoding of ``sensor_msgs/image_encodings.hpp`` lie in memory, and which of them are depth.

What YUV means is ITU-R BT.601 with limited range (Y 16 to 235), as cameras and cv_bridge have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .sample_range import SampleRange

#: Encodings of one channel that hold distances (or labels), never a picture.
DEPTH_ENCODINGS = ("16UC1", "32FC1", "16SC1", "32SC1", "64FC1")


@dataclass(frozen=True)
class Layout:
    """How the pixels of one encoding lie in memory.

    Attributes:
        to_rgb: uint8 rows [rows, width(, channels)] to RGB [height, width, 3]; samples of 16 bits were made 8 before.
        channels: trailing dimension; 1 means none.
        depth: bytes per sample.
        rows: (numerator, denominator) of stored rows per image row; 3/2 with a half-height chroma plane below.
        even: (height, width) must be multiples of these (chroma subsampling, colour filter).
        least: smallest height and width (OpenCV leaves an image of two rows black when it demosaics).
        wide_chroma: the chroma plane's rows are twice as long as ``step``: two stored rows are one of it.
    """

    to_rgb: Callable[[np.ndarray], np.ndarray]
    channels: int = 1
    depth: int = 1
    rows: tuple[int, int] = (1, 1)
    even: tuple[int, int] = (1, 1)
    least: int = 1
    wide_chroma: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes per pixel along a row of the first plane."""
        return self.channels * self.depth

    def pixels(self, stored: np.ndarray, height: int, width: int, is_bigendian: bool) -> np.ndarray:
        """Samples [rows, width(, channels)] without the rows' padding, in this machine's byte order.

        stored: uint8 [rows, step], the bytes of a message of ``height`` x ``width`` pixels.
        """
        if self.wide_chroma:
            chroma = stored[height:].reshape(height, -1)[:, :2 * width]
            return np.concatenate([stored[:height, :width], chroma], axis=1)
        pixels = stored[:, :width * self.row_bytes]
        if self.depth == 2:
            pixels = np.ascontiguousarray(pixels).view(">u2" if is_bigendian else "<u2").astype(np.uint16, copy=False)
        if self.channels > 1:
            pixels = pixels.reshape(len(stored), width, self.channels)
        return np.ascontiguousarray(pixels)

    def rgb(self, pixels: np.ndarray, samples: SampleRange) -> np.ndarray:
        """RGB uint8 [height, width, 3] of what :meth:`pixels` gives: [rows, width(, channels)] uint8 or uint16."""
        return self.to_rgb(pixels if self.depth == 1 else samples.to_8_bits(pixels))


def _cv(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _nv24_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Rows of Y, then of U and V in turns, all of full resolution: as 4:2:2 of an image twice as wide."""
    height, width = pixels.shape[0], pixels.shape[1] // 3
    packed = np.empty((height, 2 * width, 2), np.uint8)
    packed[:, 0::2, 0] = packed[:, 1::2, 0] = pixels[:, :width]
    packed[..., 1] = pixels[:, width:]
    return np.ascontiguousarray(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_YUY2)[:, ::2])


_MONO = Layout(_cv(cv2.COLOR_GRAY2RGB))
_BGR, _BGRA = Layout(_cv(cv2.COLOR_BGR2RGB), channels=3), Layout(_cv(cv2.COLOR_BGRA2RGB), channels=4)
_BGR16 = Layout(_cv(cv2.COLOR_BGR2RGB), channels=3, depth=2)
_BGRA16 = Layout(_cv(cv2.COLOR_BGRA2RGB), channels=4, depth=2)
_UYVY = Layout(_cv(cv2.COLOR_YUV2RGB_UYVY), channels=2, even=(1, 2))
_YUY2 = Layout(_cv(cv2.COLOR_YUV2RGB_YUY2), channels=2, even=(1, 2))
# OpenCV names a pattern by the pixels of the second row and column: ROS "rggb" is OpenCV's "BG".
_BAYER = {"rggb": cv2.COLOR_BayerBG2RGB, "bggr": cv2.COLOR_BayerRG2RGB, "gbrg": cv2.COLOR_BayerGR2RGB,
          "grbg": cv2.COLOR_BayerGB2RGB}

LAYOUTS: dict[str, Layout] = {
    "rgb8": Layout(np.copy, channels=3),
    "bgr8": _BGR,
    "8UC3": _BGR,  # OpenCV's own channel order, which is what drivers that publish 8UC3 fill in
    "rgba8": Layout(_cv(cv2.COLOR_RGBA2RGB), channels=4),
    "bgra8": _BGRA,
    "8UC4": _BGRA,
    "rgb16": Layout(np.asarray, channels=3, depth=2),
    "bgr16": _BGR16,
    "16UC3": _BGR16,
    "rgba16": Layout(_cv(cv2.COLOR_RGBA2RGB), channels=4, depth=2),
    "bgra16": _BGRA16,
    "16UC4": _BGRA16,
    "mono8": _MONO,
    "8UC1": _MONO,
    "mono16": Layout(_cv(cv2.COLOR_GRAY2RGB), depth=2),
    **{f"bayer_{pattern}{8 * depth}": Layout(_cv(code), depth=depth, even=(2, 2), least=4)
       for depth in (1, 2) for pattern, code in _BAYER.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "nv12": Layout(_cv(cv2.COLOR_YUV2RGB_NV12), rows=(3, 2), even=(2, 2)),
    "nv21": Layout(_cv(cv2.COLOR_YUV2RGB_NV21), rows=(3, 2), even=(2, 2)),
    "nv24": Layout(_nv24_to_rgb, rows=(3, 1), wide_chroma=True),
}

_GREY = ("mono8", "mono16", "8UC1")
_LOWER = {name.lower(): name for name in (*LAYOUTS, *DEPTH_ENCODINGS)}


def standard_name(encoding: str) -> str:
    """``encoding`` as the standard spells it, whatever its case and blanks; what is not known comes back as it is."""
    return _LOWER.get(encoding.strip(" \0").lower(), encoding)


def is_depth(encoding: str) -> bool:
    """True where a pixel is a distance or a label."""
    return standard_name(encoding) in DEPTH_ENCODINGS


def is_grey(encoding: str) -> bool:
    """True for pictures without colour."""
    return standard_name(encoding) in _GREY


def encoding_of_format(image_format: str) -> str:
    """The encoding that a ``CompressedImage.format`` begins with, "" where it names only the codec.

    ``compressed_image_transport`` writes ``"rgb8; jpeg compressed bgr8"``, ``"16UC1; png compressed "``,
    ``compressed_depth_image_transport`` ``"16UC1; compressedDepth png"``; drivers write ``"jpeg"``.
    """
    if "compresseddepth" in image_format[:1000].replace(" ", "").lower():
        return "16UC1"
    first = standard_name(image_format[:1000].split(";")[0])
    return first if first in LAYOUTS or first in DEPTH_ENCODINGS else ""
