# SPDX-License-Identifier: Apache-2.0
"""A student of an earlier round as the teacher of the next one (self-training)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint import load_student


class StudentTeacher:
    """Features of a trained checkpoint (:mod:`dinemo_training.models.contrastive`).

    It also knows its neural mesh, so :meth:`foreground` tells the object from its surroundings without a mask.
    """

    def __init__(self, checkpoint: str | Path, device: str = "cpu") -> None:
        backbone, features = load_student(Path(checkpoint))
        self.backbone, self.device = backbone.to(device), device
        self.vertices, self.clutter = features.vertices.detach(), features.clutter.detach()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        return self.backbone(images.to(self.device))

    def foreground(self, features: Tensor, temperature: float = 0.07) -> Tensor:
        """Probability [h, w] that a cell of a map [D, h, w] shows the object: best vertex against best clutter."""
        cells = features.flatten(1)
        margin = (self.vertices @ cells).max(0).values - (self.clutter @ cells).max(0).values
        return torch.sigmoid(margin / temperature).reshape(features.shape[1:])
