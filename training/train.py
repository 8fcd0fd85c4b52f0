# SPDX-License-Identifier: Apache-2.0
r"""Contrastive training of the small backbone and the neural mesh on posed crops.

    python -m training.train --shape car_mean.npz --data runs/car/synthetic --data runs/car/photos:2 \
        --out runs/car/train

``FOLDER:W`` draws from a folder W times as often. The run resumes from its last checkpoint when started again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from .augment import AugmentConfig
from .batches import CorrespondenceSampler
from .category_shape import CategoryShape
from .neural_mesh import NeuralMeshFeatures, contrastive_loss, neighbour_targets
from .posed_crops import PosedCrop, load_posed_crops
from .student import StudentBackbone, find_imagenet_checkpoint, load_imagenet_trunk

_CHECKPOINT_EVERY = 200  # steps


class CropStream(IterableDataset):
    """Endless stream of augmented examples, deterministic in (seed, worker, start)."""

    def __init__(self, pools: list[tuple[list[PosedCrop], float]], sampler: CorrespondenceSampler, seed: int):
        self.pools, self.sampler, self.seed = pools, sampler, seed

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        share = np.array([weight for _, weight in self.pools])
        share /= share.sum()

        def pick() -> PosedCrop:
            crops = self.pools[rng.choice(len(self.pools), p=share)][0]
            return crops[rng.integers(len(crops))]

        while True:
            yield self.sampler.sample(rng, pick(), _texture(rng, pick().image(), self.sampler.augmentation.size))


def _texture(rng, image: np.ndarray, size: int) -> np.ndarray:
    """A small piece from a corner of another picture, scaled to the crop: background and occluder texture.

    Corners, because the middle shows another object of the category, which is no background.
    """
    height, width = image.shape[:2]
    side = int(rng.integers(min(height, width) // 8, min(height, width) // 4))
    y = 0 if rng.random() < 0.5 else height - side
    x = 0 if rng.random() < 0.5 else width - side
    piece = np.rot90(image[y : y + side, x : x + side], rng.integers(4))
    return cv2.resize(piece, (size, size), interpolation=cv2.INTER_CUBIC)


def learning_rate(step: int, total: int, peak: float, warmup: int = 100) -> float:
    """Linear warm-up, then cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def train(pools, shape: CategoryShape, out: Path, *, steps: int, batch: int, lr: float, sigma: float,
          temperature: float, augmentation: AugmentConfig, init: Path | None, seed: int, workers: int) -> Path:
    """Train and return the path of the final checkpoint (``student.pt``: state dicts only, loads weights-only)."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    backbone, features = StudentBackbone(), NeuralMeshFeatures(len(shape.vertices))
    load_imagenet_trunk(backbone, find_imagenet_checkpoint())
    if init is not None:
        load_checkpoint(init, backbone, features)
    backbone = backbone.to(memory_format=torch.channels_last).train()
    groups = [{"params": [p for p in backbone.trunk.parameters() if p.requires_grad], "peak": lr},
              {"params": [p for n, p in backbone.named_parameters() if not n.startswith("trunk")], "peak": 3 * lr},
              {"params": features.parameters(), "peak": 10 * lr, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=1e-4)
    start = _resume(out / "last.pt", backbone, features, optimizer)
    neighbours = neighbour_targets(torch.from_numpy(shape.vertices).float(), sigma)
    sampler = CorrespondenceSampler(shape, augmentation)
    loader = iter(DataLoader(CropStream(pools, sampler, seed + start), batch_size=batch, num_workers=workers,
                             prefetch_factor=4 if workers else None))
    log = (out / "metrics.jsonl").open("a")
    sums, began = {}, time.monotonic()
    for step in (bar := tqdm(range(start, steps), initial=start, total=steps, desc="train", mininterval=5)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, group["peak"])
        example = next(loader)
        image = example["image"].permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        losses = contrastive_loss(backbone(image), features, example["pixels"], example["vertex_ids"],
                                  example["weights"], neighbours, example["background"],
                                  example["background_weight"], temperature)
        optimizer.zero_grad(set_to_none=True)
        (losses["vertex"] + 0.5 * losses["clutter"]).backward()
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), 2.0)
        optimizer.step()
        for key, value in losses.items():
            value = float(value.detach())
            sums[key] = 0.97 * sums.get(key, value) + 0.03 * value
        if (step + 1) % 50 == 0 or step + 1 == steps:
            log.write(json.dumps({"step": step + 1, "seconds": round(time.monotonic() - began, 1),
                                  **{k: round(v, 4) for k, v in sums.items()}}) + "\n")
            log.flush()
            bar.set_postfix({k: f"{v:.3f}" for k, v in sums.items()})
        if (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == steps:
            save_checkpoint(out / "last.pt", backbone, features, optimizer, step + 1)
    final = out / "student.pt"
    save_checkpoint(final, backbone, features)
    return final


def save_checkpoint(path: Path, backbone, features, optimizer=None, step: int = 0) -> None:
    """Atomic: a kill during the write leaves the previous checkpoint."""
    temporary = path.with_suffix(".tmp")
    torch.save({"backbone": backbone.state_dict(), "features": features.state_dict(), "step": step,
                "optimizer": optimizer.state_dict() if optimizer else None}, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path, backbone, features) -> dict:
    """Load weights only (no pickled code)."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    backbone.load_state_dict(state["backbone"])
    features.load_state_dict(state["features"])
    return state


def average_checkpoints(paths: list[Path], out: Path) -> Path:
    """Mean weights of several rounds that started from each other (a model soup): steadier than the last alone."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    mean = {part: {name: torch.stack([s[part][name] for s in states]).mean(0) if value.is_floating_point() else value
                   for name, value in states[-1][part].items()} for part in ("backbone", "features")}
    temporary = out.with_suffix(".tmp")
    torch.save({**states[-1], **mean}, temporary)
    temporary.replace(out)
    return out


def _resume(path: Path, backbone, features, optimizer) -> int:
    if not path.is_file():
        return 0
    state = load_checkpoint(path, backbone, features)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def parse_pool(argument: str) -> tuple[list[PosedCrop], float]:
    """``FOLDER`` or ``FOLDER:SHARE``; without a share a folder counts by its number of pictures."""
    folder, _, share = argument.partition(":")
    crops = load_posed_crops(folder)
    return crops, float(share) if share else float(len(crops))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=Path, required=True, help="npz of the category mesh (training.shape.mean_mesh)")
    parser.add_argument("--data", action="append", required=True, metavar="FOLDER[:SHARE]", help="posed crops; repeat")
    parser.add_argument("--out", type=Path, required=True, help="run folder (checkpoints, metrics.jsonl)")
    parser.add_argument("--init", type=Path, help="student.pt to start from instead of ImageNet")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--sigma", type=float, default=0.15,
                        help="metres over which neighbouring vertices share a target")
    parser.add_argument("--temperature", type=float, default=0.07)
    parser.add_argument("--size", type=int, default=224, help="side of the training crops in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    shape = CategoryShape.load(args.shape)
    pools = [parse_pool(d) for d in args.data]
    for argument, (crops, share) in zip(args.data, pools, strict=True):
        print(f"{argument}: {len(crops)} crops, share {share:g}")
    final = train(pools, shape, args.out, steps=args.steps, batch=args.batch, lr=args.lr, sigma=args.sigma,
                  temperature=args.temperature, augmentation=AugmentConfig(size=args.size), init=args.init,
                  seed=args.seed, workers=args.workers)
    print(final)


if __name__ == "__main__":
    main()
