# SPDX-License-Identifier: Apache-2.0
"""From photographs and a rough shape to a checked bundle: the command ``dinemo train``.

:mod:`dinemo_training.run.inputs` resolves what was asked for, :mod:`dinemo_training.run.plan` the stages for that,
:mod:`dinemo_training.run.stages` does the work, :mod:`dinemo_training.run.run_folder` remembers what is done.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from pathlib import Path

from dinemo_ros.io.files import check_output_file, own_place
from dinemo_ros.io.quoting import shown_path
from dinemo_ros.model.bundle import BACKBONE_FILE, CARD_FILE, INT8_FILE, MESH_FILE
from dinemo_ros.train_stages import FAMILIES

from ..models.teachers.specification import require_teacher
from .inputs import resolve
from .leakage import notes, require_separate
from .plan import stages_of
from .recipe import Recipe, dump_recipe, load_recipe
from .run_folder import RunError, RunFolder, Stage, now, versions, write_text


def run(arguments: Namespace) -> int:
    """``dinemo train``; returns the exit code.

    Raises:
        DinemoError: something is missing or cannot be used; nothing was done that would have to be undone.
    """
    path = own_place(arguments.run_folder or f"runs/{arguments.category or 'run'}")
    folder = RunFolder(path)
    folder.require_closed()
    recipe = _recipe(arguments, folder)
    out = own_place(arguments.out or _out_of(path))
    require_teacher(recipe.teacher)
    require_separate(recipe)
    stages = stages_of(recipe, folder, out)
    _require_own_places(stages, out)
    for note in [*notes(recipe), *_read_elsewhere(recipe, stages, arguments)]:
        print(f"note: {note}", file=sys.stderr)
    if arguments.dry_run:
        for stage in stages:
            folder.key(stage)
            print(f"{stage.name:12s} {folder.state(stage):8s} {stage.about}")
        return 0
    check_output_file(out / CARD_FILE)  # hours before it is written
    with folder.locked():
        write_text(path / _CONFIG, dump_recipe(recipe))
        write_text(path / _START, _pretty({"time": now(), "command": sys.argv, "out": str(out),
                                           "folder": _identity(path)}))
        write_text(path / "versions.json", _pretty(versions()))
        _do(stages, folder, arguments.stage)
    print(f"{path}: done, see report/index.html there" if not arguments.stage else f"{path}: done")
    return 0


def _read_elsewhere(recipe: Recipe, stages: list[Stage], arguments: Namespace) -> list[str]:
    """A sentence on what a recipe, which somebody else may have written, reads outside of the data folder, if that."""
    base = Path(arguments.data or ".").expanduser().resolve()
    drawn = {**recipe.synthetic.options, **recipe.synthetic.held_out_options}
    options = [Path(value) for value in drawn.values() if isinstance(value, str) and "/" in value]
    teacher = [Path(part) for part in re.split("[:@#(|)]", recipe.teacher) if "/" in part]
    places = {path.resolve() for path in [*options, *teacher, *(path for stage in stages for path in stage.inputs)]}
    outside = [shown_path(place) for place in sorted(places) if not place.is_relative_to(base)]
    return [f"this run reads outside of the data folder {shown_path(base)}: {', '.join(outside)}"] if outside else []


def _require_own_places(stages: list[Stage], out: Path) -> None:
    """Results are removed when their stage starts over: none may be, or hold, an input of the user's.

    Raises:
        RunError: names the result and the input.
    """
    inputs = {path.resolve() for stage in stages for path in stage.inputs}
    results = {path for stage in stages for path in stage.outputs} | {
        out / name for name in (CARD_FILE, BACKBONE_FILE, MESH_FILE, INT8_FILE)}
    for result in sorted(results):
        place = result.resolve()
        taken = next((path for path in sorted(inputs) if path == place or place in path.parents), None)
        if taken is not None:
            raise RunError(f"{result} is written by this run and would replace {taken}, which it reads; name another "
                           "folder with --run or --out")


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
    """Where the bundle of the run in ``path`` goes, as at its last start.

    A folder that was copied here, by whom ever, does not decide what is replaced outside of it.
    """
    own = path / "out"
    try:
        start = json.loads((path / _START).read_text())
        out, known = str(start["out"]), start.get("folder") == _identity(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return str(own)
    if known or Path(out).resolve().is_relative_to(path):
        return out
    print(f"note: {shown_path(path / _START)} was written for another folder, so the bundle goes to {shown_path(own)} "
          f"and not to {shown_path(out)}; name another place with --out", file=sys.stderr)
    return str(own)


def _identity(path: Path) -> list:
    """What a copy of this folder does not share with it."""
    return [str(path), path.stat().st_ino]


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
