# SPDX-License-Identifier: Apache-2.0
"""A training recipe: everything that decides a bundle, read from YAML. Unknown keys are refused.

Nothing here knows a category: sizes, views, symmetry and the models that are rendered all come from the recipe. The
meaning of each key stands beside its value in ``training/configs/car.yaml``.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dinemo_ros.defaults import DEFAULT_HFOV_DEG
from dinemo_ros.errors import BundleError, DinemoError, DocumentError
from dinemo_ros.io.document import RECIPE
from dinemo_ros.io.document import read_yaml as read_document
from dinemo_ros.io.quoting import shown, shown_path
from dinemo_ros.model.bundle import Card, parse_card
from dinemo_ros.model.symmetry import NO_SYMMETRY

from ..data.augmentation import AugmentConfig
from .old_names import KEYS, present_keys
from .weights_license import check_licenses, weights_license

Part = TypeVar("Part")

_OURS = ("out", "count", "seed")  # options of a renderer that the run itself gives
_OPTION = re.compile(r"[a-z][a-z0-9_-]*")
POOLS = ("synthetic", "sequences", "photographs", "negatives")
HULL = "hull"  # as the shape: what the silhouettes of one turn enclose
LABELS = ("none", "render", "correspondence", "confirmed")
CONFIGS = Path(__file__).parents[1] / "configs"


class RecipeError(DinemoError):
    """A recipe, or an input that it names, that training cannot work with; the message names what to change."""


@dataclass(frozen=True)
class Round:
    """One round of training.

    Attributes:
        pools: share of each pool in a batch. steps: optimiser steps.
        labels: how photographs get their poses before this round, or "none".
        every: label every n-th photograph. min_score, min_margin: which labels are trusted.
        drop: share of the labels of every ten degrees of azimuth that is not trusted, those of the smallest margin.
            Scores and margins depend on how long a model was trained, and straight views of front and rear have less of
            both than views from the side: one number for all leaves a short training without labels, and a long one
            without these views.
        bidirectional: false labels by raw matches alone, the baseline of
            :mod:`dinemo_training.pseudo_labels.correspondence`.
        neighbour_consistency: labels by correspondence are synchronised over similar photographs
            (:mod:`dinemo_training.pseudo_labels.neighbour_consistency`); not where the category has a symmetry.
        keep: of the trusted labels only so many, those of the largest margin; 0: all.
    """

    pools: dict
    steps: int
    labels: str = "none"
    every: int = 1
    min_score: float = 0.0
    min_margin: float = 0.03
    drop: float = 0.2
    bidirectional: bool = True
    neighbour_consistency: bool = True
    keep: int = 0

    def __post_init__(self) -> None:
        wrong = set(self.pools) - set(POOLS)
        shares = self.pools.values()
        if wrong or not self.pools or not all(_is_number(s) and s > 0 for s in shares):
            raise RecipeError(f"rounds.pools is {_quoted(self.pools)}; allowed: positive shares of {', '.join(POOLS)}")
        _require(self.labels in LABELS, "rounds.labels", self.labels, ", ".join(LABELS))
        _require(self.steps >= 1, "rounds.steps", self.steps, "1 or more")
        _require(self.every >= 1, "rounds.every", self.every, "1 or more")
        _require(0 <= self.drop < 1, "rounds.drop", self.drop, "0 (none) to below 1 (nearly all)")
        _require(self.keep >= 0, "rounds.keep", self.keep, "0 (all) or more")
        if not self.bidirectional and self.labels not in ("correspondence", "confirmed"):
            raise RecipeError(f"rounds.bidirectional is false, but labels is {self.labels!r}, which matches nothing; "
                              "set labels to correspondence or confirmed")


@dataclass(frozen=True)
class Data:
    """Where everything comes from; relative paths are below the data folder. What is not there stays empty.

    Attributes:
        shape: folders or files of CAD models in one pose, an npz of a finished mesh, ``box:LxWxH`` in metres, or
            ``hull``: of one object, what the silhouettes of the reference sequence enclose.
        photographs: folder of unlabelled photographs; find_object: the object does not fill them, find it
            first, by saliency (true) or by the box detector that ships and the labels of card.detector ("detector").
        reference, azimuths: the sequence that defines where front is, and the JSON with its azimuths.
        sequences: folders of unposed sequences.
        renders: folders of models to draw, by the name of the renderer's option.
        negatives: folder of photographs without the object.
        others: folders of photographs of objects of other categories, which are to get no pose.
        turntables: folder of sequences with known azimuth, for evaluation alone; turntable_names: which of them, [] for
        all.
    """

    shape: list = field(default_factory=list)
    photographs: str | None = None
    find_object: bool | str = False
    reference: str | None = None
    azimuths: str | None = None
    sequences: list = field(default_factory=list)
    renders: dict = field(default_factory=dict)
    negatives: str | None = None
    others: list = field(default_factory=list)
    turntables: str | None = None
    turntable_names: list = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_options("data.renders", self.renders)
        _require(self.find_object in (False, True, "detector"), "data.find_object", self.find_object,
                 "false, true (by saliency) and detector")
        for name in ("shape", "sequences", "others", "turntable_names"):
            _require(_are_texts(getattr(self, name)), f"data.{name}", getattr(self, name), "a list of texts")
        for name, folders in self.renders.items():
            _require(not folders or _are_texts(folders if isinstance(folders, list) else [folders]),
                     f"data.renders.{shown(name, 40)}", folders, "a folder, or a list of folders")


@dataclass(frozen=True)
class Synthetic:
    """Rendered pictures: how many to train and how many to measure on, and which module of
    dinemo_training.synthetic.render draws.

    ``options`` go to the renderer's command line: ``{elevation: [0, 60]}`` is ``--elevation 0 60``, true is a flag, and
    ``$KEY`` stands for what another key of the recipe holds (``$data.photographs``), ``$symmetry`` for the order of the
    symmetry that ``card`` declares, if any; empty, it leaves the option out.
    ``held_out_options`` are added when the pictures to measure on are drawn, best of models that are in no training
    picture; they are drawn with another seed in any case. ``scenes`` are whole pictures with depth and the
    table's plane, of the category of ``mesh.profile``, from which covariances are fitted where these tell the distance;
    0: none.
    """

    renderer: str = "shapes"
    count: int = 6000
    held_out: int = 300
    options: dict = field(default_factory=lambda: {"size": "$size", "axes": "$mesh.axes", "body": "$mesh.body",
                                                   "symmetry": "$symmetry", "backgrounds": "$data.negatives"})
    held_out_options: dict = field(default_factory=lambda: {"held-out": True})
    scenes: int = 0

    def __post_init__(self) -> None:
        _require(self.renderer.isidentifier(), "synthetic.renderer", self.renderer, "a module of "
            "dinemo_training.synthetic.render")
        _check_options("synthetic.options", self.options)
        _check_options("synthetic.held_out_options", self.held_out_options)
        _require(self.count >= 1, "synthetic.count", self.count, "1 or more")
        _require(self.held_out >= 10, "synthetic.held_out", self.held_out, "10 or more, they calibrate the bundle")
        _require(self.scenes == 0 or self.scenes >= 50, "synthetic.scenes", self.scenes, "0, or 50 and more")


@dataclass(frozen=True)
class Turn:
    """The one turn of pictures that ``data.shape: [hull]`` makes a mesh and poses of; what it is assumed to be stands
    in :mod:`dinemo_training.sequences.one_turn`.

    Attributes:
        hfov_deg: horizontal field of view of its pictures. elevation_deg: of the camera above the object; None: found
            from the silhouettes. between: pictures drawn of the hull, with the turn's own colours, from where no
            picture was taken; 0: none.
    """

    hfov_deg: float = DEFAULT_HFOV_DEG
    elevation_deg: float | None = None
    between: int = 0

    def __post_init__(self) -> None:
        _require(5 <= self.hfov_deg <= 120, "turn.hfov_deg", self.hfov_deg, "5 to 120")
        _require(self.elevation_deg is None or 0 <= self.elevation_deg <= 80, "turn.elevation_deg", self.elevation_deg,
                 "0 to 80, or nothing to find it")
        _require(self.between >= 0, "turn.between", self.between, "0 (none) or more")


@dataclass(frozen=True)
class Mesh:
    """The neural mesh: vertices wanted, and how CAD files are turned (see
    ``dinemo_training.synthetic.shape.mean_mesh.AXES``).

    ``profile`` names a kind of vessel, or the YAML file that says what it is, see
    ``dinemo_training.synthetic.assets.vessel_kind``: its mean profile is turned
    about its axis, instead of the solid average of all files (``dinemo_training.synthetic.shape.vessel_mesh``).

    ``body`` is the share of a model's largest cross-section from which on a slice belongs to its box: 0.02 leaves out a
    car's mirrors and antennas; 0, all that there is, is for what stands on thin legs. ``filled``: the mean has no gaps
    between left and right, as a car has none between its wheels; false keeps a chair's legs apart.
    """

    vertices: int = 800
    axes: str = "pascal3d"
    profile: str = ""
    body: float = 0.02
    filled: bool = True

    def __post_init__(self) -> None:
        _require(100 <= self.vertices <= 4000, "mesh.vertices", self.vertices, "100 to 4000")
        _require(0 <= self.body < 1, "mesh.body", self.body, "0 (everything) to below 1")


@dataclass(frozen=True)
class Learning:
    """Contrastive training, see :class:`dinemo_training.models.contrastive.TrainConfig`.

    Attributes:
        backbone: timm name of the student. weights: file of its pretrained trunk, None: the package's or hub's own.
        batch: pictures per step and GPU. lr: peak of the learning rate.
        sigma: distance over which neighbouring vertices share a target, times the object's longest side.
        temperature: of the softmax over vertices; the bundle's card repeats it.
        crop: side of training crops in pixels; the bundle works at ``card.image.size``.
        augmentation: fields of :class:`dinemo_training.data.augmentation.AugmentConfig` that differ from its defaults:
            ``{mirror: 0.0}`` for what is not left-right symmetric.
        workers: processes that prepare examples. init: checkpoint to start from instead of pretrained weights.
        freeze: of a transformer only the read-out learns. views: then so many augmented views are put through the
            transformer once per round and kept on disk; 0 puts a new view through it whenever one is needed.
    """

    backbone: str = "tf_efficientnet_lite0"
    weights: str | None = None
    batch: int = 24
    lr: float = 5e-4
    sigma: float = 0.036
    temperature: float = 0.07
    crop: int = 224
    workers: int = 1
    init: str | None = None
    freeze: bool = False
    views: int = 0
    augmentation: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.augment_config()
        _require(self.batch >= 1, "learning.batch", self.batch, "1 or more")
        _require(0 < self.lr < 1, "learning.lr", self.lr, "above 0, below 1")
        _require(0 < self.sigma < 1, "learning.sigma", self.sigma, "a share of the longest side, 0 to 1")
        _require(0.005 <= self.temperature <= 1, "learning.temperature", self.temperature, "0.005 to 1")
        _require(32 <= self.crop <= 1024, "learning.crop", self.crop, "32 to 1024 pixels")
        _require(self.workers >= 0, "learning.workers", self.workers, "0 or more")
        _require(self.views == 0 or (self.freeze and self.views > 0), "learning.views", self.views,
                 "0, or with freeze: true the number of views whose tokens are kept")
        _require(not self.freeze or "vit" in self.backbone, "learning.freeze", self.freeze,
                 f"false for {self.backbone}; only a vision transformer can be frozen")

    def augment_config(self) -> AugmentConfig:
        """What is done to training crops; RecipeError names a field that there is not, or that is no such number."""
        known = {item.name: item.default for item in fields(AugmentConfig) if item.name != "size"}
        for name, value in self.augmentation.items():
            _require(name in known, "learning.augmentation", name, ", ".join(known))
            if isinstance(known[name], tuple):
                good = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) \
                    and 0 < value[0] <= value[1] <= 4
                allowed = "two numbers above 0, the smaller first"
            else:
                good = _is_number(value) and 0 <= value <= (180 if name.endswith("_deg") else 1)
                allowed = "0 to 180" if name.endswith("_deg") else "0 to 1"
            _require(good, f"learning.augmentation.{name}", value, allowed)
        return AugmentConfig(size=self.crop, **{name: tuple(value) if isinstance(value, list) else value
                                                for name, value in self.augmentation.items()})


# Category-neutral: what the car bundle was trained with. Pools and labels without data drop out, see adapted().
_ROUNDS = (
    {"steps": 900, "pools": {"synthetic": 0.6, "sequences": 0.4}},
    {"steps": 1400, "labels": "render", "every": 2,
     "pools": {"synthetic": 0.45, "sequences": 0.15, "photographs": 0.40}},
    {"steps": 900, "labels": "confirmed", "every": 5, "min_margin": 0.05,
     "pools": {"synthetic": 0.40, "sequences": 0.15, "photographs": 0.35, "negatives": 0.10}},
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a bundle.

    ``teacher`` compares photographs and sequences with each other before there is a model, see
    :mod:`dinemo_training.models.teachers.specification`. ``card`` holds keys of the bundle's card (``model.yaml``) as
    they are written there: symmetry, search, image, features, score, description, license, version. ``licenses``
    holds the terms of what ``data`` names, {KEY: {terms: SPDX, why: sentence}}, KEY being a key of ``data``,
    ``renders.NAME``, ``learning.weights`` or ``learning.init``; the card's ``weights_license`` is made of them
    (:mod:`dinemo_training.run.weights_license`), unless ``card`` has one.
    """

    category: str
    size: list
    size_log_sigma: list = field(default_factory=lambda: [0.10, 0.06, 0.08])
    data: Data = field(default_factory=Data)
    mesh: Mesh = field(default_factory=Mesh)
    turn: Turn = field(default_factory=Turn)
    synthetic: Synthetic = field(default_factory=Synthetic)
    negatives: int = 1200
    teacher: str = "cnn"
    learning: Learning = field(default_factory=Learning)
    rounds: list[Round] = field(default_factory=lambda: [Round(**r) for r in _ROUNDS])
    average: int = 2
    card: dict = field(default_factory=dict)
    licenses: dict = field(default_factory=dict)
    evaluate: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        good = len(self.size) == 3 and all(_is_number(v) and v > 0 for v in self.size)
        _require(good, "size", self.size, "mean length, width and height in metres")
        good = len(self.size_log_sigma) == 3 and all(_is_number(v) and 0 < v < 1 for v in self.size_log_sigma)
        _require(good, "size_log_sigma", self.size_log_sigma, "three numbers in (0, 1)")
        if not self.rounds:
            raise RecipeError("rounds is empty; at least one round of training is needed")
        _require(1 <= self.average <= len(self.rounds), "average", self.average,
                 f"1 (the last round alone) to the number of rounds ({len(self.rounds)})")
        if self.rounds[0].labels not in ("none", "correspondence"):
            raise RecipeError(f"labels of the first round is {self.rounds[0].labels!r}; no model exists yet that "
                              "could label photographs: none, or correspondence with the teacher")
        _require(self.negatives >= 0, "negatives", self.negatives, "0 (none) or more")
        _require(not self.synthetic.scenes or bool(self.mesh.profile and self.data.renders), "synthetic.scenes",
                 self.synthetic.scenes, "0 without mesh.profile and data.renders: scenes are drawn of vessels")

        if HULL in self.data.shape:
            _require(self.data.shape == [HULL] and not self.data.sequences, "data.shape", self.data.shape,
                     f"{HULL} alone, with one sequence (data.reference) and no other: it is one object")
        check_licenses(self.licenses)
        self.bundle_card()

    @property
    def one_object(self) -> bool:
        """Whether the mesh is the hull of one object, seen in one turn."""
        return HULL in self.data.shape

    def bundle_card(self, size: list | None = None) -> Card:
        """The card of the bundle before anything was measured; RecipeError names a key that is wrong.

        Args:
            size: length, width and height in metres, where something knows them better than the recipe.
        """
        document = {"version": "1", "description": f"{self.category}: trained without pose labels of real images",
                    "license": "see where the training pictures come from",
                    "weights_license": vars(weights_license(self)), "detector": {"labels": [self.category]},
                    **self.card,
                    "category": self.category,
                    "size_prior": {"mean_m": list(size or self.size), "log_sigma": list(self.size_log_sigma)}}
        if not isinstance(document.get("features", {}), dict):
            raise RecipeError(f"card: features must be a mapping, got {_quoted(document['features'])}")
        document["features"] = document.get("features", {}) | {"temperature": self.learning.temperature}
        try:
            return parse_card(document)
        except BundleError as error:
            raise RecipeError(f"card: {error}") from None

    def value(self, key: str) -> Any:
        """What a dotted key holds: ``data.photographs``, ``size``.

        Raises:
            RecipeError: there is no such key.
        """
        if key == "symmetry":
            symmetry = self.bundle_card().symmetry
            return symmetry.order if symmetry.exact else None
        found = self
        key = KEYS.get(key, key)
        for name in key.split("."):
            if not is_dataclass(found) or name not in {item.name for item in fields(found)}:
                raise RecipeError(f"synthetic.options: ${shown(key)} is no key of the recipe")
            found = getattr(found, name)
        return found

    def resolved(self, options: dict) -> dict:
        """Options of a renderer with every ``$KEY`` replaced by what it stands for."""
        return {name: self.value(option[1:]) if isinstance(option, str) and option.startswith("$") else option
                for name, option in options.items()}

    def sources(self) -> set[str]:
        """The pools that this recipe's data can fill."""
        data = self.data
        return {name for name, there in (("synthetic", data.renders), ("sequences", data.reference),
                                         ("photographs", data.photographs), ("negatives", self.negatives)) if there}

    def uses_neighbours(self, spec: Round) -> bool:
        """Whether the labels of this round are made consistent with those of similar photographs."""
        return (spec.labels == "correspondence" and spec.neighbour_consistency
                and self.bundle_card().symmetry == NO_SYMMETRY)

    def templates(self) -> str:
        """The pool whose posed views photographs are compared with."""
        return "sequences" if "sequences" in self.sources() else "synthetic"

    def checked(self) -> Recipe:
        """This recipe, if every pool that it trains on has data; RecipeError names the first that has not."""
        for number, spec in enumerate(self.rounds):
            lacking = sorted(set(spec.pools) - self.sources())
            if lacking:
                raise RecipeError(f"round {number} trains on {lacking[0]}, but there are none: {_REMEDY[lacking[0]]}, "
                                  "or take them out of the rounds of the recipe")
            if spec.labels == "correspondence" and number == 0 and "sequences" not in self.sources():
                raise RecipeError("round 0 labels photographs by correspondence to sequences, but there are none: "
                                  f"{_REMEDY['sequences']}, or set its labels to none")
            if spec.labels != "none" and "photographs" not in self.sources():
                raise RecipeError(f"round {number} labels photographs, but there are none: {_REMEDY['photographs']}, "
                                  "or set its labels to none")
        return self

    def adapted(self) -> Recipe:
        """The same recipe without the pools and labels that have no data: how defaults fit what is at hand.

        Raises:
            RecipeError: nothing with a known pose is left to begin with.
        """
        there = self.sources()
        if not there & {"synthetic", "sequences"}:
            raise RecipeError("nothing says which way an object is turned: give --shape with CAD models, or "
                              "--sequences with one sequence whose azimuths are known")
        rounds = []
        for spec in self.rounds:
            pools = {name: share for name, share in spec.pools.items() if name in there}
            labels = spec.labels if "photographs" in there else "none"
            rounds.append(replace(spec, labels=labels, pools=pools or {self.templates(): 1.0}))
        return replace(self, rounds=rounds)


