# SPDX-License-Identifier: Apache-2.0
r"""Synthetic training pictures of any category from untextured CAD models, with exact poses.

    python -m dinemo_training.synthetic.render.shapes --out synth --count 6000 --cad DIR --size 0.33x0.24x0.22

Nothing is known about the category but its models, so what tells a view must be shape: every sample paints the
model's pieces anew, plainly or with patterns, in light and surroundings of its own. Categories whose looks matter have
renderers that know them (``dataset`` cars, ``tabletop`` cups and bottles). The layout is that of
:mod:`dinemo_training.synthetic.render.dataset`.
With four models or more every fourth is never drawn, unless ``--held-out`` asks for just these.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import trimesh

from dinemo_ros.geometry import rotation_from_viewpoint
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry
from dinemo_ros.process.console import command_main
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.run.arguments import parsed
from dinemo_training.run.inputs import cad_files, parse_size
from dinemo_training.synthetic.assets.asset import Asset, Material, Part, assemble
from dinemo_training.synthetic.shape.mean_mesh import AXES, read_cad
from dinemo_training.synthetic.shape.occupancy import BODY

from .background import Photos, View, contact_shadow, ground_points, random_background, random_colour
from .dataset import COVERED, Pose, draw, draw_blob, framed_pose, sun_shadow, write_dataset
from .environment import random_environment
from .shading import MaterialTable, displayed

_STUDIO_LENGTH = 4.0  # metres: surroundings are made for cars, so everything is drawn at their scale and shrunk after
_PIECES = 8           # materials per model
_PATTERNS = 3         # per sample
_PATTERN_SIDE = 128
_EVERY = 4            # one in so many models is held out


def read_model(path: Path, axes: str, size: np.ndarray, body: float = BODY) -> Asset:
    """A CAD model in the object frame at the category's mean volume, its largest connected pieces as materials.

    Args:
        size: [3] metres, mean of the category; proportions stay the model's own.
        body: what belongs to the model's box, see :func:`dinemo_training.synthetic.shape.occupancy.body_bounds`.
    """
    vertices, faces = read_cad(path, axes)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.merge_vertices()
    piece = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    area = np.bincount(piece, mesh.area_faces)
    rank = np.empty(len(area), int)
    rank[np.argsort(-area)] = np.arange(len(area))
    group = np.minimum(rank, _PIECES - 1)[piece]
    parts = [Part(mesh.vertices, mesh.faces[group == k], Material()) for k in np.unique(group)]
    for k, part in enumerate(parts):  # materials are distinguished by identity
        parts[k] = replace(part, material=replace(part.material, gloss=0.001 * k))
    asset = assemble(path.stem, parts, np.eye(3), body=body)
    asset = asset.scaled(np.full(3, np.cbrt(np.prod(size) / np.prod(asset.size))))
    return replace(asset, uv=_box_coordinates(asset))


def _box_coordinates(asset: Asset) -> np.ndarray:
    """Texture coordinates [F, 3, 2]: each face projected along the axis that it faces most, one unit per length."""
    corners = asset.vertices[asset.faces] / asset.size.max()
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis = np.abs(normal).argmax(axis=1)
    columns = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    return np.take_along_axis(corners, columns[:, None, :].repeat(3, 1), axis=2).astype(np.float32)


def random_materials(asset: Asset, rng: np.random.Generator) -> MaterialTable:
    """Every piece in a colour of its own or in that of its neighbours, some with a pattern."""
    patterns = [_pattern(rng) for _ in range(_PATTERNS)]
    count, main = len(asset.materials), random_colour(rng)
    albedo = np.array([main if rng.random() < 0.5 else random_colour(rng) for _ in range(count)], np.float32)
    texture = np.where(rng.random(count) < 0.4, rng.integers(0, _PATTERNS, count), -1)
    layout = [(k * _PATTERN_SIDE**2, _PATTERN_SIDE, _PATTERN_SIDE) for k in range(_PATTERNS)]
    return MaterialTable(albedo, rng.choice([0.05, 0.3, 1.0], count).astype(np.float32) * rng.uniform(0.5, 1),
                         texture.astype(np.int64), np.concatenate([p.reshape(-1, 4) for p in patterns]),
                         np.array(layout, np.int64), np.zeros((count, 4), np.float32))


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """Stripes, spots or blotches [S, S, 4] uint8; repeats without a seam where it can."""
    low, high = np.sort(rng.uniform(40, 255, 2))
    side = _PATTERN_SIDE
    if rng.random() < 0.4:
        cells = int(rng.integers(2, 12))
        grid = rng.uniform(0, 1, (cells, 1 if rng.random() < 0.5 else cells))
        share = cv2.resize(grid, (side, side), interpolation=cv2.INTER_NEAREST)
    else:
        share = cv2.resize(rng.uniform(0, 1, (int(rng.integers(3, 24)),) * 2), (side, side))
    tint = np.clip(1 + rng.normal(0, 0.1, 3), 0.5, 1.0)
    grey = low + (high - low) * share[..., None]
    return np.concatenate([grey * tint, np.zeros((side, side, 1))], axis=2).astype(np.uint8)


class ShapeSynthesizer:
    """Draws sample k of a data set: ``label(k)`` is cheap, ``render(k)`` makes the picture.

    Args:
        elevation: [2] degrees, least and most. tilt: standard deviation of the in-plane turn, degrees.
        symmetry: of the category: poses are labelled by their canonical representative.
    """

    def __init__(self, assets: list[Asset], seed: int, elevation: tuple[float, float], tilt: float,
                 photos: Photos, symmetry: Symmetry = NO_SYMMETRY) -> None:
        self._assets, self._seed, self._elevation, self._tilt = assets, seed, elevation, tilt
        self._photos, self._symmetry = photos, symmetry

    def _begin(self, k: int) -> tuple[Asset, float, Pose, np.random.Generator]:
        """Asset at studio scale, metres per studio metre, pose at studio scale."""
        rng = np.random.default_rng([self._seed, k])
        asset = self._assets[int(rng.integers(len(self._assets)))].scaled(np.exp(rng.normal(0, 0.06, 3)))
        scale = float(asset.size.max()) / _STUDIO_LENGTH
        asset = asset.scaled(np.full(3, 1 / scale))
        sines = np.sin(np.radians(self._elevation))
        viewpoint = rng.uniform(0, 2 * np.pi), np.arcsin(rng.uniform(*sines)), np.radians(rng.normal(0, self._tilt))
        distance = _STUDIO_LENGTH * np.exp(rng.uniform(np.log(1.6), np.log(12)))
        return asset, scale, framed_pose(asset.vertices, rotation_from_viewpoint(*viewpoint), distance, rng), rng

    def label(self, k: int) -> dict[str, np.ndarray | str]:
        """What labels.npz holds of sample k: K [3, 3] pixels, T_cam_obj [4, 4] and size [3] metres."""
        asset, scale, pose, _ = self._begin(k)
        T = pose.T_cam_obj.copy()
        T[:3, 3] *= scale
        return {"names": f"{k:06d}", "K": pose.K, "T_cam_obj": self._symmetry.canonical(T), "size": asset.size * scale,
                "asset": asset.name}

    def render(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture [S, S, 3] uint8 RGB and mask [S, S] uint8 of sample k."""
        asset, _, pose, rng = self._begin(k)
        environment = random_environment(rng)
        view = View(pose.K, pose.T_cam_obj, (CROP_SIDE, CROP_SIDE), asset.ground)
        picture, has_floor = random_background(view, environment, rng, self._photos)
        if has_floor and view.eye[2] > asset.ground:
            picture *= contact_shadow(view, asset.size, rng.uniform(0.15, 0.6), rng.uniform(0.3, 0.8))[..., None]
            if environment.sun_colour.max() > 0.3:
                on_ground = ground_points(view, view.rays())[2]
                picture *= 1 - (sun_shadow(asset, view, environment.sun) * on_ground * rng.uniform(0.3, 0.7))[..., None]
        colour, coverage = draw(asset, random_materials(asset, rng), pose, (CROP_SIDE, CROP_SIDE), environment)
        picture = picture * (1 - coverage[..., None]) + colour
        covered = np.zeros_like(coverage)
        if rng.random() < 0.3:
            layer = picture.copy()
            for _ in range(int(rng.integers(1, 4))):
                draw_blob(layer, covered, rng)
            if (covered * coverage).sum() > 0.5 * coverage.sum():
                covered[:] = 0
            else:
                picture = layer
        mask = np.where(coverage >= 0.5, np.where(covered < 0.5, 255, COVERED), 0).astype(np.uint8)
        return displayed(picture), mask


