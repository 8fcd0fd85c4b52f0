# SPDX-License-Identifier: Apache-2.0
r"""A fine-tuned transformer as plain weights: the low-rank terms are added to the matrices that they adapt.

    python -m dinemo_training.equivariance.merge --adaptation RUN/adaptation.safetensors --weights vits14.pth \
        --out vits14_equivariant.safetensors

The result loads wherever weights of the transformer do, ``learning.weights`` of a recipe included. The 3x3 convolution
that fine-tuning puts behind the last block is left out: a student's read-out learns its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dinemo_ros.process.console import command_main
from dinemo_training.models.student import VIT
from dinemo_training.run.arguments import parsed

from .lora import QueryValueLora
from .model import EquivariantTransformer


@torch.no_grad()
def merged_weights(model: EquivariantTransformer) -> dict[str, Tensor]:
    """State dict of the transformer in ``model``, in timm's names, that computes the same without low-rank layers.

    Each adapted weight [3 C, C] becomes W + up @ down (Hu et al., arXiv 2106.09685, section 4.1). ``model`` is used up:
    its layers are replaced.
    """
    for block in model.trunk.blocks:
        if isinstance(block.attn.qkv, QueryValueLora):
            block.attn.qkv = _merged(block.attn.qkv)
    return {name: value.contiguous() for name, value in model.trunk.state_dict().items()}


def _merged(layer: QueryValueLora) -> nn.Linear:
    """The linear layer [C] -> [3 C] that equals ``layer``: W + up down on the query and the value third."""
    width = layer.qkv.in_features
    for third, term in ((0, 0), (2, 1)):
        layer.qkv.weight[third * width : (third + 1) * width] += layer.up[term] @ layer.down[term]
    return layer.qkv


def main() -> None:
    """The command ``python -m dinemo_training.equivariance.merge``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adaptation", type=Path, required=True, help="written by "
                                                                       "dinemo_training.equivariance.finetune")
    parser.add_argument("--weights", type=Path, help="of the transformer that was fine-tuned; default: the hub's")
    parser.add_argument("--model", default=VIT, help="timm vision transformer")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors")
    args = parsed(parser)
    model = EquivariantTransformer(args.model, args.weights)
    model.load(args.adaptation)
    save_file(merged_weights(model), args.out)
    print(args.out)


if __name__ == "__main__":
    command_main(main)
