# SPDX-License-Identifier: Apache-2.0
"""What turntables say beyond the azimuth of every frame: rows from records of :class:`.view_truth.ViewTruth`.

Shares of the azimuth count the frames in which it can be seen. Every figure has the number of frames that it stands on
and, but for the standard deviations, intervals of 95 % by the bootstrap (:mod:`.bootstrap`), over frames and objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..model.symmetry import Symmetry
from .bootstrap import by_frames, by_objects, share_by_frames, share_by_objects
from .floor import share_below
from .metrics import FLIP_DEG, RIGHT_DEG
from .sample import ALL
from .view_truth import ViewTruth, azimuth_is_seen

NEAR_DEG = 10.0


@dataclass(frozen=True)
class Views:
    """What is known about the frames, those without a pose included.

    Attributes:
        truths: by sequence and file. symmetry: of the category.
        parts: name -> sequences of a split, empty without one.
    """

    truths: Mapping[tuple[str, str], ViewTruth]
    symmetry: Symmetry
    parts: Mapping[str, Sequence[str]]

    def shown(self, record: dict) -> bool:
        """Whether the azimuth can be seen in the frame of ``record``."""
        truth = self.truths[record["group"], record["file"]]
        return azimuth_is_seen(truth.azimuth_deg, truth.elevation_deg, self.symmetry)

    def elevation(self, record: dict) -> float | None:
        """Of the frame of ``record``, degrees; None where nobody knows it."""
        return self.truths[record["group"], record["file"]].elevation_deg


def turn_rows(records: Sequence[dict], views: Views) -> list[dict]:
    """Rows per level and model: one per sequence, one per part, and with several sequences one for all of them.

    Args:
        records: of :func:`~dinemo_ros.evaluation.runner.evaluate`, ``group`` being the sequence.

    A row holds ``model``, ``occlusion``, ``group``, ``part`` (whether the group is one), ``objects``, ``n`` (frames),
    ``missing`` (share without a pose) and what :func:`figures` gives.
    """
    rows = []
    for level, model in dict.fromkeys((r["occlusion"], r["model"]) for r in records):
        chosen = [r for r in records if (r["occlusion"], r["model"]) == (level, model)]
        for name, is_part, sequences in _groups([r["group"] for r in chosen], views.parts):
            members = [r for r in chosen if r["group"] in sequences]
            rows.append({"model": model, "occlusion": level, "group": name, "part": is_part,
                         "objects": len({r["group"] for r in members}), "n": len(members),
                         "missing": float(np.mean([r["error_deg"] is None for r in members])),
                         **share_below(members), **figures(members, views)})
    return rows


def _groups(names: Iterable[str], parts: Mapping[str, Sequence[str]]) -> list[tuple[str, bool, set[str]]]:
    """Name, whether it is a part, and sequences of each row."""
    there = list(dict.fromkeys(names))
    groups = [(name, False, {name}) for name in there]
    groups += [(name, True, set(members)) for name, members in parts.items() if set(members) & set(there)]
    return [*groups, (ALL, False, set(there))] if len(there) > 1 else groups


def figures(records: Sequence[dict], views: Views) -> dict:
    """Figures of the frames of one row, angles in degrees; a figure without frames is left out.

    ``seen_n`` frames in which the azimuth can be seen: ``azimuth_acc30``, ``azimuth_acc10`` (share with an error below
    30 and 10; a frame without a pose is wrong), ``azimuth_median_deg`` (such a frame counts 180), ``flips`` (share
    within 30 of the opposite side). ``elevation_n`` frames whose elevation is known: ``elevation_acc10`` (as above),
    and of the ``elevation_found_n`` with a pose ``elevation_median_deg`` (absolute error) and ``elevation_bias_deg``
    (error with its sign; positive: from too high). Steadiness: ``elevation_deviation_deg`` (of the elevation, where it
    is known of its error) and ``theta_deviation_deg`` over one sequence, of several the median; with them the medians
    ``elevation_level_deg`` and ``theta_level_deg``. ``announced_seen_deg``, ``announced_hidden_deg``: median of the
    announced deviation about the axis.

    ``KEY_interval`` and ``KEY_interval_objects``: (low, high), over frames and over objects.
    """
    found = [r for r in records if r["error_deg"] is not None]
    return (_azimuth([r for r in records if views.shown(r)])
            | _elevation([r for r in records if views.elevation(r) is not None])
            | _steadiness(found) | _announced(found))


def _azimuth(records: Sequence[dict]) -> dict:
    if not records:
        return {}
    error = np.array([180.0 if r["error_deg"] is None else r["error_deg"] for r in records])
    found = np.array([r["error_deg"] is not None for r in records])
    objects = [r["group"] for r in records]
    return {"seen_n": len(records), **_share("azimuth_acc30", error < RIGHT_DEG, objects),
            **_share("azimuth_acc10", error < NEAR_DEG, objects), **_median("azimuth_median_deg", error, objects),
            **_share("flips", found & (error > FLIP_DEG), objects)}


def _elevation(records: Sequence[dict]) -> dict:
    if not records:
        return {}
    near = np.array([r["error_deg"] is not None and abs(_offset(r)) < NEAR_DEG for r in records])
    row = {"elevation_n": len(records), **_share("elevation_acc10", near, [r["group"] for r in records])}
    found = [r for r in records if r["error_deg"] is not None]
    if found:
        offset, objects = np.array([_offset(r) for r in found]), [r["group"] for r in found]
        row |= {"elevation_found_n": len(found), **_median("elevation_median_deg", np.abs(offset), objects),
                **_median("elevation_bias_deg", offset, objects)}
    return row


def _offset(record: dict) -> float:
    """Error of the elevation with its sign, or the elevation itself where the truth is unknown; degrees."""
    return record["elevation"] - record.get("elevation_true", 0.0)


def _steadiness(found: Sequence[dict]) -> dict:
    if not found:
        return {}
    turns = [[r for r in found if r["group"] == name] for name in dict.fromkeys(r["group"] for r in found)]
    return {"elevation_level_deg": float(np.median([r["elevation"] for r in found])),
            "theta_level_deg": float(np.median([r["theta"] for r in found])),
            "elevation_deviation_deg": float(np.median([np.std([_offset(r) for r in turn]) for turn in turns])),
            "theta_deviation_deg": float(np.median([np.std([r["theta"] for r in turn]) for turn in turns]))}


def _announced(found: Sequence[dict]) -> dict:
    row = {}
    for key, seen in (("announced_seen_deg", True), ("announced_hidden_deg", False)):
        known = [r["announced_turn_deg"] for r in found if "announced_turn_deg" in r and r["seen"] == seen]
        if known:
            row[key] = float(np.median(known))
    return row


def _share(key: str, hits: np.ndarray, objects: Sequence[str]) -> dict:
    return {key: float(hits.mean()), f"{key}_interval": share_by_frames(hits),
            f"{key}_interval_objects": share_by_objects(hits, objects)}


def _median(key: str, values: np.ndarray, objects: Sequence[str]) -> dict:
    return {key: float(np.median(values)), f"{key}_interval": by_frames(values, np.median),
            f"{key}_interval_objects": by_objects(values, objects, np.median)}
