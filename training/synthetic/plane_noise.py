# SPDX-License-Identifier: Apache-2.0
"""What a robot believes its table to be: the true plane with the errors of a calibration.

Two kinds of error cost very different amounts. One that was measured where the object stands (a plane of a depth image,
a board on the table) is right at the object's foot but for its own noise. One that comes through a camera whose
orientation is a little off turns about the camera, which lifts the table by centimetres at arm's length.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dinemo_ros.geometry import so3_exp
from dinemo_ros.scene.support_plane import NORMAL_SIGMA, OFFSET_SIGMA, SupportPlane


def tilted_about_foot(plane: SupportPlane, foot: np.ndarray, rng: np.random.Generator,
                      normal_sigma: float = NORMAL_SIGMA, offset_sigma: float = OFFSET_SIGMA) -> SupportPlane:
    """The plane with a normal and a height at ``foot`` that are off at random.

    Args:
        foot: [3] metres, camera frame, a point near the plane: there only ``offset_sigma`` counts.
        normal_sigma: standard deviation about each axis across the normal, radians. offset_sigma: metres.
    """
    normal = _tilt(plane.normal, rng, normal_sigma)
    on_plane = foot - plane.height(foot) * plane.normal
    return replace(plane, normal=normal, offset_m=float(normal @ on_plane) + float(rng.normal(0, offset_sigma)))


def tilted_about_camera(plane: SupportPlane, rng: np.random.Generator, normal_sigma: float = NORMAL_SIGMA,
                        offset_sigma: float = OFFSET_SIGMA) -> SupportPlane:
    """The plane as a camera sees it whose orientation is off: turned about the camera, its distance from it kept.

    The same ``rng`` gives the same tilt and the same error of the offset as :func:`tilted_about_foot`.
    """
    normal = _tilt(plane.normal, rng, normal_sigma)
    return replace(plane, normal=normal, offset_m=plane.offset_m + float(rng.normal(0, offset_sigma)))


def lifted(plane: SupportPlane, metres: float) -> SupportPlane:
    """The plane, ``metres`` higher along its normal."""
    return replace(plane, offset_m=plane.offset_m + metres)


def _tilt(normal: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    turn = rng.normal(0, sigma, 3)
    return so3_exp(turn - (turn @ normal) * normal) @ normal
