# SPDX-License-Identifier: Apache-2.0
"""A bag of ROS 2 as one MCAP file: for Foxglove, ``ros2 bag play`` and :mod:`dinemo_ros.io.sources`. No ROS is needed.

The file has its name when it is complete, like every other output.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from .bag_types import to_cdr, typestore
from .files import completed, readable
from .quoting import shown

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos
    from rosbags.rosbag2 import Writer

MCAP = ".mcap"
_LATCHED = ("/tf_static",)


class BagWriter:
    """Adds messages to a bag; see :func:`bag_file`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[tuple[str, str], Connection] = {}

    def write(self, topic: str, msgtype: str, received_ns: int, message: object) -> None:
        """Add a message, any object with the fields of ``msgtype``, as received at that time."""
        self.copy(topic, msgtype, received_ns, to_cdr(message, msgtype))

    def copy(self, topic: str, msgtype: str, received_ns: int, raw: bytes | memoryview) -> None:
        """Add a message that is CDR already.

        Raises:
            OutputError: that time cannot stand in a file.
        """
        if not 0 <= received_ns < 2**64:
            raise OutputError(f"a message of {shown(topic)} was received at {received_ns} ns, which no MCAP file can "
                              "hold: have the bag's times of receipt begin in 1970 or later")
        self.announce(topic, msgtype)
        self._writer.write(self._connections[topic, msgtype], received_ns, raw)

    def announce(self, topic: str, msgtype: str) -> None:
        """Have the topic in the bag, with or without messages."""
        if (topic, msgtype) not in self._connections:
            self._connections[topic, msgtype] = self._writer.add_connection(
                topic, msgtype, typestore=typestore(), offered_qos_profiles=[_latched()] if topic in _LATCHED else [])


@contextmanager
def bag_file(path: str | Path) -> Iterator[BagWriter]:
    """A bag called ``path`` at the end of the block; nothing is left of a block that failed.

    Raises:
        OutputError: it cannot be written. DatasetError: ``rosbags`` is not installed.
    """
    typestore()
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.rosbag2.enums import CompressionFormat, CompressionMode

    with completed(path) as part, tempfile.TemporaryDirectory(prefix=f"{part.name}.", dir=part.parent) as folder:
        # rosbags writes NAME/NAME.mcap, and its metadata, which stand in the file as well, name that file.
        bag = Path(folder) / Path(path).stem[:200]
        writer = Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            yield BagWriter(writer)
        os.chmod(bag / f"{bag.name}{MCAP}", part.stat().st_mode)
        os.replace(bag / f"{bag.name}{MCAP}", part)


def require_bag_name(option: str, path: str) -> None:
    """:class:`OutputError` unless the name ends as the viewers want it."""
    if not path.lower().endswith(MCAP):
        raise OutputError(f"{option} {readable(path)}: a bag is written as one MCAP file; give a name that ends in "
                          f"{MCAP}")


def _latched() -> Qos:
    """What the publishers of such a topic offer: whoever subscribes later gets the last messages as well."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    never = QosTime(2147483647, 4294967295)
    return Qos(QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, never, never,
               QosLiveliness.AUTOMATIC, never, False)
