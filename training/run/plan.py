# SPDX-License-Identifier: Apache-2.0
"""Which stages a recipe needs, what each depends on, and what it makes.

A setting stands with the earliest stage whose result it changes and nowhere else: what is not named here does not make
a stage start over.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from dinemo_ros.model.bundle import CARD_FILE, FORMATS
from dinemo_ros.model.card import DetectorHint

from ..report import write_report
from .leakage import mean_files
from .old_names import existing
from .recipe import Learning, Mesh, Recipe, is_named_shape
from .run_folder import RunFolder, Stage
from .stages import Work

# Of a card: they change no figure.
_WORDS = ("version", "description", "license", "weights_license", "grasps", "detector")


def stages_of(recipe: Recipe, folder: RunFolder, out: Path) -> list[Stage]:
    """The stages of a run, each after those that it builds on; the bundle goes to ``out``."""
    work, there = Work(recipe, folder.path), recipe.sources()
    stages = [_shape(recipe, work)]
    if "photographs" in there:
        stages.append(_photographs(recipe, work))
    if "sequences" in there:
        stages.append(_sequences(recipe, work))
    if "synthetic" in there:
        stages += _renders(recipe, work)
    if "negatives" in there:
        stages.append(_negatives(recipe, work))
    pools = {stage.name for stage in stages}
    for number in range(len(recipe.rounds)):
        stages += _round(recipe, work, number, pools)
    return [*stages, *_result(recipe, folder, work, out, pools)]


def _shape(recipe: Recipe, work: Work) -> Stage:
    files = tuple(Path(s) for s in recipe.data.shape if not is_named_shape(s)) + _kind(recipe)
    settings = {"size": recipe.size, "mesh": _mesh(recipe.mesh), "shape": recipe.data.shape}
    if files and not recipe.mesh.profile and (left_out := mean_files(recipe)[1]):
        settings["left_out"] = [file.name for file in left_out]
    if recipe.one_object:
        settings["turn"] = {"hfov_deg": recipe.turn.hfov_deg, "elevation_deg": recipe.turn.elevation_deg}
        return Stage("shape", "what the silhouettes of the turn enclose", work.hull, settings, (),
                     _given(recipe.data.reference, recipe.data.azimuths), (work.run / "shape.npz", work.pool("turn")))
    return Stage("shape", "mesh of the category", work.shape, settings, (), files, (work.run / "shape.npz",))


def _photographs(recipe: Recipe, work: Work) -> Stage:
    return Stage("photographs", "square crops of the photographs", work.photographs,
                 {"find_object": recipe.data.find_object}, (), (Path(recipe.data.photographs),),
                 (work.pool("photographs"),))


def _sequences(recipe: Recipe, work: Work) -> Stage:
    data = recipe.data
    if recipe.one_object:
        return Stage("sequences", "pictures of the turn, and views drawn between them where asked for", work.turn_views,
                     {"between": recipe.turn.between, "seed": recipe.seed}, ("shape",), (), (work.pool("sequences"),))
    return Stage("sequences", "sequences, aligned and posed without labels", work.sequences,
                 {"teacher": recipe.teacher}, ("shape",),
                 tuple(map(Path, (data.reference, data.azimuths, *data.sequences))), (work.pool("sequences"),))


def _renders(recipe: Recipe, work: Work) -> list[Stage]:
    spec, models = recipe.synthetic, tuple(Path(p) for paths in recipe.data.renders.values() for p in paths)
    models += _kind(recipe)
    shared = {"renderer": spec.renderer, "options": _drawn(recipe.resolved(spec.options)), "seed": recipe.seed}
    return [Stage("synthetic", "renders to train on", work.synthetic, {**shared, "count": spec.count}, (), models,
                  (work.pool("synthetic"),)),
            Stage("held_out", "renders to measure on", work.held_out_renders,
                  {**shared, "count": spec.held_out, "more": recipe.resolved(spec.held_out_options)}, (), models,
                  (work.held_out,))]


def _negatives(recipe: Recipe, work: Work) -> Stage:
    photographs = recipe.data.negatives
    return Stage("negatives", "pictures without the object", work.negatives,
                 {"count": recipe.negatives, "seed": recipe.seed}, (), (Path(photographs),) if photographs else (),
                 (work.pool("negatives"),))


def _round(recipe: Recipe, work: Work, number: int, pools: set[str]) -> list[Stage]:
    """Labels where the round asks for them, training, and the round's own bundle."""
    spec, folder, learning = recipe.rounds[number], work.round(number), recipe.learning
    stages, labelled = [], ()
    if spec.labels != "none":
        before = (f"train{number - 1}", f"bundle{number - 1}") if number else ()
        settings = {"labels": spec.labels, "every": spec.every, "teacher": recipe.teacher,
                    # as before these keys existed, where they change nothing, and by their names of 0.1: finished runs
                    # stay finished
                    **({} if spec.bidirectional else {"bidirectional": False}),
                    **({"look_alikes": True} if recipe.uses_neighbours(spec) else {})}
        stages.append(Stage(f"labels{number}", f"round {number}: poses of photographs, by {spec.labels}",
                            partial(work.labels, number), settings,
                            (*before, "photographs", *({recipe.templates()} & pools)), (), (folder / "labels.npz",)))
        labelled = (f"labels{number}",)
    before = (f"train{number - 1}",) if number else ()
    examples = {"pools": spec.pools, "min_score": spec.min_score, "min_margin": spec.min_margin, "seed": recipe.seed,
                **({"drop": spec.drop} if spec.drop else {}), **({"keep": spec.keep} if spec.keep else {})}
    taken = (*labelled, *sorted(pools & set(spec.pools)))
    if learning.views:
        settings = {key: getattr(learning, key) for key in ("backbone", "crop", "views")} | examples
        settings |= {"augmentation": learning.augmentation} if learning.augmentation else {}
        stages.append(Stage(f"features{number}",
                            f"round {number}: {learning.views} views through the frozen transformer",
                            partial(work.features, number), settings, ("shape", *taken), _given(learning.weights),
                            (existing(folder, "features"),), formerly=f"tokens{number}"))
        taken += (f"features{number}",)
    settings = examples | {"steps": spec.steps, "learning": _learning(learning)}
    stages.append(Stage(f"train{number}", f"round {number}: {spec.steps} steps", partial(work.train, number), settings,
                        ("shape", *before, *taken), _given(learning.init, learning.weights),
                        tuple(folder / n for n in ("student.pt", "last.pt", "metrics.jsonl"))))
    stages.append(Stage(f"bundle{number}", f"round {number}: as a bundle, measured", partial(work.round_bundle, number),
                        {"card": _figures(recipe)}, ("shape", f"train{number}", *sorted(pools & {"held_out"})), (),
                        (folder / "bundle",)))
    return stages


