# SPDX-License-Identifier: Apache-2.0
r"""Checkpoint -> bundle: ONNX with the normalisation inside, neural mesh, card; refused unless ONNX equals torch.

    python -m training.export --checkpoint runs/car/train/student.pt --shape car_mean.npz --category car \
        --out engines/car
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from dinemo_ros.bundle import Card, FeatureSpec, ImageSpec, SizePrior, write_bundle
from dinemo_ros.neural_mesh import NeuralMesh

from .category_shape import CategoryShape
from .checkpoint import load_checkpoint
from .neural_mesh import NeuralMeshFeatures
from .student import STRIDE, StudentBackbone

_OPSET = 17              # LayerNorm stays one node from here on (vision transformers in TensorRT need that)
_MIN_COSINE = 0.9999     # fp32 against fp32: anything less is a broken graph


class _DeployedBackbone(nn.Module):
    """uint8 [N, H, W, 3] RGB -> features [N, D, H/8, W/8]: what a robot's camera driver delivers, nothing to forget."""

    def __init__(self, backbone: StudentBackbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(image.permute(0, 3, 1, 2).float())


def export_onnx(backbone: StudentBackbone) -> bytes:
    """ONNX bytes with dynamic batch, height and width."""
    model = _DeployedBackbone(backbone.eval())
    stream = io.BytesIO()
    axes = {"image": {0: "n", 1: "h", 2: "w"}, "features": {0: "n", 2: "fh", 3: "fw"}}
    torch.onnx.export(model, (torch.zeros(1, 224, 224, 3, dtype=torch.uint8),), stream, input_names=["image"],
                      output_names=["features"], dynamic_axes=axes, opset_version=_OPSET, dynamo=False)
    return stream.getvalue()


def parity(onnx: bytes, backbone: StudentBackbone, sizes=((224, 224), (256, 256), (320, 640)), seed: int = 0) -> float:
    """Smallest per-cell cosine between ONNX Runtime and torch over random pictures of several sizes."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    model, cosines = _DeployedBackbone(backbone.eval()), []
    rng = np.random.default_rng(seed)
    for n, (height, width) in enumerate(sizes, start=1):
        image = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = model(torch.from_numpy(image)).numpy()
        cosines.append((expected * session.run(["features"], {"image": image})[0]).sum(1).min())
    return float(np.min(cosines))  # not the built-in min, which would pass over NaN


def export_bundle(checkpoint: Path, shape: CategoryShape, card: Card, out: Path) -> float:
    """Write a checked bundle; returns the parity cosine.

    Raises:
        ValueError: ONNX Runtime and torch disagree; nothing is written.
    """
    backbone = StudentBackbone(dim=card.features.dim)
    features = NeuralMeshFeatures(len(shape.vertices), card.features.dim)
    load_checkpoint(checkpoint, backbone, features)
    onnx = export_onnx(backbone)
    cosine = parity(onnx, backbone)
    if not cosine >= _MIN_COSINE:  # NaN must not pass
        raise ValueError(f"ONNX Runtime and torch disagree (cosine {cosine:.5f}, needed is {_MIN_COSINE}); the bundle "
                         "was not written")
    mesh = NeuralMesh(vertices=shape.vertices.astype(np.float32), faces=shape.faces,
                      normals=shape.normals.astype(np.float32), features=features.vertices.detach().numpy(),
                      clutter=features.clutter.detach().numpy())
    write_bundle(out, card, onnx, mesh)
    return cosine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--shape", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--category", default="car")
    parser.add_argument("--version", default="1")
    parser.add_argument("--description", default="")
    parser.add_argument("--license", default="")
    parser.add_argument("--size", type=float, nargs=3, metavar=("L", "W", "H"),
                        help="mean size in metres, if another than the shape's: it decides distance, not training")
    parser.add_argument("--size-sigma", type=float, nargs=3, default=(0.10, 0.06, 0.08), metavar=("L", "W", "H"),
                        help="spread of log length, width, height over the category")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--margin", type=float, default=1.15)
    args = parser.parse_args()
    shape = CategoryShape.load(args.shape)
    if args.size:
        shape = shape.resized(np.array(args.size))
    card = Card(category=args.category, version=args.version, description=args.description, license=args.license,
                size_prior=SizePrior(tuple(float(v) for v in shape.size.round(4)), tuple(args.size_sigma)),
                image=ImageSpec(size=args.image_size, margin=args.margin, stride=STRIDE), features=FeatureSpec())
    cosine = export_bundle(args.checkpoint, shape, card, args.out)
    print(f"{args.out}: ONNX against torch, smallest cosine {cosine:.6f}")


if __name__ == "__main__":
    main()
