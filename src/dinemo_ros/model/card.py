# SPDX-License-Identifier: Apache-2.0
"""The card of a bundle, ``model.yaml``: what it says about a category, and what each value may be.

A new section is a dataclass with a default for each of its values, and a line in :class:`Card`: cards of older versions
go on to load. One that most cards do not have is declared with :func:`_optional`: a card is written without it.
"""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import BundleError
from ..uncertainty import UncertaintySpec
from ..verification.spec import PresenceSpec
from .allowed import require
from .azimuth import AzimuthSpec
from .grasps import GraspSpec, check_grasps
from .symmetry import Symmetry
from .weights_license import WeightsLicense

FORMATS = ("dinemo-bundle/1", "dinemo-bundle/2")  # which are read
FORMAT = FORMATS[-1]  # which is written
SOURCES = ("support", "depth", "support+depth")  # of the distance, beside the picture; see ObjectPose.source
_MOST_VIEWS = 50_000  # of the coarse search; the shipped cards ask for 3,600
_MOST_GRASPS = 100
_MOST_LABELS, _LONGEST_LABEL = 100, 100
_LONGEST = {"category": 64, "version": 64, "description": 2000, "license": 2000}  # characters
_Section = typing.TypeVar("_Section")


def _optional(default: Callable[[], _Section]) -> _Section:
    """A section that a card is written without where it is what ``default`` makes."""
    return field(default_factory=default, metadata={"optional": True})


@dataclass(frozen=True)
class SizePrior:
    """Category size: mean length, width, height (object x, y, z) in metres, spread of their logarithms."""

    mean_m: tuple[float, ...]
    log_sigma: tuple[float, ...]

    def __post_init__(self) -> None:
        require(len(self.mean_m) == 3 and min(self.mean_m) > 0, "size_prior.mean_m", self.mean_m,
                 "three positive lengths in metres")
        require(len(self.log_sigma) == 3 and 0 < min(self.log_sigma) <= max(self.log_sigma) < 1,
                 "size_prior.log_sigma", self.log_sigma, "three numbers in (0, 1)")


@dataclass(frozen=True)
class ImageSpec:
    """Crop side in pixels, how much wider than the ROI it is, and pixels per feature cell."""

    size: int = 256
    margin: float = 1.15
    stride: int = 8

    def __post_init__(self) -> None:
        require(self.size % 32 == 0 and 64 <= self.size <= 1024, "image.size", self.size,
                 "a multiple of 32 from 64 to 1024")
        require(1.0 <= self.margin <= 3.0, "image.margin", self.margin, "1 to 3")
        require(self.stride == 8, "image.stride", self.stride, "8")


@dataclass(frozen=True)
class FeatureSpec:
    """Feature length, and the softmax temperature that the features were trained with.

    flip_tta: flip test-time augmentation: where the pose of a crop has low confidence (``score.tta_threshold``), its
    mirror image is used, too, see ``mirror.py``.
    """

    dim: int = 64
    temperature: float = 0.07
    flip_tta: bool = False

    def __post_init__(self) -> None:
        require(1 <= self.dim <= 2048, "features.dim", self.dim, "1 to 2048")
        require(0.005 <= self.temperature <= 1.0, "features.temperature", self.temperature, "0.005 to 1")


@dataclass(frozen=True)
class ScoreSpec:
    """How far to trust a pose.

    accept: poses whose score is below are not reported.
    tta_threshold: scores below are of low confidence: they ask for ``features.flip_tta``, where the bundle has it.
    covariance_scale: how much larger the variance of poses is than independent noise in the cells explains, measured on
    held-out data (a network displaces whole parts of an object alike). The spread along the ray is not scaled.
    """

    accept: float = 0.2
    tta_threshold: float = 1.0
    covariance_scale: float = 20.0

    def __post_init__(self) -> None:
        require(0.0 <= self.accept <= 1.0, "score.accept", self.accept, "0 to 1")
        require(0.0 <= self.tta_threshold <= 1.0, "score.tta_threshold", self.tta_threshold, "0 to 1")
        require(0.01 <= self.covariance_scale <= 1000.0, "score.covariance_scale", self.covariance_scale,
                 "0.01 to 1000")


@dataclass(frozen=True)
class CalibrationSpec:
    """What was measured on renders with exact poses, see ``dinemo_training.export.calibrate``.

    depth_scale: true over estimated distance. Features at an outline mix object and background, so the fitted mesh lies
    a little inside the object and seems farther away.
    """

    depth_scale: float = 1.0

    def __post_init__(self) -> None:
        require(0.5 <= self.depth_scale <= 2.0, "calibration.depth_scale", self.depth_scale, "0.5 to 2")


@dataclass(frozen=True)
class SearchSpec:
    """Coarse search grid: number of azimuths, elevations and thetas in degrees, distances relative to the ROI's."""

    azimuth: int = 48
    elevation_deg: tuple[float, ...] = (-5.0, 0.0, 8.0, 18.0, 30.0)
    theta_deg: tuple[float, ...] = (-8.0, 0.0, 8.0)
    scale: tuple[float, ...] = (0.8, 0.9, 1.0, 1.12, 1.25)

    def __post_init__(self) -> None:
        require(4 <= self.azimuth <= 360, "search.azimuth", self.azimuth, "4 to 360 steps")
        for name, low, high in (("elevation_deg", -90, 90), ("theta_deg", -180, 180), ("scale", 0.1, 10)):
            values = getattr(self, name)
            require(1 <= len(values) <= 64 and low <= min(values) <= max(values) <= high, f"search.{name}", values,
                     f"1 to 64 numbers from {low} to {high}")
        views = self.azimuth * len(self.elevation_deg) * len(self.theta_deg) * len(self.scale)
        require(views <= _MOST_VIEWS, "search", f"{views} poses", f"up to {_MOST_VIEWS} (azimuth times the numbers of "
                 "elevation_deg, theta_deg and scale)")


