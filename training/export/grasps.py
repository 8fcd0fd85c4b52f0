# SPDX-License-Identifier: Apache-2.0
"""Grasp frames of a recipe into the card of a bundle that was trained before they were in it.

    python -m dinemo_training.export.grasps --recipe training/configs/cup.yaml --bundle engines/cup

A new run of ``dinemo train`` writes them by itself. Network, mesh and everything else in the card stay as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from dinemo_ros.model.bundle import Bundle, load_bundle, rewrite_card
from dinemo_ros.process.console import command_main

from ..run.arguments import parsed
from ..run.recipe import Recipe, RecipeError, load_recipe


def take_grasps(recipe: Recipe, bundle: Bundle) -> Bundle:
    """The bundle with the grasp frames of the recipe, those that it had replaced.

    Raises:
        RecipeError: it is a recipe of another category. BundleError: the card cannot be written.
    """
    card = recipe.bundle_card()
    if card.category != bundle.card.category:
        raise RecipeError(f"the recipe is of {card.category}, {bundle.path} is of {bundle.card.category}; give the "
                          "recipe that the bundle was trained with")
    return rewrite_card(bundle, replace(bundle.card, grasps=card.grasps))


def main() -> None:
    """The command ``python -m dinemo_training.export.grasps``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="YAML, as for dinemo train --config")
    parser.add_argument("--bundle", type=Path, required=True, help="its card is rewritten")
    args = parsed(parser)
    bundle = take_grasps(load_recipe(args.recipe), load_bundle(args.bundle))
    print(f"{args.bundle}: {', '.join(spec.name for spec in bundle.card.grasps) or 'no grasps'}")


if __name__ == "__main__":
    command_main(main)
