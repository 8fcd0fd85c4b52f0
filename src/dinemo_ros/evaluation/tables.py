# SPDX-License-Identifier: Apache-2.0
"""Rows of numbers as Markdown for people and as CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

_SHARE, _PERCENT, _DEGREES, _METRES = "share with interval", "percent", "degrees", "metres"
_POINTS, _SIGNED_POINTS, _SIGNED_DEGREES = "percent points", "signed percent points", "signed degrees"
_CENTIMETRES, _SIGNED_CENTIMETRES, _MILLISECONDS = "centimetres", "signed centimetres", "milliseconds"
# Column, heading, how it is written; a column that no row has a value for is left out.
_COLUMNS = (
    ("model", "model", None),
    ("occlusion", "level", None),
    ("coverage", "covered", _PERCENT),
    ("surroundings", "around", _PERCENT),
    ("group", "set", None),
    ("n", "n", None),
    ("acc30", "Acc@30°", _SHARE),
    ("acc10", "Acc@10°", _SHARE),
    ("median_deg", "median", _DEGREES),
    ("flips", "flips", _SHARE),
    ("missing", "missing", _PERCENT),
    ("below_floor", "below floor", _PERCENT),
    ("azimuth_acc30", "azimuth@30°", _PERCENT),
    ("rotation_median_deg", "rotation", _DEGREES),
    ("elevation_bias_deg", "elevation bias", _SIGNED_DEGREES),
    ("distance_median_pct", "distance", _POINTS),
    ("distance_bias_pct", "distance bias", _SIGNED_POINTS),
    ("translation_median_m", "translation", _METRES),
    ("add_median_m", "ADD", _METRES),
    ("add_within", "ADD<0.1d", _PERCENT),
    ("pck", "PCK@0.1", _PERCENT),
    ("recall", "recall", _SHARE),
    ("precision", "precision", _SHARE),
)
# Of turntables that say more than azimuths: what a row of :mod:`.turns` holds.
_TURN_COLUMNS = (
    ("model", "model", None),
    ("occlusion", "level", None),
    ("group", "set", None),
    ("n", "n", None),
    ("missing", "missing", _PERCENT),
    ("below_floor", "below floor", _PERCENT),
    ("seen_n", "azimuth seen", None),
    ("azimuth_acc30", "azimuth@30°", _SHARE),
    ("azimuth_acc10", "azimuth@10°", _SHARE),
    ("flips", "flips", _SHARE),
    ("announced_seen_deg", "announced, seen", _DEGREES),
    ("announced_hidden_deg", "hidden", _DEGREES),
    ("elevation_n", "elevation known", None),
    ("elevation_acc10", "elevation@10°", _SHARE),
    ("elevation_median_deg", "elevation error", _DEGREES),
    ("elevation_bias_deg", "elevation bias", _SIGNED_DEGREES),
    ("elevation_level_deg", "elevation", _SIGNED_DEGREES),
    ("elevation_deviation_deg", "its deviation", _DEGREES),
    ("theta_deviation_deg", "that of theta", _DEGREES),
)
# The same of the rows of BOP scenes.
_BOP_COLUMNS = (
    ("source", "source", None),
    ("group", "set", None),
    ("n", "n", None),
    ("deg5cm1", "5° 1 cm", _SHARE),
    ("deg5cm2", "5° 2 cm", _PERCENT),
    ("deg10cm2", "10° 2 cm", _PERCENT),
    ("deg10cm5", "10° 5 cm", _PERCENT),
    ("within_1cm", "within 1 cm", _SHARE),
    ("translation_median_cm", "translation", _CENTIMETRES),
    ("distance_bias_cm", "distance bias", _SIGNED_CENTIMETRES),
    ("rotation_median_deg", "rotation", _DEGREES),
    ("axis_median_deg", "axis", _DEGREES),
    ("azimuth30", "azimuth@30°", _PERCENT),
    ("missing", "missing", _PERCENT),
    ("below_floor", "below floor", _PERCENT),
    ("coverage_68", "inside 68.3 %", _PERCENT),
    ("coverage_95", "inside 95.4 %", _PERCENT),
    ("support_refused", "plane refused", None),
    ("depth_refused", "depth refused", None),
    ("time_median_ms", "time", _MILLISECONDS),
)
# The same of the rows of a box detector.
_DETECTOR_COLUMNS = (
    ("group", "set", None),
    ("pictures", "pictures", None),
    ("min_score", "score from", None),
    ("recall", "recall", _SHARE),
    ("recall_n", "of", None),
    ("precision", "precision", _SHARE),
    ("precision_n", "of", None),
    ("pictures_wrong", "pictures with a box on nothing", None),
)
_TEXTS = ("model", "occlusion", "group", "source")


def markdown(rows: Sequence[dict]) -> str:
    """A table with aligned columns; the shares that decide have their intervals of 95 % beside them."""
    return _table(rows, _COLUMNS)


def bop_markdown(rows: Sequence[dict]) -> str:
    """Table of :func:`dinemo_ros.evaluation.bop_rows.bop_rows`, written as :func:`markdown` does."""
    return _table(rows, _BOP_COLUMNS)


def detector_markdown(rows: Sequence[dict]) -> str:
    """Table of :func:`dinemo_ros.evaluation.detections.detection_rows`, written as :func:`markdown` does."""
    return _table(rows, _DETECTOR_COLUMNS)


def _table(rows: Sequence[dict], known: Sequence[tuple[str, str, str | None]]) -> str:
    columns = [c for c in known if any(row.get(c[0]) is not None for row in rows)]
    cells = [[heading for _, heading, _ in columns]]
    cells += [[_cell(row, key, form) for key, _, form in columns] for row in rows]
    return _aligned(cells, [key in _TEXTS for key, _, _ in columns])


def turns_markdown(rows: Sequence[dict]) -> str:
    """Table of :func:`dinemo_ros.evaluation.turns.turn_rows`, a row each, shares with their intervals over frames."""
    return _table(rows, _TURN_COLUMNS)


def parts_markdown(rows: Sequence[dict]) -> str:
    """The same rows of the parts of a split side by side: a column per part, a line per model and figure.

    In brackets the intervals over frames and, behind a semicolon, over objects.
    """
    parts = list(dict.fromkeys(row["group"] for row in rows))
    head = {part: next(row for row in rows if row["group"] == part) for part in parts}
    cells = [["model", "level", "figure",
              *(f"{part} ({head[part]['objects']} objects, {head[part]['n']} frames)" for part in parts)]]
    for model, level in dict.fromkeys((row["model"], row["occlusion"]) for row in rows):
        of = {row["group"]: row for row in rows if (row["model"], row["occlusion"]) == (model, level)}
        for key, heading, form in _TURN_COLUMNS[4:]:
            if any(row.get(key) is not None for row in of.values()):
                cells.append([model, level, heading, *(_with_both(of[part], key, form) for part in parts)])
    return _aligned(cells, [True, True, True, *[False] * len(parts)])


def _with_both(row: dict, key: str, form: str | None) -> str:
    """A figure with its intervals over frames and over objects, those it has."""
    text = _written(row.get(key), _PERCENT if form == _SHARE else form)
    scale, digits = (100.0, ".1f") if form == _SHARE else (1.0, "+.1f" if form == _SIGNED_DEGREES else ".1f")
    intervals = [f"{interval[0] * scale:{digits}} to {interval[1] * scale:{digits}}"
                 for interval in (row.get(f"{key}_interval"), row.get(f"{key}_interval_objects")) if interval]
    return f"{text} ({'; '.join(intervals)})" if intervals else text


def _aligned(cells: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """Markdown table of texts, the first line its head; ``left``: which columns are not numbers."""
    widths = [max(3, *(len(line[k]) for line in cells)) for k in range(len(left))]
    rule = ["-" * width if is_left else "-" * (width - 1) + ":"
            for width, is_left in zip(widths, left, strict=True)]
    return "\n".join("| " + " | ".join(cell.ljust(width) if is_left else cell.rjust(width)
                                       for cell, width, is_left in zip(line, widths, left, strict=True)) + " |"
                     for line in [cells[0], rule, *cells[1:]])


def _cell(row: dict, key: str, form: str | None) -> str:
    """One value of a row, as its column is written."""
    interval = row.get(f"{key}_interval")
    if form == _SHARE and interval is not None:
        return _with_interval(row[key], interval)
    return _written(row.get(key), _PERCENT if form == _SHARE else form)


def _written(value: Any, form: str | None) -> str:
    if value is None:
        return "–"
    return {_PERCENT: lambda: f"{100 * value:.1f} %", _POINTS: lambda: f"{value:.1f} %",
            _SIGNED_POINTS: lambda: f"{value:+.1f} %", _SIGNED_DEGREES: lambda: f"{value:+.1f}°",
            _DEGREES: lambda: f"{value:.1f}°", _METRES: lambda: f"{value:.2f} m",
            _CENTIMETRES: lambda: f"{value:.2f} cm", _SIGNED_CENTIMETRES: lambda: f"{value:+.2f} cm",
            _MILLISECONDS: lambda: f"{value:.0f} ms"}.get(form or "", lambda: str(value))()


def coverage_markdown(rows: Sequence[dict]) -> str:
    """Table of :func:`dinemo_ros.evaluation.coverage.coverage_rows`, shares with their intervals of 95 %."""
    levels = list(rows[0]["coverage"])
    verdict = {True: "yes", False: "no", None: "–"}
    cells = [["model", "level", "quantity", "n", *(f"inside {level} %" for level in levels), "within bounds"]]
    cells += [[row["model"], row["occlusion"], row["quantity"], str(row["n"]),
               *(_with_interval(row["coverage"][level], row["interval"][level]) for level in levels),
               verdict[row["holds"]]] for row in rows]
    return _aligned(cells, [True, True, True, False, *[False] * len(levels), True])


def reliability_markdown(rows: Sequence[dict]) -> str:
    """Table of :func:`dinemo_ros.evaluation.reliability.reliability_rows`."""
    cells = [["model", "level", "n", "mean probability", "within 30°", "ECE"]]
    cells += [[row["model"], row["occlusion"], str(row["n"]), _written(row["mean_probability"], _PERCENT),
               _with_interval(row["right"], row["interval"]), f"{row['ece']:.3f}"] for row in rows]
    return _aligned(cells, [True, True, False, False, False, False])


def _with_interval(share: float, interval: Sequence[float]) -> str:
    return f"{100 * share:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def comma_separated(records: Sequence[dict]) -> str:
    """CSV of records, one line each; lists and None stay empty."""
    plain = [{key: value for key, value in record.items() if not isinstance(value, (list, dict))}
             for record in records]
    keys = list(dict.fromkeys(key for record in plain for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return text.getvalue()
