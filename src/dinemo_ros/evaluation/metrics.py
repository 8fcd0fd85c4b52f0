# SPDX-License-Identifier: Apache-2.0
"""Error measures of object pose: shares of geodesic rotation errors |log(R1^T R2)| below pi/6 and pi/18, and their
median, as in NeMo (arXiv 2101.12378) and on PASCAL3D+. Angles in degrees here, because they are reported so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from .floor import share_below

FLIP_DEG = 150.0
RIGHT_DEG = 30.0  # below it a pose counts as right: Acc@pi/6
_SHARES = ("acc30", "acc10", "flips", "missing", "azimuth_acc30", "add_within", "below_floor")  # of all frames of a row


@dataclass(frozen=True)
class AngleSummary:
    """What is reported for a set of frames; shares are fractions of all ``n`` frames.

    Attributes:
        n: frames, those without a pose included.
        acc30, acc10: share with an error below 30 and 10 degrees; a frame without a pose is wrong.
        median_deg: median error, a frame without a pose counted as 180.
        flips: share with an error above 150 degrees; a frame without a pose is no flip, see ``missing``.
        missing: share without a pose.
    """

    n: int
    acc30: float
    acc10: float
    median_deg: float
    flips: float
    missing: float


def azimuth_error_deg(estimate_deg: float, truth_deg: float) -> float:
    """Smallest turn between two azimuths, 0 to 180 degrees."""
    return abs((estimate_deg - truth_deg + 180.0) % 360.0 - 180.0)


def wilson_interval(count: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share of which ``count`` of ``n`` were seen (Wilson 1927), 95 % unless ``z`` says otherwise."""
    share, spread = count / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def summarise_angles(errors_deg: Sequence[float | None]) -> AngleSummary:
    """Summary of the errors of all frames in degrees; None stands for a frame without a pose.

    Raises:
        ValueError: there are no frames.
    """
    if len(errors_deg) == 0:
        raise ValueError("no frames to summarise")
    found = np.array([180.0 if error is None else error for error in errors_deg])
    missing = np.array([error is None for error in errors_deg])
    return AngleSummary(
        n=len(found),
        acc30=float(np.mean((found < RIGHT_DEG) & ~missing)),
        acc10=float(np.mean((found < 10.0) & ~missing)),
        median_deg=float(np.median(found)),
        flips=float(np.mean((found > FLIP_DEG) & ~missing)),
        missing=float(np.mean(missing)),
    )


def summarise(records: Sequence[dict]) -> dict:
    """One row of a table from records of :func:`~dinemo_ros.evaluation.runner.evaluate`.

    Besides :class:`AngleSummary`, where the records hold them: ``below_floor``, ``coverage`` and ``surroundings``
    (means over the frames), ``azimuth_acc30``, ``distance_median_pct``, ``translation_median_m``, ``add_median_m``,
    ``add_within`` and ``pck`` (means). A frame without a pose is wrong in every share and worst in every median; a
    median that thereby has no value is None. ``elevation_bias_deg`` and ``distance_bias_pct`` are medians with their
    sign, over the frames with a pose: what all of them have in common comes from the model or the size prior and not
    from noise.

    Every share of frames has its Wilson interval of 95 % beside it, as ``acc30_interval`` (low, high) and so on;
    ``pck`` is a mean of shares of key points and has none.

    Raises:
        ValueError: no records.
    """
    row = asdict(summarise_angles([record["error_deg"] for record in records])) | share_below(records)
    for key in ("coverage", "surroundings"):
        known = [record[key] for record in records if record.get(key) is not None]
        row[key] = float(np.mean(known)) if known else None
    found = [record for record in records if record["error_deg"] is not None]
    if any("add_m" in record for record in found):
        if any("azimuth_error_deg" in record for record in found):
            row["azimuth_acc30"] = sum(record["azimuth_error_deg"] < 30.0 for record in found) / len(records)
        for key, name in (("distance_error_pct", "distance_median_pct"),
                          ("translation_error_m", "translation_median_m"), ("add_m", "add_median_m")):
            middle = float(np.median([record.get(key, math.inf) for record in records]))
            row[name] = middle if math.isfinite(middle) else None
        for key, name in (("elevation_offset_deg", "elevation_bias_deg"), ("distance_offset_pct", "distance_bias_pct")):
            row[name] = float(np.median([record[key] for record in found]))
        for key in ("add_within", "pck"):
            row[key] = sum(record[key] for record in found) / len(records)
    return row | {f"{key}_interval": wilson_interval(round(row[key] * len(records)), len(records)) for key in _SHARES
                  if key in row}
