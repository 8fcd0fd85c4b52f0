# SPDX-License-Identifier: Apache-2.0
"""Procedural surroundings behind the car: plain, studio, road and sky, noise, clutter, photographs. Linear RGB."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.io.picture_read import imread

from .environment import Environment
from .shading import linear

_NOISE_SIZE = 256


@dataclass(frozen=True)
class View:
    """The picture to fill: K [3, 3], T_cam_obj [4, 4], size (W, H) pixels, ground height z in the object frame."""

    K: np.ndarray
    T_cam_obj: np.ndarray
    size: tuple[int, int]
    ground: float

    @property
    def side(self) -> int:
        """Side of a square picture in pixels."""
        return self.size[0]

    def rays(self) -> np.ndarray:
        """Viewing directions [H, W, 3] in the object frame, not normalised."""
        column, row = np.meshgrid(np.arange(self.size[0]), np.arange(self.size[1]))
        x, y = (column - self.K[0, 2]) / self.K[0, 0], (row - self.K[1, 2]) / self.K[1, 1]
        return np.stack([x, y, np.ones_like(x)], axis=-1) @ self.T_cam_obj[:3, :3]

    @property
    def eye(self) -> np.ndarray:
        """Camera centre [3] in the object frame, metres."""
        return -self.T_cam_obj[:3, :3].T @ self.T_cam_obj[:3, 3]


@lru_cache(maxsize=8)
def _noise_bank(seed: int) -> np.ndarray:
    """Tileable fractal noise [256, 256] float32, zero mean, unit deviation."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(_NOISE_SIZE)[:, None], np.fft.fftfreq(_NOISE_SIZE)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.normal(size=(_NOISE_SIZE, _NOISE_SIZE))) / frequency ** (0.6 + 0.2 * seed)
    spectrum[0, 0] = 0
    noise = np.fft.ifft2(spectrum).real
    return (noise / noise.std()).astype(np.float32)


