# SPDX-License-Identifier: Apache-2.0
"""Where one frame was in its parent over the last seconds: one edge of the tree of TF."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from ..geometry import se3

_NEARLY_ALIKE = 0.9995  # cosine of half an angle above which an arc is as straight as doubles can tell


class Link(NamedTuple):
    """A frame in its parent: translation [3] metres; quaternion x, y, z, w of length one."""

    parent: str
    translation: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]

    def matrix(self) -> np.ndarray:
        """T_parent_child [4, 4]."""
        return se3(rotation_from_quaternion(*self.quaternion), np.array(self.translation))


class OutsideError(LookupError):
    """A time before the first or after the last of a history; nanoseconds."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        super().__init__("outside of what is known")
        self.first_ns, self.last_ns = first_ns, last_ns


class History:
    """The links of one moving frame by time, oldest first; of what is older than ``cache_ns`` nothing is kept."""

    def __init__(self, cache_ns: int) -> None:
        self._cache_ns = cache_ns
        self._stamps: list[int] = []
        self._links: list[Link] = []

    def add(self, stamp_ns: int, link: Link, most: int) -> None:
        """Keep ``link``, and at most ``most`` of all.

        Of two with one stamp the first counts, as in tf2. What is older than everything that would be kept is of a
        time that began anew (a bag that loops, a simulation that was reset): the history begins with it.
        """
        if self._stamps and stamp_ns < self._stamps[-1] - self._cache_ns:
            self._stamps, self._links = [], []
        at = bisect_left(self._stamps, stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == stamp_ns:
            return
        self._stamps.insert(at, stamp_ns)
        self._links.insert(at, link)
        gone = max(bisect_left(self._stamps, self._stamps[-1] - self._cache_ns), len(self._stamps) - most)
        if gone > 0:
            del self._stamps[:gone], self._links[:gone]

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def last_ns(self) -> int:
        """Stamp of the newest link."""
        return self._stamps[-1]

    def at(self, stamp_ns: int | None) -> Link:
        """The link at a time, between two by straight line and arc; None asks for the newest.

        Raises:
            OutsideError: the time is before the first or after the last.
        """
        if stamp_ns is None:
            return self._links[-1]
        after = bisect_left(self._stamps, stamp_ns)
        if after < len(self._stamps) and self._stamps[after] == stamp_ns:
            return self._links[after]
        if after in (0, len(self._stamps)):
            raise OutsideError(self._stamps[0], self._stamps[-1])
        one, other = self._links[after - 1], self._links[after]
        if one.parent != other.parent:  # there is nothing between two parents
            return one
        begin, end = self._stamps[after - 1], self._stamps[after]
        return between(one, other, (stamp_ns - begin) / (end - begin))


def between(one: Link, other: Link, share: float) -> Link:
    """The link at ``share`` (0 to 1) of the way: translation along a straight line, rotation along the shorter arc."""
    x, y, z = (a + share * (b - a) for a, b in zip(one.translation, other.translation, strict=True))
    return Link(one.parent, (x, y, z), _slerp(one.quaternion, other.quaternion, share))


def _slerp(a: tuple[float, ...], b: tuple[float, ...], share: float) -> tuple[float, float, float, float]:
    cosine = sum(x * y for x, y in zip(a, b, strict=True))
    if cosine < 0.0:  # b and -b are one rotation
        b, cosine = tuple(-y for y in b), -cosine
    if cosine > _NEARLY_ALIKE:
        weights = 1.0 - share, share
    else:
        angle = math.acos(min(cosine, 1.0))
        weights = math.sin((1.0 - share) * angle) / math.sin(angle), math.sin(share * angle) / math.sin(angle)
    x, y, z, w = (weights[0] * p + weights[1] * q for p, q in zip(a, b, strict=True))
    length = math.sqrt(x * x + y * y + z * z + w * w)
    return x / length, y / length, z / length, w / length


def rotation_from_quaternion(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Rotation matrix [3, 3] of a quaternion of length one."""
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])
