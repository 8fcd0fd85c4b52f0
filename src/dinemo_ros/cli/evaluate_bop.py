# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval bop``: how exact poses of BOP scenes are with the picture alone, the support plane, and depth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..errors import BundleError, DatasetError, OutputError
from ..io.quoting import one_line, quoted
from . import options
from .output import STANDARD_OUTPUT, check_outputs, prose_beside, result_file, to_json
from .support_options import add_sigma_option, sigmas

if TYPE_CHECKING:
    from ..evaluation.bop import BopOutcome, Judged
    from ..evaluation.bop_scene import BopData
    from ..model.bundle import Bundle
    from .options import Commands

SUPPORT_FILE = "scene_support.json"
_NAMED = 5  # objects and sentences that are told one by one
_MOST_ROWS = 60  # of the table; the report has all
_DESCRIPTION = """\
Errors of the full pose on scenes in the layout of the BOP benchmark, from the picture alone ("rgb", always), with the
plane that objects stand on (--support), with depth (--depth), and with both ("support+depth").
  DIR/000000/scene_camera.json     {"IMAGE": {"cam_K": [9], "depth_scale": mm of a step}}
  DIR/000000/scene_gt.json         {"IMAGE": [{"cam_R_m2c": [9], "cam_t_m2c": [3] mm, "obj_id": N}, ...]}
  DIR/000000/scene_gt_info.json    {"IMAGE": [{"bbox_visib": [x, y, w, h], "visib_fract": 0 to 1, ...}, ...]}
  DIR/000000/rgb/000000.png        or .jpg, or gray/
  DIR/000000/depth/000000.png      16 bits, times depth_scale millimetres; 0: nothing measured
  DIR/000000/mask_visib/000000_000000.png   read where scene_gt_info.json has no bbox_visib of an object
  DIR/000000/scene_support.json    {"IMAGE": {"normal": [3], "offset_m": n @ x of the plane}}, no file of BOP's: the
                                   camera's optical frame, metres, the normal points away from the support
DIR may be one scene itself. An example of every file: docs/evaluation.md. Where to look is bbox_visib, x, y, x + w,
y + h taken as pixel edges. FILE says which objects are of which category, where the frame of the category (x forward, y
left, z up, centre of the box) lies in the model's, T_cam_category = T_m2c @ T_model_category, and how large they are:
  objects: {ID: {category: NAME, T_model_category: 4x4, metres, size: [length, width, height], metres}}
Objects that it does not name, and those of which nothing is seen, are left out and counted. A picture without a plane
or without depth is evaluated without it, which the records (absent) and the rows say.
"""
_ROWS = """
The answer is {"rows": [...], "frames": [...], "sources", "bundles", "networks", "left_out"}. A row is
  source, group             what was known; SCENE/CATEGORY, category=NAME where there are several of both, KEY=VALUE for
                            what else scene_gt_info.json says of an object in texts or truth values, and all
  n, missing                objects, share without a pose, which is wrong in every share and worst in every median
  deg5cm1 deg5cm2 deg10cm2 deg10cm5   share of rotations within so many degrees and positions within so many cm
  within_1cm                share of positions within 1 cm
  rotation_median_deg       of equivalent poses the nearest; axis_median_deg: angle between the objects' z axes
  azimuth30                 share of azimuths within 30 degrees, null for a category that has none
  translation_median_cm     of the position; distance_bias_cm, distance_bias_pct: median with its sign, of poses alone
  coverage_68 coverage_95   share of positions inside the announced ellipsoids, of coverage_n poses;
                            rotation_coverage_68, rotation_coverage_95 of the rotation
  support_used, _refused, _absent, depth_used, ...   how many poses used it, refused it, had none
  time_median_ms            of one object
and each share has NAME_interval beside it, [low, high], 95 % (Wilson). Shares are fractions. A frame is one object from
one source: scene, image, gt_id, obj_id, category, source, score, errors, T_cam_obj, observations (name, used,
residual_m, reason), visib_fract, extra; "skipped" says why it could not be looked for.
"""


