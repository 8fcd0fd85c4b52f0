# SPDX-License-Identifier: Apache-2.0
"""JPEGs without their end marker (EOI, ITU-T T.81, annex B): some cameras (UVC) leave it away, and a picture that was
cut short lacks it too.

Decoders fill what is missing with grey and say nothing. With an end marker put behind what there is, a sequential JPEG
shows which of the two it was: coefficients that never came are zero, and zero is a block of exactly 128 in the corner
where the last block lies. (Whether that is the corner at the bottom right is a matter of the EXIF orientation.) The
last one or two blocks of 16 x 16 pixels may be missing unseen.
"""

from __future__ import annotations

import numpy as np

from ..errors import ImageError
from .content import JPEG_START
from .jpeg_header import frame

_START_OF_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_SEQUENTIAL = (0xC0, 0xC1)  # a progressive one that was cut is complete, only blurred
_MISSING = 128  # grey level of a block that was filled in
_STRIP = (2, 8)  # pixels of it at the picture's corner that are looked at, along either side; colour of rows that came
#                  bleeds over the border by two


def lacks_end(data: bytes) -> bool:
    """True for a JPEG without end marker."""
    # An EXIF thumbnail before the scan has an end marker of its own. Within the scan 0xff is always stuffed.
    scan = max(data.find(_START_OF_SCAN), 0)
    # Most end with it, and the search through all of the scan takes a tenth of what decoding does.
    return data.startswith(JPEG_START) and not data.endswith(_END, scan) and data.find(_END, scan) < 0


def with_end(data: bytes) -> bytes:
    """``data``, a JPEG that :func:`lacks_end`, with one; ImageError if it could not be told from one that was cut."""
    kind, header = frame(data)
    if kind not in _SEQUENTIAL or len(header) < 6 or header[5] > 3 or _START_OF_SCAN not in data:
        raise ImageError(f"JPEG of {len(data)} bytes has no end marker: it was cut short")
    return _without_padding(data) + _END


def require_all_rows(picture: np.ndarray, size: int) -> None:
    """Raise :class:`ImageError` if blocks of ``picture`` [H, W, 3], decoded from ``size`` bytes, were filled in."""
    for height, width in (_STRIP, _STRIP[::-1]):
        for rows in (slice(None, height), slice(-height, None)):
            for columns in (slice(None, width), slice(-width, None)):
                if (picture[rows, columns] == _MISSING).all():
                    raise ImageError(f"JPEG of {size} bytes has no end marker and lacks rows: it was cut short")


def _without_padding(data: bytes) -> bytes:
    """Without zeros behind the scan and without half a marker; 0xff 0x00 is a byte of the scan."""
    bare = data.rstrip(b"\0")
    if not bare.endswith(b"\xff"):
        return bare
    return bare + b"\0" if len(bare) < len(data) else bare.rstrip(b"\xff")
