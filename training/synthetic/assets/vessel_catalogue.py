# SPDX-License-Identifier: Apache-2.0
"""The vessels that are drawn of a category: its CAD files, read and measured, and new ones made of them.

Which files those are, how high they are and which are held out is data: ``training/configs/vessels``, read by
:mod:`dinemo_training.synthetic.assets.vessel_kind`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .vessel import Vessel, deformed, read_vessel, with_handle
from .vessel_kind import vessel_kind


class VesselCatalogue:
    """The vessels of a category that are to be drawn, and new ones made of them."""

    def __init__(self, category: str, folder: Path | None, held_out: bool = False) -> None:
        """``held_out`` chooses the vessels that training never sees; without a ``folder`` all are invented.

        Raises:
            DatasetError: no such category, see :func:`vessel_kind`.
            SystemExit: a file is not in the folder.
        """
        self.category = vessel_kind(category)
        self.entries = [e for e in self.category.models if folder and e.held_out == held_out]
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
