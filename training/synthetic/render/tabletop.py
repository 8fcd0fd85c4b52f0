# SPDX-License-Identifier: Apache-2.0
"""Synthetic training pictures of vessels on tables, with exact poses, from untextured CAD files.

    python -m dinemo_training.synthetic.render.tabletop --category cup --cad meshes/cup --out synth --count 2500 \
        [--held-out]

Writes what :mod:`dinemo_training.synthetic.render.dataset` writes; T_cam_obj is the canonical representative under the
category's symmetry (``dinemo_ros.model.symmetry``), size the box to which the neural mesh is stretched. Every sample
has a new skin; the shapes are the CAD files deformed, and invented ones
(``dinemo_training.synthetic.assets.vessel_kind``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.io.picture_read import imread
from dinemo_ros.process.console import command_main
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.asset import Asset, Material
from dinemo_training.synthetic.assets.skin import Skin, colour, cup_skin
from dinemo_training.synthetic.assets.vessel import Vessel, lathe, measured
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue
from dinemo_training.synthetic.assets.vessel_kind import CATEGORY_HELP, vessel_kind
from dinemo_training.synthetic.shape.vessel_modes import VesselModes, vessel_modes

from .background import Photos, View, contact_shadow, ground_points, random_background
from .dataset import (
    COVERED,
    SUPERSAMPLING,
    Pose,
    _pictures,
    draw,
    draw_blob,
    framed_pose,
    one_folder,
    sun_shadow,
    supersampled,
    write_dataset,
)
from .environment import Environment, random_environment
from .rasterizer import Fragments, rasterize
from .shading import displayed, film_curve, material_table, shade
from .table import table_background

# Surroundings, lights and shadows are made for cars: vessels are drawn this long, and the labels are scaled back.
_DRAWN_SIDE = 2.0


class TabletopSynthesizer:
    """Draws sample k of a data set: ``label(k)`` is cheap, ``render(k)`` makes the picture."""

    def __init__(self, catalogue: VesselCatalogue, seed: int, photos: Photos, elevation: tuple[float, float] = (0.0,
        70.0), modes: VesselModes | None = None) -> None:
        """``elevation``: least and largest, degrees. modes: of the category, in whose terms labels tell the shape."""
        self._catalogue, self._seed, self._photos, self._elevation = catalogue, seed, photos, elevation
        self._modes = modes

    def _begin(self, k: int) -> tuple[Vessel, float, Pose, np.random.Generator]:
        """Vessel in metres, by how much it is drawn larger, camera in drawn units, and the random source after that."""
        rng = np.random.default_rng([self._seed, k])
        vessel = self._catalogue.draw(rng)
        scale = _DRAWN_SIDE / float(np.ptp(vessel.vertices, axis=0).max())
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*self._elevation))
        rotation = rotation_from_viewpoint(azimuth, elevation, np.radians(rng.normal(0, 4)))
        distance = _DRAWN_SIDE * np.exp(rng.uniform(np.log(1.8), np.log(12)))
        return vessel, scale, framed_pose(vessel.vertices * scale, rotation, distance, rng), rng

    def label(self, k: int) -> dict[str, np.ndarray | str]:
        """What ``labels.npz`` holds of sample k, by name.

        K [3, 3] in pixels, T_cam_obj [4, 4] and size [3] in metres, the picture's and the asset's name, and where modes
        are given shape [K] in standard deviations.
        """
        vessel, scale, pose, _ = self._begin(k)
        T, category = pose.T_cam_obj.copy(), self._catalogue.category
        T[:3, 3] /= scale
        size = np.array([category.length * vessel.width, vessel.width, vessel.height])
        return {"names": f"{k:06d}", "K": pose.K, "T_cam_obj": category.symmetry.canonical(T), "size": size,
                "asset": vessel.name, **({"shape": self._modes.coefficients(vessel)} if self._modes else {})}

    def render(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture [S, S, 3] uint8 RGB and mask [S, S] uint8 of sample k."""
        vessel, scale, pose, rng = self._begin(k)
        category = self._catalogue.category
        skin = category.skin(rng, photo_square(self._photos, rng))
        asset = skinned(vessel, scale, skin, category.open, rng)
        environment = random_environment(rng)
        view = View(pose.K, pose.T_cam_obj, (CROP_SIDE, CROP_SIDE), asset.ground)
        if rng.random() < 0.6:
            picture, has_floor = table_background(view, environment, rng, photo_square(self._photos, rng)), True
        else:
            picture, has_floor = random_background(view, environment, rng, self._photos)
        if has_floor:
            self._shadow(picture, asset, view, environment, rng)
        for _ in range(rng.choice([0, 1, 2, 3], p=[0.5, 0.25, 0.15, 0.1])):
            self._add_thing(picture, asset, view, environment, rng, behind=True)
        colour_, coverage, through = draw_glass(asset, skin, pose, environment)
        picture = picture * (1 - coverage[..., None] + through) + colour_
        visible = np.ones_like(coverage)
        if rng.random() < 0.3:
            picture, visible = self._occlude(picture, coverage, asset, view, environment, rng)
        mask = np.where(coverage >= 0.5, np.where(visible >= 0.5, 255, COVERED), 0).astype(np.uint8)
        return displayed(picture), mask

    @staticmethod
    def _shadow(picture: np.ndarray, asset: Asset, view: View, environment: Environment,
                rng: np.random.Generator) -> None:
        picture *= contact_shadow(view, 0.8 * asset.size, rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.9))[..., None]
        if environment.sun_colour.max() > 0.3:
            _, _, on_ground = ground_points(view, view.rays())
            picture *= 1 - (sun_shadow(asset, view, environment.sun) * on_ground * rng.uniform(0.3, 0.7))[..., None]

    @staticmethod
    def _add_thing(picture: np.ndarray, asset: Asset, view: View, environment: Environment, rng: np.random.Generator,
                   behind: bool) -> np.ndarray:
        """Draw a box or a can into ``picture``, behind or beside the vessel or before it; returns its coverage."""
        other = random_thing(rng)
        toward = view.eye[:2] / max(np.linalg.norm(view.eye[:2]), 1e-6)
        aside = np.array([-toward[1], toward[0]])
        across, depth = rng.choice([-1, 1]) * rng.uniform(0.9, 3.0), rng.uniform(0.3, 4.0)
        if not behind:
            across, depth = rng.uniform(-0.8, 0.8), -min(rng.uniform(1.2, 2.5), 0.4 * np.linalg.norm(view.eye[:2]))
        place = np.array([*(aside * across - toward * depth), view.ground - other.ground])
        pose = Pose(view.K, view.T_cam_obj @ se3(np.eye(3), place))
        drawn, coverage = draw(other, material_table(other.materials), pose, view.size, environment, factor=1)
        picture *= 1 - coverage[..., None]
        picture += drawn
        return coverage

    def _occlude(self, picture: np.ndarray, coverage: np.ndarray, asset: Asset, view: View, environment: Environment,
                 rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cover part of the vessel, at most 60 %; returns picture and visibility [S, S]."""
        covered, layer = np.zeros_like(coverage), picture.copy()
        if rng.random() < 0.3:
            covered = self._add_thing(layer, asset, view, environment, rng, behind=False)
        else:
            for _ in range(int(rng.integers(1, 4))):
                draw_blob(layer, covered, rng)
        hidden = (covered * coverage).sum() / max(1.0, coverage.sum())
        return (picture, np.ones_like(coverage)) if hidden > 0.6 else (layer, 1 - covered)


def photo_square(photos: Photos, rng: np.random.Generator) -> np.ndarray | None:
    """A square of a photograph, [256, 256, 3] uint8 RGB, or None where there are none or this sample does without."""
    if not photos.free or rng.random() < 0.4:
        return None
    picture = imread(photos.free[int(rng.integers(len(photos.free)))])
    side = int(rng.uniform(0.15, 0.6) * min(picture.shape[:2]))
    y, x = (int(rng.integers(n - side + 1)) for n in picture.shape[:2])
    return cv2.resize(picture[y:y + side, x:x + side, ::-1], (256, 256), interpolation=cv2.INTER_AREA)


def skinned(vessel: Vessel, scale: float, skin: Skin, is_open: bool, rng: np.random.Generator) -> Asset:
    """The vessel ``scale`` times as large with its materials, filled now and then if it is open."""
    materials = [Material((1.0, 1.0, 1.0), skin.texture, skin.gloss), Material(skin.handle, gloss=skin.gloss),
                 Material(skin.inner, gloss=0.5 * skin.gloss)]
    material = np.zeros(len(vessel.faces), np.int32)
    material[vessel.handle] = 1
    if is_open:
        material[vessel.inside] = 2
    vertices, faces, normals, uv = vessel.vertices * scale, vessel.faces, vessel.normals, vessel.coordinates()
    if is_open and rng.random() < 0.55:
        drink = [(0.12, 0.05, 0.02), (0.30, 0.16, 0.08), (0.45, 0.20, 0.05), (0.85, 0.82, 0.75), (0.55, 0.40, 0.28)]
        materials.append(Material(drink[rng.integers(len(drink))], gloss=1.0))
        level = rng.uniform(0.1, 0.42) * vessel.height
        points, disc = lathe(np.array([1e-4, 0.93 * 0.5 * vessel.width * _narrowing(vessel, level)]),
                             np.array([level, level]))
        faces = np.concatenate([faces, disc + len(vertices)])
        vertices = np.concatenate([vertices, points * scale])
        normals = np.concatenate([normals, np.tile(np.float32([0, 0, 1]), (len(disc), 3, 1))])
        uv = np.concatenate([uv, np.zeros((len(disc), 3, 2))])
        material = np.concatenate([material, np.full(len(disc), 3, np.int32)])
    size = scale * np.array([vessel.width, vessel.width, vessel.height])
    return Asset(vessel.name, vertices, faces.astype(np.int32), normals, uv.astype(np.float32), material,
                 tuple(materials), size, float(vertices[:, 2].min()))


def _narrowing(vessel: Vessel, z: float) -> float:
    """Radius at height ``z`` over the largest one: corners of a square mug are no part of it."""
    return float(vessel.radius(np.array([z]))[0] / vessel.profile.max())


def random_thing(rng: np.random.Generator) -> Asset:
    """A box or a can that stands about, in drawn units, its origin in the middle."""
    radius, height = rng.uniform(0.2, 1.0), rng.uniform(0.3, 3.0)
    return thing(radius, height, int(rng.choice([4, 4, 24])), rng)


def thing(radius: float, height: float, corners: int, rng: np.random.Generator, narrowest: float = 0.5) -> Asset:
    """A prism with ``corners`` corners at ``radius`` from its axis, its origin in the middle; any unit of length.

    ``narrowest``: least share, 0 to 1, of its depth in its width.
    """
    z = np.array([0, 0, 1, 1.0]) * height - height / 2
    vertices, faces = lathe(np.array([1e-4, radius, radius, 1e-4]), z, corners)
    turn = rng.uniform(0, np.pi)
    vertices[:, :2] = vertices[:, :2] @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    body = measured("thing", vertices * [1, rng.uniform(narrowest, 1), 1], faces)
    skin = cup_skin(rng)
    textures = (Material((1.0, 1.0, 1.0), skin.texture, skin.gloss), Material(tuple(colour(rng)), gloss=skin.gloss))
    lid = np.abs(body.normals[:, 0, 2]) > 0.7
    return Asset("thing", body.vertices, faces.astype(np.int32), body.normals, body.coordinates().astype(np.float32),
                 lid.astype(np.int32), textures, np.ptp(body.vertices, axis=0), -height / 2)


def draw_glass(asset: Asset, skin: Skin, pose: Pose, environment: Environment) -> tuple[np.ndarray, ...]:
    """As :func:`dinemo_training.synthetic.render.dataset.draw`, and what share [S, S, 3] of the light behind comes
    through."""
    size, K = (CROP_SIDE * SUPERSAMPLING,) * 2, supersampled(pose.K, SUPERSAMPLING)
    fragments = rasterize(asset.vertices, asset.faces, K, pose.T_cam_obj, size)
    drawn, through = shaded_glass(asset, skin, fragments, K, pose.T_cam_obj, environment)
    small = [cv2.resize(x, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA)
             for x in (drawn, fragments.mask.astype(np.float32), through)]
    return tuple(small)


def shaded_glass(asset: Asset, skin: Skin, fragments: Fragments, K: np.ndarray, T_cam_obj: np.ndarray,
                 environment: Environment) -> tuple[np.ndarray, np.ndarray]:
    """Linear RGB [H, W, 3] of the hit pixels, and what share [H, W, 3] of the light behind comes through them.

    Transmission after Beer and Lambert: the tint to the power of the way through the wall, which is longer at the rims.
    Nothing is refracted.
    """
    drawn = shade(asset, material_table(asset.materials), fragments, K, T_cam_obj, environment)
    drawn = film_curve(drawn)
    through = np.zeros_like(drawn)
    if skin.opacity.min() < 1:
        rows, columns = np.nonzero(fragments.mask)
        uv, facing = _surface(asset, fragments, K, T_cam_obj, rows, columns)
        tint = np.where((uv[:, 1] < skin.level)[:, None], skin.liquid * skin.tint, skin.tint)
        way = 1 / np.maximum(facing, 0.12)
        share = (1 - _opacity(skin, uv))[:, None] * np.clip(tint, 0.01, 1) ** way[:, None]
        through[rows, columns] = share * np.clip(1.15 * facing, 0, 1)[:, None] ** 0.3
    return drawn, through


def clear_pixels(asset: Asset, skin: Skin, fragments: Fragments, K: np.ndarray, T_cam_obj: np.ndarray) -> np.ndarray:
    """Which pixels [H, W] (bool) show clear glass."""
    clear = np.zeros(fragments.face.shape, bool)
    rows, columns = np.nonzero(fragments.mask)
    uv, _ = _surface(asset, fragments, K, T_cam_obj, rows, columns)
    clear[rows, columns] = _opacity(skin, uv) < 1
    return clear


def _opacity(skin: Skin, uv: np.ndarray) -> np.ndarray:
    """[N] at texture coordinates [N, 2]."""
    return skin.opacity[np.clip((1 - uv[:, 1]) * len(skin.opacity), 0, len(skin.opacity) - 1).astype(int),
                        (uv[:, 0] % 1 * skin.opacity.shape[1]).astype(int)]


def _surface(asset: Asset, fragments: Fragments, K: np.ndarray, T_cam_obj: np.ndarray, rows: np.ndarray,
             columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates [N, 2] and cosine between normal and view [N] of the pixels."""
    face, weight = fragments.face[rows, columns], fragments.weights[rows, columns]
    uv = np.einsum("nk,nkc->nc", weight, asset.uv[face])
    normal = np.einsum("nk,nkc->nc", weight, asset.normals[face])
    ray = np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(len(rows))], axis=1)
    ray = ray @ T_cam_obj[:3, :3]
    length = np.linalg.norm(ray, axis=1) * np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    return uv, np.abs(np.sum(ray * normal, axis=1)) / length


