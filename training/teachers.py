# SPDX-License-Identifier: Apache-2.0
"""Teachers: networks that were trained on other data and say which image patches look alike.

One protocol (:class:`Teacher`): RGB pictures -> unit-norm feature maps. Measured on cars, an ImageNet CNN with
features of stride 16 tells views apart better than a small vision transformer (DESIGN of the project, table "what was
measured"), so it is the default here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from .student import IMAGENET_MEAN, IMAGENET_STD, StudentBackbone, find_imagenet_checkpoint, load_imagenet_trunk


class Teacher(Protocol):
    """Pictures [N, 3, H, W] RGB 0..255 float -> features [N, D, h, w], unit norm over D."""

    def __call__(self, images: Tensor) -> Tensor: ...


class CnnTeacher:
    """Stages 3 and 4 of EfficientNet-lite0 with ImageNet weights, side by side at stride 16."""

    def __init__(self, checkpoint: str | Path | None = None):
        student = StudentBackbone(frozen_stages=0)
        load_imagenet_trunk(student, checkpoint or find_imagenet_checkpoint())
        self.trunk = student.trunk.eval().to(memory_format=torch.channels_last)
        self.mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        _, f16, f32 = self.trunk((images - self.mean) / self.std)
        f32 = F.interpolate(f32, size=f16.shape[-2:], mode="bilinear", align_corners=False)
        return F.normalize(torch.cat([F.normalize(f16, dim=1), F.normalize(f32, dim=1)], dim=1), dim=1)


class TimmTeacher:
    """Patch tokens of any timm vision transformer (DINOv2 by default: from the hub, or from a local file).

    Args:
        name: timm model. checkpoint: ``.pth`` (weights only) or ``.safetensors`` in timm's or the authors' key names,
            every weight of the model must be in it; None takes timm's weights from the hub.
        block: which block's tokens, negative counts from the last.
    """

    def __init__(self, name: str = "vit_small_patch14_dinov2.lvd142m", checkpoint: str | Path | None = None,
                 block: int = -1):
        overlay = None if checkpoint is None else _local_weights(name, checkpoint)
        self.model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0,
                                       dynamic_img_size=True).eval()
        self.block = range(len(self.model.blocks))[block]
        self.mean = torch.tensor(self.model.pretrained_cfg["mean"]).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(self.model.pretrained_cfg["std"]).view(1, 3, 1, 1) * 255

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        patch = self.model.patch_embed.patch_size[0]
        side = [max(1, round(s / patch)) * patch for s in images.shape[-2:]]
        images = F.interpolate(images, size=side, mode="bilinear", align_corners=False, antialias=True)
        tokens = self.model.forward_intermediates((images - self.mean) / self.std, indices=[self.block],
                                                  intermediates_only=True, norm=True)[0]
        return F.normalize(tokens, dim=1)


def _local_weights(name: str, checkpoint: str | Path) -> dict:
    """timm configuration that loads a file strictly.

    timm drops strictness when the number of classes differs from its own, and a wrong file would then leave random
    weights unnoticed; so the classifier is taken out here and the rest has to fit.
    """
    state = timm.models.load_state_dict(str(checkpoint), device="cpu", weights_only=True)
    classifier = timm.models.get_pretrained_cfg(name).classifier
    classifiers = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    state = {key: value for key, value in state.items() if key.rpartition(".")[0] not in classifiers}
    return {"state_dict": state, "num_classes": 0}
