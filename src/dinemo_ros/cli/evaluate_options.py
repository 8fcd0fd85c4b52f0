# SPDX-License-Identifier: Apache-2.0
"""Options that the kinds of ``dinemo eval`` share, and the setting that they describe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from . import options
from .evaluate_report import ROWS
from .output import check_outputs, output_folder

if TYPE_CHECKING:
    from ..evaluation.runner import Competitor, Occlusion, Setting
    from ..model.bundle import Bundle, Card
    from .options import Commands

_Item = TypeVar("_Item")

LEVELS = ("L0", "L1", "L2", "L3")


@dataclass(frozen=True)
class Prepared:
    """What the options name, read before the first picture and before a solver is compiled.

    Attributes:
        bundles: the one in question, and those that it is compared with.
        occlusion: the levels, and what covers the object.
    """

    bundles: list[Bundle]
    occlusion: Occlusion

    @property
    def card(self) -> Card:
        """Of the bundle in question."""
        return self.bundles[0].card


def add_kind(kinds: Commands, name: str, help_text: str, description: str) -> argparse.ArgumentParser:
    """A kind of data with the options that all of them have."""
    parser = kinds.add_parser(name, help=help_text, description=description + ROWS,
                              formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", metavar="DIR", type=Path, help="folder with images and annotations")
    options.add_estimator_options(parser)
    add_report_options(parser)
    return parser


def add_rois(parser: argparse.ArgumentParser, given: str, what: str) -> None:
    """Where to look, for a data set that gives one kind of region."""
    parser.add_argument("--rois", choices=(given, "auto"), default=given, help=f"where to look: {what}, or what "
                        "--detector says (default: %(default)s)")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Who is compared, and where the results go."""
    parser.add_argument("--baseline", action="store_true", help="rows of the nearest view of the mesh without any "
                        "search, by outline (untrained) and by the bundle's features; they are told the object's box")
    parser.add_argument("--compare", action="append", metavar="BUNDLE", default=[], help="rows of this bundle beside "
                        "those of --bundle, on the same pictures; may be given several times")
    parser.add_argument("--json", metavar="FILE", help="write the report here; -: to standard output, and the "
                        "tables to standard error")
    parser.add_argument("--brief", action="store_true", help="leave the single frames out of --json")
    parser.add_argument("--csv", metavar="FILE", help="write one line per frame, level and model here; -: as "
                        "for --json")
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


def prepare(arguments: argparse.Namespace) -> Prepared:
    """Now and not after the work: what is missing, cannot be written, or is read as well, is refused.

    Raises:
        OutputError: of a result. BundleError: a bundle is missing or no good. DatasetError: there are no occluders.
    """
    folders = [getattr(arguments, name, None) for name in ("dir", "masks", "occluders", "occluded_dir", "split")]
    folders += [path for _, path in getattr(arguments, "rival", [])]
    names = (arguments.bundle, *arguments.compare)
    check_outputs({"--json": arguments.json, "--csv": arguments.csv},
                  [*folders, *map(options.bundle_folder, names), options.detector_folder(arguments)], deep=True)
    if arguments.worst is not None:
        output_folder(arguments.worst)
    return Prepared([options.load(name, arguments.quiet) for name in names], _occlusion(arguments))


def make_setting(arguments: argparse.Namespace, prepared: Prepared) -> Setting:
    """Competitors, reference object, occlusion and collector of the worst frames that the options ask for."""
    competitors = _competitors(arguments, prepared.bundles)

    from ..evaluation.runner import Setting
    from ..evaluation.truth import ReferenceObject
    from ..evaluation.worst import WorstFrames

    main = competitors[0]
    bundle = main.estimator.bundle
    worst = WorstFrames(main.name, bundle.mesh, arguments.worst_count) if arguments.worst else None
    return Setting(competitors, ReferenceObject.of(bundle), prepared.occlusion, worst)


def _competitors(arguments: argparse.Namespace, bundles: list[Bundle]) -> list[Competitor]:
    """The bundle in question, those that it is compared with, and the baselines."""
    from ..evaluation.baseline import KINDS, NearestView
    from ..evaluation.floor import without_floor
    from ..evaluation.runner import Competitor

    # Who annotates a box says that it holds an object; what is found without one has to pass the floor.
    given = getattr(arguments, "rois", None) != "auto"
    main, *others = (options.make_estimator(arguments, without_floor(bundle) if given else bundle)
                     for bundle in bundles)
    floor, *floors = (bundle.card.presence.floor for bundle in bundles)
    competitors = [Competitor(f"{main.bundle.card.category} {main.bundle.card.version}", main, floor=floor)]
    for name, other, lowest in zip(arguments.compare, others, floors, strict=True):
        label = Path(name).name
        taken = {competitor.name for competitor in competitors}
        competitors.append(Competitor(label if label not in taken else name, other, floor=lowest))
    if arguments.baseline:
        competitors += [Competitor(f"nearest view, {kind}", NearestView(main.bundle, kind, main.extractor), True)
                        for kind in KINDS]
    return competitors


def _occlusion(arguments: argparse.Namespace) -> Occlusion:
    """The levels that are asked for and the cut-outs; DatasetError where the folder of these has none."""
    from ..evaluation.cutouts import DrawnCutOuts, FolderCutOuts
    from ..evaluation.occlusion import LEVELS as MADE
    from ..evaluation.occlusion import Occluder
    from ..evaluation.runner import Occlusion

    wanted = getattr(arguments, "occlusion", LEVELS[0])
    names = LEVELS if wanted == "all" else (wanted,)
    source = getattr(arguments, "occluders", None)
    cutouts = DrawnCutOuts() if source is None else FolderCutOuts(source)
    return Occlusion(tuple(MADE.get(name) for name in names), Occluder(cutouts, getattr(arguments, "seed", 0)))


def progress(items: Sequence[_Item], unit: str) -> Iterable[_Item]:
    """The items one by one, and a bar where a person looks on."""
    return tqdm(items, unit=unit, file=sys.stderr, disable=None)
