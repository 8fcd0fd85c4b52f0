# SPDX-License-Identifier: Apache-2.0
r"""The shape of a category of vessels: the mesh of the mean one, and its modes.

    python -m dinemo_training.synthetic.shape.vessel_shape --category cup --cad meshes/cup --size 0.113x0.082x0.095 \
        --out cup_shape.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dinemo_ros.process.console import command_main
from dinemo_training.run.arguments import parsed
from dinemo_training.run.inputs import parse_size
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue
from dinemo_training.synthetic.assets.vessel_kind import CATEGORY_HELP

from .mean_mesh import save_shape
from .vessel_mesh import vessel_mesh
from .vessel_modes import vessel_modes


def save_vessel_shape(out: Path, catalogue: VesselCatalogue, size: np.ndarray, vertices: int) -> tuple[int, int]:
    """Write the mean vessel of ``catalogue`` at ``size`` [3] metres with at most so many vertices; numbers of vertices
    and modes."""
    modes = vessel_modes(catalogue)
    points, faces, places = vessel_mesh(np.exp(modes.mean), size, catalogue.category.open, vertices)
    save_shape(out, points, faces, places, modes.of_mesh(points, faces, float(size[1])))
    return len(points), len(modes)


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.shape.vessel_shape``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--category", required=True, help=CATEGORY_HELP)
    parser.add_argument("--cad", type=Path, help="folder of the category's CAD files; without it all are invented")
    parser.add_argument("--size", required=True, help="LENGTHxWIDTHxHEIGHT in metres, handle included")
    parser.add_argument("--vertices", type=int, default=800)
    parser.add_argument("--out", type=Path, required=True, help="npz to write")
    args = parsed(parser)
    vertices, modes = save_vessel_shape(args.out, VesselCatalogue(args.category, args.cad),
                                        np.array(parse_size(args.size)), args.vertices)
    print(f"{args.out}: {vertices} vertices, {modes} modes of shape")


if __name__ == "__main__":
    command_main(main)
