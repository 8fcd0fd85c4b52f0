# SPDX-License-Identifier: Apache-2.0
"""Which of the things here is which of the things there: one to one, the nearest pair first."""

from __future__ import annotations

import numpy as np


def nearest_pairs(cost: np.ndarray, limit: float = np.inf) -> list[tuple[int, int]]:
    """(row, column) of ``cost`` [M, N], each row and column at most once, cheapest pair first.

    Pairs that cost ``limit`` or more (in the unit of ``cost``, any), or infinity, are none. Of equal ones the first
    row, then the first column wins, so that the same input gives the same pairs.
    """
    left = np.array(cost, dtype=np.float64)
    pairs = []
    while left.size and (best := float(left.min())) < limit and np.isfinite(best):
        row, column = divmod(int(np.argmin(left)), left.shape[1])
        pairs.append((row, column))
        left[row, :] = left[:, column] = np.inf
    return pairs
