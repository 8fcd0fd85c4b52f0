# SPDX-License-Identifier: Apache-2.0
"""The adapted transformer: a frozen timm ViT, LoRA on its last blocks, one 3x3 convolution on its patch tokens."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from dinemo_ros.io.files import completed
from dinemo_training.models.student import VIT
from dinemo_training.models.teachers.local_weights import local_weights

from .lora import add_lora


class EquivariantTransformer(nn.Module):
    """Pictures -> unit-norm patch features; before any step of training, exactly those of the transformer.

    Args:
        name: timm vision transformer. weights: local file (safetensors or weights-only), None takes the hub's.
        blocks, rank: of the adaptation.
    """

    def __init__(self, name: str = VIT, weights: str | Path | None = None, blocks: int = 4, rank: int = 4,
                 pretrained: bool = True, **timm_options: object) -> None:
        super().__init__()
        overlay = local_weights(name, weights) if weights else None
        self.trunk = timm.create_model(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, num_classes=0,
                                       dynamic_img_size=True, **timm_options)
        add_lora(self.trunk, blocks, rank)
        self.conv = nn.Conv2d(self.trunk.embed_dim, self.trunk.embed_dim, 3, padding=1)
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        config = self.trunk.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, H, W] RGB 0..255 float -> [N, D, h, w] unit norm; sides are rounded to whole patches."""
        patch = self.trunk.patch_embed.patch_size[0]
        side = [max(1, round(s / patch)) * patch for s in images.shape[-2:]]
        images = F.interpolate(images, size=side, mode="bilinear", align_corners=False, antialias=True)
        tokens = self.trunk.forward_intermediates((images - self.mean) / self.std, indices=1, intermediates_only=True,
                                                  norm=True)[0]
        return F.normalize(self.conv(tokens), dim=1)

    def adaptation(self) -> dict[str, Tensor]:
        """State dict of what training changes, by name: factors [2, r, C], [2, C, r] of low rank; the convolution."""
        learnt = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name: value for name, value in self.state_dict().items() if name in learnt}

    def save(self, path: Path) -> None:
        """Write the adaptation, without the transformer, as safetensors."""
        with completed(path) as part:
            save_file({k: v.contiguous() for k, v in self.adaptation().items()}, part, {"blocks": str(self._blocks())})

    def load(self, path: Path) -> None:
        """Read an adaptation.

        Raises:
            ValueError: it is of another transformer.
        """
        with safe_open(path, framework="pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}
        own = self.adaptation()
        if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in own.items()}:
            raise ValueError(f"{path}: is not an adaptation of this transformer ({len(own)} tensors expected, "
                             f"{len(found)} found, or other shapes); give the name and weights it was trained with")
        self.load_state_dict(found, strict=False)

    def _blocks(self) -> int:
        return sum(type(block.attn.qkv).__name__ == "QueryValueLora" for block in self.trunk.blocks)


class EquivariantTeacher:
    """The adapted transformer as a teacher (:class:`dinemo_training.models.teachers.protocol.Teacher`)."""

    def __init__(self, model: EquivariantTransformer) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        return self.model(images)
