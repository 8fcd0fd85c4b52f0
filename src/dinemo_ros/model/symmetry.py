# SPDX-License-Identifier: Apache-2.0
"""Symmetry of a category about its vertical axis: which poses are one and the same, and what cannot be known of them.

A category declares in ``model.yaml``

    symmetry: none                  a car: every pose looks different
    symmetry: {axis: z, order: 0}   a bottle: any turn about z leaves it as it is
    symmetry: {axis: z, order: n}   n >= 2: turns by 2 pi / n do (a square box: 4)
    symmetry: {axis: z, order: 1}   a cup: no turn does, but a single part (the handle) tells, and may be hidden

A turn acts on the object's side, R_cam_obj Rz(angle), and leaves the origin where it is: it lies on the axis.
Angles in radians, rotations [3, 3] object frame to camera optical frame, covariances as in :mod:`dinemo_ros.pose`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..geometry import ray_rotation, rotation_angle, rotation_from_viewpoint, turn
from ..io.quoting import shown

ALLOWED = "'none' or {axis: z, order: n} with n = 0 (continuous) or 1 to 36"
UNIFORM_VARIANCE = math.pi**2 / 3  # of an angle about which nothing is known, uniform in (-pi, pi]
_HIGHEST_ORDER = 36
_AS_GOOD_AS_UNIFORM = 0.95  # of its variance


@dataclass(frozen=True)
class Symmetry:
    """Turns about object z that map the category's shape onto itself.

    Attributes:
        axis: "none", or "z" where an exact or an approximate axis of symmetry is declared.
        order: 0 every turn, n >= 2 turns by 2 pi / n, 1 only the full turn.
    """

    axis: str = "none"
    order: int = 1

    def __post_init__(self) -> None:
        integer = isinstance(self.order, int) and not isinstance(self.order, bool)
        ordered = integer and (self.order == 1 if self.axis == "none" else 0 <= self.order <= _HIGHEST_ORDER)
        if not ordered or self.axis not in ("none", "z"):
            told = f"{{axis: {shown(self.axis, 40)}, order: {shown(self.order, 40)}}}"
            raise ValueError(f"symmetry is {told}; allowed: {ALLOWED}")

    @classmethod
    def parse(cls, document: object) -> Symmetry:
        """From the YAML value; ValueError says what is allowed."""
        if document == "none":
            return cls()
        if not isinstance(document, dict) or set(document) != {"axis", "order"} or document["axis"] != "z":
            raise ValueError(f"symmetry is {shown(repr(document), 80)}; allowed: {ALLOWED}")
        return cls(**document)

    def document(self) -> str | dict:
        """The YAML value that :meth:`parse` reads."""
        return "none" if self.axis == "none" else {"axis": self.axis, "order": self.order}

    @property
    def exact(self) -> bool:
        """Whether some turn other than the full one leaves the shape as it is."""
        return self.order != 1

    @property
    def continuous(self) -> bool:
        """Whether every turn does: the azimuth does not exist."""
        return self.order == 0

    @property
    def uncertain_azimuth(self) -> bool:
        """Whether the azimuth exists but may be hidden: its posterior has to be looked at all around the axis."""
        return self.axis == "z" and self.order == 1

    def turns(self, samples: int = 36) -> np.ndarray:
        """[N, 3, 3] rotations about object z, the identity first; ``samples`` of them where they are continuous."""
        count = samples if self.continuous else self.order
        return np.array([turn(2 * math.pi * k / count) for k in range(count)])

    def search_azimuths(self, steps: int) -> int:
        """How many of ``steps`` equal azimuth steps around the object differ: the first so many are enough."""
        return 1 if self.continuous else math.ceil(steps / self.order)

    def nearest(self, R: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Of the rotations equivalent to ``R`` the one nearest to ``reference``; all [3, 3], object to camera.

        trace(reference^T R Rz(a)) = p cos a + q sin a + const has its maximum at a* = atan2(q, p); of a finite set of
        turns the one nearest to a* is best, because cos(a - a*) falls on both sides.
        """
        if not self.exact:
            return np.asarray(R)
        M = np.asarray(reference).T @ np.asarray(R)
        angle = math.atan2(M[0, 1] - M[1, 0], M[0, 0] + M[1, 1])
        if not self.continuous:
            step = 2 * math.pi / self.order
            angle = step * round(angle / step)
        return np.asarray(R) @ turn(angle)

    def canonical(self, T_cam_obj: np.ndarray) -> np.ndarray:
        """The one of all equivalent poses that is reported, so that a frame does not spin from image to image.

        To choose one of them by a rule is what Pitteri et al. (3DV 2019) do before training; the rule here is another.

        It is the one turned least from an upright object that shows its front (azimuth, elevation and theta zero along
        the ray to it): x points to the camera. Unlike "azimuth 0" this has no jump where the camera looks from above;
        an object upside down is its only singular pose.

        Args:
            T_cam_obj: [4, 4] object frame to camera optical frame, metres.
        """
        T = np.array(T_cam_obj, dtype=np.float64)
        if self.exact:
            T[:3, :3] = self.nearest(T[:3, :3], ray_rotation(T[:3, 3]) @ _UPRIGHT)
        return T

    def distance(self, R_a: np.ndarray, R_b: np.ndarray) -> float:
        """Geodesic angle in radians between two rotations [3, 3], object to camera, least over the equivalent ones.

        For a continuous symmetry this is the angle between the two axes.
        """
        return rotation_angle(self.nearest(R_a, R_b), R_b)

    def size(self, size: np.ndarray) -> np.ndarray:
        """``size`` [3] metres as the symmetry allows it: a quarter turn, where there is one, makes length and width
        equal."""
        length, width, height = (float(value) for value in size)
        if self.continuous or self.order > 2:
            length = width = math.sqrt(length * width)
        return np.array([length, width, height])

    def size_covariance(self, covariance: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Covariance [3, 3] of what :meth:`size` makes of a ``size`` [3] with ``covariance`` [3, 3].

        Where length and width are one number their errors are one, too.
        """
        if not (self.continuous or self.order > 2):
            return np.asarray(covariance)
        length, width, _ = (float(value) for value in size)
        mean = math.sqrt(length * width)
        share = np.array([mean / length, mean / width, 0.0]) / 2.0  # derivatives of the geometric mean
        change = np.stack([share, share, [0.0, 0.0, 1.0]])
        return change @ np.asarray(covariance) @ change.T

    def covariance(self, covariance: np.ndarray, R: np.ndarray) -> np.ndarray:
        """``covariance`` [6, 6] of a pose with rotation ``R`` [3, 3], both along the same camera axes, honest about z.

        Where every turn is a symmetry nothing is known about the angle about the axis: its variance is that of a
        uniform angle. Finite symmetries change nothing: the covariance is about the representative that is reported.
        """
        return with_axis_variance(covariance, R, UNIFORM_VARIANCE) if self.continuous else np.asarray(covariance)


def with_axis_variance(covariance: np.ndarray, R: np.ndarray, variance: float) -> np.ndarray:
    """``covariance`` [6, 6] with this ``variance`` (rad^2) about object z, independent of everything else.

    With the object's axis a = R e_z in camera axes and P = I - a a^T acting on the rotation vector, the result is
    P cov P^T + variance a a^T: the marginal of all that is not the turn, and the turn apart from it.

    covariance: metres and radians along camera axes. R: [3, 3] object to camera.
    """
    axis = np.asarray(R)[:, 2]
    project = np.eye(6)
    project[3:, 3:] -= np.outer(axis, axis)
    result = project @ np.asarray(covariance) @ project.T
    result[3:, 3:] += variance * np.outer(axis, axis)
    return result


def axis_variance(covariance: np.ndarray, R: np.ndarray) -> float:
    """Variance in rad^2 of the rotation about object z that a pose with ``covariance`` [6, 6] and ``R`` [3, 3] has."""
    axis = np.asarray(R)[:, 2]
    return float(axis @ np.asarray(covariance)[3:, 3:] @ axis)


def knows_azimuth(covariance: np.ndarray, R: np.ndarray) -> bool:
    """Whether a pose's ``covariance`` [6, 6] says more about its turn about object z than a uniform angle would.

    R: [3, 3] its rotation, object to camera, along the axes of the covariance.
    """
    return axis_variance(covariance, R) < _AS_GOOD_AS_UNIFORM * UNIFORM_VARIANCE


NO_SYMMETRY = Symmetry()
_UPRIGHT = rotation_from_viewpoint(0.0, 0.0, 0.0)
