# SPDX-License-Identifier: Apache-2.0
"""The tree of TF, for where tf2_ros is not installed: ROS 2 from wheels has none.

What a look-up means is what tf2 means by it: along the tree by the common ancestor, at one time, between two samples by
straight line and arc, never beyond the first or the last. Whoever is on the graph may publish frames, so what is kept
has an end.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from itertools import takewhile
from typing import Protocol

import numpy as np
from geometry_msgs.msg import TransformStamped

from ..errors import DinemoError
from ..io.quoting import quoted
from .transform_history import History, Link, OutsideError
from .validation import FRAME_LIMIT

#: Seconds that a moving frame is remembered, as in tf2.
CACHE_S = 10.0
#: Frames that are known at a time; a humanoid has about a hundred.
MOST_FRAMES = 2000
#: Samples of all moving frames together, and of one: ten seconds at 200 Hz.
MOST_SAMPLES, MOST_OF_ONE = 100_000, 2000
_CACHE_NS = round(CACHE_S * 1e9)
_UNIT = 0.01  # by how much a quaternion's length may differ from one, as in tf2
_FARTHEST = 1e9  # metres; beyond it doubles do not resolve a millimetre
_POLL_S = 0.005


class TransformError(DinemoError):
    """A transform that TF does not have. ``may_come``: it may be on its way, as of an image that came a moment ago."""

    def __init__(self, sentence: str, may_come: bool) -> None:
        super().__init__(sentence)
        self.may_come = may_come


class Transforms(Protocol):
    """What the node asks of TF, whoever listens to it."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """T_target_source [4, 4], metres, at ``stamp_ns``; 0 asks for the latest common time.

        Raises:
            TransformError: it is not there; the message says why.
        """

    def clear(self) -> None:
        """Forget what moves, as after a jump of time."""

    def close(self) -> None:
        """End the subscriptions."""


def bare(frame: str) -> str:
    """A frame's name as tf2 has it: without the slash that tf of ROS 1 put before it."""
    return frame.lstrip("/")


