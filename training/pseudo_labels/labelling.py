# SPDX-License-Identifier: Apache-2.0
r"""Poses for unlabelled photographs, found by the method itself and trusted only where the mirror image agrees.

Two ways to a pose, the same way to trust it:

* ``correspondence``: bidirectional matching to the posed template views
(:mod:`dinemo_training.pseudo_labels.correspondence`), then a robust
  fit. The first labels, DINeMo's own step.
* ``render``: render-and-compare of a trained bundle. The labels of the self-training rounds.
* ``confirmed``: the render-and-compare pose, if the bidirectional correspondences lead to the same orientation.

A photograph and its mirror image must give mirrored poses. A model that takes left for right or front for rear rarely
makes the mirrored mistake, so disagreement rejects a label, and a runner-up that agrees corrects it.

    python -m dinemo_training.pseudo_labels.labelling render --bundle runs/car/bundle0 --photos runs/car/photos \
        --out runs/car/labels1.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dinemo_ros.errors import DocumentError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import viewpoint_from_rotation
from dinemo_ros.io.document import CARD, parse_yaml
from dinemo_ros.model.azimuth import HANDLE_SEEN_DEG
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry
from dinemo_ros.process.console import command_main

from ..data.augmentation import AugmentConfig
from ..data.batches import CorrespondenceSampler
from ..data.label_store import read_labels, write_labels
from ..data.photographs import Photo, load_photo, photo_camera
from ..data.posed_crops import load_posed_crops, save_labels
from ..models.category_shape import CategoryShape
from ..models.teachers import create_teacher
from ..run.arguments import parsed
from ..run.dataclass_cli import add_dataclass_options, dataclass_from
from .bidirectional import BidirectionalLabeller
from .correspondence import MatchConfig
from .mirror_check import AGREE_DEG, MODES, Candidate, Label, reconcile
from .template_bank import build_bank

Labeller = Callable[[Photo], list[Candidate]]


def render_labeller(estimator: PoseEstimator) -> Labeller:
    """Candidates by render-and-compare over the photograph's own box."""
    camera = photo_camera()

    def label(photo: Photo) -> list[Candidate]:
        poses = estimator.estimate(photo.image, camera, [photo.box])
        hypotheses = [poses[0], *poses[0].runners_up] if poses else []
        return [Candidate(h.T_cam_obj, h.size, h.score) for h in hypotheses]

    return label


def correspondence_labeller(teacher: str | Path, shape: CategoryShape, templates: Path, every: int = 6,
                            config: MatchConfig | None = None) -> Labeller:
    """Candidates by bidirectional correspondence to every ``every``-th template view.

    Args:
        teacher: checkpoint of a trained student, or a teacher as text
        (:mod:`dinemo_training.models.teachers.specification`).
    """
    built = create_teacher(f"student:{teacher}" if Path(teacher).suffix == ".pt" else str(teacher))
    bank = build_bank(load_posed_crops(templates)[::every], CorrespondenceSampler(shape, AugmentConfig()), built)
    return BidirectionalLabeller(built, bank, shape, config)


def confirmed_labeller(render: Labeller, correspondence: Labeller, symmetry: Symmetry = NO_SYMMETRY) -> Labeller:
    """Candidates of ``render`` that the best pose of ``correspondence`` confirms: one's precision, two votes."""

    def label(photo: Photo) -> list[Candidate]:
        votes = correspondence(photo)[:1]
        return [c for c in render(photo) for v in votes
                if np.rad2deg(symmetry.distance(c.T_cam_obj[:3, :3], v.T_cam_obj[:3, :3])) < AGREE_DEG]

    return label


def label_photo(photo: Photo, labeller: Labeller, mirror: str = "correct",
                symmetry: Symmetry = NO_SYMMETRY) -> Label | None:
    """The label of one photograph, its mirror image labelled as well unless ``mirror`` is "off"."""
    return reconcile(labeller(photo), [] if mirror == "off" else labeller(photo.mirrored()), mirror, symmetry)


