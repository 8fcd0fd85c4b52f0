# SPDX-License-Identifier: Apache-2.0
"""What an error of the translation costs a grasp, on true shapes: geometry only, see the module named below.

    python -m dinemo_training.evaluation.grasp_geometry --category cup --bundle engines/cup --count 200

Vessels are drawn as for training, invented ones, or with --cad and --held-out those that training never sees. The
grasps are those of the bundle's card at the true size; the pose is true but for a translation of the given length in a
random direction. The criterion is that of :mod:`dinemo_ros.evaluation.grasp_geometry`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh

from dinemo_ros.evaluation.grasp_geometry import fit
from dinemo_ros.evaluation.metrics import wilson_interval
from dinemo_ros.geometry import se3
from dinemo_ros.io.files import write_file
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.model.grasps import GraspSpec
from dinemo_ros.process.console import command_main

from ..run.arguments import parsed
from ..synthetic.assets.vessel import Vessel
from ..synthetic.assets.vessel_catalogue import VesselCatalogue
from ..synthetic.assets.vessel_kind import CATEGORY_HELP

ERRORS_CM = (0.0, 0.5, 1.0, 2.0, 3.0)
_POINTS = 30_000  # of a surface: about one per square millimetre of a mug


def surface(vessel: Vessel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit normals, both [N, 3], spread evenly over the vessel; metres, object frame."""
    mesh = trimesh.Trimesh(vessel.vertices, vessel.faces, process=False)
    points, faces = trimesh.sample.sample_surface(mesh, _POINTS, seed=seed)
    return np.asarray(points), np.asarray(mesh.face_normals[faces])


def measure(catalogue: VesselCatalogue, specs: Sequence[GraspSpec], count: int, seed: int,
            errors_cm: Sequence[float] = ERRORS_CM) -> list[dict]:
    """One row per grasp and error: how many of ``count`` vessels it would take, with the interval of 95 %.

    Of a grasp at several places round the axis one is chosen at random for every vessel.
    """
    taken = np.zeros((len(specs), len(errors_cm)), int)
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        vessel = catalogue.draw(rng)
        points, normals = surface(vessel, seed=int(rng.integers(2**31)))
        size = np.array([catalogue.category.length * vessel.width, vessel.width, vessel.height])
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        for i, spec in enumerate(specs):
            grasps = spec.frames(size)
            grasp = grasps[int(rng.integers(len(grasps)))]
            for j, error_cm in enumerate(errors_cm):
                found = se3(np.eye(3), 0.01 * error_cm * direction)
                taken[i, j] += fit(points, normals, grasp, found).success
    return [{"grasp": spec.name, "error_cm": error, "n": count, "taken": int(taken[i, j]),
             "share": taken[i, j] / count, "interval": wilson_interval(int(taken[i, j]), count)}
            for i, spec in enumerate(specs) for j, error in enumerate(errors_cm)]


def table(rows: Sequence[dict]) -> str:
    """Markdown: a line per grasp, a column per error."""
    errors = list(dict.fromkeys(row["error_cm"] for row in rows))
    lines = ["| grasp | n | " + " | ".join(f"{error:g} cm" for error in errors) + " |",
             "|---|--:|" + "--:|" * len(errors)]
    for name in dict.fromkeys(row["grasp"] for row in rows):
        mine = [row for row in rows if row["grasp"] == name]
        cells = [f"{row['share']:.2f} ({row['interval'][0]:.2f}-{row['interval'][1]:.2f})" for row in mine]
        lines.append(f"| {name} | {mine[0]['n']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.grasp_geometry``.

    Raises:
        SystemExit: the card of the bundle has no grasps.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--category", required=True, help=CATEGORY_HELP)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle whose grasps are tried")
    parser.add_argument("--cad", type=Path, help="folder of the category's CAD files; without it all are invented")
    parser.add_argument("--held-out", action="store_true", help="the vessels that training never sees")
    parser.add_argument("--count", type=int, default=200, help="vessels")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the rows here")
    args = parsed(parser)
    specs = load_bundle(args.bundle).card.grasps
    if not specs:
        raise SystemExit(f"{args.bundle}: its card has no grasps; give a bundle that has some")
    rows = measure(VesselCatalogue(args.category, args.cad, args.held_out), specs, args.count, args.seed)
    if args.json:
        write_file(args.json, json.dumps({"category": args.category, "seed": args.seed, "rows": rows}, indent=1))
    print(table(rows))


if __name__ == "__main__":
    command_main(main)
