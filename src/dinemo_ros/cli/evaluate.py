# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval``: errors of bundles on annotated images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.quoting import one_line
from . import evaluate_bop, evaluate_detector, evaluate_turntable, options
from . import evaluate_options as shared
from .evaluate_report import finish

if TYPE_CHECKING:
    from .options import Commands

_SYNTHETIC = """\
Errors of the full pose on rendered objects, or others with mask and pose.
  DIR/images/NAME.jpg
  DIR/masks/NAME.png      255 where the object is seen, 0 elsewhere, another value where something rendered hides it
  DIR/labels.npz          names [N] without suffix, K [N, 3, 3] pixels, T_cam_obj [N, 4, 4] metres (camera x right, y
                          down, z forward; object x forward, y left, z up, origin in the centre of its box), size
                          [N, 3] metres (length, width, height), asset [N] names of the models (optional)
An example of every file: docs/evaluation.md.
The error is that of the full rotation. ADD is the mean distance of the mesh's vertices at the true size under
both poses, ADD<0.1d the share of frames where it is below 10 % of the diameter. Key points are 24 vertices of the
bundle's mesh spread as evenly as can be; PCK@0.1 counts those facing the camera within 0.1 of the box's longer side.
"""

_KITTI = """\
Pose errors on the cars of KITTI's easy set (truncation < 0.15, occlusion <= 1, height >= 40 px).
  DIR/image_2/NAME.png
  DIR/calib/NAME.txt      P2: 12 numbers, 3x4 projection of camera 2
  DIR/label_2/NAME.txt    15 fields a line: type truncated occluded alpha, x_min y_min x_max y_max in pixels, height
                          width length in metres, x y z of the middle of the bottom face, rotation_y in radians
DIR is the folder "training" of a download. An example of every file: docs/evaluation.md.
The error is that of the full rotation; recall and precision, with --rois auto, are those of
the regions found at 0.5 IoU.
"""

_PASCAL3D = """\
Viewpoint errors on PASCAL3D+ (ImageNet part; DIR is PASCAL3D+_release1.1) and, with --occluded, on Occluded PASCAL3D+.
  DIR/Annotations/CATEGORY_imagenet/NAME.mat, DIR/Images/CATEGORY_imagenet/NAME.JPEG
  DIR/Image_sets/CATEGORY_imagenet_val.txt    a NAME a line
What is read of a file: docs/evaluation.md.
Acc@30 and Acc@10 are the Acc@pi/6 and Acc@pi/18 of the papers' tables. The
error is that of the rotation along the ray to the object; the camera is the data set's (focal length 3000 pixels), its
axis through the middle of the picture. The annotated distance and object centre, which most methods are given, are
not used.
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo eval`` and its kinds of data."""
    parser = subparsers.add_parser("eval", help="errors on annotated images: turntable, synthetic, kitti, "
                                   "pascal3d, bop, detector", description="Measure bundles against annotated images.")
    kinds = parser.add_subparsers(title="kinds of data", metavar="KIND", required=True)

    evaluate_turntable.add_kind(kinds)

    synthetic = shared.add_kind(kinds, "synthetic", "renders, full pose and size known", _SYNTHETIC)
    shared.add_rois(synthetic, "labels", "the box of the object's mask")
    synthetic.add_argument("--limit", type=options.frame_count, metavar="N", help="only the first N renders")
    shared.add_occlusion_options(synthetic)
    synthetic.set_defaults(run=run_synthetic)

    kitti = shared.add_kind(kinds, "kitti", "KITTI object training frames, 3-D boxes known", _KITTI)
    shared.add_rois(kitti, "labels", "the 2-D boxes of the labels")
    kitti.set_defaults(run=run_kitti)

    pascal = shared.add_kind(kinds, "pascal3d", "PASCAL3D+ and Occluded PASCAL3D+", _PASCAL3D)
    pascal.add_argument("--category", metavar="NAME", help="category of the data set (default: the bundle's)")
    pascal.add_argument("--subset", metavar="NAME", default="val", help="which list of Image_sets (default: "
                        "%(default)s)")
    pascal.add_argument("--occluded", choices=("L1", "L2", "L3", "all"), help="a level of Occluded PASCAL3D+ instead "
                        "of the pictures as they are; all: both, one after the other")
    pascal.add_argument("--occluded-dir", metavar="DIR", type=Path, help="folder of Occluded PASCAL3D+ (default: "
                        "OccludedPASCAL3D in or beside the first folder)")
    pascal.add_argument("--limit", type=options.frame_count, metavar="N", help="only the first N pictures of the list")
    pascal.add_argument("--hfov", type=options.hfov, metavar="DEG", help="horizontal field of view instead of the data "
                        "set's camera, degrees")
    shared.add_rois(pascal, "labels", "the annotated boxes")
    pascal.set_defaults(run=run_pascal3d)
    evaluate_bop.add_kind(kinds)
    evaluate_detector.add_kind(kinds)


