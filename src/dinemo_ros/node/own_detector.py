# SPDX-License-Identifier: Apache-2.0
"""The box detector that a pose node brings itself, as its parameters want it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from ..detection.class_map import ClassMap
from ..detection.detector_search import find_detector
from ..detection.finder import SharedDetector, knows
from ..detection.lazy_detector import LazyDetector
from ..errors import BundleError
from ..io.quoting import named
from ..model.bundle import Bundle

_LABELS = 5  # of a detector in one sentence


def as_mapped(bundle: Bundle, labels: Sequence[str], class_map: ClassMap | None) -> Bundle:
    """``bundle``, which asks a detector of these ``labels`` for what the entries of ``class_map`` say is its category.

    Where there are no entries its card says it.
    """
    if class_map is None or not class_map.has_entries:
        return bundle
    own = tuple(label for label in labels if bundle.card.category in class_map.of(label))
    return replace(bundle, card=replace(bundle.card, detector=replace(bundle.card.detector, labels=own)))


def own_detector(settings: SimpleNamespace, bundles: Sequence[Bundle],
                 class_map: ClassMap | None = None) -> SharedDetector | None:
    """One for all categories; None where it knows none of them, or none came with the package.

    Its network is loaded where ``rois`` says that it may be needed, and otherwise when it is.

    Raises:
        BundleError: it is asked for, by ``rois`` or by its folder, and is not there, is no good, or knows no category.
    """
    wanted = settings.rois == "detector"
    try:
        folder = Path(settings.detector) if settings.detector else find_detector()
    except BundleError:
        if wanted:
            raise
        return None
    detector = LazyDetector(folder, settings.threads, settings.detector_budget_ms)
    asking = [as_mapped(bundle, detector.labels, class_map) for bundle in bundles]
    unknown = [bundle.card.category for bundle in asking if not knows(detector, bundle.card.detector)]
    if wanted and unknown:
        raise BundleError(f"{folder}: the detector knows none of the names that the bundle of {unknown[0]} has for it "
                          "(detector.labels in its card, parameter class_map); rois:=auto or proposals does without")
    if len(unknown) == len(bundles):
        if settings.detector:
            raise BundleError(f"{folder}: the detector finds {named(detector.labels, _LABELS)} and no bundle asks for "
                              "one of these (detector.labels in its card, parameter class_map); leave parameter "
                              "detector empty, or give another")
        return None
    if settings.rois in ("auto", "detector"):
        detector.load()
    return SharedDetector(detector)
