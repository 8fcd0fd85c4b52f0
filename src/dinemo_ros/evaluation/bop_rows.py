# SPDX-License-Identifier: Apache-2.0
"""Rows of ``dinemo eval bop`` from its records: is a pose good enough to grasp by?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .coverage import LEVELS
from .floor import share_below
from .metrics import RIGHT_DEG, wilson_interval
from .sample import ALL

#: Degrees and centimetres within which a pose counts as right.
BOUNDS = ((5, 1), (5, 2), (10, 2), (10, 5))
_COVERED = {"": "translation", "rotation_": "rotation"}  # before "coverage_68"
_OBSERVATIONS = ("support", "depth")
_MOST_VALUES = 12  # of a key of scene_gt_info.json that rows are made for


def bop_rows(records: Sequence[dict]) -> list[dict]:
    """Per source a row for each scene and category, for each category where there are several of both, for each value
    of what else the data set says about its objects (``standing=held``), and for all of them together."""
    rows = []
    for source in dict.fromkeys(record["source"] for record in records):
        chosen = [record for record in records if record["source"] == source]
        rows += [{"source": source, "group": group, **summarise_bop(members)} for group, members in _groups(chosen)]
    return rows


def _groups(records: Sequence[dict]) -> Iterable[tuple[str, list[dict]]]:
    groups: dict[str, list[dict]] = {}
    for record in records:
        groups.setdefault(f"{record['scene']:06d}/{record['category']}", []).append(record)
    scenes, categories = ({record[key] for record in records} for key in ("scene", "category"))
    if len(scenes) > 1 and len(categories) > 1:
        for record in records:
            groups.setdefault(f"category={record['category']}", []).append(record)
    for key in dict.fromkeys(key for record in records for key in record["extra"]):
        known = [record for record in records if isinstance(record["extra"].get(key), (str, bool))]
        if len({record["extra"][key] for record in known}) <= _MOST_VALUES:
            for record in known:
                groups.setdefault(f"{key}={_written(record['extra'][key])}", []).append(record)
    return [*groups.items(), (ALL, list(records))]


def _written(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


def summarise_bop(records: Sequence[dict]) -> dict:
    """The figures of a row. Shares are of all ``n`` objects; one without a pose is wrong in each of them and worst in
    every median, and a median that thereby has no value is None.

    ``deg5cm1`` and so on: share of rotations within 5 degrees (of equivalent poses the nearest) and positions within
    1 cm; ``within_1cm``: of positions alone; ``azimuth30``: of azimuths within 30 degrees, None of categories that have
    none. ``distance_bias_cm``, ``distance_bias_pct``: medians with their sign over the poses, positive: too far away.
    ``coverage_68``, ``coverage_95``: share of the ``coverage_n`` poses whose error of the position is inside the
    announced ellipsoid of 68.3 and 95.4 % (:mod:`.coverage`), ``rotation_coverage_68``... of the rotation.
    ``support_used``, ``support_refused``, ``support_absent``, and of ``depth``: numbers of objects.
    """
    found = [record for record in records if record["error_deg"] is not None]
    row: dict = {"n": len(records), "missing": 1.0 - len(found) / len(records)}
    for degrees, centimetres in BOUNDS:
        row |= _share(f"deg{degrees}cm{centimetres}", sum(
            r["error_deg"] < degrees and 100.0 * r["translation_error_m"] < centimetres for r in found), len(records))
    row |= _share("within_1cm", sum(r["translation_error_m"] < 0.01 for r in found), len(records))
    row["rotation_median_deg"] = _middle([r["error_deg"] for r in found], len(records), 180.0)
    row["axis_median_deg"] = _middle([r["axis_error_deg"] for r in found], len(records), 180.0)
    row |= _azimuth(found, len(records))
    row["translation_median_cm"] = _middle([100.0 * r["translation_error_m"] for r in found], len(records), np.inf)
    row["distance_bias_cm"] = float(np.median([100.0 * r["distance_offset_m"] for r in found])) if found else None
    row["distance_bias_pct"] = float(np.median([r["distance_offset_pct"] for r in found])) if found else None
    return row | share_below(records) | _covered(found) | _observed(records) | _times(records)


def _middle(errors: Sequence[float], n: int, worst: float) -> float | None:
    """Median of ``errors`` and of ``worst`` for what is lacking to ``n``; None where that has no end."""
    middle = float(np.median([*errors, *[worst] * (n - len(errors))]))
    return middle if np.isfinite(middle) else None


def _share(name: str, count: int, n: int) -> dict:
    return {name: count / n if n else None, f"{name}_interval": wilson_interval(count, n) if n else None}


def _azimuth(found: Sequence[dict], n: int) -> dict:
    """Of a row of categories that all have an azimuth; without any pose nobody knows, and none is right."""
    if any("azimuth_error_deg" not in record for record in found):
        return {"azimuth30": None, "azimuth30_interval": None}
    return _share("azimuth30", sum(record["azimuth_error_deg"] < RIGHT_DEG for record in found), n)


def _covered(found: Sequence[dict]) -> dict:
    announced = [record["contents"] for record in found if "contents" in record]
    row: dict = {"coverage_n": len(announced)}
    for prefix, quantity in _COVERED.items():
        for level in LEVELS:
            inside = sum(contents[quantity] <= level for contents in announced)
            row |= _share(f"{prefix}coverage_{100 * level:.0f}", inside, len(announced))
    return row


def _observed(records: Sequence[dict]) -> dict:
    row = {}
    for name in _OBSERVATIONS:
        if any(name in record["source"] for record in records):
            said = [o for record in records for o in record.get("observations", ()) if o["name"] == name]
            row[f"{name}_used"] = sum(bool(o["used"]) for o in said)
            row[f"{name}_refused"] = sum(not o["used"] for o in said)
            row[f"{name}_absent"] = sum(name in record.get("absent", {}) for record in records)
    return row


def _times(records: Sequence[dict]) -> dict:
    seconds = [record["seconds"] for record in records if "seconds" in record]
    return {"time_median_ms": 1e3 * float(np.median(seconds)) if seconds else None}
