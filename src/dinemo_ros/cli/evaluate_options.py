# SPDX-License-Identifier: Apache-2.0
"""Options that the kinds of ``dinemo eval`` share, and the setting that they describe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..process.input_guard import refuse_inputs
from . import options
from .output import check_output_file, output_folder

if TYPE_CHECKING:
    from ..evaluation.runner import Competitor, Occlusion, Setting

LEVELS = ("L0", "L1", "L2", "L3")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Who is compared, and where the results go."""
    parser.add_argument("--baseline", action="store_true", help="rows of the nearest view of the mesh without any "
                        "search, by outline (untrained) and by the bundle's features; they are told the object's box")
    parser.add_argument("--compare", action="append", metavar="BUNDLE", default=[], help="rows of this bundle beside "
                        "those of --bundle, on the same pictures; may be given several times")
    parser.add_argument("--json", metavar="FILE", help="write the report here")
    parser.add_argument("--brief", action="store_true", help="leave the single frames out of --json")
    parser.add_argument("--csv", metavar="FILE", help="write one line per frame, level and model here")
    parser.add_argument("--worst", metavar="DIR", help="write overlays of the worst frames of --bundle into this "
                        "folder")
    parser.add_argument("--worst-count", type=options.frame_count, metavar="N", default=12, help="how many of them "
                        "(default: %(default)s)")


def add_occlusion_options(parser: argparse.ArgumentParser) -> None:
    """Pasted cut-outs, see :mod:`dinemo_ros.evaluation.occlusion`."""
    parser.add_argument("--occlusion", choices=(*LEVELS, "all"), default="L0", help="cover 20 to 40 (L1), 40 to 60 "
                        "(L2), 60 to 80 %% (L3) of the object and 0 to 20, 20 to 40, 40 to 60 %% of its surroundings "
                        "with pasted cut-outs, as Occluded PASCAL3D+ does; all: L0 to L3 (default: %(default)s)")
    parser.add_argument("--occluders", metavar="DIR", type=Path, help="folder of pictures to cut occluders from, best "
                        "PNGs with an alpha channel (default: drawn ones)")
    parser.add_argument("--seed", type=options.seed, default=0, help="of the cut-outs; with the frame's name and the "
                        "level it decides what is pasted (default: %(default)s)")


def make_setting(arguments: argparse.Namespace) -> Setting:
    """Competitors, reference object, occlusion and collector of the worst frames that the options ask for."""
    check_outputs(arguments)
    folder = output_folder(arguments.worst) if arguments.worst else None
    competitors = _competitors(arguments)

    from ..evaluation.runner import Setting
    from ..evaluation.truth import ReferenceObject
    from ..evaluation.worst import WorstFrames

    main = competitors[0]
    bundle = main.estimator.bundle
    worst = WorstFrames(main.name, bundle.mesh, arguments.worst_count) if folder else None
    return Setting(competitors, ReferenceObject.of(bundle), _occlusion(arguments), worst)


def check_outputs(arguments: argparse.Namespace) -> None:
    """Now and not after the work: what cannot be written, or is read as well, is refused."""
    folders = [getattr(arguments, name, None) for name in ("dir", "masks", "occluders", "occluded_dir")]
    bundles = [options.bundle_folder(name) for name in (arguments.bundle, *arguments.compare)]
    refuse_inputs({"--json": arguments.json, "--csv": arguments.csv}, [*folders, *bundles], deep=True)
    check_output_file(arguments.json)
    check_output_file(arguments.csv)
    if arguments.worst:
        output_folder(arguments.worst)


def _competitors(arguments: argparse.Namespace) -> list[Competitor]:
    main = options.make_estimator(arguments)

    from ..evaluation.baseline import KINDS, NearestView
    from ..evaluation.runner import Competitor

    competitors = [Competitor(f"{main.bundle.card.category} {main.bundle.card.version}", main)]
    for name in arguments.compare:
        other = options.make_estimator(argparse.Namespace(**(vars(arguments) | {"bundle": name})))
        label = Path(name).name
        taken = {competitor.name for competitor in competitors}
        competitors.append(Competitor(label if label not in taken else name, other))
    if arguments.baseline:
        competitors += [Competitor(f"nearest view, {kind}", NearestView(main.bundle, kind, main.extractor), True)
                        for kind in KINDS]
    return competitors


def _occlusion(arguments: argparse.Namespace) -> Occlusion:
    from ..evaluation.cutouts import DrawnCutOuts, FolderCutOuts
    from ..evaluation.occlusion import LEVELS as MADE
    from ..evaluation.occlusion import Occluder
    from ..evaluation.runner import Occlusion

    wanted = getattr(arguments, "occlusion", LEVELS[0])
    names = LEVELS if wanted == "all" else (wanted,)
    source = getattr(arguments, "occluders", None)
    cutouts = DrawnCutOuts() if source is None else FolderCutOuts(source)
    return Occlusion(tuple(MADE.get(name) for name in names), Occluder(cutouts, getattr(arguments, "seed", 0)))
