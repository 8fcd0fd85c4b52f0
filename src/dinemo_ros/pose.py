# SPDX-License-Identifier: Apache-2.0
"""What the estimator returns: one :class:`ObjectPose` per object, its runner-up hypotheses with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .geometry import allocentric, viewpoint_from_rotation

Roi = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max in pixels


@dataclass(frozen=True)
class Hypothesis:
    """One candidate pose of an object.

    Attributes:
        T_cam_obj: [4, 4] object frame to camera optical frame, metres.
        score: mean evidence of the visible vertices against clutter, 0 (none) to 1 (all agree).
        size: [3] length, width, height in metres (object x, y, z).
    """

    T_cam_obj: np.ndarray
    score: float
    size: np.ndarray

    def viewpoint(self) -> tuple[float, float, float]:
        """Azimuth, elevation, theta in radians (PASCAL3D+), seen along the ray to the object."""
        return viewpoint_from_rotation(allocentric(self.T_cam_obj))


@dataclass(frozen=True)
class Observation:
    """What something beside the picture had to say about a pose.

    Attributes:
        name: "support" (the plane that the object stands on) or "depth".
        used: it agreed with the rest and is part of the pose.
        residual_m: metres between it and the pose without it, along the plane's normal or along the ray; NaN where it
            said nothing.
        reason: why it was not used, one sentence, or an empty string.
    """

    name: str
    used: bool
    residual_m: float
    reason: str = ""


@dataclass(frozen=True)
class ObjectPose(Hypothesis):
    """The chosen hypothesis, and what is known about its reliability.

    Attributes:
        category: name from the bundle, e.g. ``"car"``.
        covariance: [6, 6] of (x, y, z, rot_x, rot_y, rot_z) about the camera axes, in the order of
            ``geometry_msgs/PoseWithCovariance``; metres and radians. The axis along the viewing ray
            holds the scale ambiguity of a single RGB image (the category's size prior).
        roi: (x_min, y_min, x_max, y_max) in image pixels that was looked at.
        runners_up: other hypotheses, best first; a front/back flip shows up here with its score.
        visible: share of the vertices that face the camera and are explained by the object, 0 to 1.
        size_covariance: [3, 3] of the size, square metres.
        probability: that the rotation is within 30 degrees of the true one, calibrated on renders; None where the
            bundle does not tell.
        presence: probability that there is an object of the category at the pose, calibrated on pictures with and
            without one, as many of the one as of the other; None where the bundle does not tell.
        source: what the distance is known from: "rgb" (the size that the category usually has), "support", "depth" or
            "support+depth".
        shape: [K] of the category's modes of shape (``NeuralMesh.modes``), standard deviations from the mean object; it
            is found where ``source`` is not "rgb", else empty or zeros.
        observations: what was known beside the picture, and whether the pose agrees with it.
        turns: [36] probability that the object is turned about its z axis by 0, 10, 20 ... degrees from the pose, of a
            category whose azimuth a single part tells (a cup's handle); empty of others, and where no ``azimuth`` was
            fitted for the bundle's card.
        track_id: number of the object over a sequence of images, from the tracker; None without one.
    """

    category: str = ""
    covariance: np.ndarray = field(default_factory=lambda: np.eye(6))
    roi: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    runners_up: tuple[Hypothesis, ...] = ()
    visible: float = 0.0
    size_covariance: np.ndarray = field(default_factory=lambda: np.eye(3))
    probability: float | None = None
    presence: float | None = None
    source: str = "rgb"
    observations: tuple[Observation, ...] = ()
    shape: tuple[float, ...] = ()
    turns: tuple[float, ...] = ()
    track_id: int | None = None
