# SPDX-License-Identifier: Apache-2.0
"""Which CAD files stand for a category of vessels, how high they are, and which ones are held out.

Every file was looked at from four sides (``python -m dinemo_training.synthetic.render.vessel_sheet``): all are upright,
the handles of the three cups that have one point the same way. Files that are not listed are something else than the
category means (goblets and wine glasses in the folder of cups; an oval flask in that of bottles, which are declared
round).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dinemo_ros.model.symmetry import Symmetry

from .skin import Skin, bottle_skin, cup_skin
from .vessel import Vessel, deformed, random_bottle, random_mug, read_vessel, with_handle


@dataclass(frozen=True)
class VesselModel:
    """A CAD file of a category: height of the real thing in metres, how often it is drawn, whether it gets a handle."""

    file: str
    height: float
    weight: float = 1.0
    add_handle: bool = False
    held_out: bool = False


@dataclass(frozen=True)
class Category:
    """What is drawn.

    Attributes:
        entries: CAD files. invent: makes a vessel up; invented: share of the training samples (0 to 1) that it makes.
        length: of the labelled box, times the body's width: where the neural mesh has the handle's end. The label is
            not the box of the very vessel, because it decides how the mesh is stretched, and only the body counts for
            that.
        skin: random look. symmetry: poses are labelled by their canonical representative. open: an open vessel.
    """

    entries: tuple[VesselModel, ...]
    skin: Callable[..., Skin]
    symmetry: Symmetry
    length: float
    open: bool
    invent: Callable[[np.random.Generator], Vessel]
    invented: float = 0.0


CUP_LENGTH = 1.38  # body and handle of a mug, times the width of its body

CATEGORIES = {
    "cup": Category((
        VesselModel("01", 0.095, 2.0), VesselModel("03", 0.090, 0.7), VesselModel("04", 0.080, 1.0, add_handle=True),
        VesselModel("06", 0.110, 0.5, add_handle=True), VesselModel("02", 0.065, held_out=True)),
        cup_skin, Symmetry("z", 1), CUP_LENGTH, True, random_mug, 0.55),
    "bottle": Category((
        VesselModel("01", 0.300), VesselModel("02", 0.300), VesselModel("04", 0.220, 1.5), VesselModel("05", 0.190,
        0.5),
        VesselModel("07", 0.240, 1.0), VesselModel("03", 0.235, held_out=True), VesselModel("06", 0.240,
        held_out=True)),
        bottle_skin, Symmetry("z", 0), 1.0, False, random_bottle, 0.5),
}


class VesselCatalogue:
    """The vessels of a category that are to be drawn, and new ones made of them."""

    def __init__(self, category: str, folder: Path | None, held_out: bool = False) -> None:
        """``held_out`` chooses the vessels that training never sees; without a ``folder`` all are invented."""
        if category not in CATEGORIES:
            raise SystemExit(f"category {category!r} is not known; allowed: {', '.join(CATEGORIES)}")
        self.category = CATEGORIES[category]
        self.entries = [e for e in self.category.entries if folder and e.held_out == held_out]
        missing = [e.file for e in self.entries if not (folder / f"{e.file}.obj").is_file()]
        if missing:
            raise SystemExit(f"{folder}: has no {missing[0]}.obj; give the folder of the category's CAD files")
        self._vessels = [read_vessel(folder / f"{e.file}.obj", e.height) for e in self.entries]
        weights = np.array([e.weight for e in self.entries])
        self._weights = weights / weights.sum() if folder else weights
        self._invented = (0.0 if held_out else self.category.invented) if folder else 1.0

    def plain(self) -> list[Vessel]:
        """The vessels as their files show them (with the handle that some get)."""
        return [with_handle(v) if e.add_handle else v for v, e in zip(self._vessels, self.entries, strict=True)]

    def draw(self, rng: np.random.Generator) -> Vessel:
        """A vessel: one of the files deformed, or an invented one."""
        if rng.random() < self._invented:
            return deformed(self.category.invent(rng), rng, 0.5)
        index = int(rng.choice(len(self.entries), p=self._weights))
        vessel = self._vessels[index]
        if self.entries[index].add_handle:
            vessel = with_handle(vessel, rng)
        return deformed(vessel, rng)
