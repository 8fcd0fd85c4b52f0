# SPDX-License-Identifier: Apache-2.0
"""Rendered pairs of different objects of a category, with key points, in the layout of SPair-71k.

A category is a folder of ``NAME.obj`` with ``NAME.keypoints.json`` (:mod:`.mesh_keypoints`); no more is known of it.
Every object is drawn in random paint and light before a random background, 288 pixels, seen from all round and from up
to 35 degrees above, every picture from somewhere else. A pair shows two meshes of one category from any two directions
and has the points that are seen in both. Pair k of a category depends on the seed, the category and the meshes alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.errors import DatasetError
from dinemo_ros.geometry import rotation_from_viewpoint
from dinemo_ros.io.files import write_file
from dinemo_ros.io.quoting import shown_path
from dinemo_training.data.picture_file import write_picture
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.synthetic.assets.asset import PAINT, Asset, Part, assemble
from dinemo_training.synthetic.render.background import Photos, View, random_background
from dinemo_training.synthetic.render.dataset import Pose, draw, framed_pose
from dinemo_training.synthetic.render.environment import random_environment
from dinemo_training.synthetic.render.rasterizer import rasterize, visible_vertices
from dinemo_training.synthetic.render.shading import displayed, material_table, repainted
from dinemo_training.synthetic.shape.mean_mesh import read_cad

from .mesh_keypoints import OBJECT_FROM_FILE, MeshKeypoints, consistent, read_keypoints

FEWEST_POINTS = 3
PICTURES_PER_PAIR = 0.6  # so many are drawn for each pair that is wanted
_LONGEST = 4.0           # metres that an object's longest side is drawn as: lights and grounds are made for cars
_BEHIND = 0.06           # of that, how far behind the surface a point may lie: wheels are marked at their axle
_ELEVATION_DEG = (0.0, 35.0)


@dataclass(frozen=True)
class Figure:
    """A mesh to draw and its key points [3] in the same coordinates, metres."""

    asset: Asset
    points: dict[str, np.ndarray]


@dataclass(frozen=True)
class Shot:
    """A picture [H, W, 3] uint8 RGB of a figure, its box (pixels, edges) and the key points that are seen [2]."""

    picture: np.ndarray
    object: str
    box: tuple[float, float, float, float]
    seen: dict[str, np.ndarray]


def read_figures(folder: Path) -> tuple[list[Figure], dict]:
    """The figures of a category and what was found of their names: ``renamed`` of each mesh, ``dropped`` sentences.

    Raises:
        DatasetError: fewer than two meshes have key points, or a file is no good.
    """
    files = sorted(path for path in folder.glob("*.obj") if path.with_suffix(".keypoints.json").is_file())
    if len(files) < 2:
        raise DatasetError(f"{shown_path(folder)}: {len(files)} meshes with key points; two are needed, NAME.obj and "
                           "NAME.keypoints.json each")
    meshes, dropped = consistent([read_keypoints(path.with_suffix(".keypoints.json")) for path in files])
    figures = [_figure(path, mesh) for path, mesh in zip(files, meshes, strict=True)]
    return figures, {"renamed": {mesh.name: list(mesh.renamed) for mesh in meshes}, "dropped": dropped}


def _figure(path: Path, mesh: MeshKeypoints) -> Figure:
    """The mesh about the middle of its box, its key points moved and scaled alike."""
    vertices, faces = read_cad(path)  # in the object's axes
    in_file = vertices @ OBJECT_FROM_FILE
    drawn = assemble(mesh.name, [Part(in_file, faces, PAINT)], OBJECT_FROM_FILE)
    factor = _LONGEST / float(np.ptp(drawn.vertices, axis=0).max())
    moved = drawn.vertices[0] - vertices[0]
    asset = drawn.scaled(np.full(3, factor))
    return Figure(asset, {name: (point + moved) * factor for name, point in mesh.points.items()})


def shoot(figure: Figure, rng: np.random.Generator) -> Shot:
    """A random picture of the figure."""
    asset = figure.asset
    elevation = np.radians(rng.uniform(*_ELEVATION_DEG))
    distance = _LONGEST * np.exp(rng.uniform(np.log(1.4), np.log(6)))
    elevation = max(elevation, float(np.arcsin(np.clip((0.2 + asset.ground) / distance, -1, 1))))
    rotation = rotation_from_viewpoint(rng.uniform(0, 2 * np.pi), elevation, np.radians(rng.normal(0, 3)))
    pose = framed_pose(asset.vertices, rotation, distance, rng)
    size = (CROP_SIDE, CROP_SIDE)
    environment = random_environment(rng)
    background, _ = random_background(View(pose.K, pose.T_cam_obj, size, asset.ground), environment, rng,
                                      Photos([], []))
    paint = repainted(material_table(asset.materials), asset.materials, rng)
    drawn, coverage = draw(asset, paint, pose, size, environment)
    rows, columns = np.nonzero(coverage >= 0.5)
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    picture = displayed(background * (1 - coverage[..., None]) + drawn)
    return Shot(picture, asset.name, box, _seen(figure, pose, size))


def _seen(figure: Figure, pose: Pose, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Pixels [2] of the key points that are seen."""
    if not figure.points:
        return {}
    depth = rasterize(figure.asset.vertices, figure.asset.faces, pose.K, pose.T_cam_obj, size).depth
    points = np.array(list(figure.points.values()))
    visible = visible_vertices(points, depth, pose.K, pose.T_cam_obj, _BEHIND * _LONGEST)
    camera = points @ pose.T_cam_obj[:3, :3].T + pose.T_cam_obj[:3, 3]
    pixels = camera[:, :2] / camera[:, 2:] * [pose.K[0, 0], pose.K[1, 1]] + pose.K[:2, 2]
    return {name: pixels[k] for k, name in enumerate(figure.points) if visible[k]}


