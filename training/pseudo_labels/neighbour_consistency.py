# SPDX-License-Identifier: Apache-2.0
r"""Neighbour consistency: photographs that look alike face the same way, so their labels are synchronised.

The neighbours of a photograph are the photographs, and mirror images of photographs, whose descriptors are most
similar. Each label is either right or turned by half a turn, two neighbours have the same orientation, and all these
binary variables are estimated together by mean field (binary synchronisation). A label that its neighbours contradict
loses its margin, one that they confirm gains; which labels are trusted is then decided as before.

    python -m dinemo_training.pseudo_labels.neighbour_consistency --photos runs/car/photographs --labels found.npz \
        --out labels.npz

For the labels of a teacher that was not trained on the category, which takes fronts for rears in many photographs.
A trained model's own margin is more reliable (training/docs/bidirectional.md).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dinemo_ros.geometry import HALF_TURN, mirror_rotation
from dinemo_ros.process.console import command_main

from ..data.label_store import read_labels, write_labels
from ..data.photographs import Photo, load_photo
from ..models.teachers import CnnTeacher, Teacher
from ..run.arguments import parsed
from ..sequences.posed_templates import describe
from .mirror_check import Label

_SIDE = 128         # pixels that photographs are described at
_NEIGHBOURS = 8     # neighbours of a photograph
_ALIKE = 0.03       # temperature of their weights, cosine units
_SPREAD_DEG = 20.0  # two that face the same way differ by so much
_SWEEPS = 5
_SURE = 10.0        # a margin of 0.1 is odds of e to one
_WEIGHT = 4.0       # log odds that the neighbours add or take away, if all agree
_BATCH = 32
_BLOCK = 1024       # rows and columns of the table of similarities that are held at once


def with_neighbour_consistency(photos: Path, labels: dict[str, Label | None],
                               teacher: Teacher) -> dict[str, Label | None]:
    """The same labels with the margin that they have in the collection; ``photos``: prepared photographs."""
    given = [name for name, label in labels.items() if label is not None]
    if not given:
        return dict(labels)
    batches = [given[i : i + _BATCH] for i in range(0, len(given), _BATCH)]
    described = [describe_photos([load_photo(photos, name) for name in batch], teacher)
                 for batch in tqdm(batches, desc="neighbours", mininterval=5)]
    odds = neighbour_odds(np.array([labels[name].rotation for name in given]),
                           np.array([labels[name].margin for name in given]),
                           *(torch.cat(side) for side in zip(*described, strict=True)))
    return dict(labels) | {name: replace(labels[name], margin=float(o) / _SURE)
                           for name, o in zip(given, odds, strict=True)}


@torch.inference_mode()
def describe_photos(photos: list[Photo], teacher: Teacher) -> tuple[Tensor, Tensor]:
    """Descriptors [N, C] of photographs and of their mirror images: unit norm, half precision."""
    masks = [p.box_mask() if p.mask is None else np.where(p.mask > 127, 255, 0).astype(np.uint8) for p in photos]
    plain, mirrored = describe([p.image for p in photos], masks, teacher, _SIDE)
    return plain.half(), mirrored.half()


def neighbour_odds(rotations: np.ndarray, margins: np.ndarray, descriptors: Tensor, mirrored: Tensor) -> np.ndarray:
    """Log odds [N] that a label is right and not turned round.

    Args:
        rotations: [N, 3, 3] of the labels, along the ray; margins: [N].
        descriptors, mirrored: [N, C] unit norm, of the pictures and of their mirror images.
    """
    own = _SURE * margins
    if len(own) < 2:
        return own
    others, weight = _nearest(descriptors, mirrored)
    known = np.concatenate([rotations, [mirror_rotation(R) for R in rotations]])[others]
    leaning = _nearness(rotations, known) - _nearness(rotations, known @ HALF_TURN)  # 1: faces the same way, -1: turned
    odds = own
    for _ in range(_SWEEPS):
        belief = np.tanh(0.5 * odds)[others % len(own)]  # 1: a neighbour's label is right, -1: it is turned round
        odds = own + _WEIGHT * (weight * belief * leaning).sum(1)
    return odds


def _nearest(descriptors: Tensor, mirrored: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Nearest neighbours of every picture: indices [N, k] into all pictures, then their mirror images; weights."""
    bank, count = torch.cat([descriptors, mirrored]), len(descriptors)
    found = []
    for start in range(0, count, _BLOCK):
        rows = descriptors[start : start + _BLOCK].float()
        alike = torch.cat([rows @ block.float().T for block in bank.split(_BLOCK)], 1)
        own = torch.arange(len(rows))
        for column in (0, count):  # neither oneself nor one's own mirror image
            alike[own, column + start + own] = -torch.inf
        found.append(alike.topk(min(_NEIGHBOURS, 2 * count - 2), dim=1))
    value = torch.cat([best.values for best in found])
    return torch.cat([best.indices for best in found]).numpy(), torch.softmax(value / _ALIKE, 1).double().numpy()


def _nearness(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[N, k] Gaussian of the angles between [N, 3, 3] and [N, k, 3, 3]."""
    angle = np.arccos(np.clip((np.einsum("nij,nkij->nk", own, others) - 1) / 2, -1, 1))
    return np.exp(-0.5 * (angle / np.deg2rad(_SPREAD_DEG)) ** 2)


def main() -> None:
    """The command ``python -m dinemo_training.pseudo_labels.neighbour_consistency``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder written by dinemo_training.data.photographs")
    parser.add_argument("--labels", type=Path, required=True, help="npz written by "
                                                                   "dinemo_training.pseudo_labels.labelling")
    parser.add_argument("--out", type=Path, required=True, help="npz to write, not the same")
    args = parsed(parser)
    if not args.labels.is_file():
        parser.error(f"--labels {args.labels}: no such file; write it with python -m "
                     "dinemo_training.pseudo_labels.labelling")
    if args.out == args.labels:  # applied twice, every neighbour would count twice
        parser.error("--out must not be --labels")
    before = read_labels(args.labels)
    after = with_neighbour_consistency(args.photos, before, CnnTeacher())
    write_labels(args.out, after)
    lost = sum(label is not None and label.margin < 0 <= before[name].margin for name, label in after.items())
    print(f"{args.out}: {lost} of {len(after)} labels are overruled by their neighbours")


if __name__ == "__main__":
    command_main(main)