@dataclass(frozen=True)
class DetectorHint:
    """What box detectors call objects of the category, and what the score of the shipped one is worth.

    Attributes:
        labels: names of classes, of whichever detectors.
        min_score: of the shipped detector, 0 to 1, below which a box is not looked at.
        even: its score at which as many boxes hold an object as hold none, in pictures of which half show one.
        slope: how fast the logarithm of those odds grows with that of the score's.
        floor: probability of an object, by detector and ``presence`` together, below which a pose in a box of the
            shipped detector is dropped; 0 leaves it at the floor of ``presence``.
    """

    labels: tuple[str, ...] = ()
    min_score: float = 0.3
    even: float = 0.5
    slope: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        require(len(self.labels) <= _MOST_LABELS, "detector.labels", f"{len(self.labels)} names",
                f"up to {_MOST_LABELS}")
        for label in self.labels:
            require(0 < len(label) <= _LONGEST_LABEL and label.isprintable(), "detector.labels", label,
                    f"names of up to {_LONGEST_LABEL} characters that can be printed")
        require(0.0 <= self.min_score <= 1.0, "detector.min_score", self.min_score, "0 to 1")
        require(0.0 < self.even < 1.0, "detector.even", self.even, "between 0 and 1")
        require(0.0 <= self.slope <= 20.0, "detector.slope", self.slope, "0 to 20")
        require(0.0 <= self.floor <= 1.0, "detector.floor", self.floor, "0 to 1")

    def __bool__(self) -> bool:
        return bool(self.labels)

    def probability(self, score: float) -> float:
        """Of an object in a box that the shipped detector gives ``score`` (0 to 1), before one has looked.

        Platt, Probabilistic Outputs for Support Vector Machines, 1999, in the logarithm of the score's odds.
        """
        score = min(max(score, 1e-6), 1.0 - 1e-6)
        log_odds = self.slope * math.log(score * (1.0 - self.even) / ((1.0 - score) * self.even))
        return 0.5 + 0.5 * math.tanh(0.5 * log_odds)


@dataclass(frozen=True)
class Card:
    """``model.yaml``: who the bundle is for, how to feed it, and the hashes of its files.

    Attributes:
        license: in words, of everything in the bundle. weights_license: what may be done with the weights.
        uncertainty: what is applied to poses whose distance is known from the picture alone.
        uncertainty_by_source: the same by what else the distance is known from, see :data:`SOURCES`.
        azimuth: how far the evidence of all turns about the axis is believed, where a single part tells the azimuth.
        presence: how likely it is that there is an object at all, and how likely it has to be.
        grasps: where a gripper takes hold of it.
        detector: what box detectors call it.
    """

    category: str
    version: str
    size_prior: SizePrior
    format: str = FORMAT
    description: str = ""
    license: str = ""
    weights_license: WeightsLicense = _optional(WeightsLicense)
    symmetry: Symmetry = field(default_factory=Symmetry)
    image: ImageSpec = field(default_factory=ImageSpec)
    features: FeatureSpec = field(default_factory=FeatureSpec)
    score: ScoreSpec = field(default_factory=ScoreSpec)
    calibration: CalibrationSpec = field(default_factory=CalibrationSpec)
    uncertainty: UncertaintySpec = _optional(UncertaintySpec)
    uncertainty_by_source: dict[str, UncertaintySpec] = _optional(dict)
    azimuth: AzimuthSpec = _optional(AzimuthSpec)
    presence: PresenceSpec = _optional(PresenceSpec)
    grasps: tuple[GraspSpec, ...] = _optional(tuple)
    detector: DetectorHint = _optional(DetectorHint)
    search: SearchSpec = field(default_factory=SearchSpec)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(re.fullmatch(r"[a-z0-9_]+", self.category) is not None, "category", self.category,
                 "lower-case letters, digits and underscores")
        for name, longest in _LONGEST.items():
            value = getattr(self, name)
            require(len(value) <= longest and (name not in ("category", "version") or value.isprintable()), name,
                     value, f"up to {longest} characters that can be printed")
        self.presence.require_dim(self.features.dim)
        for source, spec in self.uncertainty_by_source.items():
            require(source in SOURCES, "uncertainty_by_source", source, f"keys {', '.join(SOURCES)}")
            if not spec:
                raise BundleError(f"uncertainty_by_source.{source} is empty; give it what uncertainty has, or leave it "
                                  "out")
        require(len(self.grasps) <= _MOST_GRASPS, "grasps", f"{len(self.grasps)} entries", f"up to {_MOST_GRASPS}")
        check_grasps(self.grasps, self.symmetry.continuous)

    def uncertainty_of(self, source: str) -> UncertaintySpec:
        """What is applied to a pose whose distance is known from ``source``, see ``ObjectPose.source``."""
        return self.uncertainty_by_source.get(source, self.uncertainty)
