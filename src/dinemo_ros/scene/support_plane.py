# SPDX-License-Identifier: Apache-2.0
"""The plane that objects stand on, in the camera's frame: a table, a shelf, the ground.

A single picture tells how large an object looks, not how far it is away: only the size that its category usually has
does, to some ten percent. An object that stands on a known plane has one distance only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..errors import SceneError
from ..geometry import so3_exp

NORMAL_SIGMA, OFFSET_SIGMA = math.radians(1.0), 0.003  # what a calibrated camera on a robot knows of its table
_UNIT = 1e-3  # by how much a normal's length may differ from one; more is another quantity


@dataclass(frozen=True)
class SupportPlane:
    """Points x with ``normal @ x == offset_m``, in the camera's optical frame (x right, y down, z forward).

    Attributes:
        normal: [3] unit vector that points away from the support, up for a table.
        offset_m: metres; below zero, because the camera is above the support.
        normal_sigma: standard deviation of the normal about each axis across it, radians. It stands for the tilt of the
            object that stands there as well.
        offset_sigma: standard deviation of the plane at the object's foot along the normal, metres.

    Raises:
        SceneError: no unit vector, not finite, or a plane with the camera on its wrong side.
    """

    normal: np.ndarray
    offset_m: float
    normal_sigma: float = field(default=NORMAL_SIGMA, kw_only=True)
    offset_sigma: float = field(default=OFFSET_SIGMA, kw_only=True)

    def __post_init__(self) -> None:
        normal = np.asarray(self.normal, dtype=np.float64)
        if normal.shape != (3,) or not np.isfinite(normal).all() or abs(np.linalg.norm(normal) - 1.0) > _UNIT:
            raise SceneError(f"the support plane's normal is {self.normal!r}; it must be three finite numbers, a "
                             "vector of length one in the camera's optical frame (x right, y down, z forward)")
        object.__setattr__(self, "normal", normal / np.linalg.norm(normal))
        if not math.isfinite(self.offset_m) or self.offset_m >= 0.0:
            raise SceneError(f"the support plane's offset is {self.offset_m!r} m; it must be below zero: the normal "
                             "points away from the support, towards the side of the camera (turn both signs otherwise)")
        for name in ("normal_sigma", "offset_sigma"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise SceneError(f"the support plane's {name} is {getattr(self, name)!r}; it must be above zero")

    @classmethod
    def from_camera_height(cls, height_m: float, pitch: float = 0.0, roll: float = 0.0, *,
                           normal_sigma: float = NORMAL_SIGMA, offset_sigma: float = OFFSET_SIGMA) -> SupportPlane:
        """The level plane ``height_m`` metres below a camera.

        Args:
            pitch: by how much the camera looks down from level, radians; 90 degrees look straight down.
            roll: turn of the camera about its optical axis, clockwise as it looks, radians.
            normal_sigma, offset_sigma: see the class.

        Raises:
            SceneError: the height is not above zero.
        """
        if not height_m > 0.0:
            raise SceneError(f"the camera's height is {height_m!r} m; it must be above zero: the camera is above the "
                             "plane that objects stand on")
        up = so3_exp(np.array([0.0, 0.0, -roll])) @ np.array([0.0, -math.cos(pitch), -math.sin(pitch)])
        return cls(up, -float(height_m), normal_sigma=normal_sigma, offset_sigma=offset_sigma)

    @classmethod
    def from_frame(cls, T_cam_support: ArrayLike, *, normal_sigma: float = NORMAL_SIGMA,
                   offset_sigma: float = OFFSET_SIGMA) -> SupportPlane:
        """The x-y plane of a frame whose z points away from the support; T_cam_support [4, 4], metres.

        Raises:
            SceneError: see the class; the frame's z may point into the support.
        """
        T = np.asarray(T_cam_support, dtype=np.float64)
        if T.shape != (4, 4):
            raise SceneError(f"the support's frame is {list(T.shape)}; it must be a transform [4, 4], metres, from the "
                             "frame of the support to that of the camera")
        return cls(T[:3, 2], float(T[:3, 2] @ T[:3, 3]), normal_sigma=normal_sigma, offset_sigma=offset_sigma)

    def turned(self, R: np.ndarray) -> SupportPlane:
        """The same plane in a frame with the same origin; ``R`` [3, 3] maps this frame's vectors into that one."""
        return SupportPlane(R @ self.normal, self.offset_m, normal_sigma=self.normal_sigma,
                            offset_sigma=self.offset_sigma)

    def height(self, points: np.ndarray) -> np.ndarray:
        """[...] metres of ``points`` [..., 3], camera frame, above the plane."""
        return points @ self.normal - self.offset_m
