# SPDX-License-Identifier: Apache-2.0
"""Render the short sequence that ships in ``config/demo_sequence``: a camera drives an arc around a parked car.

    python -m dinemo_training.synthetic.render.demo_sequence --gazebo DIR --out config/demo_sequence

Writes frames ``NNN.jpg``, ``camera_info.yaml`` (camera_calibration format), ``ground_truth.json`` (exact pose, size
and box of the car per frame) and ``ATTRIBUTION.md``. The car is in no training set (``held_out`` of
``training/configs/fleets/car.yaml``).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from dinemo_ros.geometry import pinhole_matrix, se3, viewpoint_from_rotation
from dinemo_ros.io.files import write_file
from dinemo_ros.process.console import command_main
from dinemo_training.data.picture_file import write_picture
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.asset import Asset, Material, Part, assemble
from dinemo_training.synthetic.assets.car_catalogue import load_fleet

from .background import View, contact_shadow, ground_points, noise_at
from .dataset import Pose, draw, sun_shadow, supersampled
from .environment import Environment, random_environment
from .shading import MaterialTable, linear, material_table

CAR = "hatchback"
SIZE = (960, 540)  # pixels
HFOV_DEG = 66.0
FRAMES, RATE = 28, 10.0  # pictures, pictures per second (what folders of pictures are played at)
_PAINT = (0.04, 0.15, 0.42)  # linear RGB; not red, or the tail lamps would drown
_SUNNY_DAY = 2  # seed of random_environment
_ATTRIBUTION = """# Demo sequence

Rendered by `python -m dinemo_training.synthetic.render.demo_sequence`; the scenery is procedural.
The car is the model "Hatchback" of the Gazebo model collection, Copyright 2012 Nathan Koenig and contributors,
licensed under Creative Commons Attribution 3.0 Unported (https://creativecommons.org/licenses/by/3.0/).
Changes: scaled to 4.00 x 1.70 x 1.52 m, repainted, rendered. The pictures in this folder are licensed under the same
terms. The car appears in no training set of this project.
"""


def camera_matrix() -> np.ndarray:
    """Intrinsics [3, 3] in pixels of the demo's camera."""
    focal = 0.5 * SIZE[0] / np.tan(np.radians(HFOV_DEG) / 2)
    return pinhole_matrix(focal, (SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2)


def camera_path(ground: float) -> list[np.ndarray]:
    """T_cam_obj [4, 4] of each frame: from the front left 14 m away, round the rear, to 5 m at the right front.

    ``ground`` is z of the ground in the object frame, metres.
    """
    poses = []
    for k in range(FRAMES):
        s = k / (FRAMES - 1)
        bearing = np.radians(20 + 265 * s)
        distance = 14 - 9 * s**1.3
        height = ground + 1.45 + 0.5 * np.sin(2 * np.pi * s)
        eye = np.array([distance * np.cos(bearing), distance * np.sin(bearing), height])
        # The car wanders through the picture: the camera looks beside it by up to 17 degrees.
        aside = np.radians(17 * np.sin(2 * np.pi * (1.4 * s + 0.1))) * (1 - 0.5 * s)
        down = 0.02 + (height - ground) / distance / 3
        forward = np.array([-np.cos(bearing + aside), -np.sin(bearing + aside), -down])
        poses.append(_looking_along(eye, forward, roll=np.radians(1.5 * np.sin(7 * s))))
    return poses


def _looking_along(eye: np.ndarray, forward: np.ndarray, roll: float) -> np.ndarray:
    """Camera at ``eye`` [3] looking along ``forward`` [3], z of the object frame upward in the picture."""
    z = forward / np.linalg.norm(forward)
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    x, y = np.cos(roll) * x + np.sin(roll) * y, np.cos(roll) * y - np.sin(roll) * x
    R = np.stack([x, y, z])
    return se3(R, -R @ eye)


def street(ground: float) -> Asset:
    """Houses, a wall and parked blocks around the place, all farther from the car than any camera position.

    ``ground``: height of the ground in metres, in the object frame.
    """
    rng = np.random.default_rng(1)
    parts = []
    for bearing in np.arange(0, 360, 14.0):
        distance, width = rng.uniform(26, 44), rng.uniform(7, 13)
        size = np.array([rng.uniform(6, 10), width, rng.choice([2.2, 5, 7, 10, 14])])
        parts.append(_house(np.radians(bearing + rng.uniform(-4, 4)), distance, size, ground, rng))
    asset = assemble("street", parts, np.eye(3))
    # assemble() centres its parts; the scenery has to stay where it was built.
    shift = parts[0].vertices[0] - asset.vertices[0]
    return Asset("street", asset.vertices + shift, asset.faces, asset.normals, asset.uv, asset.material,
                 asset.materials, asset.size, ground)


def _house(bearing: float, distance: float, size: np.ndarray, ground: float, rng: np.random.Generator) -> Part:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0, 1)]) * size
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (1, 5, 7, 3)]
    c, s = np.cos(bearing), np.sin(bearing)
    placed = corners @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [distance * c, distance * s, ground]
    vertices = np.concatenate([placed[list(q)] for q in quads])
    faces = np.concatenate([[[4 * k, 4 * k + 1, 4 * k + 2], [4 * k, 4 * k + 2, 4 * k + 3]] for k in range(len(quads))])
    repeat = np.array([max(1, round(size[1] / 3)), max(1, round(size[2] / 3))])
    uv = np.zeros((len(vertices), 2))
    for k, quad in enumerate(quads[:4]):
        across = np.array([[corners[q][0] + corners[q][1], corners[q][2]] for q in quad])
        uv[4 * k:4 * k + 4] = (across - across.min(axis=0)) / np.ptp(across, axis=0) * repeat
    return Part(vertices, faces, Material((1.0, 1.0, 1.0), _facade(rng)), uv)


