# SPDX-License-Identifier: Apache-2.0
"""What a recipe says and no training measures, into the card of a bundle that was trained before the recipe said it.

The commands that take one key each are :mod:`.grasps` and :mod:`.weights_license`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from dinemo_ros.model.bundle import Bundle, Card, load_bundle

from ..run.arguments import parsed
from ..run.recipe import Recipe, RecipeError, load_recipe


def card_of(recipe: Recipe, bundle: Bundle) -> Card:
    """The card that the recipe makes; RecipeError where it is one of another category than ``bundle``."""
    card = recipe.bundle_card()
    if card.category != bundle.card.category:
        raise RecipeError(f"the recipe is of {card.category}, {bundle.path} is of {bundle.card.category}; give the "
                          "recipe that the bundle was trained with")
    return card


def run_command(description: str, take: Callable[[Recipe, Bundle], Bundle], told: Callable[[Bundle], str]) -> None:
    """The command round ``take``, which writes the card; it prints what is then ``told`` of the bundle."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="YAML, as for dinemo train --config")
    parser.add_argument("--bundle", type=Path, required=True, help="its card is rewritten")
    arguments = parsed(parser)
    bundle = take(load_recipe(arguments.recipe), load_bundle(arguments.bundle))
    print(f"{arguments.bundle}: {told(bundle)}")
