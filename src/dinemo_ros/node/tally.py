# SPDX-License-Identifier: Apache-2.0
"""What the answers came to, for the diagnostics: source of the distance, what was refused, why nothing was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..io.quoting import one_line
from ..pose import ObjectPose

_SOURCES = ("rgb", "support", "depth", "support+depth")
_OBSERVED = ("support", "depth")


class Tally:
    """Counts since the start of the node."""

    def __init__(self) -> None:
        self._sources: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._depth: Counter[str] = Counter()
        self._last_refused = self._last_empty = ""
        self._empty = 0

    def depth(self, found: bool) -> None:
        """An image had a depth image, or should have had one."""
        self._depth["used" if found else "missing"] += 1

    def answered(self, poses: Sequence[ObjectPose], why_empty: str) -> None:
        """An image was answered with ``poses``, or with none for a reason."""
        for pose in poses:
            self._sources[pose.source] += 1
            for observation in pose.observations:
                if not observation.used:
                    self._refused[observation.name] += 1
                    self._last_refused = one_line(f"{observation.name}: {observation.reason}")
        if not poses:
            self._empty += 1
            self._last_empty = one_line(why_empty)

    def values(self) -> dict[str, object]:
        """For the diagnostics."""
        values: dict[str, object] = {f"poses_from_{source.replace('+', '_')}": self._sources[source]
                                     for source in _SOURCES}
        values |= {f"observations_refused_{name}": self._refused[name] for name in _OBSERVED}
        values |= {"last_observation_refused": self._last_refused, "depth_images_used": self._depth["used"],
                   "depth_images_missing": self._depth["missing"], "images_without_object": self._empty,
                   "last_without_object": self._last_empty}
        return values


def why_empty(found: Sequence[ObjectPose], rois: Sequence[object] | None, min_score: float) -> str:
    """Why an image is answered with no pose, of which ``found`` were found; one sentence."""
    if found:
        best = max(pose.score for pose in found)
        return f"the best of {len(found)} poses has score {best:.3f}, below min_score {min_score:g}"
    if rois is None:
        return "no object was found in the whole image"
    if not rois:
        return "the detector sent no box that is looked at"
    return f"no object was found in {len(rois)} box{'es' * (len(rois) != 1)} of the detector"
