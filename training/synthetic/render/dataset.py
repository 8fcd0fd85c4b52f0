# SPDX-License-Identifier: Apache-2.0
"""Synthetic training pictures of cars with exact poses.

    python -m dinemo_training.synthetic.render.dataset --out synth --count 6000 --gazebo DIR --torcs DIR --metadrive \
        DIR --cad DIR

Writes into ``--out``:
  images/000000.jpg   288 x 288 RGB, the car's larger side 70 to 80 % of the picture
  masks/000000.png    255 where the car is seen, 64 where something covers it, 0 elsewhere
  labels.npz          names [N], K [N, 3, 3] pixels, T_cam_obj [N, 4, 4] metres, size [N, 3] metres (length, width,
                      height of this very car), asset [N]; no pickles
Sample k depends on --seed and k alone: an interrupted run goes on where it stopped and gives the same pictures.
Noise, blur and compression are left to the training's augmentation.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.geometry import pinhole_matrix, ray_rotation, rotation_from_viewpoint, se3
from dinemo_ros.io.files import write_arrays
from dinemo_ros.process.console import command_main
from dinemo_training.data.picture_file import write_picture
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.asset import Asset
from dinemo_training.synthetic.assets.car_catalogue import fleet, load_fleet

from .background import Photos, View, contact_shadow, ground_points, random_background, random_colour
from .environment import Environment, random_environment
from .rasterizer import rasterize
from .shading import MaterialTable, displayed, film_curve, material_table, repainted, shade

SUPERSAMPLING = 2
COVERED = 64  # mask value of hidden parts
_LABELS_EVERY = 250  # samples between two saves of labels.npz


@dataclass(frozen=True)
class Pose:
    """Camera of one sample: K [3, 3] pixels, T_cam_obj [4, 4] metres."""

    K: np.ndarray
    T_cam_obj: np.ndarray


def random_pose(asset: Asset, rng: np.random.Generator, side: int = CROP_SIDE) -> Pose:
    """A view in which the car's picture is centred and its larger side takes 70 to 80 % of ``side`` pixels."""
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = np.radians(rng.uniform(-3, 25) if rng.random() < 0.85 else rng.uniform(20, 45))
    distance = asset.size[0] * np.exp(rng.uniform(np.log(1.3), np.log(12)))
    lowest = (0.2 + asset.ground) / distance  # the camera stays above the ground
    elevation = max(elevation, float(np.arcsin(np.clip(lowest, -1, 1))))
    rotation = rotation_from_viewpoint(azimuth, elevation, np.radians(rng.normal(0, 3)))
    return framed_pose(asset.vertices, rotation, distance, rng, side)


def framed_pose(vertices: np.ndarray, rotation: np.ndarray, distance: float, rng: np.random.Generator,
                side: int = CROP_SIDE) -> Pose:
    """A camera in which ``vertices`` [V, 3], seen with ``rotation`` from ``distance``, are centred and fill 70 to 80 %.

    ``rotation`` [3, 3] is that of a camera that looks straight at the origin; units are those of the vertices.
    """
    T = se3(rotation, np.array([0, 0, distance]))
    for _ in range(3):  # turn the camera until the middle of the projected box is the optical axis
        lower, upper = _bounds(vertices, T)
        T = se3(ray_rotation(np.array([*(0.5 * (lower + upper)), 1.0])).T, np.zeros(3)) @ T
    lower, upper = _bounds(vertices, T)
    focal = rng.uniform(0.70, 0.80) * side / (upper - lower).max()
    off_centre = se3(ray_rotation(np.array([*(rng.uniform(-0.03, 0.03, 2) * side / focal), 1.0])), np.zeros(3))
    centre = (side - 1) / 2
    return Pose(pinhole_matrix(focal, centre, centre), off_centre @ T)


