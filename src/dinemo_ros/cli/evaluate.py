# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval``: errors of a bundle on annotated images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from . import options
from .output import AtomicFile, to_json

_SPIN = """\
Azimuth errors on turntable sequences: DIR/SEQUENCE/*.jpg with DIR/azimuth.json =
{"SEQUENCE": {"azimuth_deg": {"000.jpg": 88.1, ...}}, ...}, azimuth 0 seeing the front, 90 the object's left side.

The report: {"sequences": {NAME: S}, "all": S, "frames": [one each]} where S has
  n            frames
  acc30 acc10  share with an error below 30 and 10 degrees; a frame without a pose is wrong
  median_deg   median error; a frame without a pose counts 180
  flips        share with an error above 150 degrees
  missing      share without a pose
"""

_KITTI = """\
Pose errors on the cars of KITTI's easy set (truncation < 0.15, occlusion <= 1, height >= 40 px) in DIR/image_2,
DIR/calib, DIR/label_2.

The report: {"cars": [one each], "all": {...}} with
  n                     easy cars
  azimuth_acc30         share with an azimuth error below 30 degrees; a car without a pose is wrong
  rotation_median_deg   median of the full rotation error
  distance_median_pct   median error of the distance, percent
  translation_median_m  median error of the position, metres
  missing               cars without a pose
  recall, precision     with --rois auto: of the regions found, at 0.5 IoU
"""


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("eval", help="errors on annotated images (spin, kitti)",
                                   description="Measure a bundle against annotated images.")
    kinds = parser.add_subparsers(title="kinds of data", metavar="KIND", required=True)

    spin = _add_kind(kinds, "spin", "full turns around one object, azimuth known", _SPIN)
    spin.add_argument("--hfov", type=options.hfov, metavar="DEG", default=options.DEFAULT_HFOV_DEG, help="horizontal "
                      "field of view assumed for these uncalibrated pictures, degrees (default: %(default)g)")
    spin.add_argument("--rois", choices=("frame", "auto"), default="frame", help="where to look: the whole picture, "
                      "or the bundle's own proposals (default: %(default)s)")
    spin.add_argument("--sequence", action="append", metavar="NAME", help="only this sequence; may be given several "
                      "times (default: all)")
    spin.set_defaults(run=run_spin)

    kitti = _add_kind(kinds, "kitti", "KITTI object training frames, 3-D boxes known", _KITTI)
    kitti.add_argument("--rois", choices=("labels", "auto"), default="labels", help="where to look: the 2-D boxes of "
                       "the labels, or the bundle's own proposals (default: %(default)s)")
    kitti.set_defaults(run=run_kitti)


def _add_kind(kinds, name: str, help_text: str, description: str) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=help_text, description=description,
                              formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", metavar="DIR", type=Path, help="folder with images and annotations")
    parser.add_argument("--json", metavar="FILE", help="write the report here")
    options.add_estimator_options(parser)
    return parser


def run_spin(arguments: argparse.Namespace) -> int:
    from ..evaluation.spin import evaluate_spins, read_spins

    frames = read_spins(arguments.dir, arguments.sequence)
    estimator = options.make_estimator(arguments)
    print(f"assumed horizontal field of view: {arguments.hfov:g} degrees (--hfov)", file=sys.stderr)
    report = evaluate_spins(estimator, _progress(frames, "frame"), arguments.hfov, arguments.rois)
    _save(arguments, report | {"hfov_deg": arguments.hfov, "rois": arguments.rois, "bundle": _name(estimator)})
    for entry in report["frames"]:
        if "skipped" in entry:
            print(f"counted as wrong: {entry['sequence']}/{entry['skipped']}", file=sys.stderr)
    print(f"{'sequence':16} {'n':>4} {'acc30':>6} {'acc10':>6} {'median':>7} {'flips':>6}")
    for name, s in [*report["sequences"].items(), ("all", report["all"])]:
        print(f"{name:16} {s['n']:4d} {100 * s['acc30']:5.1f}% {100 * s['acc10']:5.1f}% {s['median_deg']:6.1f}d "
              f"{100 * s['flips']:5.1f}%")
    return 0


def run_kitti(arguments: argparse.Namespace) -> int:
    from ..evaluation.kitti import evaluate_kitti
    from ..evaluation.kitti_labels import read_kitti

    frames = read_kitti(arguments.dir)
    estimator = options.make_estimator(arguments)
    report = evaluate_kitti(estimator, _progress(frames, "image"), arguments.rois)
    _save(arguments, report | {"rois": arguments.rois, "bundle": _name(estimator)})
    for name, value in report["all"].items():
        print(f"{name:22} {'none' if value is None else format(value, '.3g')}")
    return 0


def _progress(items, unit: str):
    return tqdm(items, unit=unit, file=sys.stderr, disable=None)


def _save(arguments: argparse.Namespace, report: dict) -> None:
    if arguments.json:
        with AtomicFile(arguments.json) as file:
            file.write(to_json(report, indent=1) + "\n")


def _name(estimator) -> str:
    card = estimator.bundle.card
    return f"{card.category} {card.version}"
