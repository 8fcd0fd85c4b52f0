# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval turntable``: from which side bundles, baselines and other programs see an object on a turntable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..defaults import DEFAULT_HFOV_DEG
from ..io.quoting import one_line
from . import evaluate_options as shared
from . import options
from .evaluate_report import finish

if TYPE_CHECKING:
    from ..evaluation.rivals import Rival
    from ..evaluation.runner import Setting
    from ..evaluation.turns import Views
    from ..evaluation.turntable import TurntableFrame
    from ..model.bundle import Card
    from .options import Commands

_DESCRIPTION = """\
Azimuth, and where it is known elevation, on photographs around one object.
  DIR/azimuth.json        {"SEQUENCE": {"azimuth_deg": {"000.jpg": 88.1, ...}}, ...}; azimuth in degrees, 0 seeing the
                          front, 90 the object's left side, so that the camera goes round counter-clockwise from above;
                          optional beside it "elevation_deg" (per file, or one number) and "box" (per file [x_min,
                          y_min, x_max, y_max] in pixels)
  DIR/SEQUENCE/000.jpg    the pictures, one object each
The error is that of the azimuth; of a category without azimuth (a bottle) it is the angle between the axes. An example
of every file: docs/evaluation.md.
The answer is no pose per line as of dinemo estimate, but "rows" (one per sequence, and all together) and "frames" (one
per picture: group, which is its sequence, file, error_deg, azimuth, azimuth_true, ...), see below. Where there are
elevations or boxes, or the category may hide what tells its azimuth, "turns" has a row per sequence, part of the split
and all together with
  seen_n                    frames that show what the azimuth is known by: handle within 125 degrees of the camera,
                            elevation below 85
  azimuth_acc30, azimuth_acc10, flips, azimuth_median_deg    over these frames
  elevation_n, elevation_acc10, elevation_median_deg, elevation_bias_deg    over frames with a known elevation
  elevation_deviation_deg, theta_deviation_deg    standard deviation over a turn (of several turns the median)
  announced_seen_deg, announced_hidden_deg    median of the announced deviation about the axis
  KEY_interval, KEY_interval_objects    95 % by the bootstrap (seed 0), over frames and over objects
"""


