# SPDX-License-Identifier: Apache-2.0
r"""What each option of the bidirectional correspondence gives, as a table.

    python -m dinemo_training.evaluation.ablation --templates runs/car/sequences --names kadjar omoda --shape \
        car_mean.npz \
        --turntables DATA/cars_spin --only cx5 subaru --teacher cnn --cache runs/car/cache --out table

measures pseudo-labels on turntables with known azimuth; ``--posed FOLDER`` on renders with exact poses (matches are
then checked as well); ``--photos FOLDER --labels FILE`` their agreement with render-and-compare labels of photographs.
Several ``--teacher`` give the bidirectional rows for each of them and the parts for the first. Teacher features and
masks are cached, so a second run goes on where the first stopped.

Writes ``<out>.json`` and ``<out>.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dinemo_ros.io.files import write_file
from dinemo_ros.process.console import command_main

from ...data.augmentation import AugmentConfig
from ...data.batches import CorrespondenceSampler
from ...data.posed_crops import PosedCrop, load_posed_crops
from ...models.category_shape import CategoryShape
from ...models.teachers import create_teacher
from ...models.teachers.specification import GRAMMAR
from ...pseudo_labels.bidirectional import BidirectionalLabeller
from ...pseudo_labels.template_bank import SIDE, build_bank, instance_name
from ...run.arguments import parsed
from .examples import Example, labelled_examples, posed_examples, turntable_examples
from .measure import measure, single_threaded, summarise
from .tables import markdown, short
from .variants import BIDIRECTIONAL, PARTS, Variant


def template_crops(folders: list[Path], names: list[str], every: int) -> list[PosedCrop]:
    """Every n-th view of the named objects, in the order of ``names``; without names all views of the folders.

    Raises:
        ValueError: a named object has no views in the folders.
    """
    crops = [crop for folder in folders for crop in load_posed_crops(folder)]
    if not names:
        return crops[::every]
    known = {instance_name(c.name) for c in crops}
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"no template views of {', '.join(missing)}; there are {', '.join(sorted(known)[:20])}")
    return [c for name in names for c in [c for c in crops if instance_name(c.name) == name][::every]]


def collect(args: argparse.Namespace) -> list[Example]:
    """All examples that the command line asks for.

    Raises:
        ValueError: an object is a template as well, or there is nothing to measure on.
    """
    examples = []
    if args.turntables:
        if set(args.only) & set(args.names):
            raise ValueError(f"{', '.join(set(args.only) & set(args.names))}: a template cannot be measured on as well")
        examples += turntable_examples(args.turntables, args.only, args.every, args.cache)
    if args.posed:
        examples += posed_examples(args.posed, args.count)
    if args.photos:
        examples += labelled_examples(args.photos, args.labels, args.count, args.min_margin)
    if not examples:
        raise ValueError("nothing to measure on; give --turntables with --only, --posed, or --photos with --labels")
    return examples


def wanted(rows: list[str], first: bool) -> list[Variant]:
    """The rows that ``--rows`` names; ``first``: for the first teacher, which alone gets all of them.

    Raises:
        ValueError: no row has such a name.
    """
    if rows == ["bidirectional"]:
        return BIDIRECTIONAL
    if rows == ["all"]:
        return BIDIRECTIONAL + (PARTS if first else [])
    found = [v for v in BIDIRECTIONAL + PARTS if any(words in v.name for words in rows)]
    if not found:
        names = "; ".join(v.name for v in BIDIRECTIONAL + PARTS)
        raise ValueError(f"no row named {', '.join(rows)}; there are: {names}")
    return found


def parse() -> argparse.Namespace:
    """Options of ``python -m dinemo_training.evaluation.ablation``."""
    parser = argparse.ArgumentParser(prog="python -m dinemo_training.evaluation.ablation", description=__doc__,
                                     epilog=GRAMMAR, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, nargs="+", required=True, help="folders of posed crops")
    parser.add_argument("--names", nargs="*", default=[], help="objects used as templates, the first one first")
    parser.add_argument("--template-every", type=int, default=3)
    parser.add_argument("--shape", type=Path, required=True)
    parser.add_argument("--teacher", nargs="+", default=["cnn"])
    parser.add_argument("--side", type=int, default=SIDE, help="pixels that pictures are brought to")
    parser.add_argument("--turntables", type=Path)
    parser.add_argument("--only", nargs="+", default=[], help="turntables to measure on")
    parser.add_argument("--every", type=int, default=2, help="measure on every n-th frame of a turntable")
    parser.add_argument("--posed", type=Path, help="renders with exact poses")
    parser.add_argument("--photos", type=Path, help="prepared photographs")
    parser.add_argument("--labels", type=Path, help="their render-and-compare labels")
    parser.add_argument("--count", type=int, default=60, help="renders, photographs")
    parser.add_argument("--min-margin", type=float, default=0.08, help="of the labels that are compared with")
    parser.add_argument("--rows", nargs="+", default=["all"], metavar="ROW", help="bidirectional: the step on and off; "
                        "all: every option, for the first teacher; or words of the rows that are wanted")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parsed(parser, endings=(".json", ".md"))


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.ablation``."""
    args = parse()
    single_threaded()
    shape = CategoryShape.load(args.shape)
    sampler = CorrespondenceSampler(shape, AugmentConfig())
    crops = template_crops(args.templates, args.names, args.template_every)
    examples = collect(args)
    groups = list(dict.fromkeys(e.group for e in examples))
    split = {"templates": sorted({instance_name(c.name) for c in crops})[:20], "views": len(crops),
             "measured on": {g: sum(e.group == g for e in examples) for g in groups}}
    print(json.dumps(split))
    rows = []
    for text in args.teacher:
        teacher = create_teacher(text, args.cache / "features")
        bank = build_bank(crops, sampler, teacher, side=args.side)
        labeller = BidirectionalLabeller(teacher, bank, shape, side=args.side)
        variants = wanted(args.rows, text == args.teacher[0])
        for name, outcomes in measure(labeller, examples, variants, sampler, text).items():
            by_group = {g: summarise([o for o in outcomes if o.group == g]) for g in groups}
            rows.append({"teacher": short(text), "variant": name, "all": summarise(outcomes), **by_group})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_file(args.out.with_suffix(".json"), json.dumps({"split": split, "rows": rows}, indent=1) + "\n")
    write_file(args.out.with_suffix(".md"), markdown(split, rows))
    print(markdown(split, rows))


if __name__ == "__main__":
    command_main(main)
