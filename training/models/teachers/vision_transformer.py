# SPDX-License-Identifier: Apache-2.0
"""Patch tokens of a vision transformer: DINOv2 by default, as in DINeMo's teacher."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from .local_weights import local_weights


class TimmTeacher:
    """Patch tokens of any timm vision transformer (DINOv2 by default: from the hub, or from a local file).

    Args:
        name: timm model. checkpoint: ``.pth`` (weights only) or ``.safetensors`` in timm's or the authors' key names,
            every weight of the model must be in it; None takes timm's weights from the hub.
        block: which block's tokens, negative counts from the last.
    """

    def __init__(self, name: str = "vit_small_patch14_dinov2.lvd142m", checkpoint: str | Path | None = None,
                 block: int = -1, device: str = "cpu") -> None:
        overlay = None if checkpoint is None else local_weights(name, checkpoint)
        self.model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0,
                                       dynamic_img_size=True).eval().to(device)
        self.block, self.device = range(len(self.model.blocks))[block], device
        self.mean = torch.tensor(self.model.pretrained_cfg["mean"], device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(self.model.pretrained_cfg["std"], device=device).view(1, 3, 1, 1) * 255

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        patch = self.model.patch_embed.patch_size[0]
        side = [max(1, round(s / patch)) * patch for s in images.shape[-2:]]
        images = F.interpolate(images.to(self.device), size=side, mode="bilinear", align_corners=False, antialias=True)
        tokens = self.model.forward_intermediates((images - self.mean) / self.std, indices=[self.block],
                                                  intermediates_only=True, norm=True)[0]
        return F.normalize(tokens, dim=1)
