# SPDX-License-Identifier: Apache-2.0
"""What the pictures of a track say together of the turn about the object's axis.

A cup whose handle was seen before it went behind the body is still known to have it there. Every picture gives the
probabilities of all turns (``ObjectPose.turns``); they are multiplied in the object's frame, which follows the track.
Pictures from one side hold the same pixels and err alike. So of each side only the newest picture is kept, and it
counts by how many sides near by there are pictures of. What was known fades, as an object may be turned unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .geometry import se3, turn
from .model.symmetry import with_axis_variance
from .pose import ObjectPose
from .turns import angles, blurred, counted_from, deviation, product, turn_between

_SAME_SIDE = math.radians(10)  # the newer of two pictures from so near to each other is kept
_ALIKE = math.radians(45)  # pictures from so near to each other err alike
_MOST_SIDES = 48
_DRIFT = math.radians(10)  # standard deviation that a turn which is not seen gains in a second
_READING = math.radians(15)  # turns so near to each other are one reading of the object
_ANOTHER = math.radians(30)  # a pose turned by more than this is another reading of the object, and no motion of it
_CLEARLY = 2.0  # so much likelier another reading has to be before the track turns to it


@dataclass(frozen=True)
class TurnBelief:
    """Pictures of K sides of an object, oldest first.

    Attributes:
        turns: [K, TURNS] probabilities by each, counted from the track's last pose.
        sides: [K, 3] where the camera stood in the object's frame, unit length.
    """

    turns: np.ndarray
    sides: np.ndarray

    def together(self) -> np.ndarray:
        """[TURNS] by all of them."""
        alike = self.sides @ self.sides.T > math.cos(_ALIKE)
        return product(self.turns, 1.0 / alike.sum(axis=1))

    def with_picture(self, now: np.ndarray, side: np.ndarray) -> TurnBelief:
        """And that of a picture from ``side`` [3] with probabilities ``now`` [TURNS]."""
        others = np.flatnonzero(self.sides @ side < math.cos(_SAME_SIDE))[1 - _MOST_SIDES:]
        return TurnBelief(np.vstack([self.turns[others], now]), np.vstack([self.sides[others], side]))

    def counted_from(self, angle: float, moved: bool) -> TurnBelief:
        """From the pose turned by ``angle``; that the object ``moved`` so, it is not another reading of where it is."""
        turns = np.array([counted_from(each, angle) for each in self.turns])
        return TurnBelief(turns, self.sides if moved else self.sides @ turn(-angle).T)


def believed(before: TurnBelief | None, predicted: ObjectPose, found: ObjectPose,
             elapsed_s: float) -> tuple[TurnBelief | None, ObjectPose]:
    """What is known after a picture, and the pose ``found`` in it with that instead of what this picture alone says.

    Args:
        before: of the track, None at its beginning. predicted: its pose in this picture, as its motion says.
        elapsed_s: seconds since the track was last found.

    A pose without ``turns`` ends what was known. Where all pictures together say clearly that the object is turned
    otherwise than it was found, the pose is turned: its neighbourhood alone was looked at.
    """
    if not found.turns:
        return None, found
    now, side = np.array(found.turns), _side(found)
    if before is None:
        return _righted(TurnBelief(now[None], side[None]), found)
    angle = turn_between(predicted.T_cam_obj[:3, :3], found.T_cam_obj[:3, :3])
    before = before.counted_from(angle, abs(angle) < _ANOTHER)
    fade = _DRIFT * math.sqrt(max(elapsed_s, 0.0))
    faded = TurnBelief(np.array([blurred(each, fade) for each in before.turns]), before.sides)
    return _righted(faded.with_picture(now, side), found)


def _righted(belief: TurnBelief, found: ObjectPose) -> tuple[TurnBelief, ObjectPose]:
    """``found`` with what ``belief`` says, turned to the likeliest reading where its own is clearly less likely; and
    the belief counted from there."""
    turns, T = belief.together(), found.T_cam_obj
    held = blurred(turns, _READING)
    angle = float(angles()[held.argmax()])
    if abs(angle) > _ANOTHER and held.max() > _CLEARLY * held[0]:
        T, turns = se3(T[:3, :3] @ turn(angle), T[:3, 3]), counted_from(turns, angle)
        belief = belief.counted_from(angle, moved=False)
    covariance = with_axis_variance(found.covariance, T[:3, :3], deviation(turns) ** 2)
    return belief, replace(found, T_cam_obj=T, turns=tuple(turns.tolist()), covariance=covariance)


def _side(pose: ObjectPose) -> np.ndarray:
    T = pose.T_cam_obj
    return -T[:3, :3].T @ T[:3, 3] / np.linalg.norm(T[:3, 3])
