# SPDX-License-Identifier: Apache-2.0
r"""Fine-tune a transformer for multiview equivariance, and measure APE and PCDP before and after.

    python -m dinemo_training.equivariance.finetune --pairs runs/pairs --held-out runs/pairs_heldout --out \
        runs/equivariant \
        [--model vit_small_patch14_dinov2.lvd142m] [--weights FILE]

Writes ``adaptation.safetensors`` and ``equivariance.json``. Resumes: an existing ``last.pt`` is continued.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dinemo_ros.io.files import completed, write_file
from dinemo_ros.process.console import command_main
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.models.student import VIT
from dinemo_training.models.teachers.protocol import prepare_picture
from dinemo_training.models.weights_file import read_weights
from dinemo_training.run.arguments import parsed

from .metrics import Equivariance, nearest_pixels, sample, summarise
from .model import EquivariantTransformer
from .pairs import Pair, load_pairs
from .smooth_ap import smooth_ap_loss

_SAVE_EVERY = 50


@torch.inference_mode()
def evaluate(model: EquivariantTransformer, pairs: list[Pair], side: int) -> Equivariance:
    """APE and PCDP over all links of all pairs, each way's first picture giving the queries."""
    errors = []
    for pair in tqdm(pairs, desc="evaluate", mininterval=5):
        first, second = model.eval()(torch.cat([prepare_picture(pair.first, side), prepare_picture(pair.second, side)]))
        found = nearest_pixels(first, second, pair.pixels_a, CROP_SIDE)
        errors.append(np.linalg.norm(found - pair.pixels_b, axis=1) / pair.extent_b)
    return summarise(np.concatenate(errors))


def finetune(model: EquivariantTransformer, pairs: list[Pair], out: Path, *, steps: int, lr: float, side: int,
             seed: int = 0) -> list[float]:
    """Fine-tune on one pair of pictures per step with the SmoothAP loss (Brown et al., ECCV 2020).

    Step n depends on the seed and n alone, and a run that was killed goes on where it stopped.

    Args:
        out: folder of the checkpoint. lr: learning rate. side: of the pictures in pixels.

    Returns:
        The losses of the steps made now, 0 to 1, one per step.
    """
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=1e-4)
    first = _resume(out / "last.pt", model, optimizer)
    losses = []
    model.train()
    for step in (bar := tqdm(range(first, steps), initial=first, total=steps, desc="fine-tune", mininterval=5)):
        rng = np.random.default_rng([seed, step])
        images, pixels, points = _augmented(pairs[rng.integers(len(pairs))], rng, side)
        features = sample(model(images), pixels, CROP_SIDE)
        loss = smooth_ap_loss(features[0], features[1], points)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}")
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == steps:
            _save(out / "last.pt", model, optimizer, step + 1)
    return losses


def _augmented(pair: Pair, rng: np.random.Generator, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both pictures turned, shifted, scaled and recoloured: [2, 3, side, side], pixels [2, N, 2], points [N, 3].

    Pixels stay in the coordinates of the stored pictures of side ``CROP_SIDE``. Points that leave either picture go.
    """
    pictures, pixels = [], []
    for picture, at in ((pair.first, pair.pixels_a), (pair.second, pair.pixels_b)):
        centre = (CROP_SIDE - 1) / 2
        A = cv2.getRotationMatrix2D((centre, centre), rng.uniform(-25, 25), rng.uniform(0.8, 1.25))
        A[:, 2] += rng.uniform(-0.1, 0.1, 2) * CROP_SIDE
        moved = cv2.warpAffine(picture, A, (CROP_SIDE, CROP_SIDE), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
        moved = np.clip((moved - 127) * rng.uniform(0.7, 1.2) + 127 + rng.uniform(-25, 25, 3), 0, 255)
        pictures.append(prepare_picture(moved.astype(np.uint8), side))
        pixels.append(at @ A[:, :2].T + A[:, 2])
    stacked = np.stack(pixels)
    inside = ((stacked >= 0) & (stacked <= CROP_SIDE - 1)).all(axis=(0, 2))
    return (torch.cat(pictures), torch.from_numpy(stacked[:, inside]).float(),
            torch.from_numpy(pair.points[inside]).float())


def _save(path: Path, model: EquivariantTransformer, optimizer: torch.optim.Optimizer, step: int) -> None:
    with completed(path) as part:
        torch.save({"adaptation": model.adaptation(), "optimizer": optimizer.state_dict(), "step": step}, part)


def _resume(path: Path, model: EquivariantTransformer, optimizer: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    state = read_weights(path)
    model.load_state_dict(state["adaptation"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def main() -> None:
    """The command ``python -m dinemo_training.equivariance.finetune``.

    Raises:
        SystemExit: an object is in the training pairs and in the held-out ones.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True, help="training pairs (dinemo_training.equivariance.pairs)")
    parser.add_argument("--held-out", type=Path, required=True, help="pairs of objects that are not trained on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default=VIT, help="timm vision transformer")
    parser.add_argument("--weights", type=Path, help="local file of its weights; default: the hub's")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--side", type=int, default=336, help="of the pictures the transformer sees, pixels")
    parser.add_argument("--threads", type=int, default=2)
    args = parsed(parser)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    args.out.mkdir(parents=True, exist_ok=True)
    pairs, held_out = load_pairs(args.pairs), load_pairs(args.held_out)
    shared = {p.asset for p in pairs} & {p.asset for p in held_out}
    if shared:
        raise SystemExit(f"{', '.join(sorted(shared))}: in the training pairs and in the held-out ones; make one of "
                         "them with, the other without --held-out")
    print(f"training: {len(pairs)} pairs of {sorted({p.asset for p in pairs})}")
    print(f"held out: {len(held_out)} pairs of {sorted({p.asset for p in held_out})}")
    model = EquivariantTransformer(args.model, args.weights)
    before = evaluate(model, held_out, args.side)
    finetune(model, pairs, args.out, steps=args.steps, lr=args.lr, side=args.side)
    model.save(args.out / "adaptation.safetensors")
    after = evaluate(model, held_out, args.side)
    report = {"model": args.model, "weights": args.weights and args.weights.name, "steps": args.steps, "lr": args.lr,
              "side": args.side, "pairs": len(pairs), "held_out": sorted({p.asset for p in held_out}),
              "before": asdict(before), "after": asdict(after)}
    write_file(args.out / "equivariance.json", json.dumps(report, indent=1) + "\n")
    for name, e in (("before", before), ("after", after)):
        print(f"{name:7} APE {e.ape:6.2f} %   PCDP 0.05/0.1/0.2  " + " / ".join(f"{v:.1f}" for v in e.pcdp))


if __name__ == "__main__":
    command_main(main)
