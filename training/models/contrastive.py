# SPDX-License-Identifier: Apache-2.0
r"""Contrastive training of a backbone and the neural mesh on posed crops (NeMo, arXiv 2101.12378; DINeMo, 2503.20220).

    python -m dinemo_training.models.contrastive --shape car_mean.npz --data runs/car/synthetic --data \
        runs/car/photos:2 \
        --out runs/car/train
    accelerate launch --multi_gpu -m dinemo_training.models.contrastive ...     # or torchrun --nproc_per_node=4 -m \
        dinemo_training.models.contrastive ...

``FOLDER:W`` draws from a folder W times as often. The run resumes from its last checkpoint when started again, and a
killed run ends with the same weights as one that was left alone. On CUDA the forward pass runs in bfloat16.

    python -m dinemo_training.models.contrastive --shape car_mean.npz --backbone vit_small_patch14_dinov2.lvd142m \
        --freeze \
        --feature-cache runs/car/features --out runs/car/train      # the read-out alone, on what \
        dinemo_training.data.feature_cache kept
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from dinemo_ros.io.files import open_log, write_file
from dinemo_ros.process.console import command_main

from ..data.augmentation import AugmentConfig
from ..data.batches import CorrespondenceSampler
from ..data.example_stream import ExampleStream, Pool, parse_pool
from ..data.feature_cache import CachedFeatures
from ..data.memory import keep_memory
from ..run.arguments import parsed
from ..run.recipe import Learning
from .category_shape import CategoryShape
from .checkpoint import load_checkpoint, save_checkpoint
from .neural_mesh import NeuralMeshFeatures, contrastive_loss, neighbour_targets
from .student import CNN, StudentBackbone, create_student, load_pretrained

_LOG_EVERY = 50  # steps


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights, apart from data and shape."""

    steps: int = 1500
    batch: int = 24                # per process
    lr: float = 5e-4               # peak of the trunk; new layers learn 3 times, vertex features 10 times as fast
    sigma: float = 0.036           # over which neighbouring vertices share a target, times the object's longest side
    temperature: float = 0.07
    clutter_weight: float = 0.5
    average: float = 0.998         # decay of the running mean of the weights, which is what the run delivers
    seed: int = 0
    architecture: str = CNN        # or a timm vision transformer
    freeze: bool = False           # of a transformer only the read-out learns
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)


