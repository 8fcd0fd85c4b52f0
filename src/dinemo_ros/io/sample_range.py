# SPDX-License-Identifier: Apache-2.0
"""Samples of 16 bits that hold fewer: cameras of 10, 12 or 14 bits leave the upper ones empty, and a picture of 12 bits
shown as one of 16 is black."""

from __future__ import annotations

import cv2
import numpy as np

_BITS = (8, 10, 12, 14, 16)


class SampleRange:
    """The bits that a stream of pictures uses: the fewest of 8, 10, 12, 14 and 16 that hold its largest sample so far.

    One for a stream, so that a dark picture between bright ones keeps its darkness; it only grows.
    """

    def __init__(self) -> None:
        self.bits = 0  # no sample of 16 bits was seen
        self.grey = False  # whether some were of grey picture files, which depth is stored as, too

    def to_8_bits(self, samples: np.ndarray) -> np.ndarray:
        """uint16 of any shape [H, W(, C)] to uint8, the range 0 to 2^bits - 1 onto 0 to 255, rounded."""
        highest = int(samples.max())
        self.bits = max(self.bits, next(bits for bits in _BITS if highest < 1 << bits))
        return cv2.convertScaleAbs(samples, alpha=255.0 / ((1 << self.bits) - 1))

    @property
    def note(self) -> str:
        """What a user should know, "" if nothing."""
        parts = []
        if self.bits not in (0, 16):
            parts.append(f"its samples of 16 bits hold at most {self.bits} and are taken as {self.bits} bits")
        if self.grey:
            parts.append("its grey pictures of 16 bits are taken as brightness; if they are depth, give the colour "
                         "pictures instead")
        return "; ".join(parts)
