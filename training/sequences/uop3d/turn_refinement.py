# SPDX-License-Identifier: Apache-2.0
"""Uneven steps of a turn: every frame moves to where it agrees with what the other frames make of the object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dinemo_ros.geometry import se3, so3_exp, wrapped
from dinemo_training.data.batches import grid_coordinates, project
from dinemo_training.data.foreground import mask_box
from dinemo_training.synthetic.render.rasterizer import rasterize, visible_vertices
from dinemo_training.synthetic.shape.visual_hull import visual_hull

from .object_sequence import ObjectSequence

_SPANS = np.radians([30.0, 18.0, 9.0])  # how far a frame may move in each pass
_DAMPING = 0.7                          # all frames move at once


def refine_turn(sequence: ObjectSequence, maps: Tensor, azimuths: np.ndarray) -> np.ndarray:
    """Azimuths [N] moved, one frame at a time, to where the frame agrees with what all others make of the object.

    Agreement is the cosine between a frame's features at the vertices it sees and the same vertices' mean feature in
    the other frames (views within a quadrant count most), plus the IoU with the hull.
    """
    azimuths = azimuths.copy()
    for span in _SPANS:
        posed = _turned(sequence, azimuths)
        model = visual_hull(posed, resolution=40)
        views = [_view(posed, maps, model, i, 0.0) for i in range(len(azimuths))]
        moves = np.zeros(len(azimuths))
        for i in range(len(azimuths)):
            gap = wrapped(azimuths - azimuths[i])
            near = np.exp(-0.5 * (gap / (np.pi / 4)) ** 2)
            near[i] = 0.0
            mean = sum(float(w) * features for w, (features, _) in zip(near, views, strict=True))
            mean = F.normalize(mean, dim=1)
            steps = np.linspace(-span, span, 13)
            moves[i] = steps[int(np.argmax([_agreement(_view(posed, maps, model, i, d), mean) for d in steps]))]
        azimuths += _DAMPING * moves
    return azimuths - azimuths[0]


def _view(sequence: ObjectSequence, maps: Tensor, model: tuple[np.ndarray, np.ndarray], i: int,
          step: float) -> tuple[Tensor, float]:
    """Features [V, D] of the vertices in frame ``i`` turned by ``step`` radians, zero where hidden, and its IoU."""
    vertices, faces = model
    K, T, mask = sequence.K[i].copy(), _turn_object(sequence.T_cam_own[i], step), sequence.masks[i]
    uv = project(vertices, K, T)
    K[:2, 2] += np.array(mask_box(mask)).reshape(2, 2).mean(0) - 0.5 - 0.5 * (uv.min(0) + uv.max(0))
    uv = project(vertices, K, T)
    seen = rasterize(vertices, faces, K, T, mask.shape[::-1])
    visible = visible_vertices(vertices, seen.depth, K, T, 0.04 * float(np.ptp(vertices, axis=0).max()))
    grid = torch.from_numpy(grid_coordinates(uv, mask.shape[0]))
    features = F.grid_sample(maps[i : i + 1].float(), grid[None, :, None], align_corners=False)[0, :, :, 0].T
    iou = (seen.mask & (mask > 0)).sum() / max((seen.mask | (mask > 0)).sum(), 1)
    return F.normalize(features, dim=1) * torch.from_numpy(visible)[:, None], float(iou)


def _agreement(look: tuple[Tensor, float], mean: Tensor) -> float:
    features, iou = look
    seen = (features.norm(dim=1) > 0) & (mean.norm(dim=1) > 0)
    return float((features[seen] * mean[seen]).sum(1).mean()) + iou


def _turn_object(T_cam_own: np.ndarray, step: float) -> np.ndarray:
    """The camera moved on by ``step`` radians about the own frame's z axis."""
    return T_cam_own @ se3(so3_exp([0, 0, -step]), np.zeros(3))


def _turned(sequence: ObjectSequence, azimuths: np.ndarray) -> ObjectSequence:
    """The same cameras moved to other azimuths [N]; frame 0 of ``sequence`` stands at azimuth 0."""
    first = sequence.T_cam_own[0]
    return replace(sequence, T_cam_own=np.array([_turn_object(first, a - azimuths[0]) for a in azimuths]))
