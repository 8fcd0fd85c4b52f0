# SPDX-License-Identifier: Apache-2.0
"""A sheet of pictures of a BOP scene with its truth drawn over them, to check by eye that they agree.

    python -m dinemo_training.synthetic.render.scene_sheet --scene scenes/000000 --out sheet.png --first 0 --count 12

Per picture: axes of the object (x red, y green, z blue), the table's plane as a grid of 5 cm around the object's foot,
the outline of what is seen of the object (yellow); below it the depth image, near red, far blue, holes black.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.io.document import read_json
from dinemo_ros.io.picture_read import imread
from dinemo_ros.process.console import command_main
from dinemo_training.data.picture_file import write_picture
from dinemo_training.run.arguments import parsed

_WIDTH = 480  # pixels of a picture on the sheet
_CELL, _CELLS = 0.05, 4  # metres; lines to each side
_PAINTS = ((40, 40, 240), (40, 220, 40), (250, 90, 60))  # BGR of x, y, z


def overlaid(picture: np.ndarray, mask: np.ndarray, camera: dict, truth: dict, plane: dict) -> np.ndarray:
    """The picture [H, W, 3] uint8 BGR with plane, outline and axes; the dicts are entries of the scene's files."""
    K = np.array(camera["cam_K"]).reshape(3, 3)
    R, t = np.array(truth["cam_R_m2c"]).reshape(3, 3), np.array(truth["cam_t_m2c"]) / 1000
    normal = np.array(plane["normal"])
    foot = t - (t @ normal - plane["offset_m"]) * normal
    u = np.cross(normal, [0.0, 0, 1])
    u /= np.linalg.norm(u)
    drawn, v = picture.copy(), np.cross(normal, u)
    reach = _CELL * _CELLS
    for k in range(-_CELLS, _CELLS + 1):
        for a, b in ((u, v), (v, u)):
            _line(drawn, K, foot + k * _CELL * a - reach * b, foot + k * _CELL * a + reach * b, (200, 200, 0))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, (0, 230, 255), 1)
    for axis, paint in zip(R.T, _PAINTS, strict=True):
        _line(drawn, K, t, t + 0.08 * axis, paint, 2)
    _line(drawn, K, t, foot, (255, 0, 255))
    return drawn


def coloured(depth: np.ndarray) -> np.ndarray:
    """A depth image [H, W] uint16 as colours [H, W, 3] uint8 BGR."""
    known = depth[depth > 0]
    low, high = np.percentile(known, [1, 99]) if len(known) else (0, 1)
    share = np.clip((depth - low) / max(1.0, high - low), 0, 1)
    colours = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_JET)
    colours[depth == 0] = 0
    return colours


def _line(picture: np.ndarray, K: np.ndarray, a: np.ndarray, b: np.ndarray, paint: tuple[int, int, int],
          thick: int = 1) -> None:
    if min(a[2], b[2]) > 0.02:
        ends = [(K @ p)[:2] / p[2] for p in (a, b)]
        cv2.line(picture, *[np.clip(np.rint(e), -5000, 5000).astype(int).tolist() for e in ends], paint, thick,
                 cv2.LINE_AA)


def sheet(folder: Path, first: int, count: int, columns: int = 4) -> np.ndarray:
    """The pictures ``first`` to ``first + count - 1`` of the scene in ``folder`` [H, W, 3] uint8 BGR."""
    tables = {name: read_json(folder / f"{name}.json") for name in ("scene_camera", "scene_gt", "scene_gt_info",
                                                                    "scene_support")}
    tiles = []
    for key in list(tables["scene_gt"])[first:first + count]:
        name = f"{int(key):06d}"
        info = tables["scene_gt_info"][key][0]
        picture = overlaid(imread(folder / "rgb" / f"{name}.jpg"),
                           imread(folder / "mask_visib" / f"{name}_000000.png", cv2.IMREAD_GRAYSCALE),
                           tables["scene_camera"][key], tables["scene_gt"][key][0], tables["scene_support"][key])
        words = f"{key} {info['standing']} {100 * info['visib_fract']:.0f} % seen"
        cv2.putText(picture, words, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.putText(picture, words, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1, cv2.LINE_AA)
        depth = coloured(imread(folder / "depth" / f"{name}.png", cv2.IMREAD_UNCHANGED))
        tile = np.vstack([picture, depth])
        tiles.append(cv2.resize(tile, (_WIDTH, tile.shape[0] * _WIDTH // tile.shape[1]), interpolation=cv2.INTER_AREA))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[k:k + columns]) for k in range(0, len(tiles), columns)])


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.scene_sheet``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True, help="folder of one BOP scene")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=12)
    args = parsed(parser)
    write_picture(args.out, sheet(args.scene, args.first, args.count))


if __name__ == "__main__":
    command_main(main)