def _given(*paths: str | None) -> tuple[Path, ...]:
    return tuple(Path(p) for p in paths if p)


def _kind(recipe: Recipe) -> tuple[Path, ...]:
    """The file that says what vessels are drawn, where that is not one of the package's."""
    return (Path(recipe.mesh.profile),) if recipe.mesh.profile.endswith((".yaml", ".yml")) else ()


def _drawn(options: dict) -> dict:
    """Without what a renderer did as well before the option existed: finished runs stay finished."""
    before = {"body": Mesh().body, "symmetry": None}
    return {name: value for name, value in options.items() if name not in before or value != before[name]}


def _mesh(mesh: Mesh) -> dict:
    """Without what is as it was before the key existed: finished runs stay finished."""
    unset = {key: value for key, value in asdict(Mesh()).items() if key in ("body", "filled")}
    return {key: value for key, value in asdict(mesh).items() if key not in unset or value != unset[key]}


def _learning(learning: Learning) -> dict:
    """Without freezing as it was before the keys existed: finished runs stay finished."""
    return {k: v for k, v in asdict(learning).items()
            if (learning.freeze or k not in ("freeze", "views")) and (k != "augmentation" or v)}


def _card(recipe: Recipe) -> dict:
    """Without what is off as it was before the key existed, and in whichever format: finished runs stay finished."""
    card = asdict(recipe.bundle_card()) | {"format": FORMATS[0]}
    if not card["features"]["flip_tta"]:
        del card["features"]["flip_tta"]
    if not card["weights_license"]["terms"]:
        del card["weights_license"]
    if card["detector"] == asdict(DetectorHint((recipe.category,))):  # as where nothing is said of it
        del card["detector"]
    return {key: value for key, value in card.items() if value or key not in ("uncertainty_by_source", "grasps")}


