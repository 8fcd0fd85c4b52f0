# SPDX-License-Identifier: Apache-2.0
r"""What a frozen transformer makes of training examples, computed once and kept on disk.

    python -m dinemo_training.data.feature_cache --shape car_mean.npz --data runs/car/synthetic --data \
        runs/car/photos:2 \
        --backbone vit_small_patch14_dinov2.lvd142m --views 12000 --out runs/car/features

Nearly all the time of a training step with a frozen transformer goes into tokens that no step changes. They are stored
as float16, with the links between pixels and vertices of the same augmented view. What is lost is that every view is
new: ``views`` of them are gone through again and again.

Goes on where it was killed. ``tokens.npy`` [views, C, h, w] float16 and one file per kind of link are written in place;
``progress.json`` holds the number of whole views.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from dinemo_ros.io.files import require_plain, write_file
from dinemo_ros.process.console import command_main

from ..models.category_shape import CategoryShape
from ..models.student import VIT, ViTStudent, create_student, load_pretrained
from ..run.arguments import parsed
from .augmentation import AugmentConfig
from .batches import BatchConfig, CorrespondenceSampler
from .example_stream import ExampleStream, parse_pool

LINKS = BatchConfig(vertices=192, background=128)  # twice what an example needs: a view is seen again and again
_EXAMPLE = BatchConfig()
_BATCH = 16
_PROGRESS = "progress.json"


def write_features(out: Path, stream: ExampleStream, backbone: ViTStudent, *, workers: int = 0,
                   bf16: bool = False) -> int:
    """Tokens of every example of ``stream`` in the folder ``out``; returns how many views lie there.

    Args:
        workers: processes that prepare examples.
        bf16: compute in bfloat16: processors with avx512_bf16 take two thirds of the time; CUDA does so anyway.

    Raises:
        ValueError: the folder holds tokens of another stream or transformer.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = backbone.to(device).eval()
    identity, done = _identity(stream, backbone), _done(out)
    if done and _progress(out)["identity"] != identity:
        raise ValueError(f"{out}: holds tokens of other examples or of another transformer; remove the folder, or give "
                         "the settings that it was made with")
    rest = ExampleStream(stream.pools, stream.sampler, stream.seed, stream.first + done, len(stream) - done)
    files: dict[str, np.memmap] = {}
    bar = tqdm(total=len(stream), initial=done, desc="features", unit="view", mininterval=5)
    for example in DataLoader(rest, _BATCH, num_workers=workers) if len(rest) else ():
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16 or device.type == "cuda"):
            example["tokens"] = backbone.tokens(_pictures(example.pop("image")).to(device)).half().cpu()
        files = files or {key: _file(out / f"{key}.npy", value, len(stream)) for key, value in example.items()}
        count = len(example["tokens"])
        for key, value in example.items():
            files[key][done : done + count] = value.numpy()
        done += count
        _write_progress(out, identity, done)  # pages that the kernel has not written yet survive a kill
        bar.update(count)
    bar.close()
    return done


class CachedFeatures(Dataset):
    """Views of a feature cache in an endless shuffled order; example n depends on the seed and n alone.

    Args:
        first, count: which part of that order, so that a killed run goes on with what it would have seen.
        links: how many of a view's links an example has; others when the view comes again.

    Views are those that are there when it is opened; while more are being written it may be opened already.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, folder: Path, seed: int, first: int, count: int,
                 links: BatchConfig = _EXAMPLE) -> None:
        self.links = links
        self.files = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)
                      for path in sorted(Path(folder).glob("*.npy"))}
        self.seed, self.first, self.count = seed, first, count
        self.views = _done(folder)
        if not self.views:
            raise ValueError(f"{folder}: holds no tokens; write them first (python -m "
                             "dinemo_training.data.feature_cache, or dinemo train features)")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        turn, place = divmod(self.first + index, self.views)
        view = np.random.default_rng([self.seed, turn]).permutation(self.views)[place]
        example = {key: np.array(file[view]) for key, file in self.files.items()}
        rng = np.random.default_rng([self.seed, turn, place])
        _thin(rng, example, ("vertex_ids", "pixels"), "weights", self.links.vertices)
        _thin(rng, example, ("background",), "background_weight", self.links.background)
        return example


def _thin(rng: np.random.Generator, example: dict[str, np.ndarray], keys: tuple, weight: str, count: int) -> None:
    """Keep ``count`` random links, those that weigh nothing only where others are too few."""
    order = rng.permutation(len(example[weight]))
    chosen = order[np.argsort(example[weight][order] == 0, kind="stable")][:count]
    for key in (*keys, weight):
        example[key] = example[key][chosen]


def _pictures(image: Tensor) -> Tensor:
    return image.permute(0, 3, 1, 2).float()


def _file(path: Path, value: Tensor, count: int) -> np.memmap:
    """An array [count, ...] on disk that is like the batch ``value``; an existing one keeps what is in it."""
    there = path.is_file()
    require_plain(path)
    if there:
        return np.load(path, mmap_mode="r+", allow_pickle=False)
    return np.lib.format.open_memmap(path, "w+", value.numpy().dtype, (count, *value.shape[1:]))


def _identity(stream: ExampleStream, backbone: ViTStudent) -> str:
    """Hash of what decides the tokens: weights, seed, sizes, which crops the pools hold, and the first example, which
    tells whether the code that makes examples is still the same."""
    digest = hashlib.sha256(repr((stream.seed, stream.first, stream.sampler.augmentation,
                                  stream.sampler.config, backbone.read, stream.share.tolist())).encode())
    for value in backbone.trunk.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    for crops, _ in stream.pools:
        for crop in crops:
            digest.update(crop.name.encode() + crop.T_cam_obj.tobytes())
    for value in stream[0].values():
        digest.update(value.tobytes())
    return digest.hexdigest()[:24]


def _progress(folder: Path) -> dict:
    path = Path(folder) / _PROGRESS
    return json.loads(path.read_text()) if path.is_file() else {"done": 0}


def _done(folder: Path) -> int:
    return _progress(folder)["done"]


def _write_progress(folder: Path, identity: str, done: int) -> None:
    write_file(folder / _PROGRESS, json.dumps({"identity": identity, "done": done}), durable=False)


def main() -> None:
    """The command ``python -m dinemo_training.data.feature_cache``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=Path, required=True, help="npz of the category mesh "
                                                                  "(dinemo_training.synthetic.shape.mean_mesh)")
    parser.add_argument("--data", action="append", required=True, metavar="FOLDER[:SHARE]", help="posed crops; repeat")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbone", default=VIT, help="timm vision transformer")
    parser.add_argument("--weights", type=Path, help="file of its weights; default: the hub's")
    parser.add_argument("--views", type=int, required=True, help="augmented views; about 0.45 MB each for a ViT-S")
    parser.add_argument("--size", type=int, default=AugmentConfig().size, help="side of the training crops in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--bf16", action="store_true", help="bfloat16: quicker on processors with avx512_bf16 or AMX")
    args = parsed(parser)
    backbone = create_student(args.backbone, freeze=True)
    load_pretrained(backbone, args.weights)
    sampler = CorrespondenceSampler(CategoryShape.load(args.shape), AugmentConfig(size=args.size), LINKS)
    stream = ExampleStream([parse_pool(d) for d in args.data], sampler, args.seed, 0, args.views)
    print(f"{args.out}: {write_features(args.out, stream, backbone, workers=args.workers, bf16=args.bf16)} views")


if __name__ == "__main__":
    command_main(main)
