# SPDX-License-Identifier: Apache-2.0
"""The last few depth images, for the images of their time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from .conversions import nanoseconds

if TYPE_CHECKING:
    from typing import TypeAlias

    from sensor_msgs.msg import CompressedImage, Image

    DepthMessage: TypeAlias = Image | CompressedImage

#: Kept at a time: of two seconds, for the images that wait for a slow detector (:mod:`dinemo_ros.node.synchronizer`).
KEPT = 60
#: Bytes of them together: twelve of 720p in 16 bits, forty of 640x480.
#: With 64 MB a flood made the node grow by 190 to 237 MB.
KEPT_BYTES = 24 << 20
#: Without a depth image for this long nobody waits for the next.
_SILENT_S = 2.0


class DepthBuffer:
    """Depth images by stamp. For several threads: one waits for what another brings."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: OrderedDict[int, DepthMessage] = OrderedDict()
        self._heard_s = time.monotonic()

    def clear(self) -> None:
        """Forget what is held, as after a jump of time."""
        with self._changed:
            self._kept.clear()

    def add(self, message: DepthMessage) -> str:
        """Keep ``message``; why it is not kept, one sentence, or an empty string."""
        size = len(message.data)
        if size > KEPT_BYTES:
            return f"a depth image of {size} bytes is not read, {KEPT_BYTES} are the most: have its publisher send less"
        with self._changed:
            self._kept.pop(stamp := nanoseconds(message.header.stamp), None)
            self._kept[stamp] = message
            while len(self._kept) > KEPT or self._bytes() > KEPT_BYTES:
                self._kept.popitem(last=False)
            self._heard_s = time.monotonic()
            self._changed.notify_all()
        return ""

    def _bytes(self) -> int:
        return sum(len(kept.data) for kept in self._kept.values())

    def wait_for(self, stamp_ns: int, max_age_ns: int, timeout_s: float,
                 alive: Callable[[], bool]) -> DepthMessage | None:
        """The one of that stamp, else the nearest that is at most ``max_age_ns`` away; None where there is none.

        Waits up to ``timeout_s`` for the one of that stamp, unless a later one is here already, or none has come for so
        long that waiting would only hold up the images.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while stamp_ns not in self._kept and self._may_come(stamp_ns) and alive():
                remaining = deadline - time.monotonic()
                if remaining <= 0.0 or not self._changed.wait(min(remaining, 0.1)):
                    if time.monotonic() >= deadline:
                        break
            nearest = min(self._kept, key=lambda stamp: abs(stamp - stamp_ns), default=None)
            if nearest is None or abs(nearest - stamp_ns) > max_age_ns:
                return None
            return self._kept[nearest]

    def _may_come(self, stamp_ns: int) -> bool:
        newest = next(reversed(self._kept), None)
        return time.monotonic() - self._heard_s < _SILENT_S and (newest is None or newest < stamp_ns)
