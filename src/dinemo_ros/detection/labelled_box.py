# SPDX-License-Identifier: Apache-2.0
"""A box in the image, what somebody says is in it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..pose import Roi


@dataclass(frozen=True)
class LabelledBox:
    """A box to look at, or one that was looked at.

    Attributes:
        roi: (x_min, y_min, x_max, y_max) in pixels.
        category: what is looked for in it; empty is any category.
        score: of the detector that found it, 0 to 1; None where it has none.
        label: what the detector calls it.
        refused: why it led to no pose, a few words; empty where it did, or where one has not looked yet.
    """

    roi: Roi
    category: str = ""
    score: float | None = None
    label: str = ""
    refused: str = ""