def _facade(rng: np.random.Generator) -> np.ndarray:
    """One storey with a window, [96, 96, 4] uint8."""
    wall = np.clip(rng.uniform(110, 225) + rng.normal(0, 14, 3), 40, 245)
    tile = wall + rng.normal(0, 5, (96, 96, 1))
    x0, y0 = rng.integers(14, 30, 2)
    tile[y0 - 3:80, x0 - 3:99 - x0] = wall * 0.75
    tile[y0:77, x0:96 - x0] = np.linspace(95, 40, 77 - y0)[:, None, None] * np.array([0.85, 0.95, 1.1])
    tile[:, -1] = wall * 0.9
    return np.dstack([np.clip(tile, 0, 255), np.zeros((96, 96))]).astype(np.uint8)


def scenery(view: View, environment: Environment) -> np.ndarray:
    """Sky, asphalt with parking bays, and grass far away: linear RGB [H, W, 3]."""
    rays = view.rays()
    up = rays[..., 2] / np.linalg.norm(rays, axis=-1)
    azimuth = np.arctan2(rays[..., 1], rays[..., 0])
    clouds = 0.10 * noise_at(azimuth * 40, up * 160, 5)
    sky = environment.horizon + (environment.zenith - environment.horizon) * np.clip(up, 0, 1)[..., None] ** 0.6
    x, y, on_ground = ground_points(view, rays)
    distance = np.hypot(x - view.eye[0], y - view.eye[1])
    grain = 0.10 * noise_at(x * 20, y * 20, 0) + 0.08 * noise_at(x * 2.5, y * 2.5, 3)
    asphalt = environment.ground * 0.8 * (1 + grain * np.exp(-distance / 40))[..., None]
    bay = (np.abs((y + 1.3) % 2.6 - 1.3) > 1.24) & (np.abs(x) < 2.7)
    kerb = np.abs(np.abs(x) - 9.0) < 0.08
    asphalt = np.where(((bay | kerb) & (np.abs(y) < 20))[..., None], 0.55 * environment.horizon, asphalt)
    grass = np.array([0.10, 0.16, 0.05]) * (1 + 0.3 * noise_at(x * 9, y * 9, 1))[..., None]
    floor = np.where((np.hypot(x, y) > 22)[..., None], grass, asphalt)
    return np.where(on_ground[..., None], floor, sky * (1 + clouds[..., None])).astype(np.float32)


