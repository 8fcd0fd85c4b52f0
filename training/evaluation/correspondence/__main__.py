# SPDX-License-Identifier: Apache-2.0
r"""How well the features of teachers find the same point again: the measures of the papers, one command.

    python -m dinemo_training.evaluation.correspondence render --category car=MESHES/car --category chair=MESHES/chair \
        --out PAIRS
    python -m dinemo_training.evaluation.correspondence spair PAIRS --teacher cnn vit --cache CACHE --json pck.json

Definitions, folders and what was never tried on the original data: docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from dinemo_ros.errors import DinemoError
from dinemo_ros.io.files import write_file
from dinemo_ros.process.console import command_main
from dinemo_training.models.teachers.protocol import Teacher
from dinemo_training.models.teachers.specification import GRAMMAR, create_teacher, require_teacher
from dinemo_training.run.arguments import parsed
from dinemo_training.run.recipe import RecipeError

from .keypoint_pairs import KeypointPair
from .pck import ALPHA, NORMALISERS, pck_rows
from .pf_pascal import LIST, read_pf_pascal
from .tap_vid import MODES, read_videos

Progress = Callable[[Iterable], Iterable]
_SEED = 18  # of the pairs behind the table in docs/evaluation.md


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.correspondence``.

    Raises:
        SystemExit: an input is no good; the message says which.
    """
    args = parsed(_parser())
    cv2.setNumThreads(1)
    try:
        args.run(args)
    except DinemoError as error:
        raise SystemExit(f"error: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dinemo_training.evaluation.correspondence", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(title="kinds of data", metavar="KIND", required=True)
    render = kinds.add_parser("render", help="write pairs in the layout of SPair-71k, from meshes with key points")
    render.add_argument("--category", action="append", required=True, metavar="NAME=DIR", help="a category and the "
                        "folder of its meshes; may be repeated")
    render.add_argument("--count", type=int, default=500, help="pairs of all categories (%(default)s)")
    render.add_argument("--seed", type=int, default=_SEED)
    render.add_argument("--out", type=Path, required=True, help="a new folder")
    render.set_defaults(run=_render)

    spair = _with_teachers(kinds.add_parser("spair", help="SPair-71k: PCK within 0.1 of the object's box"))
    spair.add_argument("--subset", default="test", help="trn, val or test (%(default)s)")
    spair.add_argument("--layout", default="large", help="large or small (%(default)s)")
    spair.add_argument("--only", nargs="+", default=[], metavar="CATEGORY")
    _with_pck(spair, "box", [ALPHA])
    spair.set_defaults(run=_spair)

    pascal = _with_teachers(kinds.add_parser("pf-pascal", help="PF-PASCAL: PCK within shares of the picture"))
    pascal.add_argument("--list", default=LIST, metavar="FILE", help="of pairs, in DIR (%(default)s)")
    _with_pck(pascal, "image", [0.05, 0.1, 0.15])
    pascal.set_defaults(run=_pf_pascal)

    tap = _with_teachers(kinds.add_parser("tap-vid", help="TAP-Vid: average Jaccard, position and occlusion accuracy"))
    tap.add_argument("--mode", choices=MODES, default="first", help="which frames are asked for (%(default)s)")
    tap.add_argument("--visible", type=float, default=0.6, help="cosine from which on a point counts as seen "
                     "(%(default)s)")
    tap.set_defaults(run=_tap_vid)

    pose = _with_teachers(kinds.add_parser("one-pose", help="OnePose: share of poses within 1, 3, 5 cm and degrees"))
    pose.add_argument("--only", nargs="+", default=[], metavar="OBJECT")
    pose.set_defaults(run=_one_pose)
    return parser


def _with_teachers(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = GRAMMAR
    parser.add_argument("dir", type=Path, metavar="DIR", help="the data set")
    parser.add_argument("--teacher", nargs="+", default=["cnn"], help="one or more, see below (%(default)s)")
    parser.add_argument("--side", type=int, default=448, help="of the squares that the teacher sees, pixels "
                        "(%(default)s)")
    parser.add_argument("--cache", type=Path, help="folder for features, so that each is computed once")
    parser.add_argument("--limit", type=int, help="only the first so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the rows here")
    return parser


def _with_pck(parser: argparse.ArgumentParser, relative_to: str, alphas: list[float]) -> None:
    parser.add_argument("--relative-to", choices=NORMALISERS, default=relative_to, help="alpha is a share of the "
                        "longer side of the object's box or of the picture (%(default)s)")
    parser.add_argument("--alpha", type=float, nargs="+", default=alphas, help="(%(default)s)")


def _render(args: argparse.Namespace) -> None:
    from .rendered_pairs import write_pairs

    folders = {}
    for text in args.category:
        name, _, folder = text.partition("=")
        if not name.isidentifier() or not folder:
            raise RecipeError(f"--category {text}: give NAME=DIR, for example car=meshes/car")
        folders[name] = Path(folder)
    if (args.out / "Layout").exists():
        raise RecipeError(f"{args.out}: holds pairs already; give another folder, or remove it")
    told = write_pairs(args.out, folders, args.count, args.seed)
    for category, names in told.items():
        turned = {mesh: len(renamed) for mesh, renamed in names["renamed"].items() if renamed}
        print(f"{category}: names with the other side in the file, by mesh: {turned or 'none'}")
        for sentence in names["dropped"]:
            print(f"  left out: {sentence}")


def _spair(args: argparse.Namespace) -> None:
    from .spair import read_spair

    _pck(args, read_spair(args.dir, args.subset, args.layout, args.only, args.limit))


def _pf_pascal(args: argparse.Namespace) -> None:
    _pck(args, read_pf_pascal(args.dir, args.list, args.limit))


def _tap_vid(args: argparse.Namespace) -> None:
    from .tracking import follow, tap_vid_rows

    def rows(teacher: Teacher, progress: Progress) -> list[dict]:
        return tap_vid_rows([follow(teacher, video, args.side, args.mode, args.visible)
                             for video in progress(read_videos(args.dir, args.limit))])

    _finish(args, _of_teachers(args, rows), {"mode": args.mode, "visible": args.visible})


def _one_pose(args: argparse.Namespace) -> None:
    from .feature_pose import errors_of
    from .one_shot_pose import one_shot_rows, read_objects

    objects = read_objects(args.dir, args.only, args.limit)

    def rows(teacher: Teacher, progress: Progress) -> list[dict]:
        return one_shot_rows({item.name: errors_of(teacher, item, args.side, item.queries)
                              for item in progress(objects)})

    _finish(args, _of_teachers(args, rows), {})


def _pck(args: argparse.Namespace, pairs: list[KeypointPair]) -> None:
    from .matching import match

    def rows(teacher: Teacher, progress: Progress) -> list[dict]:
        return pck_rows(list(match(teacher, progress(pairs), args.side, args.relative_to)), args.alpha)

    _finish(args, _of_teachers(args, rows), {"relative_to": args.relative_to})


def _of_teachers(args: argparse.Namespace, rows: Callable[[Teacher, Progress], list[dict]]) -> list[dict]:
    """The rows of every teacher, its name in each."""
    torch.set_num_threads(args.threads)
    for text in args.teacher:
        require_teacher(text)
    found = []
    for text in args.teacher:
        def progress(items: Iterable, text: str = text) -> Iterable:
            return tqdm(items, desc=text, mininterval=5)

        found += [{"teacher": _shown(text), **row} for row in rows(create_teacher(text, args.cache), progress)]
    return found


def _shown(text: str) -> str:
    """A teacher by its name, its files without the folders of this machine."""
    return "".join(part.rpartition("/")[2] if "/" in part else part
                   for part in _split_paths(text))


def _split_paths(text: str) -> list[str]:
    """``text`` cut before and behind the characters that end a path in a teacher's name."""
    parts, now = [], ""
    for character in text:
        if character in "@:|()#":
            parts += [now, character]
            now = ""
        else:
            now += character
    return [*parts, now]


def _finish(args: argparse.Namespace, rows: list[dict], head: dict) -> None:
    """Print the rows as a table of Markdown and write them as JSON."""
    columns = [key for key in rows[0] if not key.endswith(("_interval", "_interval_objects"))]
    print("| " + " | ".join(key.replace("_", " ") for key in columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row, key) for key in columns) + " |")
    if args.json:
        document = {**head, "side": args.side, "rows": rows}
        write_file(args.json, json.dumps(document, indent=1) + "\n")


def _cell(row: dict, key: str) -> str:
    value = row[key]
    if not isinstance(value, float) or key == "alpha":
        return str(value).replace("|", "\\|")  # of a fused teacher
    intervals = [row.get(f"{key}_{kind}") for kind in ("interval", "interval_objects")]
    told = "; ".join(f"{100 * low:.0f} to {100 * high:.0f}" for low, high in filter(None, intervals))
    return f"{100 * value:.1f}" + (f" ({told})" if told else "")


if __name__ == "__main__":
    command_main(main)
