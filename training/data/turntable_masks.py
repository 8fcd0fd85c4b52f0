# SPDX-License-Identifier: Apache-2.0
"""Masks of turntable frames from a saliency network; ``dinemo eval turntable --occlusion`` measures coverage on them.

    python -m dinemo_training.data.turntable_masks TURNTABLE_DIR MASKS [--sequence NAME ...]

Writes MASKS/SEQUENCE/FRAME.png, 255 on the object. They do not depend on a bundle, so tables of different bundles see
the same occluders. The evaluation alone uses them; nothing is trained on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
from tqdm import tqdm

from dinemo_ros.evaluation.turntable import TurntableFrame, read_turntables
from dinemo_ros.io.sources.folder import read_image
from dinemo_ros.process.console import command_main

from ..run.arguments import parsed
from .foreground import SaliencyMask
from .picture_file import write_picture


def write_masks(frames: list[TurntableFrame], out: Path, saliency: SaliencyMask) -> None:
    """One mask per frame; those that exist are kept."""
    for frame in tqdm(frames, unit="frame"):
        file = out / frame.sequence / f"{frame.path.stem}.png"
        if file.exists():
            continue
        mask = saliency(read_image(frame.path))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_picture(file, mask, [cv2.IMWRITE_PNG_BILEVEL, 1])


def main() -> None:
    """The command ``python -m dinemo_training.data.turntable_masks``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("turntables", type=Path, metavar="TURNTABLE_DIR")
    parser.add_argument("out", type=Path, metavar="MASKS")
    parser.add_argument("--sequence", action="append", metavar="NAME", help="only this one; may be given several times")
    args = parsed(parser)
    write_masks(read_turntables(args.turntables, args.sequence), args.out, SaliencyMask())


if __name__ == "__main__":
    command_main(main)
