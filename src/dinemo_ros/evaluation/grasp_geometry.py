# SPDX-License-Identifier: Apache-2.0
"""Whether a grasp frame fits the true shape of an object: geometry only, no forces, no robot, no table.

A parallel jaw comes along the approach with its fingers ``opening`` apart and closes. The grasp is a success where the
fingers and the bar between them touch nothing on the way, something lies between the fingertips, and the fingers meet
it within the friction cone. What slips, tips or is pushed aside while the jaw closes is not seen: the share of
successes is an upper bound, and says what an error of the pose costs, not what a robot reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..model.grasps import Grasp

_CONTACT_M = 0.001  # points so near to the outermost one are where a finger meets the object


@dataclass(frozen=True)
class Jaw:
    """A parallel jaw, metres in the grasp frame: x across, y closing, z approach, the fingertips end at z = 0.

    Attributes:
        finger_m: thickness of a finger along y. width_m: along x. length_m: from the fingertips back to the bar.
        pad_m: length of the part that may hold, from the fingertips back.
        least_m: depth along z of what has to be between the pads.
        friction: coefficient between pad and object.
        widest_m: opening that it reaches.
    """

    finger_m: float = 0.012
    width_m: float = 0.02
    length_m: float = 0.045
    pad_m: float = 0.02
    least_m: float = 0.003
    friction: float = 0.5
    widest_m: float = 0.14


@dataclass(frozen=True)
class Fit:
    """How a grasp meets an object.

    Attributes:
        clear: nothing is touched between pre-grasp and grasp. between: something is between the pads.
        held: both pads meet it within the friction cone.
    """

    clear: bool
    between: bool
    held: bool

    @property
    def success(self) -> bool:
        return self.clear and self.between and self.held


def fit(points: np.ndarray, normals: np.ndarray, grasp: Grasp, T_obj_found: np.ndarray | None = None,
        jaw: Jaw | None = None) -> Fit:
    """How ``grasp`` meets the object.

    Args:
        points: [N, 3] dense samples of the true surface, metres, object frame. normals: [N, 3] of any sign.
        grasp: at the estimated size.
        T_obj_found: [4, 4] frame of the estimated object in that of the true one; the identity where None.
        jaw: None takes the default one.
    """
    jaw = jaw or Jaw()
    T = grasp.T_obj_grasp if T_obj_found is None else T_obj_found @ grasp.T_obj_grasp
    local, direction = (points - T[:3, 3]) @ T[:3, :3], normals @ T[:3, :3]
    half = grasp.opening_m / 2.0
    ahead = (np.abs(local[:, 0]) <= jaw.width_m / 2.0) & (local[:, 2] <= 0.0)
    ahead &= local[:, 2] >= -jaw.length_m - grasp.pregrasp_m  # what the fingers pass on their way
    finger = (np.abs(local[:, 1]) >= half) & (np.abs(local[:, 1]) <= half + jaw.finger_m)
    bar = (np.abs(local[:, 1]) < half) & (local[:, 2] < -jaw.length_m)
    clear = grasp.opening_m <= jaw.widest_m and not np.any(ahead & (finger | bar))
    pads = ahead & (np.abs(local[:, 1]) < half) & (local[:, 2] >= -jaw.pad_m)
    if not pads.any() or np.ptp(local[pads, 2]) < jaw.least_m:
        return Fit(clear, False, False)
    return Fit(clear, True, _held(local[pads, 1], direction[pads, 1], jaw.friction))


def _held(y: np.ndarray, normal_y: np.ndarray, friction: float) -> bool:
    """Whether flat pads that close along y rest on surfaces across it. y: [N] metres, normal_y: [N] of unit normals.

    A pad meets a rounded surface where that is flattest, so the best normal near the outermost point counts.
    """
    least = math.cos(math.atan(friction))
    sides = (y >= y.max() - _CONTACT_M, y <= y.min() + _CONTACT_M)
    return all(float(np.abs(normal_y[side]).max()) >= least for side in sides)