def write_pairs(out: Path, folders: dict[str, Path], count: int, seed: int) -> dict:
    """Write ``count`` pairs, as many of each category, into ``out``; returns what is told of the names.

    Raises:
        DatasetError: a category cannot be read, or its pictures share too few points for so many pairs.
    """
    lines, told = [], {}
    for place, (category, folder) in enumerate(folders.items()):
        figures, told[category] = read_figures(folder)
        wanted = count // len(folders) + (place < count % len(folders))
        rng = np.random.default_rng([seed, place])
        names = _write_shots(out, category, figures, max(8, round(PICTURES_PER_PAIR * wanted)), rng)
        lines += _write_annotations(out, category, names, wanted, rng, len(lines))
    write_file(out / "names.json", json.dumps(told, indent=1) + "\n")
    (out / "Layout" / "large").mkdir(parents=True, exist_ok=True)
    write_file(out / "Layout" / "large" / "test.txt", "\n".join(lines) + "\n")
    return told


def _write_shots(out: Path, category: str, figures: list[Figure], count: int,
                 rng: np.random.Generator) -> dict[str, Shot]:
    """Draw the pictures; the names of the files and what is on them, the pictures themselves left out."""
    folder = out / "JPEGImages" / category
    folder.mkdir(parents=True, exist_ok=True)
    shots = {}
    for k in tqdm(range(count), desc=category, mininterval=5):
        shot = shoot(figures[k % len(figures)], np.random.default_rng([int(rng.integers(2**32)), k]))
        name = f"{shot.object}_{k:05d}"
        write_picture(folder / f"{name}.jpg", shot.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        shots[name] = replace(shot, picture=np.empty(0, np.uint8))
    return shots


def _write_annotations(out: Path, category: str, shots: dict[str, Shot], count: int, rng: np.random.Generator,
                       first: int) -> list[str]:
    """Annotations of ``count`` pairs of different objects; returns their lines in the list of pairs."""
    identity = {name: k for k, name in enumerate(sorted({name for shot in shots.values() for name in shot.seen}))}
    possible = [(a, b) for a in shots for b in shots if shots[a].object != shots[b].object
                and len(set(shots[a].seen) & set(shots[b].seen)) >= FEWEST_POINTS]
    if len(possible) < count:
        raise DatasetError(f"{category}: {len(possible)} pairs of pictures share {FEWEST_POINTS} points, {count} are "
                           "wanted; give more meshes with the same names, or a smaller --count")
    folder = out / "PairAnnotation" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for k in rng.choice(len(possible), count, replace=False):
        source, target = possible[int(k)]
        name = f"{first + len(lines) + 1:06d}-{source}-{target}:{category}"
        document = _annotation(name, category, source, target, shots, identity)
        write_file(folder / f"{name}.json", json.dumps(document) + "\n", durable=False)
        lines.append(name)
    return lines


def _annotation(name: str, category: str, source: str, target: str, shots: dict[str, Shot],
                identity: dict[str, int]) -> dict:
    """The keys of SPair's annotation, and the objects."""
    a, b = shots[source], shots[target]
    shared = sorted(set(a.seen) & set(b.seen))
    size = [CROP_SIDE, CROP_SIDE, 3]
    return {"pair_id": int(name[:6]), "filename": name, "category": category,
            "src_imname": f"{source}.jpg", "trg_imname": f"{target}.jpg", "src_imsize": size, "trg_imsize": size,
            "src_bndbox": list(a.box), "trg_bndbox": list(b.box), "kps_ids": [str(identity[n]) for n in shared],
            "kps_names": shared, "src_kps": [[round(float(v), 2) for v in a.seen[n]] for n in shared],
            "trg_kps": [[round(float(v), 2) for v in b.seen[n]] for n in shared],
            "mirror": 0, "viewpoint_variation": 0, "scale_variation": 0, "truncation": 0, "occlusion": 0,
            "src_object": a.object, "trg_object": b.object}
