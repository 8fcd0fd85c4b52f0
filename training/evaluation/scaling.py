# SPDX-License-Identifier: Apache-2.0
r"""How accuracy grows with the number of photographs: one training on nested subsets, one set of pictures to measure.

    python -m dinemo_training.evaluation.scaling --run runs/car --round 1 --counts 1000 2000 4000 6000 --steps 1400 \
        --out runs/car/scaling --turntables DIR --only cx5 subaru

Every point trains for the same number of steps from the same start, with the same shares of pools; only the photographs
differ: the first N of one random order, of which those are used whose labels are trusted. The labels come from a model
that has seen no photograph, so they do not depend on N. 0 stands for no photographs. What --run would supply can also
be given one by one. A point that is done is kept, a killed one goes on; writes scaling.csv, scaling.md and scaling.png.
"""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DinemoError
from dinemo_ros.io.files import completed
from dinemo_ros.model.bundle import Card, load_bundle
from dinemo_ros.process.console import command_main

from ..data.augmentation import AugmentConfig
from ..data.example_stream import parse_pool
from ..data.label_store import read_labels, write_labels
from ..data.posed_crops import load_posed_crops
from ..export.bundle_export import export_bundle
from ..models.category_shape import CategoryShape
from ..models.contrastive import TrainConfig, train
from ..pseudo_labels.labelling import select
from ..report.figures import plt
from ..run.arguments import parsed
from ..run.old_names import FIGURES
from ..run.recipe import RecipeError, load_recipe
from ..run.run_folder import RunFolder, Stage, write_text
from .bundle_accuracy import evaluate_bundle

_COLUMNS = ("acc30", "acc10", "median_deg", "flips")
_HEADS = {"acc30": "Acc@30", "acc10": "Acc@10", "median_deg": "median", "flips": "flips"}


@dataclass(frozen=True)
class Setting:
    """What all points share.

    Attributes:
        shape: npz of the mesh. card: of the bundles that are measured. photographs: prepared folder. labels: npz.
        share: of photographs in a batch. pools: (folder, share) of everything else. init: checkpoint to start from.
        min_score, min_margin: which labels are trusted. config: of the training, but for the seed.
        held_out, turntables: what is measured on, or None. only: names of turntables, None for all.
        keep: at most so many labels, those of the largest margin; 0: all that are trusted.
    """

    shape: Path
    card: Card
    photographs: Path
    labels: Path
    share: float
    pools: tuple[tuple[Path, float], ...]
    init: Path | None
    min_score: float
    min_margin: float
    config: TrainConfig
    held_out: Path | None
    limit: int
    turntables: Path | None
    only: tuple[str, ...] | None
    workers: int
    keep: int = 0


def point_stage(setting: Setting, folder: RunFolder, count: int, seed: int) -> Stage:
    """One count and seed as a stage that is skipped, resumed or made again like those of ``dinemo train``."""
    out = folder.path / f"n{count}_seed{seed}"
    settings = {"count": count, "seed": seed, "share": setting.share, "min_score": setting.min_score,
                "min_margin": setting.min_margin, "pools": [[str(p), s] for p, s in setting.pools],
                "config": repr(setting.config), "card": repr(setting.card), "limit": setting.limit,
                "only": setting.only, **({"keep": setting.keep} if setting.keep else {})}
    inputs = [setting.shape, setting.labels, setting.init, setting.turntables, setting.held_out and setting.held_out
              / "labels.npz", *(p / "labels.npz" for p, _ in setting.pools)]
    return Stage(out.name, f"{count} photographs, seed {seed}", lambda: measure_point(setting, out, count, seed),
                 settings, (), tuple(p for p in inputs if p is not None), (out,))


def measure_point(setting: Setting, out: Path, count: int, seed: int) -> dict:
    """Train on ``count`` photographs and measure; returns the figures."""
    pools = list(setting.pools)
    used = 0
    if count:
        used = write_subset(setting, out / "photographs", count)
        pools.append((out / "photographs", setting.share))
    train([parse_pool(f"{folder}:{share}") for folder, share in pools], CategoryShape.load(setting.shape), out,
          replace(setting.config, seed=seed), init=setting.init, workers=setting.workers)
    export_bundle(out / "student.pt", CategoryShape.load(setting.shape), setting.card, out / "bundle")
    figures = {"photographs": count, "labels": used, "seed": seed}
    if setting.held_out is not None:
        figures["held_out"] = evaluate_bundle(out / "bundle", setting.held_out, limit=setting.limit).summary()
    if setting.turntables is not None:
        only = list(setting.only) if setting.only else None
        figures["turntables"] = evaluate_bundle(out / "bundle", turntables=setting.turntables, names=only).summary()
    return figures


