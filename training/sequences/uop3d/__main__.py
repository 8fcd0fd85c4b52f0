# SPDX-License-Identifier: Apache-2.0
"""Templates from unposed object-centric image sequences (UOP3D).

    python -m dinemo_training.sequences.uop3d align --reference DIR/kadjar --azimuths DIR/azimuth.json --sequence \
        DIR/a DIR/b \
        --unordered DIR/c --shape car_mean.npz --out runs/car/sequences
    python -m dinemo_training.sequences.uop3d synthetic --gazebo DIR --cad DIR --out uop3d_synthetic.json
    python -m dinemo_training.sequences.uop3d check --aligned runs/car/sequences --azimuths DIR/azimuth.json --out \
        uop3d_real.json

``align`` writes posed crops (``images/``, ``masks/``, ``labels.npz``), ``alignment.json`` and ``sheet.jpg``.
``synthetic`` measures alignment on rendered turntables with exact truth; ``check`` compares aligned sequences with
azimuths that were not used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dinemo_ros.process.console import command_main
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.render.dataset import add_source_arguments

from .evaluation import check_command, synthetic_command
from .reconstruction import align_command
from .turntable import ORDERS


def main() -> None:
    """The command ``python -m dinemo_training.sequences.uop3d``."""
    parser = argparse.ArgumentParser(prog="python -m dinemo_training.sequences.uop3d", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    align = commands.add_parser("align", help="unposed sequences to posed crops")
    align.add_argument("--reference", type=Path, help="folder of the sequence that defines front; without it the "
                       "canonical heading is that of the best reference's first frame")
    align.add_argument("--azimuths", type=Path, help="JSON with the reference's azimuths; no other entry is read")
    align.add_argument("--sequence", type=Path, nargs="*", default=[], help="folders of frames in order")
    align.add_argument("--unordered", type=Path, nargs="*", default=[], help="folders of frames in any order")
    align.add_argument("--order", choices=ORDERS, default="auto", help="steps of the sequences")
    align.add_argument("--shape", type=Path, required=True, help="category shape (npz) for box and distance")
    align.add_argument("--out", type=Path, required=True)
    align.set_defaults(run=align_command)

    synthetic = commands.add_parser("synthetic", help="alignment of rendered turntables with exact truth")
    add_source_arguments(synthetic)
    synthetic.add_argument("--assets", nargs="*", help="names of cars; default: all of the given sources")
    synthetic.add_argument("--frames", type=int, default=24)
    synthetic.add_argument("--seed", type=int, default=0)
    synthetic.add_argument("--cameras", choices=("exact", "turntable"), default="exact",
                           help="exact relative cameras, as from structure from motion, or estimated from the frames")
    synthetic.add_argument("--ablations", action="store_true", help="also without weights, RANSAC, gravity, views")
    synthetic.add_argument("--sheet", type=Path, help="picture of the aligned cars")
    synthetic.add_argument("--out", type=Path, required=True, help="JSON to write")
    synthetic.set_defaults(run=synthetic_command)

    check = commands.add_parser("check", help="compare aligned sequences with azimuths that were not used")
    check.add_argument("--aligned", type=Path, required=True, help="folder that 'align' wrote")
    check.add_argument("--azimuths", type=Path, required=True)
    check.add_argument("--out", type=Path, required=True, help="JSON to write")
    check.set_defaults(run=check_command)

    args = parsed(parser)
    args.run(args)


if __name__ == "__main__":
    command_main(main)
