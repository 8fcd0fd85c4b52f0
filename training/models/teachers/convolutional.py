# SPDX-License-Identifier: Apache-2.0
"""Convolutional teachers: stages of a classification network, side by side on the grid of the finest one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..student import IMAGENET_MEAN, IMAGENET_STD, StudentBackbone, find_imagenet_checkpoint, load_imagenet_trunk
from .local_weights import local_weights


class StageTeacher:
    """Feature maps of chosen stages, each of unit norm, so that none drowns the others, and then together."""

    def __init__(self, trunk: nn.Module, stages: tuple[int, ...], mean: Sequence[float], std: Sequence[float],
                 device: str = "cpu") -> None:
        self.trunk = trunk.eval().to(device, memory_format=torch.channels_last)
        self.stages, self.device = stages, device
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1) * 255

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        maps = self.trunk((images.to(self.device) - self.mean) / self.std)
        chosen = [F.normalize(maps[stage], dim=1) for stage in self.stages]
        grid = chosen[0].shape[-2:]
        aligned = [chosen[0], *(F.interpolate(m, size=grid, mode="bilinear", align_corners=False) for m in chosen[1:])]
        return F.normalize(torch.cat([F.normalize(m, dim=1) for m in aligned], dim=1), dim=1)


class CnnTeacher(StageTeacher):
    """Stages 3 and 4 of EfficientNet-lite0 with ImageNet weights, side by side at stride 16."""

    def __init__(self, checkpoint: str | Path | None = None, device: str = "cpu") -> None:
        student = StudentBackbone(frozen_stages=0)
        load_imagenet_trunk(student, checkpoint or find_imagenet_checkpoint())
        super().__init__(student.trunk, (1, 2), IMAGENET_MEAN, IMAGENET_STD, device)


class TimmCnnTeacher(StageTeacher):
    """Any convolutional network of timm, its two coarsest stages by default.

    Args:
        name: timm model with staged features. checkpoint: local file in timm's key names, every weight of the model
            must be in it; None takes timm's weights from the hub.
        stages: which stages, finest first; negative counts from the coarsest.
    """

    def __init__(self, name: str, checkpoint: str | Path | None = None, stages: tuple[int, ...] = (-2, -1),
                 device: str = "cpu") -> None:
        overlay = None if checkpoint is None else local_weights(name, checkpoint)
        # Loaded as the whole network first: as a feature extractor timm takes a wrong file without a word.
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
        trunk = self.load_stages(name, model)
        super().__init__(trunk, stages, model.pretrained_cfg["mean"], model.pretrained_cfg["std"], device)

    @staticmethod
    def load_stages(name: str, model: nn.Module) -> nn.Module:
        """timm's feature extractor of a network, with the weights of ``model``; it may name them differently.

        Raises:
            ValueError: the extractor has weights that ``model`` lacks.
        """
        trunk = timm.create_model(name, pretrained=False, features_only=True)
        flat = {key.replace(".", "_"): value for key, value in model.state_dict().items()}
        own = trunk.state_dict()
        missing = [key for key in own if key.replace(".", "_") not in flat]
        if missing:
            raise ValueError(f"{name}: {len(missing)} weights of its stages not found, first {missing[0]}; "
                             "give another timm network")
        trunk.load_state_dict({key: flat[key.replace(".", "_")] for key in own})
        return trunk