def noise_at(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Noise looked up at coordinates [H, W] in noise pixels, repeating."""
    return cv2.remap(_noise_bank(seed % 8), (x % _NOISE_SIZE).astype(np.float32), (y % _NOISE_SIZE).astype(np.float32),
                     cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


@dataclass(frozen=True)
class Photos:
    """Photographs to take surroundings from: ``free`` show no object, of ``around`` only the upper corners are used."""

    free: list[Path]
    around: list[Path]


def random_background(view: View, environment: Environment, rng: np.random.Generator,
                      photos: Photos) -> tuple[np.ndarray, bool]:
    """Picture [S, S, 3] float32 linear RGB, and whether it has a floor on which the car should cast a shadow."""
    kinds = {"scene": 0.32, "plain": 0.14, "studio": 0.12, "noise": 0.10, "clutter": 0.12,
             "photo": 0.12 if photos.free else 0.0, "corners": 0.2 if photos.around else 0.0}
    shares = np.array(list(kinds.values()))
    kind = rng.choice(list(kinds), p=shares / shares.sum())
    if kind == "scene":
        return _scene(view, environment, rng), True
    if kind == "plain":
        white = rng.random() < 0.5
        colour = np.full(3, rng.uniform(0.85, 1.0)) if white else random_colour(rng)
        return np.broadcast_to(colour.astype(np.float32), (view.side, view.side, 3)).copy(), bool(rng.random() < 0.5)
    if kind == "studio":
        return _studio(view, rng), True
    if kind == "noise":
        return _noise(view.side, rng), False
    if kind == "clutter":
        return _clutter(view.side, rng), bool(rng.random() < 0.3)
    if kind == "photo":
        return _photo(view.side, rng, photos.free), False
    return _photo_corners(view, environment, rng, photos.around), True


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """Linear RGB [3]: mostly the muted colours of streets and walls, sometimes any colour."""
    if rng.random() < 0.25:
        return linear(rng.uniform(0, 1, 3))
    return linear(np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.06, 3) + rng.normal(0, 0.04) * np.array([1, 0, -1]),
                          0, 1))


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    a = random_colour(rng)
    return a, np.clip(a * rng.uniform(0.3, 2.0) + rng.normal(0, 0.05, 3), 0, 1)


def _noise(side: int, rng: np.random.Generator) -> np.ndarray:
    a, b = random_colour(rng), random_colour(rng)
    y, x = np.mgrid[:side, :side] * rng.uniform(0.15, 1.5) + rng.uniform(0, _NOISE_SIZE, (2, 1, 1))
    share = 1 / (1 + np.exp(-rng.uniform(0.8, 4) * noise_at(x, y, int(rng.integers(8)))))
    return (a + (b - a) * share[..., None]).astype(np.float32)


def _clutter(side: int, rng: np.random.Generator) -> np.ndarray:
    """Random blocks, discs and bars over noise: edges in all directions that belong to no car."""
    picture = _noise(side, rng)
    for _ in range(int(rng.integers(4, 30))):
        colour = tuple(float(c) for c in random_colour(rng))
        centre = tuple(int(c) for c in rng.integers(0, side, 2))
        shape = rng.integers(3)
        if shape == 0:
            box = cv2.boxPoints((centre, tuple(float(v) for v in rng.uniform(6, side / 2, 2)), float(rng.choice(
                [0, 0, 90 * rng.random()]))))
            cv2.fillConvexPoly(picture, box.astype(np.int32), colour, cv2.LINE_AA)
        elif shape == 1:
            axes = tuple(int(a) for a in rng.integers(3, side // 4, 2))
            cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            end = tuple(int(c) for c in rng.integers(0, side, 2))
            cv2.line(picture, centre, end, colour, int(rng.integers(1, 9)), cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 3))


def _studio(view: View, rng: np.random.Generator) -> np.ndarray:
    """Wall and floor with a soft edge between them, brighter in the middle; bright and dark halls."""
    level = rng.choice([rng.uniform(0.01, 0.08), rng.uniform(0.3, 1.0)])
    wall = level * (1 + 0.06 * rng.normal(size=3))
    floor = np.clip(wall * rng.uniform(0.4, 1.8), 0, 1)
    down = -view.rays()[..., 2]
    share = 1 / (1 + np.exp(-(down + rng.uniform(-0.05, 0.1)) * rng.uniform(10, 200)))
    row, column = np.mgrid[:view.side, :view.side] / view.side - rng.uniform(0.3, 0.7, (2, 1, 1))
    vignette = 1 - rng.uniform(0, 0.8) * np.clip(np.hypot(row, column), 0, 1)
    return ((wall + (floor - wall) * share[..., None]) * vignette[..., None]).astype(np.float32)


def _scene(view: View, environment: Environment, rng: np.random.Generator) -> np.ndarray:
    """Sky, skyline and a textured ground plane, in the perspective of the camera."""
    rays = view.rays()
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    up = unit[..., 2]
    azimuth = np.arctan2(unit[..., 1], unit[..., 0])
    sky = environment.horizon + (environment.zenith - environment.horizon) * np.clip(up, 0, 1)[..., None] ** 0.6
    clouds = 0.08 * noise_at(azimuth * 60, up * 160, int(rng.integers(4, 8)))
    picture = sky * (1 + clouds[..., None])
    # Skyline: houses, trees, walls; its angular height varies along the horizon.
    scale, phase = rng.uniform(8, 80), rng.uniform(0, 256)
    roughness = int(rng.integers(3, 8))
    bearing = azimuth[view.side // 2] * scale + phase
    height = rng.uniform(0.0, 0.3) * (1 + 0.25 * noise_at(bearing[None], np.full((1, view.side), phase), roughness)[0])
    dark, light = _two_colours(rng)
    texture = 1 / (1 + np.exp(-2 * noise_at(azimuth * scale * 4 + phase, up * scale * 8, int(rng.integers(8)))))
    skyline = (up < height[None]) & (up > -0.3)
    picture = np.where(skyline[..., None], dark + (light - dark) * texture[..., None], picture)
    return _with_ground(picture, view, rays, environment, rng).astype(np.float32)


def _with_ground(picture: np.ndarray, view: View, rays: np.ndarray, environment: Environment,
                 rng: np.random.Generator) -> np.ndarray:
    x, y, on_ground = ground_points(view, rays)
    base = environment.ground * (1 + 0.04 * rng.normal(size=3))
    grain = 0.12 * noise_at(x * 14, y * 14, 0) + 0.12 * noise_at(x * 2.3, y * 2.3, int(rng.integers(2, 6)))
    distance = np.hypot(x - view.eye[0], y - view.eye[1])
    fade = np.exp(-distance / rng.uniform(15, 60))
    ground = base * (1 + (grain * fade)[..., None])
    if rng.random() < 0.6:  # road markings, kerbs, joints between slabs
        angle, spacing, width = rng.uniform(0, np.pi), rng.uniform(2.5, 6), rng.uniform(0.05, 0.2)
        across = (np.cos(angle) * x + np.sin(angle) * y + rng.uniform(0, 5)) % spacing
        paint = rng.choice([0.9, 0.05]) * (1 + 0.1 * rng.normal(size=3))
        ground = np.where((across < width)[..., None], np.clip(paint, 0, 1) * np.mean(environment.horizon), ground)
    if rng.random() < 0.4:  # verge: grass, another surface
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 6)
        beyond = np.cos(angle) * x + np.sin(angle) * y > offset
        verge = linear(rng.uniform(0.15, 0.6, 3)) * (1 + 0.4 * noise_at(x * 9, y * 9, 1))[..., None]
        ground = np.where(beyond[..., None], verge, ground)
    return np.where(on_ground[..., None], np.clip(ground, 0, 2), picture)


def ground_points(view: View, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each ray meets the ground: x, y [H, W] metres in the object frame, and which rays meet it."""
    drop = view.ground - view.eye[2]
    z = rays[..., 2]
    on_ground = (z * drop > 0) & (np.abs(z) > 1e-4)
    along = np.where(on_ground, drop / np.where(on_ground, z, 1.0), 0.0)
    return view.eye[0] + along * rays[..., 0], view.eye[1] + along * rays[..., 1], on_ground


def contact_shadow(view: View, size: np.ndarray, softness: float, strength: float) -> np.ndarray:
    """Factor [H, W] in (0, 1]: darkness under a body of ``size`` [3] metres, fading over ``softness`` metres."""
    x, y, on_ground = ground_points(view, view.rays())
    outside = np.hypot(np.clip(np.abs(x) - 0.46 * size[0], 0, None), np.clip(np.abs(y) - 0.44 * size[1], 0, None))
    return np.where(on_ground, 1 - strength * np.exp(-((outside / softness) ** 1.2)), 1.0).astype(np.float32)


def _photo(side: int, rng: np.random.Generator, photos: list[Path]) -> np.ndarray:
    """A random crop of a random photograph."""
    picture = _read(rng, photos)
    height, width = picture.shape[:2]
    crop = int(rng.uniform(0.4, 1.0) * min(height, width))
    top, left = int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))
    patch = cv2.resize(picture[top:top + crop, left:left + crop], (side, side), interpolation=cv2.INTER_AREA)
    return linear(patch / 255.0)