def write_subset(setting: Setting, folder: Path, count: int) -> int:
    """The first ``count`` photographs of one random order as posed crops in ``folder``; returns how many are trusted.

    The order does not depend on the count, so larger sets hold the smaller ones.

    Raises:
        RecipeError: more photographs are wanted than were labelled, or none has a trusted label.
    """
    found = read_labels(setting.labels)
    if count > len(found):
        raise RecipeError(f"{setting.labels}: {len(found)} photographs were labelled or tried, {count} are wanted; "
                          "label more of them, or give smaller --counts")
    names = sorted(found)
    order = np.random.default_rng(0).permutation(len(names))[:count]
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("images", "masks"):
        if (setting.photographs / part).is_dir() and not (folder / part).exists():
            (folder / part).symlink_to((setting.photographs / part).resolve())
    write_labels(folder / "found.npz", {names[i]: found[names[i]] for i in order})
    kept = select(folder, folder / "found.npz", setting.min_score, setting.min_margin,
                  keep=setting.keep)
    if not kept:
        raise RecipeError(f"of {count} photographs none has a trusted label; lower --min-score or --min-margin")
    return kept


def table(rows: list[dict]) -> list[dict]:
    """Mean over seeds per count and set of pictures, with the largest difference between seeds."""
    lines = []
    for name in ("held_out", "turntables"):
        for count in sorted({row["photographs"] for row in rows if name in row}):
            chosen = [row for row in rows if row["photographs"] == count and name in row]
            line = {"pictures": name, "photographs": count, "labels": round(np.mean([r["labels"] for r in chosen])),
                    "seeds": len(chosen), "n": chosen[0][name]["n"]}
            for key in _COLUMNS:
                values = [row[name][key] for row in chosen]
                line[key], line[f"{key}_spread"] = round(float(np.mean(values)), 4), round(float(np.ptp(values)), 4)
            lines.append(line)
    return lines


def write_results(out: Path, lines: list[dict], command: str) -> None:
    """scaling.csv, scaling.md and scaling.png."""
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    write_text(out / "scaling.csv", table.getvalue())
    text = ["| pictures | photographs | trusted labels | n | " + " | ".join(_HEADS.values()) + " |",
            "|---|---|---|---|" + "---|" * len(_HEADS)]
    for line in lines:
        cells = [_cell(line, key) for key in _COLUMNS]
        text.append(f"| {line['pictures'].replace('_', '-')} | {line['photographs']:,} | {line['labels']:,} | "
                    f"{line['n']} | " + " | ".join(cells) + " |")
    seeds = max(line["seeds"] for line in lines)
    note = f"Mean of {seeds} seeds, in brackets the largest difference between them.\n\n" if seeds > 1 else ""
    write_text(out / "scaling.md", "\n".join(text) + f"\n\n{note}`{command}`\n")
    _plot(out / "scaling.png", lines)


def _cell(line: dict, key: str) -> str:
    scale, unit = (1, "°") if key == "median_deg" else (100, " %")
    spread = f" ({scale * line[key + '_spread']:.1f})" if line["seeds"] > 1 else ""
    return f"{scale * line[key]:.1f}{unit}{spread}"


def _plot(path: Path, lines: list[dict]) -> None:
    sets = list(dict.fromkeys(line["pictures"] for line in lines))
    figure, axes = plt.subplots(1, len(sets), figsize=(4.6 * len(sets), 3.3), squeeze=False, sharey=True)
    for ax, name in zip(axes[0], sets, strict=True):
        chosen = [line for line in lines if line["pictures"] == name]
        counts = [line["photographs"] for line in chosen]
        for key, colour in (("acc30", "#24435c"), ("acc10", "#d9772b")):
            ax.errorbar(counts, [100 * line[key] for line in chosen], [50 * line[f"{key}_spread"] for line in chosen],
                        marker="o", color=colour, capsize=3, label=_HEADS[key])
        ax.set(title=f"{name.replace('_', '-')}, n = {chosen[0]['n']}", xlabel="photographs", xticks=counts)
        ax.tick_params(axis="x", labelrotation=30)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("percent of pictures")
    axes[0][0].legend(frameon=False)
    figure.tight_layout()
    with completed(path) as part:
        figure.savefig(part, dpi=120)
    plt.close(figure)


