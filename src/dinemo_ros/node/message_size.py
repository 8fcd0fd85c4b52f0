# SPDX-License-Identifier: Apache-2.0
"""Messages are measured before they are taken apart: Python needs 20 microseconds for a box, and cannot stop half-way.

A stranger's list of a million boxes, or a camera_info with a lens of a million numbers, would silence the node for
minutes before any of our own code saw it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from rclpy.serialization import deserialize_message

#: Bytes of a CameraInfo, bytes and boxes of a Detection2DArray that are taken.
CAMERA_INFO_BYTES, DETECTIONS_BYTES, DETECTIONS = 1 << 16, 4 << 20, 5000

_LEAST = 16  # bytes of encapsulation, stamp, and length of frame_id


def sequence_after_header(raw: bytes) -> int:
    """How many elements the sequence has that follows a message's header, as its CDR bytes announce; 0 if cut short."""
    if len(raw) < _LEAST:
        return 0
    order = "<" if raw[1] & 1 else ">"
    end = _LEAST + struct.unpack_from(order + "I", raw, _LEAST - 4)[0]
    end += -end % 4  # of a string padded to the next number
    return struct.unpack_from(order + "I", raw, end)[0] if end + 4 <= len(raw) else 0


def too_large(raw: bytes, most_bytes: int, most: int | None = None) -> str:
    """Why a message is not taken, or an empty string."""
    if len(raw) > most_bytes:
        return (f"a message of {len(raw)} bytes is not taken, at most {most_bytes} are: have the sender leave out what "
                "is not needed")
    if most is not None and (count := sequence_after_header(raw)) > most:
        return f"a message of {count} boxes is not taken, at most {most} are: have the detector send its best ones"
    return ""


def taker(kind: type, take: Callable, refuse: Callable[[str], None], most_bytes: int,
          most: int | None = None) -> Callable[[bytes], None]:
    """The callback of a raw subscription: messages of ``kind`` go to ``take``, of one too large why to ``refuse``."""
    def callback(raw: bytes) -> None:
        problem = too_large(raw, most_bytes, most)
        if problem:
            refuse(problem)
        else:
            take(deserialize_message(raw, kind))

    return callback
