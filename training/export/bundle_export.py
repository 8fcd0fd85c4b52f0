# SPDX-License-Identifier: Apache-2.0
r"""Checkpoint -> bundle: ONNX with the normalisation inside, neural mesh, card; refused unless everything agrees.

    python -m dinemo_training.export.bundle_export --checkpoint runs/car/round0/student.pt --shape runs/car/shape.npz \
        --category car \
        --out engines/car
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from dinemo_ros.features.onnx_graph import engine_ready
from dinemo_ros.io.files import own_place
from dinemo_ros.model.bundle import INT8_FILE, Card, FeatureSpec, ImageSpec, SizePrior, load_bundle, write_bundle
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.process.console import command_main

from ..models.category_shape import CategoryShape
from ..models.checkpoint import load_student
from ..models.student import CNN, STRIDE, is_transformer
from ..run.arguments import parsed

_OPSET = 17              # LayerNorm stays one node from here on (vision transformers in TensorRT need that)
_MIN_COSINE = 0.9999     # fp32 against fp32: anything less is a broken graph
_MAX_DIFFERENCE = 0.01   # of features of unit norm; the same graph in another order of summation stays below 1e-3
_MAX_BYTES = 20_000_000  # of a bundle that ships with the package
_MAX_TRANSFORMER_BYTES = 150_000_000  # of one for GPUs; a ViT-S in fp32 has 88 MB
_VERTICES = (50, 4000)   # fewer determine no pose, more cost time and gain nothing


class _DeployedBackbone(nn.Module):
    """uint8 [N, H, W, 3] RGB -> features [N, D, h, w]: what a robot's camera driver delivers, nothing to forget."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(image.permute(0, 3, 1, 2).float())


@dataclass(frozen=True)
class Parity:
    """ONNX Runtime against torch: smallest cosine of any cell, largest difference of any number. NaN if any is NaN."""

    cosine: float
    difference: float

    @property
    def good(self) -> bool:
        """Written so that NaN does not pass."""
        return self.cosine >= _MIN_COSINE and self.difference <= _MAX_DIFFERENCE


def export_onnx(backbone: nn.Module) -> bytes:
    """ONNX bytes with dynamic batch, height and width."""
    model = _DeployedBackbone(backbone.eval())
    stream = io.BytesIO()
    axes = {"image": {0: "n", 1: "h", 2: "w"}, "features": {0: "n", 2: "fh", 3: "fw"}}
    torch.onnx.export(model, (torch.zeros(1, 224, 224, 3, dtype=torch.uint8),), stream, input_names=["image"],
                      output_names=["features"], dynamic_axes=axes, opset_version=_OPSET, dynamo=False)
    return stream.getvalue()


def parity(onnx: bytes, backbone: nn.Module, sizes: Sequence[tuple[int, int]] = ((224, 224), (448, 448), (224, 672)),
           seed: int = 0) -> Parity:
    """Compare over random pictures of several ``sizes`` (height, width): noise, and smooth ones like a camera's.

    Raises:
        ValueError: the two give features of different shapes.
    """
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    model, cosines, differences = _DeployedBackbone(backbone.eval()), [], []
    rng = np.random.default_rng(seed)
    for n, (height, width) in enumerate(sizes, start=1):
        image = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
        ramp = np.linspace(0, 255, width)[None, :, None] * rng.uniform(0, 1, 3)
        image[0] = np.broadcast_to(ramp, (height, width, 3))
        with torch.inference_mode():
            expected = model(torch.from_numpy(image)).numpy()
        found = session.run(["features"], {"image": image})[0]
        if found.shape != expected.shape:
            raise ValueError(f"ONNX gives features {list(found.shape)} for pictures of {width}x{height}, torch "
                             f"{list(expected.shape)}; the bundle was not written")
        cosines.append((expected * found).sum(1).min())
        differences.append(np.abs(expected - found).max())
    # numpy's min and max, because the built-in ones would pass over NaN
    return Parity(float(np.min(cosines)), float(np.max(differences)))


