# SPDX-License-Identifier: Apache-2.0
"""A picture file: what it is, and its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...camera.pinhole import Camera
from ...errors import ImageError
from ..content import HEAD_BYTES, Content, content_of
from ..image_codec import decode_file, file_size
from ..picture_guard import read_picture_file
from ..quoting import shown
from ..sample_range import SampleRange
from .frame import undecoded

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
                  ".pbm", ".pnm", ".pam", ".jp2", ".avif", ".hdr", ".sr", ".ras")
# Camera files that are TIFF or MP4 inside and hold a small picture in front, which is not the one that is meant.
_RAW_SUFFIXES = (".nef", ".dng", ".arw", ".cr2", ".cr3", ".orf", ".rw2", ".raf", ".pef", ".srw", ".nrw", ".sr2")


def content_of_file(path: Path) -> Content | None:
    """What the file holds, by its first bytes; None: unknown. :class:`OSError` where it cannot be read."""
    with path.open("rb") as file:
        found = content_of(file.read(HEAD_BYTES))
    if found is None or path.suffix.lower() not in _RAW_SUFFIXES:
        return found
    return content_of(b"FUJIFILMCCD-RAW")


def read_image(path: Path, samples: SampleRange | None = None, camera: Camera | None = None) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an image file, upright; ImageError names the file and what is wrong with it.

    Args:
        path: of a kind that :func:`content_of_file` calls a picture.
        samples: the range of 16-bit samples of the pictures it is one of; None takes it by itself.
        camera: whose size it must have; one of another is :func:`undecoded`.
    """
    name = shown(path.name)
    try:
        data = read_picture_file(path)
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror})") from error
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    if not data:
        raise ImageError(f"{name}: is empty")
    try:
        if camera is not None:
            size = file_size(data)
            if size is not None and size != (camera.width, camera.height):
                return undecoded(*size)
        return decode_file(data, samples)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