def label_photos(photos: Path, names: list[str], labeller: Labeller, out: Path, mirror: str = "correct",
                 symmetry: Symmetry = NO_SYMMETRY) -> None:
    """Label photographs, resumable: ``out`` (npz) is rewritten every 200 pictures and continued from there."""
    done = read_labels(out)
    for count, name in enumerate(tqdm([n for n in names if n not in done], desc=out.stem, mininterval=5)):
        done[name] = label_photo(load_photo(photos, name), labeller, mirror, symmetry)
        if count % 200 == 199:
            write_labels(out, done)
    write_labels(out, done)


def select(photos: Path, labels: Path, min_score: float, min_margin: float, previous: Path | None = None,
           previous_margin: float = 0.03, max_share: float = 0.04, drop: float = 0.0, keep: int = 0,
           symmetry: Symmetry = NO_SYMMETRY) -> int:
    """Turn trusted labels into posed crops (``photos/labels.npz``), flat in azimuth; returns how many are kept.

    Photographs of cars show the front half far more often than the rear: a 10-degree bin of azimuth that holds more
    than ``max_share`` of the labels is weighted down to that (counted together with its mirror image, for twice that).
    With ``previous``, the labels of the round before, a label must also have been there, sure by ``previous_margin``
    and near this one: straight views of front and rear are where a single round still flips. And where the collection
    shows the opposite side more often, a label needs up to twice the margin: by Bayes' rule, a view from the rear is
    the likelier mistake the more there are from the front. ``drop``: of what is left in each bin, the share of the
    smallest margin goes as well. ``keep``: at most so many, those of the largest margin (0: all), to compare labellers
    whose scores do not mean the same. Where a part alone tells the azimuth (``symmetry.uncertain_azimuth``), a label
    that has it behind the object says only that it was not found: it goes.
    """
    def sure(label: Label | None, margin: float) -> bool:
        return label is not None and label.margin >= margin

    kept = {name: label for name, label in read_labels(labels).items()
            if sure(label, min_margin) and label.score >= min_score}
    if previous is not None:
        before = read_labels(previous)
        kept = {name: label for name, label in kept.items() if sure(before.get(name), previous_margin) and
                symmetry.distance(before[name].T_cam_obj[:3, :3], label.T_cam_obj[:3, :3]) < np.deg2rad(AGREE_DEG)}
    if symmetry.uncertain_azimuth:
        kept = {name: label for name, label in kept.items() if _folded_azimuth([label])[0] <= HANDLE_SEEN_DEG}
    bins = _azimuth_bins(kept.values())
    counts = np.bincount(bins, minlength=18)
    needed = min_margin * np.clip(counts[17 - bins] / np.maximum(counts[bins], 1), 1, 2)
    kept = {name: label for (name, label), least in zip(kept.items(), needed, strict=True) if label.margin >= least}
    kept = _surest(kept, drop)
    if keep:
        kept = dict(sorted(kept.items(), key=lambda item: -item[1].margin)[:keep])
    bins = _azimuth_bins(kept.values())
    counts = np.bincount(bins, minlength=18)
    weight = np.minimum(1.0, max_share * 2 * len(kept) / np.maximum(counts[bins], 1))
    K = photo_camera().K
    save_labels(photos, list(kept), np.repeat(K[None], len(kept), 0),
                np.array([label.T_cam_obj for label in kept.values()]),
                np.array([label.size for label in kept.values()]), weight)
    print(f"{len(kept)} labels kept; per 10 degrees from front to rear: {counts.tolist()}")
    return len(kept)


def _surest(labels: dict[str, Label], drop: float) -> dict[str, Label]:
    """``labels`` without the share ``drop`` of the smallest margin in every bin of azimuth."""
    bins, margins = _azimuth_bins(labels.values()), np.array([label.margin for label in labels.values()])
    least = {b: np.quantile(margins[bins == b], drop) for b in np.unique(bins)}
    return {name: label for (name, label), b in zip(labels.items(), bins, strict=True) if label.margin >= least[b]}


