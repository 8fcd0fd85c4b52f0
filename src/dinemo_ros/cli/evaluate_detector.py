# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval detector``: how well a box detector finds objects of a category."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DatasetError, DinemoError, DocumentError
from ..io.bounded_file import read_bounded
from ..io.quoting import shown_path
from . import evaluate_options as shared
from . import options
from .output import check_outputs, prose_beside, result_file, to_json

if TYPE_CHECKING:
    from .options import Commands

_DESCRIPTION = """\
Recall and precision of a box detector, at an overlap (IoU) of 0.5, and its false finds.
  DIR/label_2, image_2, calib   frames of KITTI: its easy cars; other cars, vans and DontCare count neither way
  DIR/azimuth.json              turntables whose frames have a box
  DIR/*.jpg                     pictures that show no object of the category
Rows: group, min_score (boxes below are left out), recall of recall_n objects, precision of precision_n boxes, each with
its interval of 95 % (Wilson), and pictures_wrong of pictures with a box on nothing. No pose is estimated: whether a box
leads to one is decided after a look.
"""
_LONGEST_LIST = 4 << 20  # bytes
_SCORES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


def add_kind(kinds: Commands) -> None:
    """Declare the kind."""
    parser = kinds.add_parser("detector", help="boxes of a detector on annotated pictures, or on empty ones",
                              description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", metavar="DIR", type=Path, help="folder with images, and annotations where there are any")
    parser.add_argument("--bundle", metavar="DIR", default="car", help="whose card says what detectors call the "
                        "category (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this sequence or picture; "
                        "may be given several times")
    parser.add_argument("--list", type=Path, metavar="FILE", help="the same, names in a file, one a line")
    parser.add_argument("--json", metavar="FILE", help="write the rows here; -: to standard output")
    options.add_detector_options(parser)
    parser.add_argument("--threads", type=options.threads, metavar="N", default=2, help="CPU threads (default: "
                        "%(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the rows; returns 0.

    Raises:
        DinemoError: an input or output is no good.
    """
    from ..evaluation.detections import detection_rows, read_pictures
    from ..evaluation.tables import detector_markdown

    check_outputs({"--json": arguments.json}, [arguments.dir, arguments.list, options.bundle_folder(arguments.bundle),
                                                options.detector_folder(arguments)], deep=True)
    labels = options.labels_of(arguments, options.load(arguments.bundle))
    detector = options.detector_of(arguments)
    if detector is None or not labels:
        raise DinemoError(f"{arguments.bundle}: there is nothing to measure, its card has no detector.labels"
                          if detector else "--detector none: there is nothing to measure; name a detector")
    options.require_known(detector, labels, arguments.bundle)
    names = [*arguments.only, *(_names(arguments.list) if arguments.list else ())]
    pictures = shared.progress(read_pictures(arguments.dir, names), "picture")
    rows = detection_rows(detector, pictures, labels, _SCORES)
    with prose_beside(arguments.json):
        print(detector_markdown(rows))
    if arguments.json:
        with result_file(arguments.json) as out:
            out.write(to_json({"detector": detector.name, "labels": list(labels), "rows": rows}) + "\n")
    return 0


def _names(path: Path) -> list[str]:
    """A name a line; DatasetError where the file cannot be read or holds none."""
    try:
        text = read_bounded(path, _LONGEST_LIST, pipes=True).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"--list {shown_path(path)}: is no text (byte {error.start} is not UTF-8)") from error
    except DocumentError as error:
        raise DatasetError(f"--list {shown_path(path)}: {error}") from error
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise DatasetError(f"--list {shown_path(path)}: holds no name; write one a line")
    return found
