# SPDX-License-Identifier: Apache-2.0
"""Files of pictures with poses drawn into them. They say so themselves, so that none is taken for a photograph later.

A JPEG has the sentence as a comment, a PNG as a text chunk; pictures that were edited or converted lose it.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from ..errors import OutputError
from .content import JPEG_START, PNG_START
from .files import readable, write_file

OVERLAY_SUFFIXES = (".jpg", ".jpeg", ".png")
_SENTENCE = b"dinemo_ros: poses are drawn into this picture"
_HEAD = 1024  # bytes of a file in which the sentence stands
_IHDR_END = 33  # of a PNG: signature and first chunk


def write_overlay(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write ``image`` (uint8 [H, W, 3] RGB) as the JPEG or PNG that the name says, marked.

    Raises:
        OutputError: it cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in OVERLAY_SUFFIXES:
        raise OutputError(f"{readable(str(path))}: drawn pictures are written as {', '.join(OVERLAY_SUFFIXES)}")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix != ".png" else []
    try:
        done, data = cv2.imencode(suffix, image[..., ::-1], options)
    except cv2.error as error:  # more than 65,500 pixels a side in a JPEG
        raise OutputError(f"{readable(str(path))}: cannot be made a {suffix[1:]} ({error.err})") from error
    if not done:
        raise OutputError(f"{readable(str(path))}: cannot be made a {suffix[1:]}")
    write_file(path, _marked(data.tobytes()))


def is_overlay(path: str | Path) -> bool:
    """Whether the file is a picture that :func:`write_overlay` made; False for what cannot be read."""
    try:
        # Not waiting for the writer of a pipe that lies there.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            head = file.read(_HEAD) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return False
    return head.startswith((JPEG_START, PNG_START)) and _SENTENCE in head


def _marked(data: bytes) -> bytes:
    if data.startswith(PNG_START):
        chunk = b"tEXt" + b"Comment\0" + _SENTENCE
        text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return data[:_IHDR_END] + text + data[_IHDR_END:]
    at = 2
    if data[2:4] == b"\xff\xe0":  # JFIF wants its own segment to be the first
        at += 2 + struct.unpack(">H", data[4:6])[0]
    return data[:at] + b"\xff\xfe" + struct.pack(">H", len(_SENTENCE) + 2) + _SENTENCE + data[at:]
