# SPDX-License-Identifier: Apache-2.0
"""The terms of weights, from the terms of everything that they are taught with.

``licenses`` of a recipe says what the data that it names may be used for. Weights are under all of these together; what
nobody stated is not taken for free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dinemo_ros.errors import BundleError
from dinemo_ros.io.quoting import shown
from dinemo_ros.model.weights_license import WeightsLicense, is_permissive

if TYPE_CHECKING:
    from .recipe import Data, Learning, Recipe

OWN = "Apache-2.0"  # of what the recipe and the package add by themselves
_TAUGHT = ("photographs", "reference", "sequences", "negatives", "others")  # keys of data that hold pictures


def check_licenses(licenses: dict) -> None:
    """RecipeError unless each entry is ``{terms: TEXT, why: TEXT}`` under the name of something that can be used."""
    from .recipe import RecipeError

    for key, entry in licenses.items():
        name = key.partition(".")[0] if isinstance(key, str) else ""
        if name not in (*_TAUGHT, "shape", "renders", "learning"):
            raise RecipeError(f"licenses: {shown(repr(key), 60)} names nothing that is taught with; allowed: "
                              f"{', '.join(_TAUGHT)}, shape, renders.NAME, learning.weights, learning.init")
        if not isinstance(entry, dict) or not entry.get("terms") or set(entry) - {"terms", "why"}:
            raise RecipeError(f"licenses.{key}: must be {{terms: SPDX expression or text, why: sentence}}")
        try:
            WeightsLicense(**{name: _text(value) for name, value in entry.items()})
        except BundleError as error:
            raise RecipeError(f"licenses.{key}: {error}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BundleError(f"{shown(repr(value), 60)} is no text; put it between quotes")
    return value


def used(data: Data, learning: Learning) -> dict[str, object]:
    """What a recipe teaches with: name of the key as ``licenses`` has it -> what it holds."""
    from .recipe import is_named_shape

    found: dict[str, object] = {key: getattr(data, key) for key in _TAUGHT}
    found["shape"] = [item for item in data.shape if not is_named_shape(item)]
    found |= {f"renders.{name}": folders for name, folders in data.renders.items()}
    found |= {f"learning.{key}": getattr(learning, key) for key in ("weights", "init")}
    return {key: value for key, value in found.items() if value}


def weights_license(recipe: Recipe) -> WeightsLicense:
    """What may be done with the weights that the recipe makes.

    All terms joined by AND, those of one's own first, if every source has some; where one has none, they are stated
    only if those that are known are not permissive anyway.
    """
    sources = used(recipe.data, recipe.learning)
    if not sources:
        return WeightsLicense()
    unknown = sorted(key for key in sources if key not in recipe.licenses)
    known = {key: recipe.licenses[key] for key in sources if key in recipe.licenses}
    terms = list(dict.fromkeys(entry["terms"] for entry in known.values()))
    bound = [text for text in terms if not is_permissive(text)]
    why = "; ".join(dict.fromkeys(entry["why"] for entry in known.values() if entry.get("why")))
    if unknown:
        lacking = f"no terms are known of {', '.join(unknown)}"
        why = f"{why}; {lacking}" if why else lacking
    if unknown and not bound:
        return WeightsLicense("", why)
    joined = " AND ".join(dict.fromkeys(map(_grouped, bound or [OWN, *terms])))
    return WeightsLicense(joined, f"taught with {why}" if why else "")


def known_licenses(recipe: Recipe, given: Data) -> dict:
    """The licences of a recipe without those of what ``given``, its data with the command line's, has replaced."""
    then, now = used(recipe.data, recipe.learning), used(given, recipe.learning)
    return {key: entry for key, entry in recipe.licenses.items() if key not in then or then[key] == now.get(key)}


def _grouped(terms: str) -> str:
    return f"({terms})" if " OR " in terms else terms
