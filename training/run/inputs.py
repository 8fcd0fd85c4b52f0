# SPDX-License-Identifier: Apache-2.0
"""What the user asked for, resolved to one recipe with absolute paths that exist.

Defaults come from the recipe of the category that ships in ``training/configs`` (its settings, not its data), then from
``--config``; the command line has the last word.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.evaluation.turntable import read_turntables
from dinemo_ros.io.document import read_json
from dinemo_ros.io.quoting import shown, shown_path

from ..data.photographs import _EXTENSIONS as PICTURES
from .old_names import OPTIONS, note
from .recipe import CONFIGS, HULL, Data, Recipe, RecipeError, build_recipe, is_named_shape, read_yaml
from .weights_license import known_licenses

CAD_FILES = {".obj", ".off", ".ply", ".stl", ".glb", ".gltf"}


def resolve(arguments: Namespace) -> Recipe:
    """The recipe that the options of ``dinemo train`` stand for.

    Raises:
        RecipeError: something is missing or cannot be used; one sentence says what, and what to give.
    """
    base = Path(arguments.data or ".").expanduser()
    document, where = _document(arguments)
    if arguments.size:
        document["size"] = parse_size(arguments.size)
    box = [text for text in arguments.shape or () if text.startswith("box:")]
    if box:
        document["size"] = parse_size(box[-1])
    if "size" not in document:
        raise RecipeError(f"category {arguments.category!r}: no size known, and CAD models do not tell it; give --size "
                          "LENGTHxWIDTHxHEIGHT in metres (mean over the category), for example --size 0.12x0.09x0.10")
    if arguments.seed is not None:
        document["seed"] = arguments.seed
    if arguments.version is not None:
        document["card"] = document.get("card", {}) | {"version": arguments.version}
    if arguments.detector_label:
        card = document.get("card", {})
        document["card"] = card | {"detector": card.get("detector", {}) | {"labels": arguments.detector_label}}
    turn = {"hfov_deg": arguments.hfov, "elevation_deg": arguments.elevation}
    document["turn"] = (document.get("turn") or {}) | {key: value for key, value in turn.items() if value is not None}
    recipe = build_recipe(document, where)
    # A recipe of one's own says itself what is drawn; where it wants drawings and names no models, --shape's are meant.
    draws = recipe.synthetic.renderer == "shapes" and any("synthetic" in spec.pools for spec in recipe.rounds)
    wanted = not arguments.config or (draws and not recipe.data.renders)
    given = _from_command_line(recipe.data, arguments, wanted)
    licenses = known_licenses(recipe, given)
    data = located(given, base)
    learning = replace(recipe.learning, init=_existing("learning.init", recipe.learning.init, base),
                       weights=_existing("learning.weights", recipe.learning.weights, base))
    mesh = replace(recipe.mesh, profile=_profile(recipe.mesh.profile, base))
    recipe = replace(recipe, data=data, mesh=mesh, learning=learning, licenses=licenses)
    return recipe.checked() if arguments.config else recipe.adapted()


def _document(arguments: Namespace) -> tuple[dict, str]:
    """The mapping to start from, and its name for errors."""
    if arguments.config:
        document = read_yaml(arguments.config)
        named = document.setdefault("category", arguments.category)
        if not isinstance(document.get("card", {}), dict):
            raise RecipeError(f"{arguments.config}: card must be a mapping of keys to values")
        if arguments.category and named != arguments.category:
            raise RecipeError(f"{arguments.config} is a recipe of {shown(repr(named), 80)}, but --category is "
                              f"{arguments.category!r}; leave --category out, or give another --config")
        if named is None:
            raise RecipeError(f"{arguments.config}: has no category; give --category NAME")
        return document, str(arguments.config)
    if not arguments.category:
        raise RecipeError("no category: give --category NAME, a --config, or the --run folder of an earlier run")
    one = HULL in (arguments.shape or ())  # an object is learnt in another way than the category it belongs to
    shipped = CONFIGS / ("object_one_turn.yaml" if one else f"{arguments.category}.yaml")
    document = read_yaml(shipped) if shipped.is_file() else {}
    document["category"] = arguments.category
    if one:
        document.pop("size")  # of the object that it stands there for
    document.pop("data", None)  # where its pictures lay on another machine
    document.pop("licenses", None)  # of these
    # A renderer or a mesh of one's own may know only certain models; the general ones take any.
    document.pop("synthetic", None)
    document.get("mesh", {}).pop("profile", None)
    return document, f"recipe of {arguments.category}"


def _from_command_line(data: Data, arguments: Namespace, draw_shape: bool) -> Data:
    """``data`` with what the command line gives instead; ``draw_shape``: CAD models are rendered, too."""
    changes: dict = {}
    if arguments.shape:
        changes["shape"] = [s if is_named_shape(s) else _here(s) for s in arguments.shape]
        cad = [s for s in changes["shape"] if not is_named_shape(s) and not s.endswith(".npz")]
        if cad and draw_shape:
            changes["renders"] = {"cad": cad}
    if arguments.renders:
        changes["renders"] = {**changes.get("renders", data.renders), **dict(map(_named_folder, arguments.renders))}
    if arguments.images:
        changes["photographs"] = _here(arguments.images)
    if arguments.find_object:
        changes["find_object"] = True
    if arguments.negatives:
        changes["negatives"] = _here(arguments.negatives)
    if getattr(arguments, "spins", None):
        if arguments.turntables:
            raise RecipeError("--spins is the old name of --turntables, and both are given; leave --spins out")
        note("--spins", OPTIONS["--spins"])
        arguments.turntables = arguments.spins
    if arguments.turntables:
        changes["turntables"] = _here(arguments.turntables)
    if arguments.sequences and HULL in changes.get("shape", data.shape):
        changes |= turn_of(Path(arguments.sequences), arguments.reference)
    elif arguments.sequences:
        changes |= sequences_of(Path(arguments.sequences), arguments.reference)
    elif arguments.reference:
        raise RecipeError("--reference names a sequence below --sequences DIR; give --sequences too")
    return replace(data, **changes)


def sequences_of(folder: Path, reference: str | None) -> dict:
    """Keys ``reference``, ``azimuths`` and ``sequences`` of a folder with a sub-folder per sequence.

    Raises:
        RecipeError: there are no sequences, or nothing says which way one of them faces.
    """
    if not folder.is_dir():
        raise RecipeError(f"--sequences {folder}: no such folder")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and _has_pictures(p))
    if not names:
        raise RecipeError(f"--sequences {folder}: no sub-folder with pictures; each sequence is a folder of its frames "
                          "in order")
    table = folder / "azimuth.json"
    try:
        known = read_json(table)
        if not isinstance(known, dict):
            raise DocumentError("holds no names")
        posed = [name for name in names if name in known]
    except DocumentError as error:
        raise RecipeError(f"{shown_path(table)}: {error}; it says which way the reference sequence faces: "
                          '{"NAME": {"azimuth_deg": {"000.jpg": 0.0, ...}}}') from error
    chosen = reference or (posed[0] if len(posed) == 1 else None)
    if chosen not in posed:
        raise RecipeError(f"{table}: " + (f"has no sequence {reference!r}" if reference else "says the azimuths of "
                          f"{len(posed)} sequences") + f"; give --reference NAME, one of {', '.join(posed) or 'none'}")
    others = [str((folder / name).resolve()) for name in names if name != chosen]
    return {"reference": str((folder / chosen).resolve()), "azimuths": str(table.resolve()), "sequences": others}


def turn_of(folder: Path, reference: str | None) -> dict:
    """Keys ``reference`` and ``azimuths`` of one turn of pictures: those of ``folder`` itself, or of a sub-folder.

    Without an ``azimuth.json`` in ``folder`` the pictures are taken for equal steps, in the order of their names.

    Raises:
        RecipeError: there is no turn, or it is not clear which.
    """
    if not folder.is_dir():
        raise RecipeError(f"--sequences {folder}: no such folder")
    turns = {p.name: p for p in sorted(folder.iterdir()) if p.is_dir() and _has_pictures(p)}
    if _has_pictures(folder):
        turns = {folder.resolve().name: folder}
    if reference or len(turns) != 1:
        if reference not in turns:
            raise RecipeError(f"--sequences {folder}: a hull is made of one turn, and there are {len(turns)}; give "
                              f"--reference NAME, one of {', '.join(turns) or 'none: it holds no pictures'}")
        turns = {str(reference): turns[str(reference)]}
    (chosen,) = turns.values()
    table = folder / "azimuth.json"
    return {"reference": str(chosen.resolve()), "azimuths": str(table.resolve()) if table.is_file() else None,
            "sequences": []}


def located(data: Data, base: Path) -> Data:
    """``data`` with absolute paths, every one of which exists.

    Raises:
        RecipeError: names the key and the path.
    """
    if not data.shape:
        raise RecipeError("no shape: give --shape with a folder of CAD models, one file, box:LENGTHxWIDTHxHEIGHT in "
                          "metres, or hull with one turn of pictures (--sequences)")
    if HULL in data.shape and not data.reference:
        raise RecipeError("shape hull: is made of one turn of pictures; give --sequences with their folder")
    if data.reference and not data.azimuths and HULL not in data.shape:
        raise RecipeError("data.reference is given without data.azimuths, which say which way its frames face")
    # First, for a wrong --shape may be the folder of the renders, too.
    shape = [s if is_named_shape(s) else _shape(s, base) for s in data.shape]
    renders = {name: [_existing(f"data.renders.{name}", folder, base) for folder in _listed(folders)]
               for name, folders in data.renders.items() if folders}
    return replace(
        data, renders=renders, shape=shape,
        photographs=_pictures("data.photographs", data.photographs, base),
        reference=_pictures("data.reference", data.reference, base),
        azimuths=_existing("data.azimuths", data.azimuths, base),
        sequences=[_pictures("data.sequences", s, base) for s in data.sequences],
        negatives=_existing("data.negatives", data.negatives, base),
        others=[_pictures("data.others", s, base) for s in data.others],
        turntables=_turntables(data, base))


def _turntables(data: Data, base: Path) -> str | None:
    """The folder, read once now: an error at the evaluation, hours later, would come too late."""
    folder = _existing("data.turntables", data.turntables, base)
    if folder is not None:
        try:
            read_turntables(Path(folder), data.turntable_names or None)
        except DatasetError as error:
            raise RecipeError(f"data.turntables: {error}") from error
    return folder


def cad_files(paths: list) -> list[Path]:
    """CAD files below ``paths`` (folders or files), in name order."""
    folders = [Path(p) for p in paths]
    return [f for p in folders for f in (sorted(q for q in p.iterdir() if q.suffix.lower() in CAD_FILES)
                                         if p.is_dir() else [p])]


def parse_size(text: str) -> list[float]:
    """``box:4.2x1.8x1.5`` or ``4.2x1.8x1.5`` -> length, width, height in metres.

    Raises:
        RecipeError: it is something else.
    """
    try:
        size = [float(part) for part in text.lower().removeprefix("box:").split("x")]
    except ValueError:
        size = []
    if len(size) != 3 or not all(0 < v < 1e4 for v in size):
        raise RecipeError(f"{text!r} is not LENGTHxWIDTHxHEIGHT in metres, for example 4.2x1.75x1.5")
    return size


def _named_folder(text: str) -> tuple[str, str]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise RecipeError(f"--renders {text!r} is not NAME=DIR; NAME is an option of the renderer, for example "
                          "cad=meshes/")
    return name, _here(folder)


def _here(path: str) -> str:
    """What the command line names starts at the current folder, not at --data."""
    return str(Path(path).expanduser().resolve())


def _listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


def _shape(text: str, base: Path) -> str:
    path = Path(_existing("shape", text, base))
    if path.suffix != ".npz" and not cad_files([path]):
        raise RecipeError(f"shape {path}: no CAD model there; allowed: {', '.join(sorted(CAD_FILES))}")
    if path.is_file() and path.suffix.lower() not in CAD_FILES | {".npz"}:
        raise RecipeError(f"shape {path}: not a CAD model; allowed: {', '.join(sorted(CAD_FILES))}, .npz")
    return str(path)


def _profile(name: str, base: Path) -> str:
    """A kind of vessel by its name, or the path of a file of one's own made absolute."""
    return str(_existing("mesh.profile", name, base)) if name.endswith((".yaml", ".yml")) else name


def _pictures(key: str, text: str | None, base: Path) -> str | None:
    folder = _existing(key, text, base)
    if folder is not None and not _has_pictures(Path(folder)):
        raise RecipeError(f"{key}: {folder} is no folder with pictures ({', '.join(sorted(PICTURES))})")
    return folder


def _has_pictures(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix.lower() in PICTURES for p in folder.iterdir())


def _existing(key: str, text: str | None, base: Path) -> str | None:
    if text is None:
        return None
    try:
        path = (base / Path(text).expanduser()).resolve()
        there = path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # a name that is too long, somebody's home that is not there
        raise RecipeError(f"{key}: {shown(text)} is no path ({shown(error)})") from error
    if not there:
        raise RecipeError(f"{key}: {shown_path(path)} does not exist; relative paths of a recipe start at "
                          f"--data (now {base})")
    return str(path)