_REMEDY = {"synthetic": "give CAD models with --shape (or data.renders in the recipe)",
           "sequences": "give --sequences with a sequence whose azimuths are known",
           "photographs": "give --images", "negatives": "set negatives to a number above 0"}


def is_named_shape(source: str) -> bool:
    """Whether a source of ``data.shape`` says what the shape is, and is no file or folder."""
    return source == HULL or source.startswith("box:")


def load_recipe(path: str | Path) -> Recipe:
    """Read a YAML recipe.

    Raises:
        RecipeError: an unknown or missing key, or a value out of range; the message names it.
    """
    return build_recipe(read_yaml(path), str(path))


def read_yaml(path: str | Path) -> dict:
    """A YAML mapping, as it is written.

    Raises:
        RecipeError: the file cannot be read, or is no mapping.
    """
    try:
        data = read_document(path, RECIPE)
    except DocumentError as error:
        raise RecipeError(f"{shown_path(path)}: {error}; training/configs has recipes to start from") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, got {type(data).__name__}")
    return data


def build_recipe(data: dict, where: str) -> Recipe:
    """Recipe of a mapping; ``where`` names it in errors."""
    data = dict(data)
    if "rounds" in data:
        if not isinstance(data["rounds"], list):
            raise RecipeError(f"{where}: rounds must be a list, got {_quoted(data['rounds'])}")
        data["rounds"] = [_build(Round, r, f"{where}: rounds") for r in data["rounds"]]
    for name, kind in (("data", Data), ("turn", Turn), ("mesh", Mesh), ("synthetic", Synthetic),
                       ("learning", Learning)):
        data[name] = _build(kind, data.get(name) or {}, f"{where}: {name}")
    return _build(Recipe, data, where)


