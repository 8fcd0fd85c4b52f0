# SPDX-License-Identifier: Apache-2.0
"""A training recipe: what :mod:`training.pipeline` reads from YAML. Unknown keys are refused."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml

POOLS = ("synthetic", "sequences", "photographs", "negatives")
LABELS = ("none", "render", "correspondence", "confirmed")


@dataclass(frozen=True)
class Round:
    """One round of training.

    Attributes:
        pools: share of each pool in a batch. steps: optimiser steps.
        labels: how photographs get their poses before this round, or "none".
        every: label every n-th photograph. min_score, min_margin: which labels are trusted.
    """

    pools: dict[str, float]
    steps: int
    labels: str = "none"
    every: int = 1
    min_score: float = 0.33
    min_margin: float = 0.03

    def __post_init__(self) -> None:
        unknown = set(self.pools) - set(POOLS)
        if unknown or not self.pools or min(self.pools.values()) <= 0:
            raise ValueError(f"rounds.pools is {self.pools}; allowed: positive shares of {', '.join(POOLS)}")
        if self.labels not in LABELS:
            raise ValueError(f"rounds.labels is {self.labels!r}; allowed: {', '.join(LABELS)}")


@dataclass(frozen=True)
class Synthetic:
    """Rendered training pictures: how many, and folders of car models below the data folder."""

    count: int = 6000
    gazebo: str | None = None
    cad: str | None = None


@dataclass(frozen=True)
class Negatives:
    """Pictures without the object: how many, and a folder of such photographs below the data folder (or none)."""

    count: int = 1200
    photographs: str | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a bundle, see ``training/configs/car.yaml`` for the meaning of each key."""

    category: str
    size: list[float]
    shape: list[str]
    reference: str
    azimuths: str
    photographs: str
    rounds: list[Round]
    size_log_sigma: list[float] = field(default_factory=lambda: [0.10, 0.06, 0.08])
    sequences: list[str] = field(default_factory=list)
    synthetic: Synthetic = field(default_factory=Synthetic)
    negatives: Negatives = field(default_factory=Negatives)
    average: int = 1
    batch: int = 24
    seed: int = 0


def load_recipe(path: str | Path) -> Recipe:
    """Read a YAML recipe.

    Raises:
        ValueError: an unknown or missing key, or a value out of range; the message names it.
    """
    data = yaml.safe_load(Path(path).read_text())
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a recipe is a mapping of keys to values, got {type(data).__name__}")
    data["rounds"] = [_build(Round, r, f"{path}: rounds") for r in data.get("rounds") or []]
    data["synthetic"] = _build(Synthetic, data.get("synthetic") or {}, f"{path}: synthetic")
    data["negatives"] = _build(Negatives, data.get("negatives") or {}, f"{path}: negatives")
    recipe = _build(Recipe, data, str(path))
    if not recipe.rounds:
        raise ValueError(f"{path}: rounds is empty; at least one round of training is needed")
    if not 1 <= recipe.average <= len(recipe.rounds):
        raise ValueError(f"{path}: average is {recipe.average}; allowed: 1 (the last round alone) to the number of "
                         "rounds")
    if recipe.rounds[0].labels != "none":
        raise ValueError(f"{path}: labels of the first round is {recipe.rounds[0].labels!r}; no model exists yet that "
                         "could label photographs: none")
    return recipe


def _build(kind, data: dict, where: str):
    known = {f.name for f in fields(kind)}
    unknown = set(data) - known
    if unknown:
        raise ValueError(f"{where}: unknown keys {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(known))}")
    try:
        return kind(**data)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
