# SPDX-License-Identifier: Apache-2.0
"""Grasp frames of a recipe into the card of a bundle that was trained before they were in it.

    python -m dinemo_training.export.grasps --recipe training/configs/cup.yaml --bundle engines/cup

A new run of ``dinemo train`` writes them by itself. Network, mesh and everything else in the card stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from dinemo_ros.model.bundle import Bundle, rewrite_card
from dinemo_ros.process.console import command_main

from ..run.recipe import Recipe
from .from_recipe import card_of, run_command


def take_grasps(recipe: Recipe, bundle: Bundle) -> Bundle:
    """The bundle with the grasp frames of the recipe, those that it had replaced.

    Raises:
        RecipeError: it is a recipe of another category. BundleError: the card cannot be written.
    """
    card = card_of(recipe, bundle)
    return rewrite_card(bundle, replace(bundle.card, grasps=card.grasps))


def main() -> None:
    """The command ``python -m dinemo_training.export.grasps``."""
    run_command(__doc__, take_grasps, lambda bundle: ", ".join(spec.name for spec in bundle.card.grasps) or "no grasps")


if __name__ == "__main__":
    command_main(main)
