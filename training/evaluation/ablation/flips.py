# SPDX-License-Identifier: Apache-2.0
r"""How well different checks tell right labels from turned ones, as a table.

    python -m dinemo_training.evaluation.ablation.flips --posed runs/car/synthetic --count 150 --bundle \
        runs/car/round0/bundle \
        --occlusion L2 --out table
    python -m dinemo_training.evaluation.ablation.flips --posed runs/car/sequences --names omoda --teacher cnn \
        --templates \
        runs/car/sequences --template-names kadjar ruf thar --shape runs/car/shape.npz --out table

Every picture gets its label as always (mirror check ``correct``). Each check then gives its confidence in it, and the
table lists what is wrong among the surest of them. A check helps if that is less than by the margin alone, which costs
nothing. Writes ``<out>.json`` and ``<out>.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.cutouts import DrawnCutOuts
from dinemo_ros.evaluation.metrics import FLIP_DEG, RIGHT_DEG
from dinemo_ros.evaluation.occlusion import LEVELS, Occluder
from dinemo_ros.io.files import write_file
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.process.console import command_main

from ...data.augmentation import AugmentConfig
from ...data.batches import CorrespondenceSampler
from ...data.photographs import Photo
from ...models.category_shape import CategoryShape
from ...models.teachers import CnnTeacher, Teacher, create_teacher
from ...pseudo_labels.augmented_views import MOST, augmented_views
from ...pseudo_labels.bidirectional import BidirectionalLabeller
from ...pseudo_labels.flip_checks import half_turn_by_cells, half_turn_by_score, lead_over_views
from ...pseudo_labels.labelling import render_labeller
from ...pseudo_labels.mirror_check import Candidate, reconcile
from ...pseudo_labels.neighbour_consistency import describe_photos, neighbour_odds
from ...pseudo_labels.template_bank import build_bank
from ...run.arguments import parsed
from .__main__ import template_crops
from .examples import Example, posed_examples
from .measure import single_threaded

MARGIN = "margin (as it is)"
SHARES = (0.8, 0.6, 0.4)
# Candidates of a photograph, and the confidence that a pose of it is right and not its half turn.
Asked = tuple[list[Candidate], Callable[[np.ndarray], float] | None]


@dataclass(frozen=True)
class EvaluatedLabel:
    """A label: its error in degrees, its rotation [3, 3] along the ray, and the confidence of each check."""

    error_deg: float
    rotation: np.ndarray
    sure: dict[str, float]


def by_correspondence(labeller: BidirectionalLabeller) -> Callable[[Photo], Asked]:
    """Candidates by matching; the half turn is compared cell by cell."""
    def ask(photo: Photo) -> Asked:
        comparison = labeller.compare(photo)
        candidates = [candidate for candidate, _ in labeller.explain(comparison)]
        if comparison is None:
            return candidates, None
        scores = comparison.similarity - labeller.config.layout * comparison.displacement
        return candidates, lambda R: half_turn_by_cells(R, scores, labeller.bank)

    return ask


def by_rendering(bundle: Path) -> Callable[[Photo], Asked]:
    """Candidates by render-and-compare; the half turn is compared by its score."""
    label = render_labeller(PoseEstimator(load_bundle(bundle), threads=1))

    def ask(photo: Photo) -> Asked:
        candidates = label(photo)
        rotations = np.array([c.rotation for c in candidates])
        return candidates, lambda R: half_turn_by_score(R, candidates, rotations)

    return ask


def evaluate(example: Example, ask: Callable[[Photo], Asked], count: int) -> EvaluatedLabel | None:
    """Label one picture and ask every check that needs no other picture; None without a label."""
    views = augmented_views(example.photo, count)
    answers = [ask(view.photo) for view in views]
    candidates = [found for found, _ in answers]
    label = reconcile(*candidates[:2])
    if label is None:
        return None
    R = label.rotation
    rotations = [[view.back(c.rotation) for c in found] for view, found in zip(views, candidates, strict=True)]
    # The first two views are the photograph and its mirror image: there, back is also forth.
    half = [check(view.back(R)) for view, (_, check) in zip(views[:2], answers[:2], strict=True) if check]
    sure = {"score": label.score, MARGIN: label.margin, "half turn": float(np.mean(half)),
            f"lead over {count} augmented views": lead_over_views(R, candidates, rotations)}
    return EvaluatedLabel(example.error_deg(label), R, sure)


def with_neighbour_consistency(evaluated: list[EvaluatedLabel], photos: list[Photo],
                               teacher: Teacher) -> list[EvaluatedLabel]:
    """The same, with what the labels of similar photographs add."""
    described = [describe_photos([photo], teacher) for photo in photos]
    odds = neighbour_odds(np.array([j.rotation for j in evaluated]), np.array([j.sure[MARGIN] for j in evaluated]),
                          *(torch.cat(side) for side in zip(*described, strict=True)))
    return [EvaluatedLabel(j.error_deg, j.rotation, j.sure | {"neighbour consistency": float(o)}) for j, o
            in zip(evaluated, odds, strict=True)]


def tabulate(evaluated: list[EvaluatedLabel], asked: int) -> list[dict]:
    """Per check and share: how many of the surest labels are wrong, and how many of them are turned round."""
    errors = np.array([j.error_deg for j in evaluated])
    rows = []
    for name in evaluated[0].sure:
        order = np.argsort([-j.sure[name] for j in evaluated], kind="stable")
        row = {"check": name}
        for share in SHARES:
            kept = errors[order[: round(share * asked)]]
            row[f"{share:.0%}"] = {"kept": len(kept), "wrong": int((kept > RIGHT_DEG).sum()),
                                   "flips": int((kept > FLIP_DEG).sum())}
        rows.append(row)
    return rows


def markdown(rows: list[dict]) -> str:
    """Wrong labels (turned round among them) of the surest, per check."""
    shares = [key for key in rows[0] if key != "check"]
    lines = ["| check | " + " | ".join(f"surest {s}: {rows[0][s]['kept']}" for s in shares) + " |",
             "|---|" + "---|" * len(shares)]
    lines += [f"| {r['check']} | " + " | ".join(f"{r[s]['wrong']} ({r[s]['flips']})" for s in shares) + " |"
              for r in rows]
    return "\n".join(lines) + "\n"


def occluded(example: Example, level: str, occluder: Occluder) -> Photo:
    """The example's photograph, covered up to a level."""
    photo = example.photo
    if level == "L0":
        return photo
    return Photo(occluder(photo.image, photo.mask > 127, LEVELS[level], example.name).image, photo.box, photo.mask)