def _bounds(vertices: np.ndarray, T_cam_obj: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner [2] of the vertices in normalised image coordinates."""
    points = vertices @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    normalised = points[:, :2] / points[:, 2:]
    return normalised.min(axis=0), normalised.max(axis=0)


def supersampled(K: np.ndarray, factor: int) -> np.ndarray:
    """Intrinsics [3, 3] in pixels with ``factor`` times as many of them per side (pixel centres at integers)."""
    scaled = K * factor
    scaled[:2, 2] += 0.5 * (factor - 1)
    scaled[2, 2] = 1.0
    return scaled


def draw(asset: Asset, table: MaterialTable, pose: Pose, size: tuple[int, int], environment: Environment,
         factor: int = SUPERSAMPLING) -> tuple[np.ndarray, np.ndarray]:
    """Anti-aliased car: premultiplied linear RGB [H, W, 3] and coverage [H, W] in [0, 1]; ``size`` (W, H) pixels."""
    K = supersampled(pose.K, factor)
    fragments = rasterize(asset.vertices, asset.faces, K, pose.T_cam_obj, (size[0] * factor, size[1] * factor))
    colour = shade(asset, table, fragments, K, pose.T_cam_obj, environment)
    colour = film_curve(colour)
    return (cv2.resize(colour, size, interpolation=cv2.INTER_AREA),
            cv2.resize(fragments.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def sun_shadow(asset: Asset, view: View, sun: np.ndarray) -> np.ndarray:
    """Coverage [H, W], 0 to 1, of the shadow that the object throws on the ground.

    Args:
        sun: [3] direction to the sun in the object frame, any length.
    """
    flat = asset.vertices - (asset.vertices[:, 2:] - asset.ground) * (sun / sun[2])
    mask = rasterize(flat, asset.faces, view.K, view.T_cam_obj, view.size).mask
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.2)


class Synthesizer:
    """Draws sample k of a data set: ``label(k)`` is cheap, ``render(k)`` makes the picture."""

    def __init__(self, assets: list[Asset], weights: np.ndarray, seed: int, photos: Photos) -> None:
        self._assets, self._weights, self._seed, self._photos = assets, weights, seed, photos
        self._tables = [material_table(asset.materials) for asset in assets]

    def _begin(self, k: int) -> tuple[int, Asset, Pose, np.random.Generator]:
        rng = np.random.default_rng([self._seed, k])
        index, asset = self._random_car(rng)
        return index, asset, random_pose(asset, rng), rng

    def _random_car(self, rng: np.random.Generator) -> tuple[int, Asset]:
        index = int(rng.choice(len(self._assets), p=self._weights))
        # Stretching turns a few cars into many body shapes.
        return index, self._assets[index].scaled(np.exp(rng.normal(0, [0.05, 0.04, 0.06])))

    def label(self, k: int) -> dict[str, np.ndarray | str]:
        """What ``labels.npz`` holds of sample k, by name.

        K [3, 3] in pixels, T_cam_obj [4, 4] and size [3] in metres, the picture's and the asset's name.
        """
        _, asset, pose, _ = self._begin(k)
        return {"names": f"{k:06d}", "K": pose.K, "T_cam_obj": pose.T_cam_obj, "size": asset.size, "asset": asset.name}

    def render(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture [S, S, 3] uint8 RGB and mask [S, S] uint8 of sample k."""
        index, asset, pose, rng = self._begin(k)
        environment = random_environment(rng)
        view = View(pose.K, pose.T_cam_obj, (CROP_SIDE, CROP_SIDE), asset.ground)
        picture, has_floor = random_background(view, environment, rng, self._photos)
        if has_floor:
            picture *= contact_shadow(view, asset.size, rng.uniform(0.15, 0.6), rng.uniform(0.4, 0.9))[..., None]
            if environment.sun_colour.max() > 0.3:
                _, _, on_ground = ground_points(view, view.rays())
                shadow = sun_shadow(asset, view, environment.sun) * on_ground * rng.uniform(0.3, 0.7)
                picture *= 1 - shadow[..., None]
        if rng.random() < 0.15:
            self._add_car(picture, view, environment, rng, behind=True)
        table = repainted(self._tables[index], asset.materials, rng)
        colour, coverage = draw(asset, table, pose, (CROP_SIDE, CROP_SIDE), environment)
        picture = picture * (1 - coverage[..., None]) + colour
        visible = np.ones_like(coverage)
        if rng.random() < 0.3:
            picture, visible = self._occlude(picture, coverage, view, environment, rng)
        mask = np.where(coverage >= 0.5, np.where(visible >= 0.5, 255, COVERED), 0).astype(np.uint8)
        return displayed(picture), mask

    def _add_car(self, picture: np.ndarray, view: View, environment: Environment, rng: np.random.Generator,
                 behind: bool) -> np.ndarray:
        """Draw another car into ``picture``, farther than the object or nearer; returns its coverage [S, S]."""
        index, other = self._random_car(rng)
        T_cam_obj = view.T_cam_obj
        toward = view.eye[:2] / np.linalg.norm(view.eye[:2])
        aside = np.array([-toward[1], toward[0]])
        depth = rng.uniform(3.5, 12) if behind else -min(rng.uniform(3, 5), 0.45 * float(np.linalg.norm(view.eye[:2])))
        place = -toward * depth + aside * rng.uniform(1.5, 6) * rng.choice([-1, 1])
        turn = rng.uniform(0, 2 * np.pi)
        R = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
        T_obj_other = se3(R, np.array([*place, view.ground - other.ground]))
        table = repainted(self._tables[index], other.materials, rng)
        colour, coverage = draw(other, table, Pose(view.K, T_cam_obj @ T_obj_other), view.size, environment, factor=1)
        picture *= 1 - coverage[..., None]
        picture += colour
        return coverage

    def _occlude(self, picture: np.ndarray, coverage: np.ndarray, view: View, environment: Environment,
                 rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cover part of the car, at most half of it: posts, blocks, bushes, other cars. Returns picture, visibility."""
        side = view.side
        covered, layer = np.zeros((side, side), np.float32), picture.copy()
        if rng.random() < 0.3:
            covered = self._add_car(layer, view, environment, rng, behind=False)
        else:
            for _ in range(int(rng.integers(1, 4))):
                draw_blob(layer, covered, rng)
        hidden = (covered * coverage).sum() / max(1.0, coverage.sum())
        if hidden > 0.5:
            return picture, np.ones_like(coverage)
        return layer, 1 - covered


def draw_blob(layer: np.ndarray, covered: np.ndarray, rng: np.random.Generator) -> None:
    """Paint a post, a block or a bush over a picture; what it hides is added to a mask.

    Args:
        layer: [S, S, 3] linear RGB, changed. covered: [S, S] 0 to 1, changed.
    """
    side = len(layer)
    shape = np.zeros((side, side), np.float32)
    kind = rng.integers(3)
    centre = rng.uniform(0.1, 0.9, 2) * side
    if kind == 0:  # post or trunk
        width = rng.uniform(0.01, 0.1) * side
        cv2.rectangle(shape, (int(centre[0] - width / 2), 0), (int(centre[0] + width / 2), side), 1.0, -1)
    elif kind == 1:  # block
        box = cv2.boxPoints((tuple(centre), tuple(rng.uniform(0.08, 0.35, 2) * side), float(rng.uniform(0, 90))))
        cv2.fillConvexPoly(shape, box.astype(np.int32), 1.0, cv2.LINE_AA)
    else:  # bush: a noisy disc
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        radius = rng.uniform(0.06, 0.2) * side * (1 + 0.25 * rng.normal(size=40))
        outline = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        cv2.fillPoly(shape, [outline.astype(np.int32)], 1.0, cv2.LINE_AA)
    a, b = random_colour(rng), random_colour(rng)
    share = cv2.resize(rng.uniform(0, 1, (int(rng.integers(2, 40)),) * 2), (side, side))[..., None]
    layer += shape[..., None] * (a + (b - a) * share - layer)
    np.maximum(covered, shape, out=covered)


def write_dataset(out: Path, synthesizer: Synthesizer, count: int) -> None:
    """Draw samples 0 .. count - 1 into ``out``; pictures that exist are kept."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "masks").mkdir(exist_ok=True)
    labels = []
    for k in tqdm(range(count), unit="picture", smoothing=0.05):
        labels.append(synthesizer.label(k))
        picture_file, mask_file = out / "images" / f"{k:06d}.jpg", out / "masks" / f"{k:06d}.png"
        if not (picture_file.exists() and mask_file.exists()):
            picture, mask = synthesizer.render(k)
            write_picture(mask_file, mask)
            write_picture(picture_file, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        if (k + 1) % _LABELS_EVERY == 0 or k + 1 == count:
            save_labels(out / "labels.npz", labels)


def save_labels(path: Path, labels: list[dict]) -> None:
    """Replace ``path`` in one step, so that a reader never sees half a file."""
    stacked = {key: np.array([label[key] for label in labels]) for key in labels[0]}
    write_arrays(path, **stacked)


def _pictures(folder: Path | None) -> list[Path]:
    """Picture files below ``folder``, sorted; none without a folder."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".png", ".jpeg")) if folder else []


_SOURCES = {"gazebo": "gazebo_cars", "torcs": "usr/share/games/torcs/cars of Debian torcs-data",
            "metadrive": "metadrive/assets/models/vehicle of the wheel", "cad": "PASCAL3D+ style OBJ"}


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """One option per source of cars, see :mod:`dinemo_training.synthetic.assets.car_catalogue`."""
    for source, what in _SOURCES.items():
        parser.add_argument(f"--{source}", type=Path, help=f"folder of cars: {what}")


def source_folders(args: argparse.Namespace) -> dict[str, Path | None]:
    """What :func:`add_source_arguments` read, for :func:`load_fleet`."""
    return {source: getattr(args, source) for source in _SOURCES}


def one_folder(value: str | list | None) -> Path | None:
    """What a renderer that takes one folder makes of an option of a recipe."""
    value = value[-1] if isinstance(value, list) and value else value
    return Path(value) if value else None


def model_files(options: dict) -> list[Path]:
    """The meshes that a command with these options draws, see :mod:`dinemo_training.run.leakage`."""
    sources = {source: one_folder(options.get(source)) for source in _SOURCES}
    names = options.get("assets")
    known = fleet(options.get("fleet") or "car")
    chosen = [e for e in known.cars if sources.get(e.source) and (
        e.name in names if names else (e.name in known.held_out) == bool(options.get("held_out")))]
    return [file for entry in chosen for file in entry.meshes(sources[entry.source])]


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.dataset``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--assets", nargs="*", help="names of cars; default: all but the held-out ones")
    parser.add_argument("--held-out", action="store_true", help="only the cars that the fleet holds out")
    parser.add_argument("--fleet", default="car", help="which cars there are: the name of one of "
                        "training/configs/fleets, or the path of such a YAML file (default: %(default)s)")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs without cars")
    parser.add_argument("--photo-corners", type=Path, help="folder of photographs of a centred object: only the "
                        "upper corners become background")
    add_source_arguments(parser)
    args = parsed(parser)
    cv2.setNumThreads(1)
    known = fleet(args.fleet)
    assets, weights = load_fleet(source_folders(args), args.assets, known)
    if not args.assets:
        chosen = [k for k, asset in enumerate(assets) if (asset.name in known.held_out) == args.held_out]
        assets, weights = [assets[k] for k in chosen], weights[chosen] / weights[chosen].sum()
    photos = Photos(_pictures(args.backgrounds), _pictures(args.photo_corners))
    print(f"{len(assets)} cars: {', '.join(asset.name for asset in assets)}")
    write_dataset(args.out, Synthesizer(assets, weights, args.seed, photos), args.count)


if __name__ == "__main__":
    command_main(main)
