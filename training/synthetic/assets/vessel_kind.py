# SPDX-License-Identifier: Apache-2.0
"""What a category of vessels is, read from YAML: no category of vessels stands in code.

``training/configs/vessels/NAME.yaml`` is known by its name, any other file of the kind by its path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.io.document import RECIPE, read_yaml
from dinemo_ros.io.quoting import shown, shown_path
from dinemo_ros.model.symmetry import Symmetry

from .skin import Skin, bottle_skin, cup_skin
from .vessel import Vessel, random_bottle, random_mug

FOLDER = Path(__file__).parents[2] / "configs" / "vessels"
CATEGORY_HELP = "a kind of vessel: the name of one of training/configs/vessels, or the path of such a YAML file"
#: What ``skin`` and ``invent`` of a kind may name.
SKINS: dict[str, Callable[..., Skin]] = {"ceramic": cup_skin, "glass": bottle_skin}
INVENTED: dict[str, Callable[[np.random.Generator], Vessel]] = {"mug": random_mug, "bottle": random_bottle}


@dataclass(frozen=True)
class VesselModel:
    """A CAD file of a category.

    Attributes:
        file: name without ``.obj``. height: of the real thing, metres. weight: how often it is drawn, beside
            the others. add_handle: whether it gets a handle. held_out: whether training never sees it.
    """

    file: str
    height: float
    weight: float = 1.0
    add_handle: bool = False
    held_out: bool = False

    def __post_init__(self) -> None:
        _require(isinstance(self.file, str) and self.file == Path(self.file).name, "file", self.file,
                 "the name of a file, between quotes, without folder and .obj")
        _require(_in(self.height, 0, 100), "height", self.height, "metres, above 0")
        _require(_in(self.weight, 0, 1e6), "weight", self.weight, "a number above 0")
        for name in ("add_handle", "held_out"):
            _require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")


@dataclass(frozen=True)
class VesselKind:
    """What is drawn.

    Attributes:
        models: CAD files. invent: what makes a vessel up; invented: share of the training samples (0 to 1) that are.
        length: of the labelled box, times the body's width: where the neural mesh has the handle's end. The label is
            not the box of the very vessel, because it decides how the mesh is stretched, and only the body counts for
            that.
        skin: random look. symmetry: poses are labelled by their canonical representative. open: an open vessel.
    """

    models: tuple[VesselModel, ...]
    skin: Callable[..., Skin]
    symmetry: Symmetry
    invent: Callable[[np.random.Generator], Vessel]
    length: float = 1.0
    open: bool = False
    invented: float = 0.0

    def __post_init__(self) -> None:
        _require(_in(self.length, 0, 10) and self.length >= 1, "length", self.length, "1 (no handle) to 10")
        _require(isinstance(self.open, bool), "open", self.open, "true or false")
        _require(self.invented == 0 or _in(self.invented, 0, 1), "invented", self.invented, "a share, 0 to 1")
        twice = [m.file for k, m in enumerate(self.models) if m.file in {n.file for n in self.models[:k]}]
        _require(not twice, "models", twice, "every file once")


def known_kinds() -> list[str]:
    """Names that :func:`vessel_kind` knows without a path."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def vessel_kind(name: str) -> VesselKind:
    """The kind of this name, or of the YAML file at this path.

    Raises:
        DatasetError: there is none, or a key of it is wrong; the message names it.
    """
    if not name.endswith((".yaml", ".yml")):
        if name not in known_kinds():
            raise DatasetError(f"category {shown(name)} is no kind of vessel that is known; allowed: "
                               f"{', '.join(known_kinds())}, or the path of a YAML file like "
                               f"training/configs/vessels/cup.yaml")
        return vessel_kind(str(FOLDER / f"{name}.yaml"))
    try:
        return _kind(read_yaml(name, RECIPE))
    except (DocumentError, ValueError) as error:
        raise DatasetError(f"{shown_path(name)}: {error}; training/configs/vessels has files to start from") from error


def _kind(document: Any) -> VesselKind:
    data = _checked(VesselKind, document, "the file")
    models = data["models"]
    if not isinstance(models, list):
        raise ValueError(f"models must be a list of files, got {type(models).__name__}")
    for key, allowed in (("skin", SKINS), ("invent", INVENTED)):
        _require(isinstance(data[key], str) and data[key] in allowed, key, data[key], ", ".join(allowed))
    given = data | {"models": tuple(VesselModel(**_checked(VesselModel, m, "models")) for m in models),
                    "skin": SKINS[data["skin"]], "invent": INVENTED[data["invent"]],
                    "symmetry": Symmetry.parse(data["symmetry"])}
    return VesselKind(**given)


def _checked(kind: type, data: Any, where: str) -> dict:
    """A mapping with the fields of ``kind`` and no others."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be a mapping of keys to values, got {type(data).__name__}")
    known = {item.name: item.default is MISSING for item in fields(kind)}
    wrong = [f"unknown key {shown(key)}" for key in data if key not in known] + \
        [f"key {key} is missing" for key, needed in known.items() if needed and key not in data]
    if wrong:
        raise ValueError(f"{where}: {wrong[0]}; keys are {', '.join(known)}")
    return data


def _in(value: Any, low: float, high: float) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and low < value <= high


def _require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{key} is {shown(repr(value), 80)}; allowed: {allowed}")
