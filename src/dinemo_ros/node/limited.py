# SPDX-License-Identifier: Apache-2.0
"""Messages of unbounded types are weighed before they become objects.

Whoever is on the graph decides how long the lists and texts of a message are. Made into Python objects, megabytes of
them take seconds in which nothing else is answered, and several times the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.serialization import deserialize_message

from ..errors import told

#: Serialised size in bytes that is read at most, by topic. A camera_info is half a kilobyte; the boxes of a detector
#: take 0.1 to 0.5 kB each; what the node itself publishes takes 3 kB per object, and 10 kB of diagnostics;
#: a frame of TF takes 0.1 to 0.2 kB.
MOST_BYTES = {"camera_info": 64_000, "detections_2d": 4_000_000, "detections": 2_000_000,
              "depth/camera_info": 64_000, "/diagnostics": 256_000, "/tf": 256_000, "/tf_static": 1_000_000}


def limited(kind: type, topic: str, take: Callable[[Any], None],
            refuse: Callable[[str, str], None]) -> Callable[[bytes], None]:
    """A callback for a subscription with ``raw=True`` to ``topic`` (a key of :data:`MOST_BYTES`).

    ``take`` is called with the message of ``kind``; ``refuse`` with the topic and a sentence where it is too large or
    cannot be read.
    """
    most = MOST_BYTES[topic]

    def on_bytes(data: bytes) -> None:
        if len(data) > most:
            refuse(topic, f"a {kind.__name__} of {len(data)} bytes is not read, {most} are the most: have its "
                          "publisher send less")
            return
        try:
            message = deserialize_message(data, kind)
        except Exception as error:  # of rmw, of a class that is not public
            refuse(topic, f"a message cannot be read as {kind.__name__}: {told(error)}")
            return
        take(message)

    return on_bytes
