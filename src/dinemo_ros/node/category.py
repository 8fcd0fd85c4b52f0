# SPDX-License-Identifier: Apache-2.0
"""What a pose node has of each of its categories."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from ..errors import BundleError
from ..estimator import PoseEstimator
from ..gates import PoseGate
from ..io.quoting import shown_path
from ..model.bundle import Bundle, find_bundle, load_bundle
from .parameters import entries


@dataclass
class Category:
    """One of them, while the node is configured.

    Attributes:
        bundle: from its folder. gate: holds its poses back, see :mod:`dinemo_ros.gates`.
        estimator: while the node is not at rest.
    """

    bundle: Bundle
    estimator: PoseEstimator | None = None
    gate: PoseGate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = PoseGate(self.bundle.card.symmetry)

    @property
    def name(self) -> str:
        return self.bundle.card.category

    def runs(self) -> dict[str, str]:
        """What computes just now, and why: it may be another than was asked for, or another than at the start."""
        if self.estimator is None:
            return {}
        network = self.estimator.extractor
        return {"backend": network.name, "precision": network.precision, "network_device": network.device,
                "backend_reason": network.reason, "solver_device": self.estimator.pipeline.device,
                "finds_with": self.estimator.finds_with}


def bundles_of(settings: SimpleNamespace) -> list[Bundle]:
    """The bundles that the parameters ask for, in the order of ``categories``, then those given by their folders.

    Raises:
        BundleError: one is not there or is none, or two are of one category.
    """
    given: dict[str, Bundle] = {}
    for folder in entries([settings.bundle, *(settings.bundles or [])]):
        bundle = load_bundle(folder)
        other = given.setdefault(bundle.card.category, bundle)
        if other is not bundle:
            raise BundleError(f"bundles {shown_path(other.path)} and {shown_path(bundle.path)} are both of category "
                              f"{bundle.card.category}; give one of them (parameters bundle, bundles)")
    given = {name: with_floor(bundle, settings.presence_floor) for name, bundle in given.items()}
    wanted = entries(settings.categories) or ([] if given else [settings.category])
    found = {name: given.get(name) or with_floor(load_bundle(find_bundle(name)), settings.presence_floor)
             for name in dict.fromkeys(wanted)}
    return list((found | given).values())


def with_floor(bundle: Bundle, floor: float) -> Bundle:
    """The same with this ``presence`` floor, 0 to 1, for whichever box; with its own where ``floor`` is below 0."""
    if floor < 0:
        return bundle
    card = bundle.card
    presence = replace(card.presence, floor=floor) if card.presence else card.presence
    return replace(bundle, card=replace(card, presence=presence, detector=replace(card.detector, floor=0.0)))
