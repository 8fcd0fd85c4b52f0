# SPDX-License-Identifier: Apache-2.0
"""Where a gripper takes hold of an object: grasp frames in the card, and what becomes of them at an estimated size.

A grasp frame has its origin between the fingertips, z along the approach of the gripper, y along the way in which the
fingers close, and x so that the three are right-handed. A parallel jaw may as well be turned by half a turn about z.
Everything here is in the object's frame (x forward, y left, z up, origin as in ``CONVENTIONS.md``), metres and radians
but where a name says degrees; plain NumPy, so that any planner can use it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import turn
from .allowed import require
from .symmetry import axis_variance

if TYPE_CHECKING:
    from ..pose import ObjectPose
    from .card import Card

_MOST_TURNS = 36
_SQUARE = 1e-3  # cosine of two directions that a card may call perpendicular


@dataclass(frozen=True)
class GraspSpec:
    """One entry of ``grasps`` in a bundle's card: a named grasp, or the same one at several places round the axis.

    Attributes:
        name: lower-case letters, digits and underscores; a TF frame may be called so.
        position: [3] of the origin, in halves of the object's length, width and height; (0, 0, 1) is the middle of the
            top. It scales with the object.
        approach: [3] direction in which the gripper comes, any length. closing: [3] in which its fingers close,
            perpendicular to it.
        offset_m: [3] metres along the frame's own x, y, z, which do not scale: how far below a rim the fingertips are.
        opening: share of the object's extent along ``closing`` that the fingers must span. opening_m: metres that are
            added: the thickness of what does not scale, and room on both sides.
        pregrasp_m: metres back along the approach, where the gripper waits.
        turns_deg: turns about the object's z axis at which there is such a grasp. The position is turned in metres: a
            circle stays one, whatever the size says.
        symmetric_about_axis: any turn about the object's z axis between these is as good.
        azimuth_within_deg: the grasp is only valid where the turn of the object is known at least so well (one standard
            deviation), 0: always.
    """

    name: str
    position: tuple[float, ...]
    approach: tuple[float, ...]
    closing: tuple[float, ...]
    offset_m: tuple[float, ...] = (0.0, 0.0, 0.0)
    opening: float = 0.0
    opening_m: float = 0.0
    pregrasp_m: float = 0.1
    turns_deg: tuple[float, ...] = (0.0,)
    symmetric_about_axis: bool = False
    azimuth_within_deg: float = 0.0

    def __post_init__(self) -> None:
        require(re.fullmatch(r"[a-z0-9_]{1,64}", self.name) is not None, "grasps.name", self.name,
                "1 to 64 lower-case letters, digits and underscores")
        for name, largest, what in (("position", 2.0, "from -2 to 2, halves of the size"),
                                    ("offset_m", 1.0, "from -1 to 1, metres")):
            values = getattr(self, name)
            require(len(values) == 3 and max(map(abs, values)) <= largest, self._key(name), values,
                    f"three numbers {what}")
        for name in ("approach", "closing"):
            values = getattr(self, name)
            require(len(values) == 3 and 1e-3 <= math.hypot(*values) <= 1e3, self._key(name), values,
                    "three numbers that are a direction, like [0, 0, -1]")
        cosine = _unit(self.approach) @ _unit(self.closing)
        require(abs(cosine) < _SQUARE, self._key("closing"), self.closing, "a direction perpendicular to approach")
        for name, high in (("opening", 2.0), ("opening_m", 1.0), ("pregrasp_m", 1.0), ("azimuth_within_deg", 180.0)):
            require(0.0 <= getattr(self, name) <= high, self._key(name), getattr(self, name), f"0 to {high:g}")
        require(self.opening + self.opening_m > 0.0, self._key("opening"), self.opening,
                "more than 0 together with opening_m")
        require(1 <= len(self.turns_deg) <= _MOST_TURNS and max(map(abs, self.turns_deg)) <= 360.0,
                self._key("turns_deg"), self.turns_deg, f"1 to {_MOST_TURNS} numbers from -360 to 360")

    def _key(self, name: str) -> str:
        return f"grasps.{self.name}.{name}"

    def names(self) -> list[str]:
        """Of its frames: the name itself, with a number from 0 where there are several."""
        return [self.name] if len(self.turns_deg) == 1 else [f"{self.name}_{k}" for k in range(len(self.turns_deg))]

    def axes(self) -> np.ndarray:
        """[3, 3] grasp frame to object frame before any turn: its columns are x, closing and approach."""
        z, y = _unit(self.approach), _unit(self.closing)
        y = _unit(y - (y @ z) * z)
        return np.column_stack([np.cross(y, z), y, z])

    def frames(self, size: np.ndarray) -> list[Grasp]:
        """The grasps of an object of this ``size`` [3]: length, width, height in metres."""
        size = np.asarray(size, dtype=np.float64)
        axes = self.axes()
        base = np.eye(4)
        base[:3, :3] = axes
        base[:3, 3] = np.array(self.position) * size / 2.0 + axes @ np.array(self.offset_m)
        opening = self.opening * math.hypot(*(axes[:, 1] * size)) + self.opening_m
        grasps = []
        for name, degrees in zip(self.names(), self.turns_deg, strict=True):
            turned = np.eye(4)
            turned[:3, :3] = turn(math.radians(degrees))
            grasps.append(Grasp(name, turned @ base, self.pregrasp_m, opening, self.symmetric_about_axis))
        return grasps


@dataclass(frozen=True)
class Grasp:
    """A grasp of one object.

    Attributes:
        name: unique within the category.
        T_obj_grasp: [4, 4] grasp frame to object frame, metres: origin between the fingertips, z approach, y closing.
        pregrasp_m: how far back along z the gripper waits.
        opening_m: clear width that the fingers need between them.
        symmetric_about_axis: the frame may be turned about the object's z axis by any angle.
    """

    name: str
    T_obj_grasp: np.ndarray
    pregrasp_m: float
    opening_m: float
    symmetric_about_axis: bool = False

    @property
    def T_obj_pregrasp(self) -> np.ndarray:
        """[4, 4] the frame in which the gripper waits, to the object frame."""
        T = self.T_obj_grasp.copy()
        T[:3, 3] -= self.pregrasp_m * T[:3, 2]
        return T


def grasp_frames(card: Card, pose: ObjectPose) -> list[Grasp]:
    """The grasps that the card has for an object of the pose's size, in the card's order.

    Those that need the turn of the object are left out where the pose's covariance does not know it well enough: a cup
    whose handle is hidden is not taken by the handle.
    """
    sigma_deg = math.degrees(math.sqrt(max(0.0, axis_variance(pose.covariance, pose.T_cam_obj[:3, :3]))))
    return [grasp for spec in card.grasps if not 0.0 < spec.azimuth_within_deg < sigma_deg
            for grasp in spec.frames(pose.size)]


def check_grasps(grasps: Sequence[GraspSpec], continuous: bool) -> None:
    """BundleError where two grasps have one name, or one needs a turn that the category has not.

    continuous: whether any turn about z leaves an object of the category as it is.
    """
    names: set[str] = set()
    for spec in grasps:
        for name in spec.names():
            require(name not in names, "grasps.name", name, "names of which every frame has its own")
            names.add(name)
        require(not (continuous and spec.azimuth_within_deg), f"grasps.{spec.name}.azimuth_within_deg",
                spec.azimuth_within_deg, "0 in a category of which no turn about z is known")


def _unit(values: Sequence[float] | np.ndarray) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float64)
    return vector / math.sqrt(vector @ vector)