def parse() -> argparse.Namespace:
    """Options of ``python -m dinemo_training.evaluation.ablation.flips``."""
    parser = argparse.ArgumentParser(prog="python -m dinemo_training.evaluation.ablation.flips", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posed", type=Path, required=True, help="posed crops to measure on")
    parser.add_argument("--names", nargs="*", default=[], help="only these objects of them")
    parser.add_argument("--count", type=int, default=100, help="evenly chosen pictures")
    parser.add_argument("--occlusion", choices=("L0", *LEVELS), default="L0", help="cut-outs pasted over them")
    parser.add_argument("--views", type=int, choices=range(1, MOST + 1), default=3)
    parser.add_argument("--bundle", type=Path, help="label by render-and-compare of this bundle")
    parser.add_argument("--teacher", help="label by correspondence with this teacher")
    parser.add_argument("--templates", type=Path, nargs="+", help="correspondence: folders of posed crops")
    parser.add_argument("--template-names", nargs="*", default=[])
    parser.add_argument("--template-every", type=int, default=3)
    parser.add_argument("--shape", type=Path, help="correspondence: category shape")
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    args = parsed(parser, endings=(".json", ".md"))
    if (args.bundle is None) == (args.teacher is None):
        parser.error("give either --bundle or --teacher")
    if args.teacher and not (args.templates and args.shape):
        parser.error("--teacher needs --templates and --shape")
    return args


def labeller_of(args: argparse.Namespace) -> Callable[[Photo], Asked]:
    """What the command line labels with."""
    if args.bundle:
        return by_rendering(args.bundle)
    shape, teacher = CategoryShape.load(args.shape), create_teacher(args.teacher)
    crops = template_crops(args.templates, args.template_names, args.template_every)
    bank = build_bank(crops, CorrespondenceSampler(shape, AugmentConfig()), teacher)
    return by_correspondence(BidirectionalLabeller(teacher, bank, shape))


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.ablation.flips``."""
    args = parse()
    single_threaded()
    ask, occluder = labeller_of(args), Occluder(DrawnCutOuts())
    examples = posed_examples(args.posed, args.count, names=args.names)
    evaluated, photos = [], []
    for example in tqdm(examples, mininterval=10):
        example = example.showing(occluded(example, args.occlusion, occluder))
        found = evaluate(example, ask, args.views)
        if found is not None:
            evaluated.append(found)
            photos.append(example.photo)
    evaluated = with_neighbour_consistency(evaluated, photos, CnnTeacher())
    rows = tabulate(evaluated, len(examples))
    errors = np.array([j.error_deg for j in evaluated])
    split = {"measured on": args.names or [args.posed.name], "occlusion": args.occlusion, "pictures": len(examples),
             "labelled": len(evaluated), "wrong": int((errors > RIGHT_DEG).sum()),
             "flips": int((errors > FLIP_DEG).sum()), "views": args.views,
             "labels": "render-and-compare" if args.bundle else "correspondence"}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_file(args.out.with_suffix(".json"), json.dumps({"split": split, "rows": rows}, indent=1) + "\n")
    write_file(args.out.with_suffix(".md"), json.dumps(split) + "\n\n" + markdown(rows))
    print(split, markdown(rows), sep="\n")


if __name__ == "__main__":
    command_main(main)
