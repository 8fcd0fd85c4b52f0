# SPDX-License-Identifier: Apache-2.0
"""PCK, the percentage of correct key points: within alpha times a length of the target.

The papers differ in the length and in the mean. SPair-71k takes the longer side of the object's *box*, PF-PASCAL as
3DCorrEnhance measures it the longer side of the *picture*. **Per point** is the share of all points of a category;
**per image** the mean over pairs of each pair's share, in which a pair with few points counts as much as one with many
(SD+DINO and GeoAware print this one, SPair's own table the former). Both are given here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.bootstrap import by_frames, by_objects

from .keypoint_pairs import KeypointPair

ALPHA = 0.1
NORMALISERS = ("box", "image")


@dataclass(frozen=True)
class Found:
    """The answer to one pair: ``errors`` [N] in units of its normaliser."""

    pair: KeypointPair
    errors: np.ndarray


def normaliser(pair: KeypointPair, kind: str, size: tuple[int, int]) -> float:
    """Pixels that an error is divided by.

    Args:
        kind: "box" or "image". size: (width, height) of the target picture.

    Raises:
        DatasetError: the data set has no box of the object.
    """
    if kind == "image":
        return float(max(size))
    if pair.target_box is None:
        raise DatasetError(f"pair {pair.name} has no box of its object; measure relative to the picture with "
                           "--relative-to image")
    left, top, right, bottom = pair.target_box
    return float(max(right - left, bottom - top))


def pck_rows(found: Sequence[Found], alphas: Sequence[float] = (ALPHA,)) -> list[dict]:
    """A row for each category and alpha, then the mean over categories and all pairs together; shares are fractions.

    ``per_image`` has its interval of 95 % by the bootstrap over pairs, and where the objects are known, over the pairs
    of objects, each with all of its pairs.
    """
    categories = sorted({item.pair.category for item in found})
    rows = []
    for alpha in alphas:
        own = [_row(name, [item for item in found if item.pair.category == name], alpha) for name in categories]
        rows += own
        if len(own) > 1:
            rows += [_mean(own, found, alpha), _row("all pairs", found, alpha)]
    return rows


def _row(name: str, found: Sequence[Found], alpha: float) -> dict:
    shares, points = _shares(found, alpha), np.concatenate([item.errors for item in found])
    row = {"category": name, "alpha": alpha, "pairs": len(found), "points": len(points),
           "per_image": float(shares.mean()), "per_image_interval": by_frames(shares),
           "per_point": float(np.mean(points <= alpha))}
    objects = [item.pair.objects for item in found]
    if all(objects):
        row["per_image_interval_objects"] = by_objects(shares, [" to ".join(names) for names in objects if names])
    return row


def _mean(rows: Sequence[dict], found: Sequence[Found], alpha: float) -> dict:
    """Mean over categories, each of which counts as much as the others."""
    names = np.array([item.pair.category for item in found])
    shares = _shares(found, alpha)

    def balanced(drawn: np.ndarray) -> float:
        chosen = drawn.astype(int)
        return float(np.mean([shares[chosen][names[chosen] == row["category"]].mean() for row in rows
                              if (names[chosen] == row["category"]).any()]))

    return {"category": "mean of categories", "alpha": alpha, "pairs": len(found),
            "points": sum(row["points"] for row in rows),
            "per_image": float(np.mean([row["per_image"] for row in rows])),
            "per_image_interval": by_frames(np.arange(len(found)), balanced),
            "per_point": float(np.mean([row["per_point"] for row in rows]))}


def _shares(found: Sequence[Found], alpha: float) -> np.ndarray:
    return np.array([float(np.mean(item.errors <= alpha)) for item in found])
