# SPDX-License-Identifier: Apache-2.0
"""The terms of the weights, from a recipe into the card of a bundle that was trained before recipes stated them.

    python -m dinemo_training.export.weights_license --recipe training/configs/cup.yaml --bundle engines/cup

A new run of ``dinemo train`` writes them by itself. Network, mesh and everything else in the card stay as they are.
Give the recipe that the bundle was taught by, with the data that it was taught with.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from dinemo_ros.model.bundle import Bundle, load_bundle, rewrite_card
from dinemo_ros.process.console import command_main

from ..run.arguments import parsed
from ..run.recipe import Recipe, RecipeError, load_recipe


def take_weights_license(recipe: Recipe, bundle: Bundle) -> Bundle:
    """The bundle with the terms that the recipe gives.

    Raises:
        RecipeError: it is a recipe of another category, or gives none. BundleError: the card cannot be written.
    """
    card = recipe.bundle_card()
    if card.category != bundle.card.category:
        raise RecipeError(f"the recipe is of {card.category}, {bundle.path} is of {bundle.card.category}; give the "
                          "recipe that the bundle was trained with")
    if not card.weights_license.terms:
        raise RecipeError("the recipe states no terms for all that it teaches with; fill in its licenses")
    return rewrite_card(bundle, replace(bundle.card, weights_license=card.weights_license))


def main() -> None:
    """The command ``python -m dinemo_training.export.weights_license``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="YAML, as for dinemo train --config")
    parser.add_argument("--bundle", type=Path, required=True, help="its card is rewritten")
    args = parsed(parser)
    bundle = take_weights_license(load_recipe(args.recipe), load_bundle(args.bundle))
    print(f"{args.bundle}: {bundle.card.weights_license.told()}")


if __name__ == "__main__":
    command_main(main)