def add_kind(kinds: Commands) -> None:
    """Declare the kind of data."""
    parser = shared.add_kind(kinds, "turntable", "full turns around one object, azimuth known", _DESCRIPTION)
    parser.add_argument("--hfov", type=options.hfov, metavar="DEG", default=DEFAULT_HFOV_DEG, help="horizontal "
                        "field of view assumed for these uncalibrated pictures, degrees (default: %(default)g)")
    parser.add_argument("--rois", choices=("box", "mask", "frame", "auto"), help="where to look: the box of "
                        "azimuth.json, that of the frame's mask (--masks), the whole picture, or what --detector says "
                        "(default: box where there are boxes, else frame)")
    parser.add_argument("--sequence", action="append", metavar="NAME", help="only this sequence; may be given "
                        "several times (default: all)")
    parser.add_argument("--elevation", type=options.elevation, metavar="DEG", help="elevation of the camera in "
                        "sequences that state none, degrees")
    parser.add_argument("--split", metavar="FILE", type=Path, help="YAML with parts of the sequences, which are "
                        "printed side by side; sequences in no part are left out")
    parser.add_argument("--part", action="append", metavar="NAME", default=[], help="only this part of --split; may "
                        "be given several times (default: all)")
    parser.add_argument("--rival", action="append", type=options.named_file, metavar="NAME=FILE", default=[],
                        help="a row of another program's answers, read from JSON; may be given several times")
    parser.add_argument("--masks", metavar="DIR", type=Path, help="masks DIR/SEQUENCE/FRAME.png that say where "
                        "the object is, for --occlusion and --rois mask (default: the silhouette of the pose found "
                        "in the clean picture)")
    shared.add_occlusion_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Errors on pictures around one object; returns the exit code.

    Raises:
        DinemoError: an input or output is no good, told before the work where it can be known then.
    """
    from ..evaluation.rivals import Rival
    from ..evaluation.runner import evaluate
    from ..evaluation.turntable import left_out, region_source, turntable_entries

    prepared = shared.prepare(arguments)
    frames, parts = _frames(arguments)
    rivals = [Rival.read(name, path) for name, path in arguments.rival]
    arguments.rois = region_source(frames, arguments.rois, arguments.masks)
    views = _views(frames, parts, prepared.card, arguments)
    entries = turntable_entries(frames, arguments.hfov, arguments.rois, arguments.masks, views is not None)
    if not arguments.sequence and not parts:  # who names sequences knows that there are others
        for sentence in left_out(arguments.dir):
            print(f"left out: {one_line(sentence)}", file=sys.stderr)
    setting = shared.make_setting(arguments, prepared)
    print(f"assumed horizontal field of view: {arguments.hfov:g} degrees (--hfov)", file=sys.stderr)
    records = evaluate(setting, shared.progress(entries, "frame"))
    return _finish(arguments, setting, records, views, _rival_rows(rivals, frames, views, setting))


def _frames(arguments: argparse.Namespace) -> tuple[list[TurntableFrame], dict[str, list[str]]]:
    """Frames of the wanted sequences, and the wanted parts of the split (none without one)."""
    from ..errors import DatasetError
    from ..evaluation.split import read_split, sequences_of
    from ..evaluation.turntable import read_turntables, with_elevation

    if arguments.part and arguments.split is None:
        raise DatasetError(f"--part {arguments.part[0]} names a part of a split; give the file of that by --split")
    parts = {} if arguments.split is None else read_split(arguments.split)
    frames = with_elevation(read_turntables(arguments.dir, arguments.sequence), arguments.elevation)
    if not parts:
        return frames, {}
    chosen = set(sequences_of(parts, arguments.part, dict.fromkeys(frame.sequence for frame in frames)))
    wanted = {name: members for name, members in parts.items() if name in (arguments.part or parts)}
    return [frame for frame in frames if frame.sequence in chosen], wanted


def _views(frames: list[TurntableFrame], parts: dict[str, list[str]], card: Card,
           arguments: argparse.Namespace) -> Views | None:
    """What more than azimuths is known, or asked for; None keeps to azimuths."""
    from ..evaluation.turns import Views
    from ..evaluation.turntable import knows_views, view_truths

    more = knows_views(frames) or card.symmetry.axis == "z" or parts or arguments.rival
    return Views(view_truths(frames), card.symmetry, parts) if more else None


def _rival_rows(rivals: list[Rival], frames: list[TurntableFrame], views: Views | None,
                setting: Setting) -> list[dict]:
    from ..evaluation.rivals import rival_records

    return [record for rival in rivals if views is not None
            for record in rival_records(rival, frames, views.truths, setting.reference)]


def _finish(arguments: argparse.Namespace, setting: Setting, records: list[dict], views: Views | None,
            answered: list[dict]) -> int:
    """Print and write; ``answered``: records of other programs."""
    from ..evaluation.runner import tabulate
    from ..evaluation.sample import ALL
    from ..evaluation.tables import parts_markdown, turns_markdown
    from ..evaluation.turns import turn_rows

    extra: dict = {"hfov_deg": arguments.hfov}
    if views is None:
        return finish(arguments, setting, records, tabulate(records), extra)
    records = records + answered
    turns = turn_rows(records, views)
    main, several = setting.competitors[0].name, len({row["group"] for row in turns}) > 1
    shown = [r for r in turns if not r["part"] and (r["model"] == main or r["group"] == ALL or not several)]
    tables = ["the side that is seen (azimuth over the frames that show it; in brackets 95 % by the bootstrap over "
              f"frames):\n\n{turns_markdown(shown)}"]
    if views.parts:
        tables.append("parts of the split (in brackets 95 % by the bootstrap, over frames; over objects):\n\n"
                      + parts_markdown([row for row in turns if row["part"]]))
    extra |= {"models": list(dict.fromkeys(record["model"] for record in records)),
              "elevation_deg": arguments.elevation, "parts": views.parts, "turns": turns}
    return finish(arguments, setting, records, tabulate(records), extra, tables)
