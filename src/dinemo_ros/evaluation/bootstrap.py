# SPDX-License-Identifier: Apache-2.0
"""Intervals by the bootstrap (Efron 1979): how far a figure moves when its sample is drawn again, with replacement.

Two samples are drawn again. *Frames*: what other pictures of these very objects would have given. *Objects*, each with
all of its frames: what other objects of the kind would have given, which is what a user asks; frames of one object are
no independent draws, so this is the wider one. The seed is fixed: the same records give the same intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .metrics import wilson_interval

DRAWS = 1000
FEWEST_OBJECTS = 3  # of fewer nothing can be said
_INTERVAL = (2.5, 97.5)
_SEED = 0

Interval = tuple[float, float]
Statistic = Callable[[np.ndarray], float]


def by_frames(values: np.ndarray, statistic: Statistic = np.mean) -> Interval:
    """95 % of the ``statistic`` of ``values`` [n] drawn again."""
    random = np.random.default_rng(_SEED)
    return _between([float(statistic(values[random.integers(0, len(values), len(values))])) for _ in range(DRAWS)])


def by_objects(values: np.ndarray, objects: Sequence[str], statistic: Statistic = np.mean) -> Interval | None:
    """95 % of the ``statistic`` of ``values`` [n] when ``objects`` [n], the names of what they are of, are drawn again;
    None of fewer than :data:`FEWEST_OBJECTS` of them."""
    names = np.asarray(objects)
    groups = [values[names == name] for name in dict.fromkeys(objects)]
    if len(groups) < FEWEST_OBJECTS:
        return None
    random = np.random.default_rng(_SEED)
    draws = random.integers(0, len(groups), (DRAWS, len(groups)))
    return _between([float(statistic(np.concatenate([groups[k] for k in draw]))) for draw in draws])


def share_by_frames(hits: np.ndarray) -> Interval:
    """95 % of the share of true values in ``hits`` bool [n]. Drawing again never leaves a share of 0 or 100 %, which
    is no knowledge: there the Wilson interval stands in."""
    count = int(hits.sum())
    return wilson_interval(count, len(hits)) if count in (0, len(hits)) else by_frames(hits)


def share_by_objects(hits: np.ndarray, objects: Sequence[str]) -> Interval | None:
    """As :func:`by_objects`, and None for a share of 0 or 100 %, which drawing again never leaves."""
    return None if int(hits.sum()) in (0, len(hits)) else by_objects(hits, objects)


def _between(drawn: Sequence[float]) -> Interval:
    low, high = np.percentile(drawn, _INTERVAL)
    return float(low), float(high)
