# SPDX-License-Identifier: Apache-2.0
"""One canonical frame for many instances from their pairwise alignments, of which some are wrong.

UOP3D (Sommer et al., CVPR 2024) aligns every video to one reference and keeps what scores well. Here all pairs vote:
each pair offers several hypotheses (a car and the same car turned round, mostly), and the instances' transforms are
chosen so that as much weight as possible agrees (consistency voting by coordinate ascent, restarted from every instance
as the reference).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .alignment import Hypothesis
from .similarity import Similarity, nearest_rotation

Pairs = dict[tuple[int, int], list[Hypothesis]]  # (source, target), source < target

_SPREAD = np.deg2rad(12.0)  # disagreement at which a hypothesis has lost 40 % of its vote
_SHARPNESS = 25.0           # a hypothesis whose score is lower by 1 / _SHARPNESS weighs e times less


@dataclass(frozen=True)
class Synchronized:
    """Transforms into the frame of the reference instance.

    Attributes:
        reference: index; transforms: [N] own frame to canonical frame; support: [N] share of an instance's pair
            weight that agrees with its transform, 0..1.
    """

    reference: int
    transforms: list[Similarity]
    support: np.ndarray


def pick_reference(pairs: Pairs, count: int) -> int:
    """The instance on which the others lie best: UOP3D tries several references, here all are scored."""
    total = np.zeros(count)
    for (i, j), hypotheses in pairs.items():
        total[[i, j]] += hypotheses[0].score
    return int(total.argmax())


def to_reference(pairs: Pairs, count: int, reference: int) -> list[Similarity]:
    """Every instance by its best pairwise alignment to the reference alone, as in the paper."""
    return [Similarity.identity() if i == reference else _between(pairs, i, reference)[0].transform
            for i in range(count)]


def synchronize(pairs: Pairs, count: int, reference: int | None = None, sweeps: int = 10) -> Synchronized:
    """Transforms that agree with as much pairwise evidence as possible.

    Args:
        pairs: hypotheses of every pair (i < j); count: instances. reference: whose frame is canonical, default
            :func:`pick_reference`.
    """
    if reference is None:
        reference = pick_reference(pairs, count)
    best = None
    for start in range(count):
        transforms = to_reference(pairs, count, start)
        for _ in range(sweeps):
            if not any([_improve(pairs, transforms, i) for i in range(count)]):
                break
        support = np.array([_support(pairs, transforms, i)[0] for i in range(count)])
        if best is None or support.sum() > best[0].sum() + 1e-9:
            best = (support, transforms)
    support, transforms = best
    for _ in range(3):
        transforms = [_average(pairs, transforms, i) for i in range(count)]
    home = transforms[reference].inverse()
    return Synchronized(reference, [home @ T for T in transforms], support / max(count - 1, 1))


def _between(pairs: Pairs, source: int, target: int) -> list[Hypothesis]:
    if source < target:
        return pairs[source, target]
    return [h.inverse() for h in pairs[target, source]]


def _weights(hypotheses: list[Hypothesis]) -> np.ndarray:
    """Softmax over the hypotheses of one pair: a pair that cannot tell two of them apart splits its vote."""
    score = np.array([h.score for h in hypotheses])
    weight = np.exp(_SHARPNESS * (score - score.max()))
    return weight / weight.sum()


def _predictions(pairs: Pairs, transforms: list[Similarity], i: int) -> tuple[np.ndarray, list[Similarity]]:
    """Votes of all others for instance ``i``: weights [M] and transforms, one per hypothesis of every pair."""
    weights, predicted = [], []
    for j, T_j in enumerate(transforms):
        if j != i:
            hypotheses = _between(pairs, i, j)
            weights.extend(_weights(hypotheses))
            predicted.extend(T_j @ h.transform for h in hypotheses)
    return np.array(weights), predicted


def _support(pairs: Pairs, transforms: list[Similarity], i: int) -> tuple[float, np.ndarray, list[Similarity]]:
    """Weight that agrees with the transform of ``i``, the same for each prediction [M], and the predictions."""
    weights, predicted = _predictions(pairs, transforms, i)
    flat = np.stack([p.R for p in [transforms[i], *predicted]]).reshape(-1, 9)
    support = _closeness(flat @ flat[1:].T) @ weights
    return float(support[0]), support[1:], predicted


def _closeness(trace: np.ndarray) -> np.ndarray:
    """Gaussian of the angle between rotations of which ``trace`` is trace(A^T B)."""
    return np.exp(-0.5 * (np.arccos(np.clip(0.5 * (trace - 1), -1, 1)) / _SPREAD) ** 2)


def _improve(pairs: Pairs, transforms: list[Similarity], i: int) -> bool:
    """Move instance ``i`` to the prediction that most others agree with; True if it moved."""
    now, support, predicted = _support(pairs, transforms, i)
    best = int(support.argmax())
    if support[best] <= now + 1e-6:
        return False
    transforms[i] = predicted[best]
    return True


def _average(pairs: Pairs, transforms: list[Similarity], i: int) -> Similarity:
    """Weighted mean of what the others predict for ``i``: chordal for R, geometric for the scale, plain for t."""
    weights, predicted = _predictions(pairs, transforms, i)
    rotations = np.stack([p.R for p in predicted])
    w = weights * _closeness(np.einsum("kcd,cd->k", rotations, transforms[i].R))
    if w.sum() < 1e-6:  # no other agrees: it stays where it is
        return transforms[i]
    w /= w.sum()
    R = nearest_rotation(np.einsum("k,kcd->cd", w, rotations))
    scale = float(np.exp(w @ np.log([p.scale for p in predicted])))
    return Similarity(scale, R, w @ np.stack([p.t for p in predicted]))