def _photo_corners(view: View, environment: Environment, rng: np.random.Generator, photos: list[Path]) -> np.ndarray:
    """A wall or sky woven from an upper corner of a photograph of a centred object, over a procedural ground.

    True colours and textures of walls, trees and skies without a second object (the lower border shows its wheels).
    """
    picture = _read(rng, photos)
    corner = picture[:max(8, int(0.15 * picture.shape[0])), :max(8, int(0.2 * picture.shape[1]))]
    wall = linear(np.clip(_woven(corner, (view.side, view.side)), 0, 255) / 255.0)
    return _with_ground(wall, view, view.rays(), environment, rng).astype(np.float32)


def _woven(patch: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``patch`` mirrored side by side and stretched to ``size`` (W, H)."""
    row = np.hstack([patch, patch[:, ::-1]])
    return cv2.resize(np.vstack([row[::-1], row]), size, interpolation=cv2.INTER_CUBIC)


def _read(rng: np.random.Generator, photos: list[Path]) -> np.ndarray:
    """A random photograph [H, W, 3] RGB, mirrored half of the time."""
    path = photos[int(rng.integers(len(photos)))]
    picture = imread(path)
    if picture is None:
        raise OSError(f"{path}: not a readable picture; remove it from the folder of backgrounds")
    return picture[:, ::(-1 if rng.random() < 0.5 else 1), ::-1]
