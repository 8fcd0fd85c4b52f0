# SPDX-License-Identifier: Apache-2.0
"""Is a pose with probability p right in a share p of the cases? Right means turned by less than 30 degrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .metrics import RIGHT_DEG, wilson_interval
from .sample import ALL

BINS = 10


def reliability_rows(records: Sequence[dict]) -> list[dict]:
    """A row per model and level of occlusion, and one of all levels, from records that hold a ``probability``.

    ``n``, ``mean_probability``, ``right`` (share) with its ``interval``, ``ece``, and ``bins``, see :func:`bins`.
    """
    rows = []
    for model in dict.fromkeys(record["model"] for record in records):
        members = [r for r in records if r["model"] == model and r.get("probability") is not None]
        levels = list(dict.fromkeys(record["occlusion"] for record in members))
        for level in [*levels, ALL] if len(levels) > 1 else levels:
            chosen = [r for r in members if level in (r["occlusion"], ALL)]
            probability = np.array([r["probability"] for r in chosen])
            right = np.array([r["error_deg"] < RIGHT_DEG for r in chosen])
            rows.append({"model": model, "occlusion": level, "n": len(chosen),
                         "mean_probability": float(probability.mean()), "right": float(right.mean()),
                         "interval": wilson_interval(int(right.sum()), len(right)),
                         "ece": expected_calibration_error(probability, right), "bins": bins(probability, right)})
    return rows


def bins(probability: np.ndarray, right: np.ndarray, count: int = BINS) -> list[dict]:
    """Points of a reliability diagram: ``probability`` (mean), ``right`` (share), its ``interval`` and ``n`` of up to
    ``count`` groups of like size, in the order of the probability [N]; right [N] bool."""
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, count) if len(group)]
    return [{"n": len(group), "probability": float(probability[group].mean()), "right": float(right[group].mean()),
             "interval": wilson_interval(int(right[group].sum()), len(group))} for group in groups]


def expected_calibration_error(probability: np.ndarray, right: np.ndarray, count: int = BINS) -> float:
    """Mean distance between probability [N] and share, right [N] bool, over the groups of :func:`bins` by their size.

    Groups of equal size (Nixon et al. 2019): where most probabilities are high, equal widths leave most bins empty.
    """
    return float(sum(b["n"] * abs(b["probability"] - b["right"]) for b in bins(probability, right, count))
                 / len(probability))
