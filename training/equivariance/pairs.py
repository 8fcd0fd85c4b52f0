# SPDX-License-Identifier: Apache-2.0
"""Pairs of rendered views of one car with exact correspondences.

    python -m dinemo_training.equivariance.pairs --out runs/pairs --count 400 --gazebo DIR --torcs DIR --metadrive DIR

Both views show the same car in the same paint before different backgrounds, under different light, at most 120 degrees
apart. On disk: ``images/<k>_a.jpg``, ``<k>_b.jpg`` and ``links.npz``: ``pixels_a``, ``pixels_b`` [P, N, 2], ``points``
[P, N, 3] in units of the car's length, ``extent_b`` [P] longer side of its box in the second picture, ``asset`` [P].
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.io.files import write_arrays
from dinemo_ros.io.picture_read import imread
from dinemo_ros.process.console import command_main
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.asset import Asset
from dinemo_training.synthetic.assets.car_catalogue import fleet, load_fleet
from dinemo_training.synthetic.render.background import Photos, View, random_background
from dinemo_training.synthetic.render.dataset import Pose, add_source_arguments, draw, random_pose, source_folders
from dinemo_training.synthetic.render.environment import random_environment
from dinemo_training.synthetic.render.rasterizer import Fragments, rasterize, visible_vertices
from dinemo_training.synthetic.render.shading import MaterialTable, displayed, material_table, repainted

from ..data.picture_file import write_picture

LINKS = 300           # per pair; pairs that share fewer points are drawn again
_MAX_ANGLE_DEG = 120
_TOLERANCE = 0.01     # metres by which a point may lie behind the surface seen


@dataclass(frozen=True)
class Pair:
    """Two pictures [CROP_SIDE, CROP_SIDE, 3] RGB uint8 and what they share; see the module for shapes."""

    first: np.ndarray
    second: np.ndarray
    pixels_a: np.ndarray
    pixels_b: np.ndarray
    points: np.ndarray
    extent_b: float
    asset: str


class PairSynthesizer:
    """Draws pair k, which depends on the seed and k alone."""

    def __init__(self, assets: list[Asset], weights: np.ndarray, seed: int, photos: Photos) -> None:
        self._assets, self._weights, self._seed, self._photos = assets, weights, seed, photos
        self._tables = [material_table(asset.materials) for asset in assets]

    def pair(self, k: int) -> Pair:
        """Pair k: two views of one object with links between them; depends on the seed and ``k`` alone."""
        rng = np.random.default_rng([self._seed, k])
        index = int(rng.choice(len(self._assets), p=self._weights))
        asset = self._assets[index]
        table = repainted(self._tables[index], asset.materials, rng)
        while True:
            a, b = random_pose(asset, rng), random_pose(asset, rng)
            if _angle_deg(a, b) > _MAX_ANGLE_DEG:
                continue
            links = _links(asset, a, b, rng)
            if links is not None:
                break
        points, pixels_a, pixels_b, extent = links
        return Pair(self._picture(asset, table, a, rng), self._picture(asset, table, b, rng), pixels_a, pixels_b, points
                    / asset.size[0], extent, asset.name)

    def _picture(self, asset: Asset, table: MaterialTable, pose: Pose, rng: np.random.Generator) -> np.ndarray:
        environment = random_environment(rng)
        view = View(pose.K, pose.T_cam_obj, (CROP_SIDE, CROP_SIDE), asset.ground)
        picture, _ = random_background(view, environment, rng, self._photos)
        colour, coverage = draw(asset, table, pose, (CROP_SIDE, CROP_SIDE), environment)
        picture = picture * (1 - coverage[..., None]) + colour
        return displayed(picture)


def _angle_deg(a: Pose, b: Pose) -> float:
    """Between the two directions from which the object is seen."""
    first, second = (-p.T_cam_obj[:3, :3].T @ p.T_cam_obj[:3, 3] for p in (a, b))
    return float(np.degrees(np.arccos(first @ second / np.linalg.norm(first) / np.linalg.norm(second))))


def _links(asset: Asset, a: Pose, b: Pose,
           rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """Points [N, 3] metres seen in both views, their pixels in each [N, 2], box side in b; None: too few."""
    seen_a, seen_b = (rasterize(asset.vertices, asset.faces, p.K, p.T_cam_obj, (CROP_SIDE, CROP_SIDE)) for p in (a, b))
    points, pixels_a = _surface(asset, seen_a)
    shared = np.flatnonzero(visible_vertices(points, seen_b.depth, b.K, b.T_cam_obj, _TOLERANCE))
    if len(shared) < LINKS:
        return None
    chosen = rng.choice(shared, LINKS, replace=False)
    camera = points[chosen] @ b.T_cam_obj[:3, :3].T + b.T_cam_obj[:3, 3]
    pixels_b = camera[:, :2] / camera[:, 2:] * [b.K[0, 0], b.K[1, 1]] + b.K[:2, 2]
    rows, columns = np.nonzero(seen_b.mask)
    return points[chosen], pixels_a[chosen], pixels_b, float(max(np.ptp(rows), np.ptp(columns)) + 1)


def _surface(asset: Asset, seen: Fragments) -> tuple[np.ndarray, np.ndarray]:
    """Object point [N, 3] and pixel [N, 2] of every pixel that shows the object."""
    rows, columns = np.nonzero(seen.mask)
    corners = asset.vertices[asset.faces[seen.face[rows, columns]]]
    points = (corners * seen.weights[rows, columns][..., None]).sum(axis=1)
    return points, np.stack([columns, rows], axis=1).astype(float)


def write_pairs(out: Path, synthesizer: PairSynthesizer, count: int) -> None:
    """Draw pairs 0 .. count - 1; the links are written last, so a folder with them is whole."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    links: dict[str, list] = {key: [] for key in ("pixels_a", "pixels_b", "points", "extent_b", "asset")}
    for k in tqdm(range(count), desc="pairs", mininterval=5):
        pair = synthesizer.pair(k)
        for name, picture in (("a", pair.first), ("b", pair.second)):
            write_picture(out / "images" / f"{k:05d}_{name}.jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 93])
        for key, values in links.items():
            values.append(getattr(pair, key))
    write_arrays(out / "links.npz", **{key: np.array(values) for key, values in links.items()})


def load_pairs(folder: Path) -> list[Pair]:
    """Read what :func:`write_pairs` wrote.

    Raises:
        FileNotFoundError: the folder is not, or not wholly, written.
    """
    if not (folder / "links.npz").is_file():
        raise FileNotFoundError(f"{folder}: no links.npz; make the pairs with python -m "
                                "dinemo_training.equivariance.pairs")
    with np.load(folder / "links.npz", allow_pickle=False) as data:
        links = {key: data[key] for key in data.files}

    def picture(name: str) -> np.ndarray:
        return cv2.cvtColor(imread(folder / "images" / f"{name}.jpg"), cv2.COLOR_BGR2RGB)

    return [Pair(picture(f"{k:05d}_a"), picture(f"{k:05d}_b"), links["pixels_a"][k], links["pixels_b"][k],
                 links["points"][k], float(links["extent_b"][k]), str(links["asset"][k]))
            for k in range(len(links["extent_b"]))]


def main() -> None:
    """The command ``python -m dinemo_training.equivariance.pairs``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="only the cars that the fleet holds out")
    add_source_arguments(parser)
    args = parsed(parser)
    cv2.setNumThreads(1)
    assets, weights = load_fleet(source_folders(args))
    chosen = [k for k, asset in enumerate(assets) if (asset.name in fleet().held_out) == args.held_out]
    assets, weights = [assets[k] for k in chosen], weights[chosen] / weights[chosen].sum()
    print(f"{len(assets)} cars: {', '.join(asset.name for asset in assets)}")
    write_pairs(args.out, PairSynthesizer(assets, weights, args.seed, Photos([], [])), args.count)


if __name__ == "__main__":
    command_main(main)
