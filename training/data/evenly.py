# SPDX-License-Identifier: Apache-2.0
"""Some of many, spread evenly over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def evenly_spread(total: int, count: int) -> np.ndarray:
    """Rising indices [up to ``count``] below ``total``, the first and the last among them; of nothing none."""
    return np.unique(np.linspace(0, total - 1, count).round().astype(int)) if total else np.empty(0, int)


def some_of(items: Sequence[Item], count: int) -> list[Item]:
    """Up to ``count`` of ``items`` by :func:`evenly_spread`."""
    return [items[i] for i in evenly_spread(len(items), count)]