class ContrastiveModel(nn.Module):
    """Backbone, vertex features and loss in one module, so that wrappers (DDP, autocast, averaging) see one forward."""

    def __init__(self, backbone: nn.Module, features: NeuralMeshFeatures, neighbours: Tensor,
                 temperature: float) -> None:
        super().__init__()
        self.backbone, self.features, self.temperature = backbone, features, temperature
        self.register_buffer("neighbours", neighbours, persistent=False)

    def forward(self, example: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses (scalars) by name of a collated batch, see :func:`contrastive_loss`.

        Args:
            example: of :class:`CorrespondenceSampler`, with ``image`` [N, H, W, 3] uint8, or of
                :class:`CachedFeatures`, with ``tokens`` [N, C, h, w] instead.
        """
        if "tokens" in example:
            found = self.backbone.read_out(example["tokens"].float())
        else:
            image = example["image"].permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
            found = self.backbone(image)
        with torch.autocast(found.device.type, enabled=False):  # cosines over a temperature of 0.07 need their digits
            return contrastive_loss(found.float(), self.features, example["pixels"], example["vertex_ids"],
                                    example["weights"], self.neighbours, example["background"],
                                    example["background_weight"], self.temperature)


def learning_rate(step: int, total: int, peak: float, warmup: int = 100) -> float:
    """Linear warm-up, then cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def train(pools: list[Pool], shape: CategoryShape, out: Path, config: TrainConfig = TrainConfig(), *,
          init: Path | None = None, weights: Path | None = None, feature_cache: Path | None = None, workers: int = 1,
          checkpoint_every: int = 200) -> Path:
    """Train, or go on training; returns the path of the result (``student.pt``).

    Args:
        pools: posed crops and the share of examples each gives.
        init: checkpoint of an earlier round to start from.
        weights: pretrained trunk, if not the architecture's own default.
        feature_cache: features of a frozen transformer to learn from, instead of ``pools``.

    Raises:
        ValueError: tokens of a network that is not frozen; weights or a checkpoint of another network.
    """
    if feature_cache and not config.freeze:
        raise ValueError(f"{feature_cache}: cached features hold only while the transformer is frozen; set freeze, or "
                         "leave the feature cache out")
    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no",
                              cpu=not torch.cuda.is_available())
    keep_memory()
    out.mkdir(parents=True, exist_ok=True)
    model = _start(shape, config, init, weights)
    optimizer = _optimizer(model, config.lr)
    mean = AveragedModel(model, avg_fn=_running_mean(config.average))
    if config.freeze:
        mean.module.backbone.trunk = model.backbone.trunk  # one copy is enough of what no step changes
    first, per_step = _resume(out / "last.pt", model, mean, optimizer), config.batch * accelerator.num_processes
    part = (config.seed, first * per_step, max(config.steps - first, 0) * per_step)
    stream = (CachedFeatures(feature_cache, *part) if feature_cache else
              ExampleStream(pools, CorrespondenceSampler(shape, config.augmentation), *part))
    loader = DataLoader(stream, config.batch, num_workers=workers, prefetch_factor=4 if workers else None)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    mean.to(accelerator.device)
    wrapped.train()
    log = _Log(out / "metrics.jsonl", accelerator.is_main_process)
    bar = tqdm(loader, initial=first, total=config.steps, desc="train", mininterval=5,
               disable=not accelerator.is_main_process)
    for step, example in enumerate(bar, start=first):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config.steps, group["peak"])
        with accelerator.autocast():
            losses = wrapped(example)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(losses["vertex"] + config.clutter_weight * losses["clutter"])
        accelerator.clip_grad_norm_(model.backbone.parameters(), 2.0)
        optimizer.step()
        mean.update_parameters(model)
        log.add(losses)
        if (step + 1) % _LOG_EVERY == 0 or step + 1 == config.steps:
            bar.set_postfix(log.write(step + 1))
        if accelerator.is_main_process and ((step + 1) % checkpoint_every == 0 or step + 1 == config.steps):
            save_checkpoint(out / "last.pt", model.backbone, model.features, step + 1,
                            optimizer=optimizer.state_dict(), mean=mean.state_dict())
    final = out / "student.pt"
    if accelerator.is_main_process:
        save_checkpoint(final, mean.module.backbone, mean.module.features, config.steps)
        write_file(out / "train.json", json.dumps(asdict(config), indent=1))
    accelerator.wait_for_everyone()
    return final


def _start(shape: CategoryShape, config: TrainConfig, init: Path | None, weights: Path | None) -> ContrastiveModel:
    torch.manual_seed(config.seed)
    positions, place = shape.distinct_places()
    positions, longest = torch.from_numpy(positions).float(), float(shape.size.max())
    backbone = create_student(config.architecture)
    features = NeuralMeshFeatures(len(positions), place=None if place is None else torch.from_numpy(place))
    if init is not None:
        load_checkpoint(init, backbone, features)
    else:
        load_pretrained(backbone, weights)
        features.start_smooth(positions, length=0.12 * longest)
    if isinstance(backbone, StudentBackbone):
        backbone = backbone.to(memory_format=torch.channels_last)
    neighbours = neighbour_targets(positions, config.sigma * longest)
    return ContrastiveModel(backbone, features, neighbours, config.temperature)


def _optimizer(model: ContrastiveModel, lr: float) -> torch.optim.AdamW:
    backbone = model.backbone
    return torch.optim.AdamW([
        {"params": [p for p in backbone.trunk.parameters() if p.requires_grad], "peak": lr},
        {"params": [p for n, p in backbone.named_parameters() if not n.startswith("trunk")], "peak": 3 * lr},
        {"params": list(model.features.parameters()), "peak": 10 * lr, "weight_decay": 0.0}], lr=lr, weight_decay=1e-4)