def _azimuth_bins(labels: Iterable[Label]) -> np.ndarray:
    """Ten-degree bin of each label's azimuth [N], 0 front to 17 rear, left and right sides together."""
    return np.minimum((_folded_azimuth(labels) / 10).astype(int), 17)


def _folded_azimuth(labels: Iterable[Label]) -> np.ndarray:
    """Azimuth [N] in degrees, 0 front to 180 rear, left and right sides together."""
    azimuth = np.array([viewpoint_from_rotation(label.T_cam_obj[:3, :3])[0] for label in labels])
    return np.rad2deg(np.minimum(np.abs(azimuth), 2 * np.pi - np.abs(azimuth)))


def _symmetry(text: str) -> Symmetry:
    """ValueError, which argparse tells as wrong usage, for what is none."""
    try:
        return Symmetry.parse(parse_yaml(text, CARD))
    except DocumentError as error:
        raise ValueError(str(error)) from error


def main() -> None:
    """The command ``python -m dinemo_training.pseudo_labels.labelling``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["correspondence", "render", "confirmed", "select"])
    parser.add_argument("--photos", type=Path, required=True, help="folder written by dinemo_training.data.photographs")
    parser.add_argument("--out", type=Path, required=True, help="labels npz (select: read from here)")
    parser.add_argument("--bundle", type=Path, help="render, confirmed: bundle folder")
    parser.add_argument("--teacher", help="correspondence, confirmed: checkpoint (student.pt) or teacher")
    parser.add_argument("--shape", type=Path, help="correspondence, confirmed: mean shape")
    parser.add_argument("--templates", type=Path,
                        help="correspondence, confirmed: folder written by dinemo_training.sequences.posed_templates")
    parser.add_argument("--every", type=int, default=1, help="label every n-th photograph")
    parser.add_argument("--mirror", choices=MODES, default="correct", help="what is done with the mirror image")
    parser.add_argument("--symmetry", type=_symmetry,
                        metavar="'none' or '{axis: z, order: N}'",
                        help="turns of the category that are one pose (default: what the bundle declares, else none)")
    add_dataclass_options(parser, MatchConfig)
    parser.add_argument("--min-score", type=float, default=0.2)
    parser.add_argument("--min-margin", type=float, default=0.02)
    parser.add_argument("--previous", type=Path, help="select: labels npz of the round before, which must agree")
    parser.add_argument("--previous-margin", type=float, default=0.03)
    parser.add_argument("--drop", type=float, default=0.0, metavar="SHARE",
                        help="select: of every ten degrees of azimuth leave out the labels of the smallest margin")
    parser.add_argument("--keep", type=int, default=0, metavar="N",
                        help="select: at most N, those of the largest margin (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    args = parsed(parser)
    if args.method == "select":
        select(args.photos, args.out, args.min_score, args.min_margin, args.previous, args.previous_margin,
               drop=args.drop, keep=args.keep, symmetry=args.symmetry or NO_SYMMETRY)
        return
    torch.set_num_threads(args.threads)
    labellers, symmetry = [], args.symmetry
    if args.method in ("render", "confirmed"):
        bundle = load_bundle(args.bundle)
        symmetry = symmetry or bundle.card.symmetry
        labellers.append(render_labeller(PoseEstimator(bundle, threads=args.threads)))
    if args.method in ("correspondence", "confirmed"):
        labellers.append(correspondence_labeller(args.teacher, CategoryShape.load(args.shape), args.templates,
                                                 config=dataclass_from(args, MatchConfig)))
    symmetry = symmetry or NO_SYMMETRY
    labeller = confirmed_labeller(*labellers, symmetry) if len(labellers) == 2 else labellers[0]
    names = sorted(p.stem for p in (args.photos / "images").glob("*.jpg"))[:: args.every]
    label_photos(args.photos, names, labeller, args.out, args.mirror, symmetry)


if __name__ == "__main__":
    command_main(main)