def add_kind(kinds: Commands) -> None:
    """Declare ``dinemo eval bop``."""
    parser = kinds.add_parser("bop", help="scenes of BOP, full pose known; with support plane and depth",
                              description=_DESCRIPTION + _ROWS, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", metavar="DIR", type=Path, help="split of a BOP data set, or one scene of it")
    parser.add_argument("--objects", metavar="FILE", type=Path, required=True, help="YAML or JSON: the objects that "
                        "are looked for, see above")
    parser.add_argument("--scene", metavar="N", type=options.scene_number, action="append", default=[],
                        help="only this scene; may be given several times (default: all)")
    parser.add_argument("--limit", type=options.frame_count, metavar="N", help="only the first N pictures")
    parser.add_argument("--support", action="store_true", help="rows with the plane of --support-file, too")
    parser.add_argument("--support-file", metavar="NAME", default=SUPPORT_FILE, help="file of every scene with its "
                        "planes (default: %(default)s)")
    add_sigma_option(parser)
    parser.add_argument("--depth", action="store_true", help="rows with the depth pictures, too")
    parser.add_argument("--bundle", metavar="DIR", action="append", default=[], help="model bundle of its category; "
                        "may be given once for each category (default: the shipped bundle of that name)")
    options.add_computing_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write the report here; -: to standard output, and the "
                        "table to standard error")
    parser.add_argument("--brief", action="store_true", help="leave the single objects out of --json")
    parser.add_argument("--csv", metavar="FILE", help="write the poses as results of BOP here (scene_id, im_id, "
                        "obj_id, score, R, t, time; of the model, millimetres); with several sources FILE_rgb, "
                        "FILE_support, FILE_depth, FILE_support_depth, each before the suffix")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Errors on BOP scenes; returns the exit code.

    Raises:
        DinemoError: an input or output is no good, told before the work where it can be known then.
    """
    from ..evaluation.bop import evaluate_bop, require_sizes, sources_of
    from ..evaluation.bop_objects import read_objects
    from ..evaluation.bop_rows import bop_rows

    sources = sources_of(arguments.support, arguments.depth)
    results = _result_files(arguments.csv, sources)
    folders = [options.bundle_folder(name) for name in arguments.bundle]
    check_outputs({"--json": arguments.json, **{f"--csv ({source})": path for source, path in results.items()}},
                  [arguments.dir, arguments.objects, *folders], deep=True)
    objects = read_objects(arguments.objects)
    data = _read(arguments, objects)
    bundles = _bundles(arguments, dict.fromkeys(i.known.category for i in data.instances))
    require_sizes(data, {category: bundle.card for category, bundle in bundles.items()})
    _tell_left_out(data)
    judged = _judged(arguments, bundles)
    outcome = evaluate_bop(judged, tqdm(data.images, unit="picture", file=sys.stderr, disable=None), sources)
    _tell(outcome)
    report = {
        "sources": list(sources), "bundles": {c: f"{c} {b.card.version}" for c, b in bundles.items()},
        "networks": {c: j.estimator.extractor.precision for c, j in judged.items()
                     if hasattr(j.estimator, "extractor")},
        "left_out": {"other_objects": data.other_objects, "unseen": data.unseen},
        "rows": bop_rows(outcome.records),
    }
    try:
        with prose_beside(arguments.json, *results.values()):
            _print(report)
    finally:  # a full disk does not cost the table, nor a full or closed pipe the files
        _write(arguments, report, outcome, results)
    return 0


def _read(arguments: argparse.Namespace, objects: dict) -> BopData:
    from ..evaluation.bop_scene import SupportFile, read_bop
    from ..io.bounded_file import is_name

    name = arguments.support_file
    if not is_name(name) or "/" in name:
        raise DatasetError(f"--support-file is {quoted(name)}; the name of a file in every scene's folder is expected")
    if not arguments.support and (name != SUPPORT_FILE or arguments.support_sigma):
        raise DatasetError("--support-file and --support-sigma are of the planes of --support; give that as well, or "
                           "leave them out")
    support = SupportFile(name, sigmas(arguments)) if arguments.support else None
    return read_bop(arguments.dir, objects, arguments.scene, support, arguments.depth, arguments.limit)


def _bundles(arguments: argparse.Namespace, categories: dict[str, None]) -> dict[str, Bundle]:
    """The bundle of each category: one of those given, else the shipped one.

    Raises:
        BundleError: there is none, two are of one category, or one is of a category that nothing needs.
    """
    from ..model.bundle import shipped_categories

    given: dict[str, Bundle] = {}
    for name in arguments.bundle:
        bundle = options.load(name, arguments.quiet)
        category = bundle.card.category
        if category in given or category not in categories:
            why = "another --bundle is of it, too" if category in given else (
                f"the objects that are looked for are of {', '.join(map(quoted, categories))}")
            raise BundleError(f"{name}: is a bundle of the category {quoted(category)}, and {why}; give one for each "
                              "category, or none where the shipped one will do")
        given[category] = bundle
    shipped = shipped_categories()
    lacking = [category for category in categories if category not in given and category not in shipped]
    if lacking:
        raise BundleError(f"no bundle of the category {quoted(lacking[0])} is shipped ({', '.join(shipped)} are); give "
                          "one by --bundle DIR, or another category in the file of objects")
    return {category: given.get(category) or options.load(category, arguments.quiet) for category in categories}


def _judged(arguments: argparse.Namespace, bundles: dict[str, Bundle]) -> dict[str, Judged]:
    from ..evaluation.bop import Judged
    from ..evaluation.floor import without_floor
    from ..evaluation.truth import ReferenceObject

    return {category: Judged(options.told(options.estimator_of(without_floor(bundle), arguments)),
                             ReferenceObject.of(bundle), bundle.card.presence.floor)
            for category, bundle in bundles.items()}


def _result_files(path: str | None, sources: Sequence[str]) -> dict[str, str]:
    """Where the poses of each source go."""
    if not path:
        return {} if path is None else {sources[0]: path}  # an empty name is refused with the other outputs
    if len(sources) == 1:
        return {sources[0]: path}
    if path == STANDARD_OUTPUT:
        raise OutputError(f"--csv: the poses of {len(sources)} sources are {len(sources)} files and cannot go to "
                          "standard output; give a name, or leave --support and --depth out")
    name = PurePath(path)
    return {source: str(name.with_name(f"{name.stem}_{source.replace('+', '_')}{name.suffix}")) for source in sources}


def _tell_left_out(data: BopData) -> None:
    for count, what in ((data.other_objects, "objects that the file of objects does not name"),
                        (data.unseen, "objects of which nothing is seen"),
                        (len(data.without_truth), "folders without scene_gt.json")):
        if count:
            print(f"left out: {count} {what}", file=sys.stderr)


def _tell(outcome: BopOutcome) -> None:
    """What was strange, and which objects could not be looked for.

    Raises:
        DatasetError: none could.
    """
    reasons = {(r["scene"], r["image"], r["gt_id"], r["source"]): r["skipped"] for r in outcome.records
               if "skipped" in r}
    sentences = [f"scene {scene}, image {image}, object {gt_id} ({source}): {reason}"
                 for (scene, image, gt_id, source), reason in reasons.items()]
    if len(reasons) == len(outcome.records):
        raise DatasetError(f"none of the {len(outcome.records)} objects could be looked for; the first is "
                           f"{sentences[0]}")
    for title, said in ((f"counted as wrong: {len(reasons)} of {len(outcome.records)} objects, which could not be "
                         "looked for", sentences), ("about planes and depth:", list(outcome.told))):
        if said:
            print(title, file=sys.stderr)
        for sentence in said[:_NAMED]:
            print(f"  {one_line(sentence)}", file=sys.stderr)
        if len(said) > _NAMED:
            print(f"  and {len(said) - _NAMED} more", file=sys.stderr)


def _print(report: dict) -> None:
    """On what and how well, for people."""
    from ..evaluation.tables import bop_markdown

    networks = ", ".join(f"{report['bundles'][category]} {kind}" for category, kind in report["networks"].items())
    print("regions: bbox_visib" + (f"; network: {networks}" if networks else "")
          + "; in brackets 95 % intervals (Wilson)\n")
    rows = report["rows"]
    single = {row["group"] for row in rows if "/" in row["group"]}
    if len(single) == 1 or len(rows) > _MOST_ROWS:  # one is the same as all
        rows = [row for row in rows if row["group"] not in single]
    print(bop_markdown(rows))


def _write(arguments: argparse.Namespace, report: dict, outcome: BopOutcome, results: dict[str, str]) -> None:
    from ..evaluation.bop_results import bop_results

    if arguments.json:
        frames = {} if arguments.brief else {"frames": outcome.records}
        with result_file(arguments.json) as file:
            file.write(to_json({**report, **frames}, indent=1) + "\n")
    for source, path in results.items():
        with result_file(path) as file:
            file.write(bop_results([item for item in outcome.found if item.source == source]))