def _figures(recipe: Recipe) -> dict:
    return {key: value for key, value in _card(recipe).items() if key not in _WORDS}


def _presence(recipe: Recipe, work: Work, pools: set[str]) -> Stage:
    data = recipe.data
    folders = tuple(Path(p) for p in (data.photographs, data.negatives, *data.others) if p)
    return Stage("presence", "whether there is an object at all", work.presence,
                 {"count": recipe.evaluate, "others": data.others, "seed": recipe.seed}, ("calibrate", "synthetic"),
                 folders, ())


def _sources(recipe: Recipe, work: Work, before: str) -> Stage:
    models = tuple(Path(p) for paths in recipe.data.renders.values() for p in paths)
    return Stage("sources", "uncertainty with the support plane and depth", work.sources,
                 {"scenes": recipe.synthetic.scenes, "seed": recipe.seed}, (before,), models, (work.run / "scenes",))


def _azimuth(recipe: Recipe, work: Work) -> Stage:
    return Stage("azimuth", "how far the evidence of all turns is believed", work.azimuth, {"count": recipe.evaluate},
                 ("export", "held_out"), (), (work.run / "azimuth.json",))


def _result(recipe: Recipe, folder: RunFolder, work: Work, out: Path, pools: set[str]) -> list[Stage]:
    run, turntables = work.run, recipe.data.turntables
    last = f"bundle{len(recipe.rounds) - 1}"
    measured = tuple(sorted(pools & {"held_out", "sequences", "negatives"}))
    tables = [name for name, there in (("held_out", "held_out" in pools), ("turntables", turntables)) if there]
    presence = [_presence(recipe, work, pools)] if "synthetic" in pools else []
    sources = [_sources(recipe, work, "presence" if presence else "calibrate")] if recipe.synthetic.scenes else []
    final = "sources" if sources else "presence" if presence else "calibrate"
    tells = recipe.bundle_card().symmetry.uncertain_azimuth and "held_out" in pools
    azimuth = [_azimuth(recipe, work)] if tells else []
    return [
        Stage("export", "mean weights as a checked bundle", work.export,
              {"average": recipe.average, "card": _card(recipe)}, ("shape", last), (),
              (run / "bundle", run / "student.pt")),
        *azimuth,
        Stage("calibrate", "distance, accepted score, uncertainty", work.calibrate, {"count": recipe.evaluate},
              ("export", *(stage.name for stage in azimuth), *measured), (), (run / "calibration.npz",)),
        *presence, *sources,
        Stage("evaluate", "errors on held-out pictures", work.evaluate,
              {"count": recipe.evaluate, "spins": recipe.data.turntable_names}, (final, *measured),
              (Path(turntables),) if turntables else (),
              tuple(existing(run, f"evaluation_{name}.json") for name in tables)),
        Stage("publish", f"bundle in {out}", partial(work.publish, out), {"out": str(out)}, (final,), (),
              (out / CARD_FILE,)),
        Stage("report", "report/index.html", partial(write_report, recipe, folder), {}, ("evaluate", "publish"), (),
              (run / "report",)),
    ]