def render_frame(car: Asset, table: MaterialTable, houses: Asset, environment: Environment,
                 T_cam_obj: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture [H, W, 3] uint8 RGB and coverage of the car [H, W]."""
    pose = Pose(camera_matrix(), T_cam_obj)
    # Thin road markings need more samples per pixel than the soft shadows.
    fine = View(supersampled(pose.K, 2), T_cam_obj, (2 * SIZE[0], 2 * SIZE[1]), car.ground)
    picture = cv2.resize(scenery(fine, environment), SIZE, interpolation=cv2.INTER_AREA)
    view = View(pose.K, T_cam_obj, SIZE, car.ground)
    _, _, on_ground = ground_points(view, view.rays())
    picture *= contact_shadow(view, car.size, 0.25, 0.75)[..., None]
    picture *= 1 - 0.6 * (sun_shadow(car, view, environment.sun) * on_ground)[..., None]
    for asset, materials in ((houses, material_table(houses.materials)), (car, table)):
        colour, coverage = draw(asset, materials, pose, SIZE, environment)
        picture = picture * (1 - coverage[..., None]) + colour
    picture = np.clip(np.where(picture > 0.5, 0.5 + 0.5 * np.tanh(2 * picture - 1), picture), 0, 1) ** (1 / 2.2)
    noise = np.random.default_rng(0).normal(0, 0.008, picture.shape)
    return (np.clip(cv2.GaussianBlur(picture, (0, 0), 0.5) + noise, 0, 1) * 255 + 0.5).astype(np.uint8), coverage


def write_sequence(out: Path, gazebo: Path) -> None:
    """Write all frames, ``ground_truth.json``, calibration and attribution; ``gazebo``: folder of the car models."""
    out.mkdir(parents=True, exist_ok=True)
    car = load_fleet({"gazebo": gazebo}, [CAR])[0][0]
    table = material_table(car.materials)
    table.paint[:, :3] = linear(np.array(_PAINT) ** (1 / 2.2))
    houses = street(car.ground)
    environment = random_environment(np.random.default_rng(_SUNNY_DAY))
    truth = {}
    for k, T_cam_obj in enumerate(tqdm(camera_path(car.ground), unit="frame")):
        picture, coverage = render_frame(car, table, houses, environment, T_cam_obj)
        name = f"{k:03d}.jpg"
        write_picture(out / name, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        rows, columns = np.nonzero(coverage > 0.5)
        truth[name] = {"stamp_s": round(k / RATE, 6), "T_cam_obj": np.round(T_cam_obj, 6).tolist(),
                       "size": np.round(car.size, 4).tolist(),
                       # Box edges in pixels, integer coordinates are pixel centres.
                       "roi": [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]}
    write_file(out / "ground_truth.json", json.dumps({"category": "car", "frames": truth}, indent=1, default=float))
    write_file(out / "ATTRIBUTION.md", _ATTRIBUTION)
    write_calibration(out / "camera_info.yaml", camera_matrix(), SIZE)


def write_calibration(path: Path, K: np.ndarray, size: tuple[int, int]) -> None:
    """Write a calibration in the format of camera_calibration: intrinsics [3, 3] and size (W, H) in pixels, no lens."""
    info = {"image_width": size[0], "image_height": size[1], "camera_name": "demo",
            "camera_matrix": _matrix(K), "distortion_model": "plumb_bob",
            "distortion_coefficients": _matrix(np.zeros((1, 5))), "rectification_matrix": _matrix(np.eye(3)),
            "projection_matrix": _matrix(np.hstack([K, np.zeros((3, 1))]))}
    write_file(path, yaml.safe_dump(info, sort_keys=False, default_flow_style=None))


def _matrix(values: np.ndarray) -> dict:
    return {"rows": values.shape[0], "cols": values.shape[1], "data": [round(float(v), 6) for v in values.ravel()]}


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.demo_sequence``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gazebo", type=Path, required=True, help="folder gazebo_cars")
    parser.add_argument("--out", type=Path, required=True)
    args = parsed(parser)
    write_sequence(args.out, args.gazebo)
    first = json.loads((args.out / "ground_truth.json").read_text())["frames"]["000.jpg"]
    azimuth = np.degrees(viewpoint_from_rotation(np.array(first["T_cam_obj"])[:3, :3])[0])
    print(f"{args.out}: {FRAMES} frames; the first sees the car from azimuth {azimuth:.0f} degrees")


if __name__ == "__main__":
    command_main(main)