def dump_recipe(recipe: Recipe) -> str:
    """YAML that :func:`load_recipe` reads back to an equal recipe."""
    return yaml.safe_dump(asdict(recipe), sort_keys=False, default_flow_style=None, width=110)


_SECTIONS = {Data: "data", Round: "rounds"}
_KINDS = {"bool": bool, "int": int, "float": (int, float), "str": str, "list": list, "dict": dict}


def _build(kind: type[Part], data: Any, where: str) -> Part:
    if not isinstance(data, dict):
        raise RecipeError(f"{where} must be a mapping of keys to values, got {_quoted(data)}")
    try:
        data = present_keys(_SECTIONS.get(kind, ""), data, where)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None
    known = {f.name: f for f in fields(kind)}
    unknown = set(data) - set(known)
    if unknown:
        raise RecipeError(f"{where}: unknown keys {shown(', '.join(sorted(map(str, unknown))))}; allowed: "
                          f"{', '.join(sorted(known))}")
    for name, item in known.items():
        if name not in data:
            if item.default is MISSING and item.default_factory is MISSING:
                raise RecipeError(f"{where}: key {name} is missing")
        elif not is_dataclass(data[name]):
            _check_type(item, data[name], where)
    try:
        return kind(**data)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def _check_type(item: dataclasses.Field, value: Any, where: str) -> None:
    """``value`` against the annotation of a field, which is a string here (postponed evaluation)."""
    name, optional = str(item.type).removesuffix(" | None"), str(item.type).endswith("| None")
    expected = _KINDS.get(name.split("[")[0])
    if not _finite(value):
        raise RecipeError(f"{where}: {item.name} is {_quoted(value)}; allowed: finite numbers")
    wrong_bool = isinstance(value, bool) and expected not in (None, bool)
    if not (value is None and optional) and (wrong_bool or (expected and not isinstance(value, expected))):
        raise RecipeError(f"{where}: {item.name} is {_quoted(value)}; allowed: {name.split('[')[0]}"
                          f"{' or nothing' if optional else ''}")


def _require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise RecipeError(f"{key} is {_quoted(value)}; allowed: {allowed}")


def _quoted(value: Any) -> str:
    """A value of a recipe as text for a message."""
    return shown(repr(value), 200)


def _finite(value: Any) -> bool:
    """Whether no number in a value, or in a list or mapping of values, is infinite or none."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _are_texts(values: list) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_options(key: str, options: dict) -> None:
    """Options of a renderer are its own: none is, or is taken for, where it writes, how much, or another option.

    Raises:
        RecipeError: names the option.
    """
    for name, value in options.items():
        _require(isinstance(name, str) and bool(_OPTION.fullmatch(name)), key, name,
                 "names of options, in lower-case letters, digits and underscores")
        taken = [ours for ours in _OURS if ours.startswith(name)]  # a beginning is enough for argparse
        _require(not taken, f"{key}.{name}", value, f"other options; --{(taken or [''])[0]} is given by the run itself")
        for part in value if isinstance(value, list) else [value]:
            _require(part is None or isinstance(part, (str, int, float)), f"{key}.{name}", part, "texts and numbers")
            _require(not str(part).startswith("-") or _is_number(part), f"{key}.{name}", part,
                     "texts that do not begin with - (that would be another option)")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
