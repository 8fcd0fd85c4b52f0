# SPDX-License-Identifier: Apache-2.0
"""Pairs images with the 2-D detections made from them."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from vision_msgs.msg import Detection2DArray

    Pair = tuple[Image | CompressedImage, Detection2DArray]  # of one stamp


class StampMatcher:
    """Holds the last few images and detections and hands out the pairs of equal stamp.

    A detector answers late and copies the image's header, so equality is exact. An image that was skipped, because
    the node was busy, leaves its detections without partner: that is normal, ``unmatched`` in a row is not.

    Attributes:
        unmatched: detections dropped without partner since the last pair.
        waiting, heard: images and detections that came since the last pair.
    """

    KEPT = 10

    def __init__(self) -> None:
        self._images: OrderedDict[int, object] = OrderedDict()
        self._detections: OrderedDict[int, object] = OrderedDict()
        self._restart()

    def _restart(self) -> None:
        self.unmatched = self.waiting = self.heard = 0
        self._waiting_since = float("inf")

    def clear(self) -> None:
        """Forget what is held, as after a jump of time."""
        self._images.clear()
        self._detections.clear()
        self._restart()

    def waited_s(self) -> float:
        """Seconds since an image came that began to wait for detections; 0 if none waits."""
        return max(0.0, time.monotonic() - self._waiting_since)

    def add_image(self, stamp_ns: int, image: Image | CompressedImage) -> Pair | None:
        """(image, detections) if the partner is here already, else None."""
        self.waiting += 1
        self._waiting_since = min(self._waiting_since, time.monotonic())
        self._put(self._images, stamp_ns, image)
        return self._pair(stamp_ns)

    def add_detections(self, stamp_ns: int, detections: Detection2DArray) -> Pair | None:
        """(image, detections) if the partner is here already, else None."""
        self.heard += 1
        self._put(self._detections, stamp_ns, detections)
        return self._pair(stamp_ns)

    def _put(self, kept: OrderedDict, stamp_ns: int, message: object) -> None:
        kept[stamp_ns] = message
        while len(kept) > self.KEPT:
            kept.popitem(last=False)
            self.unmatched += kept is self._detections

    def _pair(self, stamp_ns: int) -> Pair | None:
        if stamp_ns not in self._images or stamp_ns not in self._detections:
            return None
        pair = self._images[stamp_ns], self._detections[stamp_ns]
        for kept in (self._images, self._detections):  # older ones are overtaken
            for old in [stamp for stamp in kept if stamp <= stamp_ns]:
                del kept[old]
        self._restart()
        return pair