def chosen_models(files: list[Path], held_out: bool) -> list[Path]:
    """Every fourth model for ``held_out``, the others otherwise; all of them where there are fewer than four."""
    if len(files) < _EVERY:
        return files
    return [f for k, f in enumerate(files) if (k % _EVERY == _EVERY - 1) == held_out]


def model_files(options: dict) -> list[Path]:
    """The CAD files that a command with these options draws, see :mod:`dinemo_training.run.leakage`."""
    folders = options.get("cad") or []
    files = cad_files(folders if isinstance(folders, list) else [folders])
    return chosen_models(files, bool(options.get("held_out")))


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.shapes``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cad", type=Path, nargs="+", required=True, help="folders or files of CAD models")
    parser.add_argument("--axes", choices=AXES, default="pascal3d", help="of the CAD files (default: %(default)s)")
    parser.add_argument("--size", nargs="+", required=True, metavar="LxWxH", help="mean of the category, metres; or "
                        "three numbers")
    parser.add_argument("--body", type=float, default=BODY, help="share of the largest cross-section from which on a "
                        "slice belongs to a model's box; 0: everything does (default: %(default)s)")
    parser.add_argument("--elevation", type=float, nargs=2, default=(-10.0, 50.0), metavar=("LEAST", "MOST"),
                        help="degrees (default: %(default)s)")
    parser.add_argument("--tilt", type=float, default=4.0, help="spread of the in-plane turn, degrees")
    parser.add_argument("--symmetry", type=int, metavar="ORDER", help="turns about z that leave the shape as it is: 0 "
                        "any, n by a n-th (default: none)")
    parser.add_argument("--held-out", action="store_true", help="draw the models that training never sees")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs without the object")
    args = parsed(parser)
    cv2.setNumThreads(1)
    files = chosen_models(cad_files(args.cad), args.held_out)
    print(f"{len(files)} models: {', '.join(f.stem for f in files)}")
    assets = [read_model(f, args.axes, np.array(parse_size("x".join(args.size))), args.body) for f in files]
    pictures = args.backgrounds.rglob("*") if args.backgrounds else ()
    photos = Photos(sorted(p for p in pictures if p.suffix.lower() in (".jpg", ".jpeg", ".png")), [])
    symmetry = NO_SYMMETRY if args.symmetry is None else Symmetry("z", args.symmetry)
    source = ShapeSynthesizer(assets, args.seed, tuple(args.elevation), args.tilt, photos, symmetry)
    write_dataset(args.out, source, args.count)


if __name__ == "__main__":
    command_main(main)