def run_synthetic(arguments: argparse.Namespace) -> int:
    """Errors on renders with exact poses; returns the exit code. Raises as
    :func:`~dinemo_ros.cli.evaluate_turntable.run`."""
    from ..evaluation.runner import evaluate, tabulate
    from ..evaluation.synthetic import read_synthetic, require_unit, synthetic_entries

    prepared = shared.prepare(arguments)
    frames = read_synthetic(arguments.dir, arguments.limit)
    require_unit(frames, prepared.card.size_prior.mean_m)
    entries = synthetic_entries(frames, arguments.rois)
    setting = shared.make_setting(arguments, prepared)
    records = evaluate(setting, shared.progress(entries, "render"))
    return finish(arguments, setting, records, tabulate(records))


def run_kitti(arguments: argparse.Namespace) -> int:
    """Errors on KITTI's easy cars; returns the exit code. Raises as
    :func:`~dinemo_ros.cli.evaluate_turntable.run`."""
    from ..evaluation.kitti import evaluate_kitti
    from ..evaluation.kitti_labels import read_kitti

    prepared = shared.prepare(arguments)
    frames = read_kitti(arguments.dir)
    setting = shared.make_setting(arguments, prepared)
    records, rows = evaluate_kitti(setting, shared.progress(frames, "image"), arguments.rois)
    return finish(arguments, setting, records, rows)


def run_pascal3d(arguments: argparse.Namespace) -> int:
    """Viewpoint errors on PASCAL3D+, occluded or not; returns the exit code. Raises as
    :func:`~dinemo_ros.cli.evaluate_turntable.run`."""
    from ..evaluation.pascal3d import pascal3d_entries, read_occluded, read_pascal3d
    from ..evaluation.runner import evaluate, tabulate

    prepared = shared.prepare(arguments)
    category = arguments.category or prepared.card.category
    clean, left_out = read_pascal3d(arguments.dir, category, arguments.subset, arguments.limit)
    for sentence in left_out:
        print(f"left out: {one_line(sentence)}", file=sys.stderr)
    chosen = clean if arguments.occluded in (None, "all") else []
    if arguments.occluded:
        levels = ("L1", "L2", "L3") if arguments.occluded == "all" else (arguments.occluded,)
        folder = arguments.occluded_dir or _occluded_beside(arguments.dir)
        chosen = [*chosen, *(item for level in levels for item in read_occluded(folder, category, level, clean))]
    entries = pascal3d_entries(chosen, category, arguments.rois, arguments.hfov)
    setting = shared.make_setting(arguments, prepared)
    records = evaluate(setting, shared.progress(entries, "picture"))
    return finish(arguments, setting, records, tabulate(records),
                  {"category": category, "subset": arguments.subset, "left_out": len(left_out)})


def _occluded_beside(directory: Path) -> Path:
    """Where NeMo's scripts put Occluded PASCAL3D+; what does not exist is refused by who reads it."""
    inside = directory / "OccludedPASCAL3D"
    return inside if inside.is_dir() else directory.resolve().parent / "OccludedPASCAL3D"
