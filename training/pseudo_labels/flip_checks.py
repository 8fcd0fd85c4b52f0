# SPDX-License-Identifier: Apache-2.0
"""Front taken for rear: what tells a label from its half turn, besides the mirror image.

* over augmented views (:mod:`dinemo_training.pseudo_labels.augmented_views`): a right pose leads in every slightly
changed copy of the photograph;
* half turn: the pose against the one turned round, cell by cell (correspondences) or by score (render-and-compare).

What they are worth, and what the other photographs (:mod:`dinemo_training.pseudo_labels.neighbour_consistency`) or
frames (:mod:`dinemo_training.pseudo_labels.temporal_consistency`) of a collection tell: training/docs/bidirectional.md.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.geometry import HALF_TURN, rotation_angle

from .correspondence import NEAR_DEG
from .mirror_check import AGREE_DEG, Candidate
from .template_bank import TemplateBank

_OTHER_DEG = 2 * AGREE_DEG


def lead_over_views(R: np.ndarray, candidates: list[list[Candidate]], rotations: list[np.ndarray]) -> float:
    """Mean lead of the pose ``R`` over others.

    Args:
        R: [3, 3] along the ray. candidates: of every view; rotations: theirs, [N, 3, 3] each, brought back.
    """
    leads = []
    for found, turned in zip(candidates, rotations, strict=True):
        angles = np.rad2deg([rotation_angle(R, Q) for Q in turned])
        own = max((c.score for c, a in zip(found, angles, strict=True) if a < AGREE_DEG), default=0.0)
        leads.append(own - max((c.score for c, a in zip(found, angles, strict=True) if a > _OTHER_DEG), default=0.0))
    return float(np.mean(leads))


def half_turn_by_score(R: np.ndarray, candidates: list[Candidate], rotations: np.ndarray) -> float:
    """Lead of the pose ``R`` over its half turn alone, of one view, as a difference of scores.

    A half turn that is no candidate scores 0.

    Args:
        R: [3, 3] along the ray. candidates: of the view; rotations: theirs, [N, 3, 3], as the photograph shows them.
    """
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
    near = torch.from_numpy(angle < max(np.deg2rad(NEAR_DEG), angle.min() + 1e-6))
    return scores[near].masked_fill(~bank.visible[near][:, :, None], -1.0).amax((0, 1))
