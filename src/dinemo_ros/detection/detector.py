# SPDX-License-Identifier: Apache-2.0
"""What a box detector is to this package: a picture in, boxes with labels and scores out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..pose import Roi


@dataclass(frozen=True)
class Detection:
    """One box.

    Attributes:
        box: (x_min, y_min, x_max, y_max), pixel edges, inside the picture.
        label: the detector's own name of the class.
        score: 0 to 1, as sure as the detector is.
    """

    box: Roi
    label: str
    score: float


class Detector(Protocol):
    """Finds objects of the classes that it knows. ``name`` is for logs and diagnostics."""

    name: str
    labels: tuple[str, ...]

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """What is seen in a picture uint8 [H, W, 3] RGB, the most certain first, each object once per label."""
        ...
