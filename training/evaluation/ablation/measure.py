# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels of every example under every variant, and how good they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm import tqdm

from dinemo_ros.evaluation.metrics import FLIP_DEG, summarise_angles

from ...data.batches import CorrespondenceSampler, project
from ...data.posed_crops import CROP_SIDE
from ...pseudo_labels.bidirectional import BidirectionalLabeller
from ...pseudo_labels.correspondence import Matches
from ...pseudo_labels.mirror_check import Candidate, reconcile
from ...pseudo_labels.temporal_consistency import azimuth_histogram, temporally_consistent_labels
from ...sequences.posed_templates import BINS
from .examples import Example
from .variants import Variant

_PCK = 0.1  # of the object's larger side, as PCK@0.1 of SPair-71k


@dataclass(frozen=True)
class Outcome:
    """One example under one variant.

    Attributes:
        error_deg: of the label; None where there is none (rejected by the mirror check, or nothing found).
        pck: share of all matches that are right: the vertex is visible and lies where it was matched to. None without
            exact truth. wrong_side: share of the matches to vertices that cannot be seen.
    """

    group: str
    error_deg: float | None
    pck: float | None = None
    wrong_side: float | None = None


def measure(labeller: BidirectionalLabeller, examples: list[Example], variants: list[Variant],
            sampler: CorrespondenceSampler, label: str) -> dict[str, list[Outcome]]:
    """Outcomes per variant; each picture is compared with the bank once for all variants."""
    outcomes: dict[str, list[Outcome]] = {v.name: [] for v in variants}
    frames: dict[str, list[_Frame]] = {}
    for example in tqdm(examples, desc=label, mininterval=10):
        photo = example.photo
        pair = (None, None) if photo is None else (labeller.compare(photo), labeller.compare(photo.mirrored()))
        for variant in variants:
            labeller.config = variant.config
            original, mirrored = (labeller.explain(c) for c in pair)
            if variant.temporal and example.rotation is None:  # a frame of a turntable; labelled when all were seen
                frames.setdefault(variant.name, []).append(_Frame(example, [c for c, _ in original],
                                                                  _azimuths(labeller, pair)))
                continue
            found = reconcile([c for c, _ in original], [c for c, _ in mirrored], variant.mirror)
            truth = {}
            if example.crop is not None and original:
                truth = _correspondence_truth(example, original[0][1], labeller, pair[0].grid, sampler)
            outcomes[variant.name].append(
                Outcome(example.group, None if found is None else example.error_deg(found), **truth))
    for name, seen in frames.items():
        outcomes[name] += _together(seen)
    return outcomes


@dataclass(frozen=True)
class _Frame:
    """A frame of a turntable: its candidates, and its vote per azimuth [BINS]."""

    example: Example
    candidates: list[Candidate]
    votes: np.ndarray


def _azimuths(labeller: BidirectionalLabeller, pair: tuple) -> np.ndarray:
    """Vote per azimuth of a picture and its mirror image; all alike where no object was found."""
    if None in pair:
        return np.full(BINS, 1 / BINS)
    return azimuth_histogram(*(labeller.vote_of(comparison) for comparison in pair))


def _together(frames: list[_Frame]) -> list[Outcome]:
    """Outcomes of the frames of every turntable, labelled together."""
    outcomes = []
    for group in dict.fromkeys(frame.example.group for frame in frames):
        turntable = [frame for frame in frames if frame.example.group == group]
        labels = temporally_consistent_labels([frame.candidates for frame in turntable],
            np.array([frame.votes for frame in turntable]))
        outcomes += [Outcome(group, None if label is None else frame.example.error_deg(label)) for frame, label
                     in zip(turntable, labels, strict=True)]
    return outcomes


def _correspondence_truth(example: Example, matches: Matches, labeller: BidirectionalLabeller, grid: tuple[int, int],
                          sampler: CorrespondenceSampler) -> dict[str, float]:
    """Are matched vertices visible, and do they lie where the render's own pose projects them?"""
    crop, S = example.crop, labeller.side
    ids = labeller.bank.vertices[matches.vertices]
    uv = project(sampler.shape.at_size(crop.size), crop.K, crop.T_cam_obj) @ example.to_photo[:, :2].T
    uv = (uv + example.to_photo[:, 2] + 0.5) * (S / CROP_SIDE) - 0.5
    error = np.linalg.norm(uv[ids] - labeller.pixels(matches, grid), axis=1)
    visible = sampler.visible(crop.T_cam_obj, crop.size)[ids]
    side = np.ptp(uv, axis=0).max()
    weight = matches.weights / max(matches.weights.sum(), 1e-9)
    return {"pck": float(weight @ (visible & (error < _PCK * side))), "wrong_side": float(weight @ ~visible)}


def summarise(outcomes: list[Outcome]) -> dict:
    """Accuracy over all examples (no label counts as wrong), and of the labels that were given."""
    errors = [o.error_deg for o in outcomes]
    given = [e for e in errors if e is not None]
    row = asdict(summarise_angles(errors))
    row |= {"coverage": len(given) / len(errors),
            "kept_acc30": _share(given, lambda e: e < 30), "kept_acc10": _share(given, lambda e: e < 10),
            "kept_flips": _share(given, lambda e: e > FLIP_DEG),
            "kept_median_deg": float(np.median(given)) if given else None}
    exact = [o for o in outcomes if o.pck is not None]
    if exact:
        row |= {"pck": float(np.mean([o.pck for o in exact])),
                "wrong_side": float(np.mean([o.wrong_side for o in exact]))}
    return row


def _share(values: list[float], holds: Callable[[float], bool]) -> float | None:
    return float(np.mean([holds(v) for v in values])) if values else None


def single_threaded() -> None:
    """Small tensors: more threads than one only wait for each other."""
    torch.set_num_threads(1)
