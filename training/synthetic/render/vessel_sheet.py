# SPDX-License-Identifier: Apache-2.0
"""A sheet of a category's CAD files with their axes, to check by eye that they stand and where their handles point.

    python -m dinemo_training.synthetic.render.vessel_sheet --category cup --cad meshes/cup --out sheet.png

One row per file, the added handle included; from the front (azimuth 0: the handle points at the camera), from the left,
obliquely, and from above. x red, y green, z blue.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.process.console import command_main
from dinemo_training.data.picture_file import write_picture
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.vessel import Vessel
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue
from dinemo_training.synthetic.assets.vessel_kind import CATEGORY_HELP

from .rasterizer import rasterize

_SIDE = 220  # pixels
_VIEWS = ((0, 10), (90, 10), (45, 40), (0, 89))  # azimuth and elevation, degrees
_PAINTS = ((230, 30, 30), (30, 200, 30), (60, 60, 240))


def portrait(vessel: Vessel, azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    """Grey picture [220, 220, 3] uint8 RGB with the axes, shaded by the angle between surface and view."""
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, 0.0]))
    T = se3(R, np.array([0, 0, 3.2 * vessel.height]))
    K = np.array([[2.0 * _SIDE, 0, _SIDE / 2], [0, 2.0 * _SIDE, _SIDE / 2], [0, 0, 1.0]])
    seen = rasterize(vessel.vertices, vessel.faces, K, T, (_SIDE, _SIDE))
    picture = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    facing = np.abs(vessel.normals[seen.face[seen.mask], 0] @ R[2])
    picture[seen.mask] = (40 + 200 * facing).astype(np.uint8)[:, None]
    for axis, paint in zip(np.eye(3), _PAINTS, strict=True):
        ends = (K @ (R @ (axis * reach) + T[:3, 3]) for reach in (0.0, 0.7 * vessel.height))
        cv2.line(picture, *[(end[:2] / end[2]).astype(int).tolist() for end in ends], paint, 2, cv2.LINE_AA)
    return picture


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.vessel_sheet``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--category", required=True, help=CATEGORY_HELP)
    parser.add_argument("--cad", type=Path, required=True, help="folder of the category's CAD files")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    args = parsed(parser)
    vessels = [vessel for held_out in (False, True) for vessel in VesselCatalogue(args.category, args.cad,
        held_out).plain()]
    rows = [np.hstack([portrait(vessel, *view) for view in _VIEWS]) for vessel in vessels]
    write_picture(args.out, np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    command_main(main)