def _running_mean(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential moving average with a warm-up: the first weights of a run hardly count."""
    def update(mean: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        if mean.data_ptr() == value.data_ptr():
            return mean
        return mean + (value - mean) * (1 - torch.clamp((1 + seen) / (10 + seen), max=decay))

    return update


def _resume(path: Path, model: ContrastiveModel, mean: AveragedModel,
            optimizer: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    state = load_checkpoint(path, model.backbone, model.features)
    optimizer.load_state_dict(state["optimizer"])
    mean.load_state_dict(state["mean"])
    return int(state["step"])


class _Log:
    """Running means of the losses, a line of JSON now and then."""

    def __init__(self, path: Path, active: bool) -> None:
        self.file, self.sums, self.began = open_log(path) if active else None, {}, time.monotonic()

    def add(self, losses: dict[str, Tensor]) -> None:
        for key, value in losses.items():
            value = value.detach()
            self.sums[key] = 0.97 * self.sums.get(key, value) + 0.03 * value

    def write(self, step: int) -> dict[str, str]:
        means = {key: round(float(value), 4) for key, value in self.sums.items()}
        if self.file:
            seconds = round(time.monotonic() - self.began, 1)
            self.file.write(json.dumps({"step": step, "seconds": seconds, **means}) + "\n")
            self.file.flush()
        return {key: f"{value:.3f}" for key, value in means.items()}


def main() -> None:
    """The command ``python -m dinemo_training.models.contrastive``."""
    default = TrainConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=Path, required=True, help="npz of the category mesh "
                                                                  "(dinemo_training.synthetic.shape.mean_mesh)")
    parser.add_argument("--data", action="append", default=[], metavar="FOLDER[:SHARE]", help="posed crops; repeat")
    parser.add_argument("--feature-cache", type=Path,
                        help="folder of dinemo_training.data.feature_cache instead of --data, "
                        "with --freeze")
    parser.add_argument("--out", type=Path, required=True, help="run folder (checkpoints, metrics.jsonl)")
    parser.add_argument("--init", type=Path, help="student.pt to start from instead of pretrained weights")
    parser.add_argument("--backbone", default=default.architecture,
                        help="tf_efficientnet_lite0 (robots' CPUs), or a timm transformer with 14 px patches such as "
                             "vit_small_patch14_dinov2.lvd142m (GPUs)")
    parser.add_argument("--freeze", action="store_true", help="train the read-out of a transformer alone")
    parser.add_argument("--weights", type=Path, help="file of pretrained weights; default: the package's or hub's own")
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--batch", type=int, default=default.batch)
    parser.add_argument("--lr", type=float, default=default.lr)
    parser.add_argument("--sigma", type=float, default=default.sigma,
                        help="distance over which vertices share a target, times the object's longest side")
    parser.add_argument("--temperature", type=float, default=default.temperature)
    parser.add_argument("--size", type=int, default=AugmentConfig().size, help="side of the training crops in pixels")
    parser.add_argument("--augmentation", type=json.loads, default={}, metavar="JSON", help="learning.augmentation of "
                        "a recipe: what differs from the defaults of dinemo_training.data.augmentation")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--workers", type=int, default=1)
    args = parsed(parser)
    if not args.data and not args.feature_cache:
        parser.error("nothing to learn from: give --data, or --feature-cache with --freeze")
    pools = [parse_pool(d) for d in args.data]
    for argument, (crops, share) in zip(args.data, pools, strict=True):
        print(f"{argument}: {len(crops)} crops, share {share:g}")
    config = TrainConfig(steps=args.steps, batch=args.batch, lr=args.lr, sigma=args.sigma, temperature=args.temperature,
                         seed=args.seed, architecture=args.backbone, freeze=args.freeze,
                         augmentation=Learning(crop=args.size, augmentation=args.augmentation).augment_config())
    print(train(pools, CategoryShape.load(args.shape), args.out, config, init=args.init, weights=args.weights,
                feature_cache=args.feature_cache, workers=args.workers))


if __name__ == "__main__":
    command_main(main)
