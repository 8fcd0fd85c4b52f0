# SPDX-License-Identifier: Apache-2.0
"""From photographs and a rough shape to a checked bundle: which stages a recipe needs, and doing them in order.

``dinemo train`` is the command; :mod:`training.stages` does the work, :mod:`training.run_folder` remembers it.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path

from dinemo_ros.bundle import CARD_FILE
from dinemo_ros.cli.train_stages import FAMILIES

from .inputs import resolve
from .recipe import Recipe, dump_recipe, load_recipe
from .report import write_report
from .run_folder import RunError, RunFolder, Stage, now, versions, write_text
from .stages import Work


def stages_of(recipe: Recipe, folder: RunFolder, out: Path) -> list[Stage]:
    """The stages of a run, each after those that it builds on."""
    work, run, data = Work(recipe, folder.path), folder.path, recipe.data
    there, learning, mesh = recipe.sources(), asdict(recipe.learning), asdict(recipe.mesh)
    base = {"size": recipe.size, "mesh": mesh}
    rendered = {**asdict(recipe.synthetic), "seed": recipe.seed}
    models = tuple(Path(p) for paths in data.renders.values() for p in paths)
    shapes = tuple(Path(s) for s in data.shape if not s.startswith("box:"))

    stages = [Stage("shape", "mesh of the category", work.shape, {**base, "shape": data.shape}, (), shapes,
                    (run / "shape.npz",))]
    if "photographs" in there:
        stages.append(Stage("photographs", "square crops of the photographs", work.photographs,
                            {"find_object": data.find_object}, (), (Path(data.photographs),), (run / "photographs",)))
    if "sequences" in there:
        inputs = tuple(map(Path, (data.reference, data.azimuths, *data.sequences)))
        stages.append(Stage("sequences", "sequences, aligned and posed without labels", work.sequences,
                            {"teacher": recipe.teacher}, ("shape",), inputs, (run / "sequences",)))
    if "synthetic" in there:
        training = {k: v for k, v in rendered.items() if not k.startswith("held_out")}
        stages.append(Stage("synthetic", "renders to train on", work.synthetic, training, (), models,
                            (run / "synthetic",)))
        measuring = {k: v for k, v in rendered.items() if k != "count"}
        stages.append(Stage("held_out", "renders to measure on", work.held_out_renders, measuring, (), models,
                            (run / "held_out",)))
    if "negatives" in there:
        inputs = (Path(data.negatives),) if data.negatives else ()
        stages.append(Stage("negatives", "pictures without the object", work.negatives,
                            {"count": recipe.negatives, "seed": recipe.seed}, (), inputs, (run / "negatives",)))
    pools = tuple(s.name for s in stages)
    card = asdict(recipe.bundle_card())
    for number, spec in enumerate(recipe.rounds):
        before = (f"train{number - 1}",) if number else ()
        labelled = (f"labels{number}",) if spec.labels != "none" else ()
        if labelled:
            stages.append(Stage(labelled[0], f"round {number}: poses of photographs, by {spec.labels}",
                                partial(work.labels, number),
                                {"labels": spec.labels, "every": spec.every, "teacher": recipe.teacher},
                                (*before, "photographs", *({recipe.templates()} & set(pools))), (),
                                (run / f"round{number}" / "labels.npz",)))
        folder_of = run / f"round{number}"
        needs = ("shape", *before, *labelled, *(p for p in pools if p in spec.pools))
        settings = {"pools": spec.pools, "steps": spec.steps, "min_score": spec.min_score,
                    "min_margin": spec.min_margin, "learning": learning, "seed": recipe.seed, "card": card}
        inputs = tuple(Path(p) for p in (learning["init"], learning["weights"]) if p)
        stages.append(Stage(f"train{number}", f"round {number}: {spec.steps} steps", partial(work.train, number),
                            settings, needs, inputs,
                            tuple(folder_of / n for n in ("student.pt", "last.pt", "metrics.jsonl", "bundle"))))
    last = f"train{len(recipe.rounds) - 1}"
    measured = tuple(p for p in ("held_out", "sequences", "negatives") if p in pools)
    stages += [
        Stage("export", "checked bundle", work.export, {"average": recipe.average, "card": card}, ("shape", last), (),
              (run / "bundle", run / "student.pt")),
        Stage("calibrate", "distance and accepted score", work.calibrate, {"count": recipe.evaluate},
              ("export", *measured), (), (run / "calibration.npz",)),
        Stage("evaluate", "errors on held-out pictures", work.evaluate,
              {"count": recipe.evaluate, "spins": data.spin_names}, ("calibrate", *measured),
              (Path(data.spins),) if data.spins else (),
              tuple(run / f"evaluation_{name}.json" for name, there in
                    (("held_out", "held_out" in pools), ("spins", data.spins)) if there)),
        Stage("publish", f"bundle in {out}", partial(work.publish, out), {"out": str(out)}, ("calibrate",), (),
              (out / CARD_FILE,)),
        Stage("report", "report/index.html", partial(write_report, recipe, folder), {}, ("evaluate", "publish"), (),
              (run / "report",)),
    ]
    return stages


def run(arguments: Namespace) -> int:
    """``dinemo train``; returns the exit code.

    Raises:
        DinemoError: something is missing or cannot be used; nothing was done that would have to be undone.
    """
    path = Path(arguments.run_folder or f"runs/{arguments.category or 'run'}").resolve()
    folder = RunFolder(path)
    recipe = _recipe(arguments, folder)
    out = Path(arguments.out or _out_of(path)).resolve()
    stages = stages_of(recipe, folder, out)
    if arguments.dry_run:
        for stage in stages:
            folder.key(stage)
            print(f"{stage.name:12s} {folder.state(stage):8s} {stage.about}")
        return 0
    with folder.locked():
        write_text(path / _CONFIG, dump_recipe(recipe))
        write_text(path / _START, _pretty({"time": now(), "command": sys.argv, "out": str(out)}))
        write_text(path / "versions.json", _pretty(versions()))
        _do(stages, folder, arguments.stage)
    print(f"{path}: done, see report/index.html there" if not arguments.stage else f"{path}: done")
    return 0


def _recipe(arguments: Namespace, folder: RunFolder) -> Recipe:
    """Of the options, or of the earlier run in this folder."""
    known = folder.path / _CONFIG
    if arguments.category or arguments.config:
        if folder.in_use() and not (arguments.resume or arguments.stage or arguments.dry_run):
            raise RunError(f"{folder.path}: holds an earlier run; add --resume to go on with it (what is done and "
                           "unchanged is kept), or name another folder with --run")
        return resolve(arguments)
    if not known.is_file():
        raise RunError(f"{folder.path}: no earlier run there; give --category NAME or --config FILE to begin one")
    return load_recipe(known)


def _out_of(path: Path) -> str:
    """Where the bundle of the run in ``path`` goes, as its last start was told."""
    try:
        return json.loads((path / _START).read_text())["out"]
    except (OSError, ValueError, KeyError):
        return str(path / "out")


def _do(stages: list[Stage], folder: RunFolder, only: str | None) -> None:
    chosen = _chosen(stages, only)
    for number, stage in enumerate(stages, start=1):
        folder.key(stage)  # of every stage: later keys are made of earlier ones
        if stage not in chosen:
            continue
        _require_done(stage, stages, folder, chosen)
        print(f"[{number}/{len(stages)}] {stage.name}: {stage.about}" + _REMARK[folder.state(stage)], flush=True)
        try:
            folder.execute(stage, force=only is not None and stage.name in _CHEAP)
        except RunError as error:
            trained = "train" in stage.name or "export" in stage.needs
            raise RunError(f"{error} (what there is: dinemo train report --run {folder.path})" if trained
                           else str(error)) from error


_CONFIG, _START = "config.yaml", "start.json"
_CHEAP = ("evaluate", "report", "publish")  # made again whenever they are asked for by name
_REMARK = {"new": "", "changed": " (settings or inputs changed: made again)", "half": " (goes on where it stopped)",
           "done": " (done already)"}


def _chosen(stages: list[Stage], name: str | None) -> list[Stage]:
    """All stages, or those of one name or family: ``train`` stands for ``train0``, ``train1``, ..."""
    if name is None:
        return stages
    chosen = [s for s in stages if s.name == name or s.name.rstrip("0123456789") == name]
    if not chosen:
        raise RunError(f"this run has no stage {name!r}; it has {', '.join(s.name for s in stages)}"
                       + (f" ({FAMILIES[name]})" if name in FAMILIES else ""))
    return chosen


def _require_done(stage: Stage, stages: list[Stage], folder: RunFolder, chosen: list[Stage]) -> None:
    missing = [s.name for s in stages if s.name in stage.needs and folder.state(s) != "done"]
    if missing and len(chosen) < len(stages) and stage.name != "report":  # which shows what there is
        raise RunError(f"stage {stage.name} builds on {', '.join(missing)}, not done yet with these settings; run that "
                       "first, or leave the stage's name out to do everything that is missing")


def _pretty(document: dict) -> str:
    return json.dumps(document, indent=1) + "\n"
