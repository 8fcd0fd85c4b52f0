# SPDX-License-Identifier: Apache-2.0
"""Two pictures and points that were marked in both: what every data set of semantic correspondence comes down to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class KeypointPair:
    """One pair; points are pixels with centres at integers.

    Attributes:
        name: unique in its data set. category: what both pictures show.
        source, target: picture files.
        source_points, target_points: [N, 2] x, y of the same N points, N >= 1.
        target_box: x_min, y_min, x_max, y_max of the object in the target, or None where the data set has none.
        objects: names of the objects in source and target where they are known, else None.
    """

    name: str
    category: str
    source: Path
    target: Path
    source_points: np.ndarray
    target_points: np.ndarray
    target_box: tuple[float, float, float, float] | None = None
    objects: tuple[str, str] | None = None
