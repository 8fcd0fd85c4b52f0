# SPDX-License-Identifier: Apache-2.0
"""The categories of a pose node together: they are loaded, searched for, tracked, gated and forgotten as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from ..camera.pinhole import Camera
from ..detection.class_map import ClassMap
from ..detection.labelled_box import LabelledBox
from ..errors import BundleError
from ..estimator import PROPOSALS, PoseEstimator
from ..model.bundle import Bundle
from ..model.symmetry import Symmetry
from ..multi_estimator import MultiPoseEstimator
from ..multi_tracker import MultiPoseTracker
from ..pose import ObjectPose
from ..tracker import Tracking
from . import parameters
from .category import Category
from .conversions import nanoseconds
from .scene_inputs import Scene


class Categories:
    """Of a configured node.

    Args:
        bundles: one per category.
        class_map: entries of that parameter; ClassMapError where one is none.

    Attributes:
        class_map: None where there is one category and nothing is said: then every class of a detector is of it.
    """

    def __init__(self, bundles: Sequence[Bundle], class_map: Iterable[str] = ()) -> None:
        self._of = {bundle.card.category: Category(bundle) for bundle in bundles}
        told = parameters.entries(list(class_map))
        cards = [bundle.card for bundle in bundles]
        self.class_map = ClassMap(cards, told) if told or len(cards) > 1 else None
        self._finder: MultiPoseEstimator | MultiPoseTracker | None = None

    @property
    def bundles(self) -> dict[str, Bundle]:
        """By category."""
        return {name: category.bundle for name, category in self._of.items()}

    @property
    def symmetries(self) -> dict[str, Symmetry]:
        """By category."""
        return {name: bundle.card.symmetry for name, bundle in self.bundles.items()}

    @property
    def awake(self) -> bool:
        """Whether the models are loaded."""
        return all(category.estimator for category in self._of.values())

    def wake(self, make: Callable[[Bundle], PoseEstimator]) -> None:
        """Load the models; all of them or, where one does not load, none."""
        try:
            for category in self._of.values():
                category.estimator = category.estimator or make(category.bundle)
        except Exception:
            self.rest()
            raise

    def rest(self) -> None:
        """Let go of models and tracks."""
        self._finder = None
        for category in self._of.values():
            category.estimator = None

    def forget(self) -> int:
        """Begin anew with gates and tracks; how many tracks there were."""
        for category in self._of.values():
            category.gate.reset()
        return self._finder.reset() if isinstance(self._finder, MultiPoseTracker) else 0

    def find(self, image: np.ndarray, camera: Camera, boxes: Sequence[LabelledBox] | None, scene: Scene,
             settings: SimpleNamespace) -> list[ObjectPose]:
        """Poses in ``image`` uint8 [H, W, 3] RGB, best score first; ``boxes`` None has the models look themselves.

        Raises:
            BundleError: ``rois``, which may change at any time, asks for a detector, and there is none of a category.
        """
        estimators = [category.estimator for category in self._of.values() if category.estimator]
        for estimator in estimators:
            estimator.proposes = settings.rois == "proposals"
        if boxes is None and settings.rois == "detector":
            blind = [estimator.bundle.card.category for estimator in estimators if estimator.finds_with == PROPOSALS]
            if blind:
                raise BundleError(f"rois is detector, and the node has none that knows {' or '.join(blind)}: set rois "
                                  "to auto or proposals")
        if settings.tracking:
            if not isinstance(self._finder, MultiPoseTracker):
                self._finder = MultiPoseTracker(estimators)
            self._finder.settings = Tracking(search_every=settings.track_search_every,
                                             max_age_s=settings.track_max_age_s, smoothing=settings.track_smoothing)
            stamp_s = 1e-9 * nanoseconds(scene.placement.header.stamp)
            return self._finder.update(image, camera, stamp_s, boxes, most=settings.max_objects, support=scene.support,
                                       depth=scene.depth)
        if not isinstance(self._finder, MultiPoseEstimator):
            self._finder = MultiPoseEstimator(estimators)
        return self._finder.estimate(image, camera, boxes, most=settings.max_objects, support=scene.support,
                                     depth=scene.depth)

    def refuse(self, poses: Sequence[ObjectPose], reason: str) -> None:
        """Of the last image: ``poses`` are not told, for a ``reason`` that their boxes are to show."""
        if poses and self._finder:
            places = {(pose.category, pose.roi) for pose in poses}
            self._finder.looked = [replace(box, refused=reason) if (box.category, box.roi) in places else box
                                   for box in self._finder.looked]

    @property
    def looked(self) -> list[LabelledBox]:
        """The boxes of the last image, with what became of them."""
        return self._finder.looked if self._finder else []

    @property
    def beyond(self) -> list[LabelledBox]:
        """Boxes of the last image that were left out for want of time, beside those that nobody handed over."""
        return self._finder.left_out if self._finder else []

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds per stage of the last image."""
        return self._finder.timings if self._finder else {}

    def gated(self, poses: list[ObjectPose], stamp_s: float,
              settings: SimpleNamespace) -> tuple[list[ObjectPose], Counter[str]]:
        """Those of ``poses`` that the gates let through, in their order, and how many are held back per reason."""
        held: Counter[str] = Counter()
        passed: set[int] = set()
        for name, category in self._of.items():
            category.gate.settings = parameters.gating(settings)
            own = [pose for pose in poses if pose.category == name]
            passed |= {id(pose) for pose in category.gate.passed(own, stamp_s)}
            held += category.gate.held_back
        return [pose for pose in poses if id(pose) in passed], held

    def runs(self) -> dict[str, str]:
        """What computes just now: of one category under plain names, of several under ``<category>_<name>``."""
        if len(self._of) == 1:
            return next(iter(self._of.values())).runs()
        told = {"categories": ", ".join(self._of)}
        return told | {f"{name}_{key}": value for name, category in self._of.items()
                       for key, value in category.runs().items()}

    def __str__(self) -> str:
        """For a person: "cup 1.3, bottle 1.4"."""
        return ", ".join(f"{name} {bundle.card.version}" for name, bundle in self.bundles.items())
