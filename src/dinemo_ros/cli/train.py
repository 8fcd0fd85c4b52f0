# SPDX-License-Identifier: Apache-2.0
"""``dinemo train``: from photographs and a rough shape to a bundle. ``dinemo_training`` does the work."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import TYPE_CHECKING

from ..defaults import DEFAULT_HFOV_DEG
from ..errors import DinemoError
from ..train_stages import FAMILIES, RENAMED
from . import options

if TYPE_CHECKING:
    from .options import Commands

_DESCRIPTION = """\
Everything from photographs and a rough shape to an exported, checked bundle. No pose labels are needed.

Each stage is a sub-command, too: `dinemo train STAGE --run DIR` does that one of an earlier run. The stages:

""" + "".join(f"  {name:12} {about}\n" for name, about in FAMILIES.items())

_EPILOG = """\
What the shape is made of decides what can be learnt:
  CAD models             renders teach the first round; photographs and sequences are welcome, none is needed
  box:LxWxH (metres)     no renders: --sequences must tell which way one of them faces
  hull                   one object, of one turn of pictures and no model: --sequences is the folder of these

examples:
  dinemo train --category mug --shape cad/mugs --size 0.12x0.09x0.10 --out engines/mug
  dinemo train --category car --images photos/ --shape cad/cars --sequences turntables/ --out engines/car
  dinemo train --category my_mug --shape hull --sequences turn_of_my_mug/ --size 0.12x0.09x0.10 --out engines/my_mug
  dinemo train --config training/configs/car.yaml --data DATA --run runs/car --out engines/car
  dinemo train --run runs/car --resume            goes on where it stopped
  dinemo train report --run runs/car              one stage again
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo train``."""
    parser = subparsers.add_parser("train", help="teach a category from photographs and a rough shape",
                                   description=_DESCRIPTION, epilog=_EPILOG,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", metavar="STAGE", type=_stage, help="only this stage of the run (default: "
                        "all that is missing)")
    parser.add_argument("--category", metavar="NAME", help="lower-case letters, digits and underscores")
    parser.add_argument("--shape", action="append", metavar="DIR|FILE|box:LxWxH|hull", help="folder of CAD models "
                        "(OBJ, OFF, PLY, STL, glTF) that all face the same way, one such file, a finished .npz, or a "
                        "box in metres; may be given several times. hull: one object instead of a category, what the "
                        "silhouettes of one turn of pictures (--sequences) enclose")
    parser.add_argument("--size", metavar="LxWxH", help="mean length, width and height of the category in metres; "
                        "it decides distance (CAD models have no unit)")
    parser.add_argument("--images", metavar="DIR", help="unlabelled photographs, one object each")
    parser.add_argument("--find-object", action="store_true", help="the object does not fill the photographs: find it "
                        "with a saliency network")
    parser.add_argument("--sequences", metavar="DIR", help="a folder of frames per object, in order, and azimuth.json "
                        "for the one that says where front is")
    parser.add_argument("--reference", metavar="NAME", help="which sequence that is, if azimuth.json knows several; "
                        "no other entry is read")
    parser.add_argument("--hfov", type=options.hfov, metavar="DEG", help="horizontal field of view of the turn of "
                        f"--shape hull, degrees (default: the recipe's, or {DEFAULT_HFOV_DEG:g})")
    parser.add_argument("--elevation", type=options.elevation, metavar="DEG", help="how high the camera of that turn "
                        "stood, degrees above the object (default: found from the silhouettes)")
    parser.add_argument("--negatives", metavar="DIR", help="photographs without the object (default: drawn ones only)")
    parser.add_argument("--turntables", metavar="DIR", help="sequences with known azimuth to evaluate on, never "
                        "trained on")
    parser.add_argument("--spins", metavar="DIR", help=argparse.SUPPRESS)  # the name of version 0.1
    parser.add_argument("--renders", action="append", metavar="NAME=DIR", help="models to draw, by the name of the "
                        "renderer's option; may be given several times")
    parser.add_argument("--config", metavar="YAML", help="recipe (default: the category's shipped settings, where "
                        "there are any); its paths are relative to --data")
    parser.add_argument("--data", metavar="DIR", help="where relative paths of the recipe start (default: here)")
    parser.add_argument("--run", dest="run_folder", metavar="DIR", help="run folder: every result, logs and the "
                        "report (default: runs/CATEGORY)")
    parser.add_argument("--out", metavar="DIR", help="bundle folder (default: out/ in the run folder)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in this folder: stages that are done "
                        "and whose settings and inputs did not change are kept")
    parser.add_argument("--dry-run", action="store_true", help="only say which stages are done and which are not")
    parser.add_argument("--version", metavar="TEXT", help="version of the bundle (default: the recipe's, or 1)")
    parser.add_argument("--detector-label", action="append", metavar="NAME", help="what box detectors call the "
                        "category, for pictures without boxes: a class of the shipped detector (COCO's names) or of "
                        "yours; may be given several times (default: the recipe's; the category itself where it gives "
                        "none)")
    parser.add_argument("--seed", type=options.seed, metavar="N", help="of everything random (default: the "
                        "recipe's, or 0)")
    parser.set_defaults(run=run)


def _stage(text: str) -> str:
    family = text.rstrip("0123456789")
    if family in RENAMED:
        print(f"note: the stage {family} is now called {RENAMED[family]}; the old name is understood in "
              "this release only", file=sys.stderr)
        return RENAMED[family] + text[len(family):]
    if family not in FAMILIES:
        raise argparse.ArgumentTypeError(f"{text!r} is no stage; there are {', '.join(FAMILIES)}")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Hand over to the training half.

    Raises:
        DinemoError: it is not installed, or what it says itself.
    """
    _require_training()
    from dinemo_training.run import main as pipeline

    return pipeline.run(arguments)


def _require_training() -> None:
    """The package ``dinemo_training`` is installed with this one, what it needs is not: robots do without torch."""
    if importlib.util.find_spec("dinemo_training") is None:
        raise DinemoError("the training half is not here: run from the source tree, or install this package with pip "
                          "or colcon")
    needed = ("torch", "torchvision", "timm", "accelerate", "onnx", "trimesh", "skimage", "scipy", "matplotlib",
              "jinja2")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise DinemoError(f"training needs {', '.join(missing)}, not installed in this Python: bash scripts/setup.sh "
                          "--train makes .venv-train with everything (then .venv-train/bin/dinemo train ...), or pip "
                          "install '.[train]' in the source tree")
