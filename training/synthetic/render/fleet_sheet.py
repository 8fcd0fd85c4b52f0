# SPDX-License-Identifier: Apache-2.0
"""A picture of every car with its axes drawn, to be looked at before anything is trained on them.

    python -m dinemo_training.synthetic.render.fleet_sheet --out sheet.png --gazebo DIR --torcs DIR --metadrive DIR \
        --cad DIR

Red points forward (+x), green to the car's left (+y), blue up (+z). A car that faces the wrong way poisons everything.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.geometry import pinhole_matrix, rotation_from_viewpoint, se3
from dinemo_ros.process.console import command_main
from dinemo_training.data.picture_file import write_picture
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.asset import Asset
from dinemo_training.synthetic.assets.car_catalogue import load_fleet

from .dataset import Pose, add_source_arguments, draw, source_folders
from .environment import Environment
from .rasterizer import rasterize
from .shading import material_table

_TILE = (320, 220)  # pixels
_AZIMUTHS = (35, 125, 215, 0)  # degrees: front left, rear left, rear right, front
_AXES = (((1.0, 0, 0), (230, 30, 30)), ((0, 1.0, 0), (30, 200, 30)), ((0, 0, 1.0), (60, 60, 240)))


def _daylight() -> Environment:
    shape = np.linspace(1.0, 0.3, 8, dtype=np.float32)[:, None, None] * np.ones((8, 16, 3), np.float32)
    grey = np.full(3, 0.5)
    return Environment(shape, shape, np.array([0.6, 0.3, 0.74]), np.full(3, 0.4), grey, grey, grey)


def portrait(asset: Asset, azimuth_deg: float) -> np.ndarray:
    """The car [H, W, 3] uint8 RGB from ``azimuth_deg`` and 14 degrees above, in its own colours, with its axes."""
    T = se3(rotation_from_viewpoint(np.radians(azimuth_deg), np.radians(14), 0.0), np.array([0, 0, 3 * asset.size[0]]))
    focal = 2.3 * _TILE[0]
    K = pinhole_matrix(focal, (_TILE[0] - 1) / 2, (_TILE[1] - 1) / 2)
    table = material_table(asset.materials)
    table.paint[:, 3] = 0.0  # luma 0: textures as they are
    colour, coverage = draw(asset, table, Pose(K, T), _TILE, _daylight())
    picture = 0.2 * (1 - coverage[..., None]) + colour
    picture = np.ascontiguousarray((np.clip(picture, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
    depth = rasterize(asset.vertices, asset.faces, K, T, _TILE).depth
    for axis, paint in _AXES:
        _draw_axis(picture, depth, K, T, np.array(axis), float(np.abs(axis) @ asset.size) / 2, paint)
    cv2.putText(picture, f"{asset.name}  {azimuth_deg:g} deg", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 0))
    return picture


def _draw_axis(picture: np.ndarray, depth: np.ndarray, K: np.ndarray, T: np.ndarray, axis: np.ndarray, start: float,
               paint: tuple[int, int, int]) -> None:
    """An arrow of one metre that begins on the car's box, hidden where the car is nearer."""
    points = (start + np.linspace(0, 1, 100))[:, None] * axis @ T[:3, :3].T + T[:3, 3]
    pixels = points[:, :2] / points[:, 2:] * K[0, 0] + K[:2, 2]
    for k, (column, row) in enumerate(np.round(pixels).astype(int)):
        inside = 0 <= column < picture.shape[1] and 0 <= row < picture.shape[0]
        if inside and points[k, 2] < depth[row, column]:
            cv2.circle(picture, (int(column), int(row)), 2 if k < 80 else 4, paint, -1)


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.fleet_sheet``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--assets", nargs="*", help="names of cars; default: all")
    add_source_arguments(parser)
    args = parsed(parser)
    assets, _ = load_fleet(source_folders(args), args.assets)
    rows = [np.hstack([portrait(asset, azimuth) for azimuth in _AZIMUTHS]) for asset in assets]
    write_picture(args.out, np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    command_main(main)
