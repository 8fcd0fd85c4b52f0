# SPDX-License-Identifier: Apache-2.0
"""Pairs images with the 2-D detections made from them, also where the detector is slow."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from vision_msgs.msg import Detection2DArray

    Pair = tuple[Image | CompressedImage, Detection2DArray]  # of one stamp

#: Messages in a row with a stamp that no image had, above which it is told: an image now and then is lost on its way.
_UNMATCHED_TOLERATED = 20
#: Stamps of images that were let go, to tell boxes that are late from boxes of something else: a minute at 30 Hz.
_REMEMBERED = 2000


class StampMatcher:
    """Holds images for a time and within a memory, and hands out the pairs of equal stamp.

    A detector answers late and copies the image's header, so equality is exact. An image that was skipped, because
    the detector was busy, is overtaken by the next pair.

    Attributes:
        max_age_s, max_bytes: how long an image is held, and the bytes of all of them; the newest is always held.
        unmatched: detections dropped without partner since the last pair.
        late: of detections since the last pair, those whose image had been let go; late_s: how late the last one was.
        waiting, heard: images and detections that came since the last pair.
    """

    KEPT = 10  # detections that are ahead of their image

    def __init__(self, max_age_s: float = 2.0, max_bytes: int = 128 << 20) -> None:
        self.max_age_s, self.max_bytes = max_age_s, max_bytes
        self._images: OrderedDict[int, tuple[float, Image | CompressedImage]] = OrderedDict()  # with their arrival
        self._detections: OrderedDict[int, Detection2DArray] = OrderedDict()
        self._let_go: OrderedDict[int, float] = OrderedDict()  # arrival of images that were dropped
        self._bytes = 0
        self._restart()

    def _restart(self) -> None:
        self.unmatched = self.late = self.waiting = self.heard = 0
        self.late_s, self._full = 0.0, False
        self._waiting_since = float("inf")

    def clear(self) -> None:
        """Forget what is held, as after a jump of time."""
        for kept in (self._images, self._detections, self._let_go):
            kept.clear()
        self._bytes = 0
        self._restart()

    def limit(self, max_age_s: float, megabytes: int) -> None:
        """New limits, from the next image on."""
        self.max_age_s, self.max_bytes = max_age_s, megabytes << 20

    def waited_s(self) -> float:
        """Seconds since an image came that began to wait for detections; 0 if none waits."""
        return max(0.0, time.monotonic() - self._waiting_since)

    def add_image(self, stamp_ns: int, image: Image | CompressedImage) -> Pair | None:
        """(image, detections) if the partner is here already, else None."""
        now = time.monotonic()
        self.waiting += 1
        self._waiting_since = min(self._waiting_since, now)
        self._drop_image(stamp_ns)  # one of that stamp already
        self._let_go.pop(stamp_ns, None)
        self._images[stamp_ns] = now, image
        self._bytes += len(image.data)
        self._let_go_of_old(now)
        return self._pair(stamp_ns)

    def add_detections(self, stamp_ns: int, detections: Detection2DArray) -> Pair | None:
        """(image, detections) if the partner is here already, else None."""
        self.heard += 1
        if stamp_ns in self._let_go:
            self.late += 1
            self.late_s = time.monotonic() - self._let_go[stamp_ns]
            return None
        self._detections[stamp_ns] = detections
        while len(self._detections) > self.KEPT:
            self._detections.popitem(last=False)
            self.unmatched += 1
        return self._pair(stamp_ns)

    def problem(self) -> str:
        """Why the last detections gave no pair, in a sentence's words; empty while there is nothing to worry about."""
        if self.late:
            held = f"images are kept for {self.max_age_s:g} s (parameter detections_max_age_s)"
            if self._full:
                held = f"{self.max_bytes >> 20} MB of images are kept (parameter detections_buffer_mb)"
            return (f"boxes come {self.late_s:.1f} s after their images and {held}, so no pose: raise it, or have the "
                    "detector answer sooner")
        if self.unmatched > _UNMATCHED_TOLERATED:
            return (f"the stamps of the last {self.unmatched} messages match no image, so no pose: the detector must "
                    "copy the image's header")
        return ""

    def _let_go_of_old(self, now: float) -> None:
        while len(self._images) > 1:
            stamp, (arrived, _) = next(iter(self._images.items()))
            if self._bytes > self.max_bytes:
                self._full = True
            elif now - arrived > self.max_age_s:
                self._full = False
            else:
                return
            self._drop_image(stamp)
            self._let_go[stamp] = arrived
            while len(self._let_go) > _REMEMBERED:
                self._let_go.popitem(last=False)

    def _drop_image(self, stamp_ns: int) -> None:
        if stamp_ns in self._images:
            self._bytes -= len(self._images.pop(stamp_ns)[1].data)

    def _pair(self, stamp_ns: int) -> Pair | None:
        if stamp_ns not in self._images or stamp_ns not in self._detections:
            return None
        pair = self._images[stamp_ns][1], self._detections[stamp_ns]
        for stamp in [stamp for stamp in self._images if stamp <= stamp_ns]:  # older ones are overtaken
            self._drop_image(stamp)
        for stamp in [stamp for stamp in self._detections if stamp <= stamp_ns]:
            del self._detections[stamp]
        self._restart()
        return pair
