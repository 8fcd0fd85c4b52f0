# SPDX-License-Identifier: Apache-2.0
"""Of a detector's boxes, one for each object."""

from __future__ import annotations

import numpy as np

from .regions import covered_shares, overlaps

_MOST = 300  # boxes of a label that are compared; no picture shows so many objects


def one_each(boxes: np.ndarray, scores: np.ndarray, overlap: float, inside: float) -> list[int]:
    """Indices by falling score [N] of ``boxes`` [N, 4] that show what no better one does.

    overlap: intersection over union with a better one above which a box shows the same. inside: share of the box in a
    better one above which it shows a part of that.
    """
    kept: list[int] = []
    rest = np.argsort(-scores, kind="stable")[:_MOST]
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        box, others = boxes[best], boxes[rest]
        rest = rest[(overlaps(box, others) < overlap) & (covered_shares(others, box) < inside)]
    return kept