def lookup_within(transforms: Transforms, target: str, source: str, stamp_ns: int, timeout_s: float,
                  alive: Callable[[], bool]) -> np.ndarray:
    """[4, 4] metres: :meth:`Transforms.lookup` that waits up to ``timeout_s`` seconds for what may still come, while
    ``alive()``.

    Raises:
        TransformError: it has not come, or never will.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return transforms.lookup(target, source, stamp_ns)
        except TransformError as error:
            if not error.may_come or time.monotonic() >= deadline or not alive():
                raise
        time.sleep(_POLL_S)


class TransformBuffer:
    """The frames of /tf and /tf_static. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._static: dict[str, Link] = {}
        self._moving: dict[str, History] = {}
        self._heard_s: dict[str, float] = {}  # of moving frames, by the clock of this machine
        self._swept_s = -math.inf

    def __len__(self) -> int:
        return len(self._static) + len(self._moving)

    def clear(self) -> None:
        """Forget the moving frames; a static one is published once and holds for all times."""
        with self._lock:
            self._moving, self._heard_s = {}, {}

    def add(self, message: TransformStamped, static: bool = False) -> str:
        """Take a transform; why it is not taken, one sentence, or an empty string."""
        link = _link(message)
        if isinstance(link, str):
            return link
        child, stamp = bare(message.child_frame_id), message.header.stamp
        with self._lock:
            if child not in self._static and child not in self._moving and not self._has_room():
                return (f"frame {quoted(child)} is not taken, {MOST_FRAMES} are known already: who publishes so many "
                        "frames?")
            if static or child in self._static:
                self._static[child] = link
                self._moving.pop(child, None)
                self._heard_s.pop(child, None)
                return ""
            history = self._moving.setdefault(child, History(_CACHE_NS))
            most = max(2, min(MOST_OF_ONE, MOST_SAMPLES // len(self._moving)))
            history.add(stamp.sec * 1_000_000_000 + stamp.nanosec, link, most)
            self._heard_s[child] = time.monotonic()
        return ""

    def _has_room(self) -> bool:
        """Whether one more frame is taken. Once a second the frames make room that nobody speaks of any more."""
        if len(self) < MOST_FRAMES:
            return True
        now = time.monotonic()
        if now - self._swept_s > 1.0:
            self._swept_s = now
            for child in [child for child, heard in self._heard_s.items() if now - heard > CACHE_S]:
                del self._moving[child], self._heard_s[child]
        return len(self) < MOST_FRAMES

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """[4, 4] metres; see :class:`Transforms`. stamp_ns: nanoseconds.

        Raises:
            TransformError: it is not known at that time.
        """
        target, source = bare(target), bare(source)
        with self._lock:
            at = self._latest_common(target, source) if stamp_ns == 0 else stamp_ns
            ups, downs = self._path(target, source, at)
        return np.linalg.inv(_product(downs)) @ _product(ups)

    def _latest_common(self, target: str, source: str) -> int:
        """The newest time that every moving frame between the two is known at."""
        newest: list[int] = []
        self._path(target, source, None, newest)
        return min(newest, default=0)

    def _path(self, target: str, source: str, stamp_ns: int | None,
              newest: list[int] | None = None) -> tuple[list[Link], list[Link]]:
        """The links from ``source`` and from ``target`` up to the frame that both hang on; None: the newest of each.

        newest: is filled with the last stamps of the moving frames among them.
        """
        chain, problem = self._upwards(source, stamp_ns)
        other_chain, other_problem = self._upwards(target, stamp_ns)
        meet = next((frame for frame in other_chain if frame in chain), None)
        if meet is None:
            raise problem or other_problem or self._unconnected(target, source)
        ups, downs = _up_to(meet, chain), _up_to(meet, other_chain)
        if newest is not None:
            newest += [self._moving[frame].last_ns for frame in (*ups, *downs) if frame in self._moving]
        return list(ups.values()), list(downs.values())

    def _upwards(self, frame: str, stamp_ns: int | None) -> tuple[dict[str, Link | None], TransformError | None]:
        """The frames above ``frame``, itself first, each with the link to the next, which the last one lacks; and what
        ended the way early."""
        chain: dict[str, Link | None] = {}
        while frame not in chain:
            try:
                chain[frame] = link = self._link_at(frame, stamp_ns)
            except OutsideError as error:
                chain[frame] = None
                return chain, _outside(frame, stamp_ns or 0, error)
            if link is None:
                return chain, None
            frame = link.parent
        raise TransformError(f"TF has a loop: {quoted(frame)} is above itself; each frame has one parent, and the top "
                             "none: who publishes it twice?", may_come=False)

    def _link_at(self, frame: str, stamp_ns: int | None) -> Link | None:
        if frame in self._static:
            return self._static[frame]
        return self._moving[frame].at(stamp_ns) if frame in self._moving else None

    def _unconnected(self, target: str, source: str) -> TransformError:
        parents = {link.parent for link in self._static.values()}
        parents |= {history.at(None).parent for history in self._moving.values()}
        for frame in (target, source):
            if frame not in self._static and frame not in self._moving and frame not in parents:
                return TransformError(f"frame {quoted(frame)} is not in TF: nobody has published it on /tf or "
                                      "/tf_static", may_come=True)
        return TransformError(f"frames {quoted(target)} and {quoted(source)} are of two trees of TF that do not hang "
                              "together: a transform between them is not published", may_come=True)


def _up_to(meet: str, chain: dict[str, Link | None]) -> dict[str, Link]:
    """Of a chain the frames below ``meet``, with their links."""
    return {frame: link for frame, link in takewhile(lambda item: item[0] != meet, chain.items()) if link is not None}


def _product(links: list[Link]) -> np.ndarray:
    """T_top_bottom [4, 4] of links from the bottom up."""
    T = np.eye(4)
    for link in links:
        T = link.matrix() @ T
    return T


def _outside(frame: str, stamp_ns: int, known: OutsideError) -> TransformError:
    first, last, at = 1e-9 * known.first_ns, 1e-9 * known.last_ns, 1e-9 * stamp_ns
    if stamp_ns > known.last_ns:
        return TransformError(f"TF knows frame {quoted(frame)} up to {last:.3f} s and is asked for {at:.3f} s, "
                              f"{at - last:.3f} s later: nothing is extrapolated; is its publisher late (parameter "
                              "transform_timeout_s), or do the clocks differ?", may_come=True)
    return TransformError(f"TF knows frame {quoted(frame)} from {first:.3f} s on and is asked for {at:.3f} s, "
                          f"{first - at:.3f} s before: nothing is extrapolated; do the clocks differ?", may_come=False)


def _link(message: TransformStamped) -> Link | str:
    """What a message says of its child frame; or why it cannot be, one sentence."""
    child, parent = bare(message.child_frame_id), bare(message.header.frame_id)
    for name in (child, parent):
        if not name or len(name) > FRAME_LIMIT or not name.isprintable():
            return (f"a transform from frame {quoted(parent)} to {quoted(child)} is not taken: names of frames have 1 "
                    f"to {FRAME_LIMIT} printable characters")
    if child == parent:
        return f"a transform of frame {quoted(child)} to itself is not taken"
    t, q = message.transform.translation, message.transform.rotation
    numbers = (t.x, t.y, t.z)
    length = math.sqrt(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w)
    if not all(math.isfinite(x) and abs(x) < _FARTHEST for x in numbers) or not abs(length - 1.0) <= _UNIT:
        return (f"the transform to frame {quoted(child)} is not taken: its translation must be finite and its "
                f"quaternion of length one, it is of {length:g}")
    return Link(parent, numbers, (q.x / length, q.y / length, q.z / length, q.w / length))