def export_bundle(checkpoint: Path, shape: CategoryShape, card: Card, out: Path) -> dict:
    """Write a checked bundle; returns what the parity check measured.

    The old bundle in ``out`` stays as it is until the new one has passed.

    Raises:
        ValueError: ONNX Runtime and torch disagree, the mesh does not belong to the checkpoint, or the bundle is too
            large; nothing is written.
    """
    backbone, features = load_student(checkpoint)
    mesh = _neural_mesh(checkpoint, shape, features, card)
    onnx = export_onnx(backbone)
    result = parity(onnx, backbone)
    if not result.good:
        raise ValueError(f"ONNX Runtime and torch disagree (cosine {result.cosine:.6f}, needed is {_MIN_COSINE}; "
                         f"difference {result.difference:.2g}, allowed is {_MAX_DIFFERENCE}); the bundle was not "
                         "written")
    out = own_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".draft", dir=out.parent))  # a new folder
    try:
        write_bundle(draft, card, engine_ready(onnx), mesh)  # compared with its original in there
        check_bundle(draft, backbone.architecture)
        out.mkdir(exist_ok=True)
        (out / INT8_FILE).unlink(missing_ok=True)  # that of the old network; dinemo build-engine --ship makes another
        for file in sorted(draft.iterdir()):
            file.replace(out / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {"cosine": round(result.cosine, 7), "difference": float(f"{result.difference:.2g}")}


def _neural_mesh(checkpoint: Path, shape: CategoryShape, features: nn.Module, card: Card) -> NeuralMesh:
    learnt, dim = features.vertices.shape
    if learnt != len(shape.vertices):
        raise ValueError(f"{checkpoint}: has features of {learnt} vertices, the shape has {len(shape.vertices)}; give "
                         "the shape that the run was trained with")
    if dim != card.features.dim:
        raise ValueError(f"{checkpoint}: features have {dim} channels, the card has {card.features.dim}")
    return NeuralMesh(vertices=shape.vertices.astype(np.float32), faces=shape.faces,
                      normals=shape.normals.astype(np.float32),
                      features=features.vertices.detach().numpy(),
                      clutter=features.clutter.detach().numpy(), modes=shape.modes.astype(np.float32))


def largest_bundle(architecture: str) -> int:
    """How many bytes a bundle with this backbone may have."""
    return _MAX_TRANSFORMER_BYTES if is_transformer(architecture) else _MAX_BYTES


def check_bundle(path: Path, architecture: str = CNN) -> int:
    """Bytes of a bundle that is fit to ship.

    Raises:
        ValueError: a count of its mesh is off, or it is too large. BundleError: its files do not belong together.
    """
    mesh = load_bundle(path).mesh  # shapes, ranges, unit norms and hashes are checked here
    low, high = _VERTICES
    if not low <= len(mesh.vertices) <= high:
        raise ValueError(f"{path}: the mesh has {len(mesh.vertices)} vertices; allowed: {low} to {high}")
    unused = len(mesh.vertices) - len(np.unique(mesh.faces))
    if unused:
        raise ValueError(f"{path}: {unused} of {len(mesh.vertices)} vertices of the mesh belong to no face, so no view "
                         "would ever show them; make the shape again")
    if len(mesh.faces) < len(mesh.vertices):  # a closed surface has about two faces per vertex
        raise ValueError(f"{path}: the mesh has {len(mesh.faces)} faces for {len(mesh.vertices)} vertices, that is no "
                         "surface; make the shape again")
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    if size > (limit := largest_bundle(architecture)):
        raise ValueError(f"{path}: {size / 1e6:.1f} MB; a bundle may have {limit / 1e6:.0f}: take a smaller backbone")
    return size


def trained_temperature(checkpoint: Path) -> float:
    """The softmax temperature of the run that wrote a checkpoint, from ``train.json`` beside it.

    Raises:
        ValueError: the run left no such file.
    """
    path = checkpoint.with_name("train.json")
    try:
        return float(json.loads(path.read_text())["temperature"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: tells no temperature ({error!r}); give --temperature, the value that the run was "
                         "trained with") from error


def main() -> None:
    """The command ``python -m dinemo_training.export.bundle_export``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--shape", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--category", required=True)
    parser.add_argument("--version", default="1")
    parser.add_argument("--description", default="")
    parser.add_argument("--license", default="")
    parser.add_argument("--temperature", type=float, help="default: that of the run, from train.json beside the "
                        "checkpoint")
    parser.add_argument("--size", type=float, nargs=3, metavar=("L", "W", "H"),
                        help="mean size in metres, if another than the shape's: it decides distance, not training")
    parser.add_argument("--size-sigma", type=float, nargs=3, default=(0.10, 0.06, 0.08), metavar=("L", "W", "H"),
                        help="spread of log length, width, height over the category")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--margin", type=float, default=1.15)
    args = parsed(parser)
    shape = CategoryShape.load(args.shape)
    if args.size:
        shape = shape.resized(np.array(args.size))
    temperature = trained_temperature(args.checkpoint) if args.temperature is None else args.temperature
    _, features = load_student(args.checkpoint)
    card = Card(category=args.category, version=args.version, description=args.description, license=args.license,
                size_prior=SizePrior(tuple(float(v) for v in shape.size.round(4)), tuple(args.size_sigma)),
                image=ImageSpec(size=args.image_size, margin=args.margin, stride=STRIDE),
                features=FeatureSpec(features.raw_vertices.shape[1], temperature))
    result = export_bundle(args.checkpoint, shape, card, args.out)
    print(f"{args.out}: ONNX against torch, smallest cosine {result['cosine']}, largest difference "
          f"{result['difference']}")


if __name__ == "__main__":
    command_main(main)
