# SPDX-License-Identifier: Apache-2.0
"""What a category of vessels is, read from YAML: no category of vessels stands in code.

``training/configs/vessels/NAME.yaml`` is known by its name, any other file of the kind by its path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dinemo_ros.errors import DatasetError
from dinemo_ros.io.quoting import shown_path
from dinemo_ros.model.symmetry import Symmetry

from .data_file import CONFIGS, document_of, is_below, is_number, listed, mapping, names_in, require
from .skin import Skin, bottle_skin, cup_skin
from .vessel import Vessel, plain_mug, random_bottle, random_mug

FOLDER = CONFIGS / "vessels"
CATEGORY_HELP = "a kind of vessel: the name of one of training/configs/vessels, or the path of such a YAML file"
#: What ``skin`` and ``invent`` of a kind may name.
SKINS: dict[str, Callable[..., Skin]] = {"ceramic": cup_skin, "glass": bottle_skin}
INVENTED: dict[str, Callable[[np.random.Generator], Vessel]] = {"mug": random_mug, "plain mug": plain_mug,
                                                                "bottle": random_bottle}


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
        require(is_below(self.file), "file", self.file, "the name of a file without .obj, between quotes")
        require(is_number(self.height, 0, 100), "height", self.height, "metres, above 0")
        require(is_number(self.weight, 0), "weight", self.weight, "a number above 0")
        for name in ("add_handle", "held_out"):
            require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")


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
        require(is_number(self.length, high=10) and self.length >= 1, "length", self.length, "1 (no handle) to 10")
        require(isinstance(self.open, bool), "open", self.open, "true or false")
        require(is_number(self.invented, high=1) and self.invented >= 0, "invented", self.invented, "a share, 0 to 1")
        twice = [m.file for k, m in enumerate(self.models) if m.file in {n.file for n in self.models[:k]}]
        require(not twice, "models", twice, "every file once")


def known_kinds() -> list[str]:
    """Names that :func:`vessel_kind` knows without a path."""
    return names_in(FOLDER)


def vessel_kind(name: str) -> VesselKind:
    """The kind of this name, or of the YAML file at this path.

    Raises:
        DatasetError: there is none, or a key of it is wrong; the message names it.
    """
    path, document = document_of(name, FOLDER, "kind of vessel")
    try:
        return _kind(document)
    except ValueError as error:
        raise DatasetError(f"{shown_path(path)}: {error}") from error


def _kind(document: Any) -> VesselKind:
    data = mapping(VesselKind, document, "the file")
    for key, allowed in (("skin", SKINS), ("invent", INVENTED)):
        require(isinstance(data[key], str) and data[key] in allowed, key, data[key], ", ".join(allowed))
    return VesselKind(**data | {"models": listed(VesselModel, data["models"], "models"),
                                "skin": SKINS[data["skin"]], "invent": INVENTED[data["invent"]],
                                "symmetry": Symmetry.parse(data["symmetry"])})