def setting_of(args: argparse.Namespace) -> Setting:
    """The setting that options and run folder give together; RecipeError names what is missing."""
    run, spec, card, pools = args.run, None, None, []
    if run is not None:
        recipe = load_recipe(run / "config.yaml")
        if not 0 <= args.round < len(recipe.rounds) or recipe.rounds[args.round].labels == "none":
            labelled = [str(k) for k, r in enumerate(recipe.rounds) if r.labels != "none"]
            raise RecipeError(f"{run}: round {args.round} labels no photographs; give --round, one of "
                              f"{', '.join(labelled) or 'none'}")
        spec, card = recipe.rounds[args.round], recipe.bundle_card()
        pools = [(run / name, share) for name, share in spec.pools.items() if name != "photographs"]
    if args.bundle is not None:
        card = load_bundle(args.bundle).card
    if args.pool:
        pools = [_pool(text) for text in args.pool]
    before = run / f"round{args.round - 1}" / "student.pt" if run is not None and args.round else None
    found = {"shape": args.shape or (run and run / "shape.npz"),
             "photographs": args.photographs or (run and run / "photographs"),
             "labels": args.labels or (run and run / f"round{args.round}" / "labels.npz"),
             "bundle": card, "pool": pools}
    for name, value in found.items():
        if not value or (isinstance(value, Path) and not value.exists()):
            raise RecipeError(f"{value or 'no ' + name}: not there; give --{name}, or --run with a run that has it")
    held_out = args.held_out or (run / "held_out" if run is not None and (run / "held_out").is_dir() else None)
    if held_out is None and args.turntables is None:
        raise RecipeError("nothing to measure on: give --held-out, --turntables or both")
    share = args.share if args.share is not None else spec.pools.get("photographs", 0.4) if spec else 0.4
    score = args.min_score if args.min_score is not None else spec.min_score if spec else 0.33
    margin = args.min_margin if args.min_margin is not None else spec.min_margin if spec else 0.03
    config = TrainConfig(steps=args.steps, batch=args.batch, lr=args.lr, temperature=card.features.temperature,
                         augmentation=AugmentConfig(size=args.size))
    return Setting(found["shape"], card, found["photographs"], found["labels"], share, tuple(pools), args.init
                   or before, score, margin, config, held_out, args.limit, args.turntables, tuple(args.only)
                   if args.only else None, args.workers, args.keep)


def _pool(text: str) -> tuple[Path, float]:
    folder, _, share = text.partition(":")
    try:
        return Path(folder), float(share) if share else float(len(load_posed_crops(folder)))
    except (OSError, ValueError) as error:
        raise RecipeError(f"--pool {text}: is no FOLDER:SHARE with posed crops ({error})") from error


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.scaling``.

    Raises:
        SystemExit: something is missing or cannot be used; the message says what.
    """
    default = TrainConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for every point and the results")
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 2000, 4000, 6000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--run", type=Path, help="run folder of dinemo train")
    parser.add_argument("--round", type=int, default=1, help="its round that labels photographs")
    parser.add_argument("--shape", type=Path, help="npz of the mesh")
    parser.add_argument("--bundle", type=Path, help="bundle whose card (size, search, crop) is used")
    parser.add_argument("--photographs", type=Path, help="folder written by dinemo_training.data.photographs")
    parser.add_argument("--labels", type=Path, help="npz written by dinemo_training.pseudo_labels.labelling for "
                                                    "these photographs")
    parser.add_argument("--pool", action="append", metavar="FOLDER:SHARE", help="other posed crops; may be repeated")
    parser.add_argument("--share", type=float, help="of photographs in a batch, relative to the pools")
    parser.add_argument("--init", type=Path, help="checkpoint to start from, one that saw no photographs")
    parser.add_argument("--min-score", type=float)
    parser.add_argument("--min-margin", type=float)
    parser.add_argument("--keep", type=int, default=0, help="at most so many labels, those of the largest margin, to "
                        "compare labellers (default: all that are trusted)")
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--batch", type=int, default=default.batch)
    parser.add_argument("--lr", type=float, default=default.lr)
    parser.add_argument("--size", type=int, default=AugmentConfig().size, help="side of the training crops, pixels")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--held-out", type=Path, help="renders with exact poses, none of them trained on")
    parser.add_argument("--limit", type=int, default=300, help="how many of them")
    parser.add_argument("--turntables", type=Path, help="sequences with known azimuth, none of them trained on")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="which of the turntables")
    args = parsed(parser)
    try:
        setting, folder = setting_of(args), RunFolder(args.out)
        with folder.locked():
            measure_all(setting, folder, args)
    except DinemoError as error:
        raise SystemExit(f"error: {error}") from None
    print((args.out / "scaling.md").read_text())


def measure_all(setting: Setting, folder: RunFolder, args: argparse.Namespace) -> None:
    """Every count and seed; the results are written anew after each."""
    points, rows = [(count, seed) for count in args.counts for seed in args.seeds], []
    command = (f"python -m dinemo_training.evaluation.scaling --counts {' '.join(map(str, args.counts))} --steps "
               f"{args.steps} --size "
               f"{args.size} --batch {args.batch} --seeds {' '.join(map(str, args.seeds))} ...")
    for number, (count, seed) in enumerate(points, start=1):
        stage = point_stage(setting, folder, count, seed)
        print(f"[{number}/{len(points)}] {stage.about}, {folder.state(stage)}", flush=True)
        folder.execute(stage)
        metrics = folder.stamp(stage.name)["metrics"]
        rows.append({FIGURES.get(name, name): value for name, value in metrics.items()})
        write_results(args.out, table(rows), command)


if __name__ == "__main__":
    command_main(main)
