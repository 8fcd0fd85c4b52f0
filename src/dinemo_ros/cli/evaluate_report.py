# SPDX-License-Identifier: Apache-2.0
"""What ``dinemo eval`` prints and writes: split, table, report, spreadsheet, worst frames."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DatasetError
from ..io.quoting import one_line
from .output import prose_beside, result_file, to_json

if TYPE_CHECKING:
    from ..evaluation.runner import Setting

ROWS = """
The answer is the rows: printed as a table, and in the report (--json) as {"split": {SET: frames}, "networks": {MODEL:
precision}, "rows": [...], "frames": [one per frame, level and model]}, the frames without --brief; "skipped" in one
says why its picture could not be used, which counts as no pose. Without --json only the table is left. A row is
  model, occlusion, group   whose, at which level, on which set
  coverage, surroundings    mean share of object and surroundings that is covered
  n                         frames
  acc30 acc10               share with an error below 30 and 10 degrees; a frame without a pose is wrong
  median_deg                median error; a frame without a pose counts 180
  flips                     share with an error above 150 degrees
  missing                   share without a pose
  acc30_interval, ...       [low, high] of each share of frames: where 95 % of such samples would have it (Wilson 1927)
and where the truth is a full pose
  azimuth_acc30             share with an azimuth error below 30 degrees
  elevation_bias_deg        median error of the elevation with its sign, frames with a pose; positive: from too high
  distance_median_pct       median error of the distance, percent
  distance_bias_pct         the same with its sign, frames with a pose; positive: too far away
  translation_median_m      median error of the position, metres
  add_median_m, add_within  median ADD, share below a tenth of the diameter
  pck                       share of key points within 0.1 of the box, mean over the frames, so without interval
Where poses come with a covariance, "coverage" has a row per model, level and quantity: n frames, the share of errors
inside the ellipsoids of 68.3 and 95.4 % with its interval of 95 % (Wilson), and whether both lie within bounds (0.60 to
0.76, 0.92 to 0.98; null below 400 frames). "reliability" compares the announced probability of a rotation within 30
degrees with the share that is (docs/evaluation.md).
"""


_NAMED = 5  # skipped frames that are named one by one


def _tell_skipped(records: list[dict], frames: int) -> None:
    """How many frames could not be used and why, the first of them by name.

    Raises:
        DatasetError: none of them could, so that the table would say nothing about the model.
    """
    reasons = {(r["group"], r["file"]): f"{r['group']}/{r['file']}: {r['skipped']}" for r in records if "skipped" in r}
    if all("skipped" in record for record in records):
        raise DatasetError(f"none of the {frames} frames could be used; the first is {next(iter(reasons.values()))}")
    if reasons:
        print(f"counted as wrong: {len(reasons)} of {frames} frames, which could not be used", file=sys.stderr)
    for sentence in list(reasons.values())[:_NAMED]:
        print(f"  {one_line(sentence)}", file=sys.stderr)
    if len(reasons) > _NAMED:
        print(f"  and {len(reasons) - _NAMED} more, named as \"skipped\" in --json", file=sys.stderr)


def finish(arguments: argparse.Namespace, setting: Setting, records: list[dict], rows: list[dict],
           extra: dict | None = None, tables: Sequence[str] = ()) -> int:
    """Print and write everything; returns the exit code.

    Args:
        records: one per frame, level and model. rows: the table that they make.
        extra: more keys of the report. tables: more tables, printed behind the first.

    Raises:
        DatasetError: no frame could be used. OutputError: a result cannot be written; the table is printed.
    """
    from ..evaluation.coverage import coverage_rows
    from ..evaluation.reliability import reliability_rows
    from ..evaluation.runner import split

    frames = split(records)
    report = {
        "bundle": setting.competitors[0].name, "models": [c.name for c in setting.competitors],
        "networks": _networks(setting),
        "rois": arguments.rois, "seed": getattr(arguments, "seed", None), **(extra or {}),
        "split": frames, "rows": rows, "coverage": coverage_rows(records), "reliability": reliability_rows(records),
    }
    if not arguments.brief:
        report["frames"] = records
    _tell_skipped(records, sum(frames.values()))
    try:
        with prose_beside(arguments.json, arguments.csv):
            _print_tables(arguments, records, report, tables)
    finally:  # a full disk does not cost the table, nor a full or closed pipe the files
        _write(arguments, setting, records, report)
    return 0


def _networks(setting: Setting) -> dict[str, str]:
    """What the network of each bundle computed in, by its name in the table: int8, fp32, ..."""
    return {c.name: c.estimator.extractor.precision for c in setting.competitors if hasattr(c.estimator, "extractor")}


def _print_tables(arguments: argparse.Namespace, records: list[dict], report: dict, tables: Sequence[str]) -> None:
    """On what, in which precision and how well, for people."""
    from ..evaluation.sample import ALL
    from ..evaluation.tables import coverage_markdown, markdown, reliability_markdown

    networks = report["networks"]
    precisions = sorted(set(networks.values()))
    told = precisions[0] if len(precisions) == 1 else ", ".join(f"{name} {kind}" for name, kind in networks.items())
    print(f"evaluated on {', '.join(f'{name} ({count})' for name, count in report['split'].items())}; regions: "
          f"{arguments.rois}" + (f"; network: {told}" if told else "") + "; in brackets 95 % intervals (Wilson)")
    sources = sorted({r["extent"] for r in records if r.get("extent")})
    if sources:
        print(f"occlusion is measured against: {', '.join(sources)}; seed {arguments.seed}")
    main, sets = report["bundle"], {row["group"] for row in report["rows"]}
    print()
    # Of the others the report has every set, the table only all of them together.
    print(markdown([r for r in report["rows"] if r["model"] == main or r["group"] == ALL or len(sets) == 1]))
    for table in tables:
        print(f"\n{table}")
    if report["coverage"]:
        print(f"\nerrors inside the announced ellipsoids:\n\n{coverage_markdown(report['coverage'])}")
    if report["reliability"]:
        print(f"\nthe announced probability of a rotation within 30 degrees:\n\n"
              f"{reliability_markdown(report['reliability'])}")


def _write(arguments: argparse.Namespace, setting: Setting, records: list[dict], report: dict) -> None:
    from ..evaluation.tables import comma_separated

    if arguments.json:
        with result_file(arguments.json) as file:
            file.write(to_json(report, indent=1) + "\n")
    if arguments.csv:
        with result_file(arguments.csv) as file:
            file.write(comma_separated(records))
    if setting.worst is not None:
        setting.worst.save(Path(arguments.worst))
