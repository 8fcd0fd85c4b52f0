# SPDX-License-Identifier: Apache-2.0
"""The baseline every table carries: untrained features, nearest template view, vote by azimuth.

    python -m dinemo_training.evaluation.nearest_view_baseline --templates runs/car/sequences --names kadjar omoda \
        --turntables DIR --json FILE

Nothing is learnt here: ImageNet features of the masked object against two aligned sequences and their mirror images.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from dinemo_ros.evaluation.metrics import azimuth_error_deg, summarise_angles
from dinemo_ros.evaluation.turntable import read_turntables
from dinemo_ros.geometry import allocentric, viewpoint_from_rotation
from dinemo_ros.io.files import check_output_file, write_file
from dinemo_ros.io.picture_read import imread
from dinemo_ros.process.console import command_main

from ..data.foreground import SaliencyMask
from ..data.posed_crops import load_posed_crops
from ..models.teachers import CnnTeacher, Teacher
from ..run.arguments import parsed
from ..sequences.posed_templates import BINS, azimuth_votes, describe


def template_views(folder: Path, names: list[str], teacher: Teacher) -> tuple[torch.Tensor, np.ndarray]:
    """Descriptors [2N, C] of the named sequences and their mirror images, azimuths [2N] in radians."""
    crops = [c for c in load_posed_crops(folder) if c.name.rsplit("_", 1)[0] in names]
    plain, mirrored = describe([c.image() for c in crops], [c.foreground() for c in crops], teacher)
    azimuth = np.array([viewpoint_from_rotation(allocentric(c.T_cam_obj))[0]
                        for c in crops])
    return torch.cat([plain, mirrored]), np.concatenate([azimuth, -azimuth])


def evaluate(turntables: Path, bank: torch.Tensor, azimuths: np.ndarray, teacher: Teacher,
             only: list[str] | None) -> dict:
    """The result of ``dinemo eval turntable``, for the nearest-view vote.

    Args:
        bank, azimuths: [M, C] descriptors and [M] radians, see :func:`template_views`. only: sequences; None for all.
    """
    saliency, errors = SaliencyMask(), {}
    for frame in read_turntables(turntables, only):
        image = np.ascontiguousarray(imread(frame.path)[..., ::-1])
        mask, error = saliency(image), 180.0  # a frame without an object counts as wrong
        if mask.any():
            votes = azimuth_votes(describe([image], [mask], teacher)[0], bank, azimuths)[0]
            error = azimuth_error_deg(360.0 * int(votes.argmax()) / BINS, frame.azimuth_deg)
        errors.setdefault(frame.sequence, []).append(error)
    return {"sequences": {name: asdict(summarise_angles(e)) for name, e in errors.items()},
            "all": asdict(summarise_angles([e for each in errors.values() for e in each]))}


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.nearest_view_baseline``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True, help="folder written by "
                                                                      "dinemo_training.sequences.posed_templates")
    parser.add_argument("--names", nargs="+", default=["kadjar", "omoda"], help="sequences used as templates")
    parser.add_argument("--turntables", type=Path, required=True)
    parser.add_argument("--only", nargs="+", help="sequences to evaluate")
    parser.add_argument("--json", type=Path)
    args = parsed(parser)
    check_output_file(args.json)
    teacher = CnnTeacher()
    bank, azimuths = template_views(args.templates, args.names, teacher)
    result = evaluate(args.turntables, bank, azimuths, teacher, args.only)
    for name, row in {**result["sequences"], "all": result["all"]}.items():
        print(f"{name:12s} n {row['n']:3d}  Acc@30 {row['acc30']:.3f}  Acc@10 {row['acc10']:.3f}  "
              f"median {row['median_deg']:.1f}  flips {row['flips']:.3f}")
    if args.json:
        write_file(args.json, json.dumps(result, indent=1))


if __name__ == "__main__":
    command_main(main)
