# SPDX-License-Identifier: Apache-2.0
"""The terms of the weights, from a recipe into the card of a bundle that was trained before recipes stated them.

    python -m dinemo_training.export.weights_license --recipe training/configs/cup.yaml --bundle engines/cup

A new run of ``dinemo train`` writes them by itself. Network, mesh and everything else in the card stay as they are.
Give the recipe that the bundle was taught by, with the data that it was taught with.
"""

from __future__ import annotations

from dataclasses import replace

from dinemo_ros.model.bundle import Bundle, rewrite_card
from dinemo_ros.process.console import command_main

from ..run.recipe import Recipe, RecipeError
from .from_recipe import card_of, run_command


def take_weights_license(recipe: Recipe, bundle: Bundle) -> Bundle:
    """The bundle with the terms that the recipe gives.

    Raises:
        RecipeError: it is a recipe of another category, or gives none. BundleError: the card cannot be written.
    """
    card = card_of(recipe, bundle)
    if not card.weights_license.terms:
        raise RecipeError("the recipe states no terms for all that it teaches with; fill in its licenses")
    return rewrite_card(bundle, replace(bundle.card, weights_license=card.weights_license))


def main() -> None:
    """The command ``python -m dinemo_training.export.weights_license``."""
    run_command(__doc__, take_weights_license, lambda bundle: bundle.card.weights_license.told())


if __name__ == "__main__":
    command_main(main)