def model_files(options: dict) -> list[Path]:
    """The CAD files that a command with these options draws, see :mod:`dinemo_training.run.leakage`."""
    folder, category = one_folder(options.get("cad")), options.get("category")
    if folder is None or not isinstance(category, str):
        return []
    entries = [e for e in vessel_kind(category).models if e.held_out == bool(options.get("held_out"))]
    return [file for e in entries if (file := folder / f"{e.file}.obj").is_file()]


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.tabletop``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--category", required=True, help=CATEGORY_HELP)
    parser.add_argument("--cad", type=Path, help="folder of the category's CAD files; without it all are invented")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="draw the vessels that training never sees")
    parser.add_argument("--elevation", type=float, nargs=2, default=(0.0, 70.0), metavar=("LEAST", "MOST"),
                        help="degrees")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs without vessels")
    args = parsed(parser)
    cv2.setNumThreads(1)
    catalogue = VesselCatalogue(args.category, args.cad, args.held_out)
    print(f"{args.category}: {', '.join(e.file for e in catalogue.entries) or 'invented ones'}")
    photos = Photos(_pictures(args.backgrounds), [])
    modes = vessel_modes(VesselCatalogue(args.category, args.cad))
    write_dataset(args.out, TabletopSynthesizer(catalogue, args.seed, photos, tuple(args.elevation), modes), args.count)


if __name__ == "__main__":
    command_main(main)
