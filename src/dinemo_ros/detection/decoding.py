# SPDX-License-Identifier: Apache-2.0
"""What detectors' networks give, read as boxes; one function for each of the usual forms.

Each takes the network's outputs by name and the size of the picture that it was given, and returns boxes float32 [N, 4]
(x_min, y_min, x_max, y_max) in pixels of that picture and scores float32 [N, classes] from 0 to 1. A WrongOutputError
says what the outputs are and should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ..errors import BundleError
from ..io.quoting import quoted
from .detector_card import DetectorCard

_ONE = 1.001  # a score that is rounded
_MOST_ROWS = 3000  # of corners, the most certain ones: each is given a score per label


class WrongOutputError(BundleError):
    """Outputs that are not of the decoding in the card."""


def decode(card: DetectorCard, outputs: Mapping[str, np.ndarray], width: int, height: int
           ) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [N, 4] and scores [N, classes], by the decoding that the card names; see the module.

    A box that is not finite has no score, unless every one that is to be believed is like that: then it is told.

    width, height: of the network's picture, pixels, as the boxes are.

    Raises:
        WrongOutputError: an output is no array of numbers, scores are not 0 to 1, or no sure box is finite.
    """
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise WrongOutputError(f"gives no numbers as {quoted(name, 60)}; allowed: arrays of numbers")
    with np.errstate(all="ignore"):
        boxes, scores = _DECODERS[card.decoding](card, outputs, width, height)
        most = scores.max(initial=0.0)
        finite = np.isfinite(boxes).all(axis=1)
    if np.isnan(most):
        raise WrongOutputError("gives scores that are not numbers (NaN); export it in float32, or with other ranges of "
                               "int8")
    if most > _ONE:
        raise WrongOutputError(f"gives scores up to {float(most):.3g}; allowed: 0 to 1, so let the network end with "
                               "its sigmoid or softmax")
    if finite.all():
        return boxes, scores
    sure = (scores >= card.min_score).any(axis=1)
    if sure.any() and not finite[sure].any():
        raise WrongOutputError("gives boxes that are not finite; export it in float32, or with other ranges of int8")
    return boxes, np.where(finite[:, None], scores, 0.0)


def cell_distances(card: DetectorCard, outputs: Mapping[str, np.ndarray], width: int, height: int
                   ) -> tuple[np.ndarray, np.ndarray]:
    """``scores`` [1, N, classes]; ``distances`` [1, N, 4] from a cell's centre to left, top, right, bottom, in cells.

    As in NanoDet and FCOS; N counts the cells of each stride in turn, row by row.
    """
    nothing = np.empty(0)
    scores, distances = (outputs.get(name, nothing) for name in ("scores", "distances"))
    centres, strides = _cells(card.strides, width, height)
    n, classes = len(centres), len(card.labels)
    _require(scores.shape == (1, n, classes) and distances.shape == (1, n, 4), outputs,
             f"scores [1, {n}, {classes}] and distances [1, {n}, 4]")
    reach = distances[0] * strides
    return np.concatenate([centres - reach[:, :2], centres + reach[:, 2:]], axis=1), scores[0]


def centre_rows(card: DetectorCard, outputs: Mapping[str, np.ndarray], width: int, height: int
                ) -> tuple[np.ndarray, np.ndarray]:
    """One output [1, 4 + classes, N]: centre x, y, width, height in pixels, then scores. As exported by Ultralytics."""
    rows = next(iter(outputs.values()))
    channels = 4 + len(card.labels)
    _require(len(outputs) == 1 and rows.ndim == 3 and rows.shape[:2] == (1, channels), outputs,
             f"one output [1, {channels}, N]")
    centre, half, scores = rows[0, :2].T, 0.5 * rows[0, 2:4].T, rows[0, 4:].T
    return np.concatenate([centre - half, centre + half], axis=1), scores


def corner_rows(card: DetectorCard, outputs: Mapping[str, np.ndarray], width: int, height: int
                ) -> tuple[np.ndarray, np.ndarray]:
    """One output [1, N, 6]: x_min, y_min, x_max, y_max in pixels, score, number of the class. Exports that end with
    their own suppression."""
    rows = next(iter(outputs.values()))
    _require(len(outputs) == 1 and rows.ndim == 3 and rows.shape[::2] == (1, 6), outputs, "one output [1, N, 6]")
    rows = rows[:, np.sort(np.argsort(-rows[0, :, 4], kind="stable")[:_MOST_ROWS])]
    classes = rows[0, :, 5]
    known = np.flatnonzero((classes >= 0) & (classes < len(card.labels)))
    scores = np.zeros((len(known), len(card.labels)), np.float32)
    scores[np.arange(len(known)), classes[known].astype(int)] = rows[0, known, 4]
    return rows[0, known, :4], scores


_DECODERS = {function.__name__: function for function in (cell_distances, centre_rows, corner_rows)}


@lru_cache(maxsize=16)
def _cells(strides: tuple[int, ...], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres [N, 2] of all cells and their strides [N, 1], pixels."""
    centres, sizes = [], []
    for stride in strides:
        columns, rows = -(-width // stride), -(-height // stride)
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        centres.append(stride * (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5))
        sizes.append(np.full((columns * rows, 1), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def _require(right: bool, outputs: Mapping[str, np.ndarray], expected: str) -> None:
    if not right:
        found = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
        raise WrongOutputError(f"gives {found or 'nothing'}, and its card's decoding and labels ask for {expected}")
