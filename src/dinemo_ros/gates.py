# SPDX-License-Identifier: Apache-2.0
"""Which poses of a stream are held back until the next images bear them out.

Two gates, each off by default:

* **outlier**: a pose that jumps from where its object was is held back until so many images in a row show the object
  there. A flip of one image never gets out; a real move gets out a little late.
* **stability**: a pose is let through while the last N images in a row agree on it. What moves is held back; so is what
  was just found.

Poses belong together by their track id; without one by distance, one to one, the nearest first: a jump has to be seen
as one, so there is no limit to it. Times are the images' stamps, positions metres, angles radians.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .association import nearest_pairs
from .model.symmetry import Symmetry
from .pose import ObjectPose

#: Why a pose is held back.
HELD_BACK = ("unstable", "outlier")
_INTERVALS = 10  # between the last images, of which the usual one is taken
_MOST_IMAGES = 100  # that an object's history may hold


@dataclass(frozen=True)
class Gating:
    """What is held back.

    Attributes:
        distance_m, angle_rad: a pose that moved or turned by more from one image to the next is an outlier; after
            missed images, by as many times more. 0: that one is off.
        confirm: images in a row, the first included, that have to show an outlier for it to be believed.
        stable_frames: images in a row that have to agree within ``stable_distance_m`` and ``stable_angle_rad``; 0: off.
        memory_s: an object that was not seen for this long is forgotten.
    """

    distance_m: float = 0.0
    angle_rad: float = 0.0
    confirm: int = 3
    stable_frames: int = 0
    stable_distance_m: float = 0.02
    stable_angle_rad: float = math.radians(10)
    memory_s: float = 1.0

    def __post_init__(self) -> None:
        lengths = (self.distance_m, self.angle_rad, self.stable_distance_m, self.stable_angle_rad)
        if min(lengths) < 0 or self.confirm < 1 or not 0 <= self.stable_frames <= _MOST_IMAGES or self.memory_s <= 0:
            raise ValueError(f"{self}; allowed: distances and angles from 0, confirm from 1, stable_frames 0 to "
                             f"{_MOST_IMAGES}, memory_s above 0")

    @property
    def on(self) -> bool:
        """Whether anything can be held back."""
        return self.distance_m > 0 or self.angle_rad > 0 or self.stable_frames > 0


@dataclass
class _Seen:
    """One object: its last believed pose and that one's stamp, the poses of the last images in a row, and those among
    them that are outliers in a row."""

    believed: ObjectPose
    believed_s: float
    last_s: float
    row: deque[ObjectPose] = field(default_factory=lambda: deque(maxlen=_MOST_IMAGES))
    outliers: list[ObjectPose] = field(default_factory=list)


class PoseGate:
    """Lets poses through, image by image; the same ones without any gate.

    Attributes:
        settings: may be changed between two images.
        held_back: of the last image, by reason, one of :data:`HELD_BACK`.
    """

    def __init__(self, symmetry: Symmetry, settings: Gating = Gating()) -> None:
        self._symmetry, self.settings = symmetry, settings
        self.held_back: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all objects."""
        self._objects: list[_Seen] = []
        self._stamp = -math.inf
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)

    def passed(self, poses: Sequence[ObjectPose], stamp_s: float) -> list[ObjectPose]:
        """Those of ``poses``, of one image of that stamp, that are let through, in the same order."""
        self.held_back = Counter()
        if not self.settings.on:
            self.reset()
            return list(poses)
        interval = stamp_s - self._stamp
        if interval < 0:
            self.reset()
        elif 0 < interval <= self.settings.memory_s:
            self._intervals.append(interval)
        self._stamp = stamp_s
        self._objects = [seen for seen in self._objects if stamp_s - seen.last_s <= self.settings.memory_s]
        partners = self._partners(poses)
        for seen in self._objects:
            if not any(seen is partner for partner in partners):  # not in a row any more
                seen.row.clear()
                seen.outliers.clear()
        return [pose for pose, partner in zip(poses, partners, strict=True) if self._judge(pose, partner, stamp_s)]

    def _judge(self, pose: ObjectPose, seen: _Seen | None, stamp_s: float) -> bool:
        """Whether ``pose`` of the object ``seen``, None for a new one, is let through; counts where it is not."""
        if seen is None:
            seen = _Seen(pose, stamp_s, stamp_s)
            self._objects.append(seen)
        seen.last_s = stamp_s
        seen.row.append(pose)
        reason = ""
        if not self._borne_out(pose, seen, stamp_s):
            reason = "outlier"
        elif not self._stable(seen.row):
            reason = "unstable"
        self.held_back[reason] += bool(reason)
        self.held_back += Counter()  # without the ones that are zero
        return not reason

    def _borne_out(self, pose: ObjectPose, seen: _Seen, stamp_s: float) -> bool:
        """Whether ``pose`` is where its object was, or has been there for long enough."""
        if self._jumped(pose, seen.believed, stamp_s - seen.believed_s):
            if seen.outliers and self._jumped(pose, seen.outliers[-1], 0.0):
                seen.outliers.clear()
            seen.outliers.append(pose)
            if len(seen.outliers) < self.settings.confirm:
                return False
        seen.outliers.clear()
        seen.believed, seen.believed_s = pose, stamp_s
        return True

    def _jumped(self, pose: ObjectPose, before: ObjectPose, after_s: float) -> bool:
        """Whether ``pose`` is farther from ``before``, ``after_s`` seconds earlier, than images so far apart allow."""
        images = max(1.0, after_s / statistics.median(self._intervals)) if self._intervals else 1.0
        return not self._near(pose, before, images * (self.settings.distance_m or math.inf),
                              images * (self.settings.angle_rad or math.inf))

    def _stable(self, row: deque[ObjectPose]) -> bool:
        count = self.settings.stable_frames
        return len(row) >= count and all(
            self._near(row[-1], pose, self.settings.stable_distance_m, self.settings.stable_angle_rad)
            for pose in list(row)[len(row) - count:])

    def _near(self, a: ObjectPose, b: ObjectPose, distance_m: float, angle_rad: float) -> bool:
        return (float(np.linalg.norm(a.T_cam_obj[:3, 3] - b.T_cam_obj[:3, 3])) <= distance_m
                and self._symmetry.distance(a.T_cam_obj[:3, :3], b.T_cam_obj[:3, :3]) <= angle_rad)

    def _partners(self, poses: Sequence[ObjectPose]) -> list[_Seen | None]:
        """The object that each pose is of, None for a new one."""
        partners: list[_Seen | None] = [None] * len(poses)
        by_id = {seen.believed.track_id: seen for seen in self._objects}
        loose = []
        for k, pose in enumerate(poses):
            if pose.track_id is None:
                loose.append(k)
            else:
                partners[k] = by_id.get(pose.track_id)
        free = [seen for seen in self._objects if seen.believed.track_id is None]
        cost = np.array([[np.linalg.norm(poses[k].T_cam_obj[:3, 3] - self._last(seen).T_cam_obj[:3, 3])
                          for seen in free] for k in loose]).reshape(len(loose), len(free))
        for row, column in nearest_pairs(cost):
            partners[loose[row]] = free[column]
        return partners

    @staticmethod
    def _last(seen: _Seen) -> ObjectPose:
        """Where the object is looked for: the believed pose, unless the last images in a row show it elsewhere."""
        return seen.outliers[-1] if seen.outliers else seen.believed
