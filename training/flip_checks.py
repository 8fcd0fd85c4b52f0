# SPDX-License-Identifier: Apache-2.0
"""Front taken for rear: what tells a label from its half turn, besides the mirror image.

* over looks (:mod:`training.looks`): a right pose leads in every slightly changed copy of the photograph;
* half turn: the pose against the one turned round, cell by cell (correspondences) or by score (render-and-compare);
* look-alikes: photographs that look alike face the same way. Every photograph and its mirror image tell those that are
  like it which way they face, and all turn together: relative poses synchronised over the collection, where the
  relative pose of two look-alikes is none at all.

Which of them is worth its time: training/docs/bidirectional.md.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.geometry import mirror_rotation, rotation_angle

from .mirror_check import AGREE_DEG, Candidate
from .templates import TemplateBank

HALF_TURN = np.diag([-1.0, -1.0, 1.0])  # about the object's z axis, from the right
_NEAR_DEG = 25.0    # views that speak for an orientation, as in the second matching
_OTHER_DEG = 2 * AGREE_DEG
_NEIGHBOURS = 8     # look-alikes that are asked
_ALIKE = 0.03       # temperature of their weights, cosine units
_SPREAD_DEG = 20.0  # two that face the same way differ by so much
_SWEEPS = 5
_WEIGHT = 4.0       # of the look-alikes against a label's own margin of 1 / _SURE
_SURE = 10.0        # a margin of 0.1 is odds of e to one


def lead_over_looks(R: np.ndarray, candidates: list[list[Candidate]], rotations: list[np.ndarray]) -> float:
    """Mean lead of the pose ``R`` over others.

    Args:
        R: [3, 3] along the ray. candidates: of every look; rotations: theirs, [N, 3, 3] each, brought back.
    """
    leads = []
    for found, turned in zip(candidates, rotations, strict=True):
        angles = np.rad2deg([rotation_angle(R, Q) for Q in turned])
        own = max((c.score for c, a in zip(found, angles, strict=True) if a < AGREE_DEG), default=0.0)
        leads.append(own - max((c.score for c, a in zip(found, angles, strict=True) if a > _OTHER_DEG), default=0.0))
    return float(np.mean(leads))


def half_turn_by_score(R: np.ndarray, candidates: list[Candidate], rotations: np.ndarray) -> float:
    """Lead of the pose ``R`` over its half turn alone, of one look; a half turn that is no candidate scores 0."""
    own = turned = 0.0
    for candidate, Q in zip(candidates, rotations, strict=True):
        if np.rad2deg(rotation_angle(R, Q)) < AGREE_DEG:
            own = max(own, candidate.score)
        elif np.rad2deg(rotation_angle(R @ HALF_TURN, Q)) < AGREE_DEG:
            turned = max(turned, candidate.score)
    return own - turned


def half_turn_by_cells(R: np.ndarray, scores: Tensor, bank: TemplateBank) -> float:
    """How surely the object's cells prefer ``R`` [3, 3] to its half turn: mean over standard error of the difference.

    A paired comparison: what a cell finds in the views around ``R``, less what it finds in those around the half turn.
    The many cells that look alike in both drop out.

    Args:
        scores: [K, V, P] of every vertex of every view and every cell of the object.
    """
    own, turned = (_found_by_cells(Q, scores, bank) for Q in (R, R @ HALF_TURN))
    difference = own - turned
    return float(difference.mean() / (difference.std() / len(difference) ** 0.5 + 1e-6))


def _found_by_cells(R: np.ndarray, scores: Tensor, bank: TemplateBank) -> Tensor:
    """[P] best score of every cell over the views around an orientation."""
    angle = np.arccos(np.clip((np.einsum("ij,kij->k", R, bank.rotations) - 1) / 2, -1, 1))
    near = torch.from_numpy(angle < max(np.deg2rad(_NEAR_DEG), angle.min() + 1e-6))
    return scores[near].masked_fill(~bank.visible[near][:, :, None], -1.0).amax((0, 1))


def look_alike_odds(rotations: np.ndarray, margins: np.ndarray, descriptors: Tensor, mirrored: Tensor) -> np.ndarray:
    """Log odds [N] that a label is right and not turned round, by its own margin and by those that look alike.

    Binary synchronisation by mean field: each label is right or turned; two look-alikes, one of them perhaps in the
    mirror, should face the same way.

    Args:
        rotations: [N, 3, 3] of the labels, along the ray; margins: [N].
        descriptors, mirrored: [N, C] unit norm, of the pictures and of their mirror images.
    """
    own = _SURE * margins
    weight, same, turned = _neighbourhood(rotations, descriptors, mirrored)
    odds = own.copy()
    for _ in range(_SWEEPS):
        right = np.tile(1 / (1 + np.exp(-odds)), 2)[None]
        says = weight * (right * (same - turned) + (1 - right) * (turned - same))
        odds = own + _WEIGHT * says.sum(1)
    return odds


def _neighbourhood(rotations: np.ndarray, descriptors: Tensor, mirrored: Tensor) -> tuple[np.ndarray, ...]:
    """[N, 2 N] each: weights of the look-alikes (rows sum to one), and how near their poses are to one's own or turned.

    Columns are all pictures, then their mirror images.
    """
    alike = torch.cat([descriptors @ descriptors.T, descriptors @ mirrored.T], 1).double().numpy()
    count = len(rotations)
    for column in (0, count):  # neither oneself nor one's own mirror image
        alike[np.arange(count), column + np.arange(count)] = -np.inf
    order = np.argsort(-alike, 1)[:, : min(_NEIGHBOURS, 2 * count - 2)]
    weight = np.zeros_like(alike)
    best = np.take_along_axis(alike, order, 1)
    np.put_along_axis(weight, order, np.exp((best - best[:, :1]) / _ALIKE), 1)
    others = np.concatenate([rotations, [mirror_rotation(R) for R in rotations]])
    weight /= np.maximum(weight.sum(1, keepdims=True), 1.0)  # the best one weighs 1; a single picture has none
    return weight, _nearness(rotations, others), _nearness(rotations, others @ HALF_TURN)


def _nearness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N, M] Gaussian of the angle between rotations."""
    angle = np.arccos(np.clip((np.einsum("nij,mij->nm", a, b) - 1) / 2, -1, 1))
    return np.exp(-0.5 * (angle / np.deg2rad(_SPREAD_DEG)) ** 2)
