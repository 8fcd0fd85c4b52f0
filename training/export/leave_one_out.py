# SPDX-License-Identifier: Apache-2.0
"""Does a fitted uncertainty hold for objects that it was not fitted on? Each model in turn is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dinemo_ros.evaluation.coverage import chi_square_content
from dinemo_ros.model.symmetry import UNIFORM_VARIANCE
from dinemo_ros.uncertainty import FACTORS, UncertaintySpec

from .announced import Announced, Errors


def left_out(announced: Announced, fit: Callable[[Announced], UncertaintySpec],
             assets: Sequence[str] = ()) -> list[dict]:
    """Records for ``coverage_rows`` and ``reliability_rows``: of each model, with a fit to all others.

    With a single model there are no others, and no records. ``assets``: only these models; none are all.
    """
    records = []
    for asset in assets or np.unique(announced.asset):
        others = announced.only(announced.asset != asset)
        if len(others) and not others.right.all() and others.right.any():
            records += experienced(announced.only(announced.asset == asset), fit(others))
    return records


def experienced(announced: Announced, uncertainty: UncertaintySpec) -> list[dict]:
    """One record per picture: ``model`` (the network), ``occlusion``, ``group``, ``error_deg``, ``probability`` and
    ``contents``, as an evaluation of a bundle with this ``uncertainty`` would have them."""
    probability = np.array([uncertainty.probability_of(row) for row in announced.evidence])
    announced = announced.sloped(uncertainty)
    factor = {name: np.array([uncertainty.factor(name, p) for p in probability]) for name in FACTORS}
    floor = dict(zip(FACTORS, uncertainty.floor, strict=True))

    def squares(quantity: Errors, names: Sequence[str], most: float = np.inf) -> tuple[np.ndarray, int]:
        scale = np.stack([factor[name] for name in names], axis=1)
        return quantity.squares(scale, np.array([floor[name] for name in names]), most), quantity.freedom

    turned = announced.rotation.freedom == 3
    parts = {
        "rotation": squares(announced.rotation, ("tilt", "tilt", "turn") if turned else ("tilt", "tilt"),
                            UNIFORM_VARIANCE if turned else np.inf),
        "translation": squares(announced.position, ("across", "across", "along")),
        "distance": squares(announced.distance, ("along",)),
        "size": squares(announced.size, ("size",) * announced.size.freedom),
    }
    contents = {name: [chi_square_content(value, freedom) for value in values]
                for name, (values, freedom) in parts.items()}
    return [{"model": str(announced.network[i]), "occlusion": str(announced.level[i]), "group": str(announced.asset[i]),
             "error_deg": float(announced.error_deg[i]), "probability": float(probability[i]),
             "contents": {name: values[i] for name, values in contents.items()}} for i in range(len(announced))]
