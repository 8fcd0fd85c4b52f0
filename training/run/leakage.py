# SPDX-License-Identifier: Apache-2.0
"""What is trained on must not be what is measured on: refused where it is, said where "held out" means less than that.

Files are compared by where they lie and by their content, so links and copies count; a picture that was scaled or
compressed anew, or a mesh in another format, is not recognised. Pictures of real objects that every bundle of cups and
bottles is measured on are refused in any run (:mod:`dinemo_training.evaluation.kept_pictures`).
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.turntable import read_turntables

from ..evaluation.kept_pictures import kept_pictures
from .inputs import cad_files
from .recipe import Recipe, RecipeError, is_named_shape

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def require_separate(recipe: Recipe) -> None:
    """No picture or model that is trained on stands in the evaluation.

    Args:
        recipe: with paths that exist, as :func:`dinemo_training.run.inputs.resolve` gives it.

    Raises:
        RecipeError: names both files.
    """
    _require_none_kept(recipe)
    _require_separate_pictures(recipe)
    train, held_out = _models(recipe)
    if _same_models(train, held_out):
        return  # said by notes()
    pair = _common(train, held_out)
    if pair is not None:
        raise RecipeError(f"{pair[0]} is drawn for training and {_also(*pair)} to measure on; take one of them out of "
                          "the models, or measure on others (synthetic.held_out_options)")


def notes(recipe: Recipe) -> list[str]:
    """Limits of a run's figures, a sentence each."""
    found = []
    train, held_out = _models(recipe)
    if held_out and _same_models(train, held_out):
        found.append(f"held-out renders show the {len(held_out)} models that training draws, too, in other views: what "
                     "is measured on them does not carry over to other objects; give four models or more, or others in "
                     "synthetic.held_out_options")
    elif held_out and any(str(s).endswith(".npz") for s in recipe.data.shape):
        found.append("the mesh is a finished one, so it is unknown whether the held-out models went into it")
    elif mean_files(recipe)[1] and not mean_files(recipe)[0]:
        found.append("every model of the mean mesh is a held-out one: its outline is known to the bundle")
    if "synthetic" in recipe.sources() and not held_out and _model_files(recipe, {}) == []:
        found.append("no CAD model is drawn, all shapes are invented: held-out renders are others of the same kind")
    return found


def mean_files(recipe: Recipe) -> tuple[list[Path], list[Path]]:
    """CAD files of ``data.shape`` that the mean mesh is made of, and those left out because they are held out."""
    files = cad_files([s for s in recipe.data.shape if not is_named_shape(s) and not s.endswith(".npz")])
    train, held_out = _models(recipe)
    if not held_out or _same_models(train, held_out):
        return files, []
    measured = {_digest(file) for file in held_out}
    return ([file for file in files if _digest(file) not in measured],
            [file for file in files if _digest(file) in measured])


def _sources(recipe: Recipe) -> dict[str, str | None]:
    """Key of the recipe -> folder (or file) of pictures that are trained on."""
    data = recipe.data
    options = {f"synthetic.options.{key}": value for key, value in recipe.resolved(recipe.synthetic.options).items()
               if isinstance(value, str) and Path(value).is_dir()}
    return {"data.photographs": data.photographs, "data.reference": data.reference, "data.negatives": data.negatives,
            **{f"data.sequences[{k}]": s for k, s in enumerate(data.sequences)},
            **{f"data.others[{k}]": s for k, s in enumerate(data.others)}, **options}


def _require_none_kept(recipe: Recipe) -> None:
    kept = kept_pictures()
    for key, folder in _sources(recipe).items():
        for file in _pictures(folder) if folder else []:
            known = kept.name_of(file, _digest(file))
            if known:
                raise RecipeError(f"{key}: {file} is {known}, which is kept to measure on "
                                  f"({kept.source.name}); give the folders of other objects one by one")


def _require_separate_pictures(recipe: Recipe) -> None:
    data = recipe.data
    if not data.turntables or not Path(data.turntables).is_dir():
        return  # of a run that was moved: reported when it is read
    try:
        frames = read_turntables(Path(data.turntables), data.turntable_names or None)
    except DatasetError as error:
        raise RecipeError(f"data.turntables: {error}") from error
    measured = [frame.path for frame in frames]
    for key, folder in _sources(recipe).items():
        pair = _common(_pictures(folder), measured) if folder else None
        if pair is not None:
            raise RecipeError(f"{key}: {pair[0]} is trained on and {_also(*pair)} in data.turntables "
                              f"({data.turntables}) to measure on; take it out of one of them, or name the "
                              "sequences to measure on in data.turntable_names")


def _pictures(folder: str) -> list[Path]:
    path = Path(folder)
    files = path.rglob("*") if path.is_dir() else [path]
    return sorted(p for p in files if p.suffix.lower() in _PICTURES and p.is_file())


def _models(recipe: Recipe) -> tuple[list[Path], list[Path]]:
    """Files of the models that are drawn for training and to measure on; of a renderer that does not tell, none."""
    if "synthetic" not in recipe.sources():
        return [], []
    found = _model_files(recipe, {}), _model_files(recipe, recipe.synthetic.held_out_options)
    return tuple([file for file in files or [] if file.is_file()] for files in found)


def _model_files(recipe: Recipe, more: dict) -> list[Path] | None:
    spec = recipe.synthetic
    try:
        module = importlib.import_module(f"dinemo_training.synthetic.render.{spec.renderer}")
    except ModuleNotFoundError:
        return None  # reported when it is to draw
    if not hasattr(module, "model_files"):
        return None
    options = {**recipe.data.renders, **recipe.resolved({**spec.options, **more})}
    return module.model_files({name.replace("-", "_"): value for name, value in options.items()})


def _same_models(train: list[Path], held_out: list[Path]) -> bool:
    """Whether nothing is held out at all; links to models of training are doubles and no such choice."""
    return bool(held_out) and set(held_out) <= set(train)


def _common(first: Iterable[Path], second: Iterable[Path]) -> tuple[Path, Path] | None:
    """A file of the first and one of the second that are the same, by place or by content."""
    first, second = list(first), list(second)
    sizes = {p.stat().st_size for p in first} & {p.stat().st_size for p in second}
    known = {_digest(p): p for p in first if p.stat().st_size in sizes}
    return next(((known[_digest(p)], p) for p in second if p.stat().st_size in sizes and _digest(p) in known), None)


def _also(first: Path, second: Path) -> str:
    return "stands" if first == second else f"its double {second} stands"


def _digest(path: Path) -> str:
    stat = path.stat()
    return _sha256(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _sha256(path: Path, *_: int) -> str:
    """Of the content, once while the file stays what it is."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
