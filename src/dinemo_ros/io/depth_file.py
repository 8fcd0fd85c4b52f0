# SPDX-License-Identifier: Apache-2.0
"""Depth pictures as files: what is in them as it is stored, uint16 (millimetres) or float32 (metres).

What is a hole, and whether the unit can be right, is for :class:`dinemo_ros.scene.depth_image.DepthImage` to say.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..errors import DocumentError, ImageError
from .bounded_file import read_bounded
from .opencv_log import silent
from .picture_guard import guarded
from .picture_header import DEPTH_BITS
from .quoting import shown

#: Of files that may hold depth.
DEPTH_SUFFIXES = (".png", ".tif", ".tiff")
_LARGEST = 64 << 20  # bytes
_EXPECTED = "a 16-bit PNG or TIFF (millimetres) or a 32-bit float TIFF (metres) with one number per pixel is expected"


def read_depth_file(path: Path) -> np.ndarray:
    """uint16 (millimetres) or float32 (metres) [H, W] of a depth picture, as stored.

    Raises:
        ImageError: it cannot be read, is too large, damaged, or holds something else; names the file.
    """
    try:
        return _decode(read_bounded(path, _LARGEST))
    except (DocumentError, ImageError) as error:
        raise ImageError(f"{shown(path.name)}: {error}") from error


def _decode(data: bytes) -> np.ndarray:
    whole, header = guarded(data, DEPTH_BITS)
    if header is None:  # a decoder that finds one all the same may find any size
        raise ImageError(f"{len(data)} bytes are no depth picture; {_EXPECTED}")
    try:
        with silent():
            depth = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # a header that leads it astray
        depth = None
    if depth is None:
        raise ImageError(f"{len(data)} bytes cannot be decoded, the depth picture is damaged; {_EXPECTED}")
    if depth.ndim != 2 or depth.dtype not in (np.uint16, np.float32):
        channels = 1 if depth.ndim == 2 else depth.shape[2]
        raise ImageError(f"has {channels} channel{'s' * (channels > 1)} of {depth.dtype}, which is no depth; "
                         f"{_EXPECTED}")
    return depth
