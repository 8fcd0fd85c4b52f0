# SPDX-License-Identifier: Apache-2.0
"""A table top before a wall, as a background for small things. Linear RGB, in the units of the drawn scene."""

from __future__ import annotations

import cv2
import numpy as np

from .background import View, ground_points, noise_at, random_colour
from .environment import Environment
from .shading import linear


def table_background(view: View, environment: Environment, rng: np.random.Generator,
                     photo: np.ndarray | None) -> np.ndarray:
    """Picture [H, W, 3] float32: the plane z = view.ground with a texture, and what is seen beyond its edge.

    photo: uint8 RGB [h, w, 3] that may be laid on the table or hung on the wall.
    """
    return table_picture(view, environment, rng, photo)[0]


def table_picture(view: View, environment: Environment, rng: np.random.Generator,
                  photo: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """:func:`table_background`, and which pixels [H, W] show the table (bool); the others show what is beyond it."""
    rays = view.rays()
    x, y, on_ground = ground_points(view, rays)
    turn = rng.uniform(0, 2 * np.pi)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    distance = np.hypot(x - view.eye[0], y - view.eye[1])
    table = _surface(u, v, distance, rng, photo)
    toward = view.eye[:2] / max(np.linalg.norm(view.eye[:2]), 1e-6)
    lean = rng.normal(0, 0.2)
    away = -(x * toward[0] + y * toward[1]) + lean * (y * toward[0] - x * toward[1])
    on_table = on_ground & (away < rng.uniform(1.5, 25))
    wall = _wall(rays, rng, photo)
    light = environment.irradiance[0].mean(axis=0) + environment.sun_colour * max(0.0, environment.sun[2])
    table = table * np.clip(light, 0.15, 1.6)
    picture = np.where(on_table[..., None], table, wall * rng.uniform(0.3, 1.1))
    edge = cv2.GaussianBlur(on_table.astype(np.float32), (0, 0), rng.uniform(0.4, 2.5))[..., None]
    blurred = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), rng.uniform(0.5, 4))
    return np.ascontiguousarray(picture * edge + blurred * (1 - edge), dtype=np.float32), on_table


def _surface(u: np.ndarray, v: np.ndarray, distance: np.ndarray, rng: np.random.Generator,
             photo: np.ndarray | None) -> np.ndarray:
    """Albedo [H, W, 3] of the table at its coordinates u, v [H, W]; detail fades with the distance."""
    kind = rng.choice(["wood", "plain", "cloth", "tiles", "stone", "photo"], p=[0.34, 0.18, 0.14, 0.12, 0.12, 0.10])
    base, second = random_colour(rng), random_colour(rng)
    fade = np.exp(-distance / rng.uniform(12, 60))[..., None]
    bank = int(rng.integers(8))
    if kind == "wood":
        base = linear(np.array([0.75, 0.55, 0.36]) * rng.uniform(0.35, 1.2) + rng.normal(0, 0.05, 3))
        grain = noise_at(u * rng.uniform(2, 8), v * rng.uniform(25, 90), bank) * rng.uniform(0.08, 0.3)
        width = rng.uniform(0.5, 3.0)
        joint = (np.abs(v / width % 1.0 - 0.5) > 0.485) & bool(rng.random() < 0.6)
        tone = 0.15 * np.sin(12.9 * np.floor(v / width)) * (rng.random() < 0.6)
        return base * np.exp((grain + tone - 0.8 * joint)[..., None] * fade)
    if kind == "photo" and photo is not None:
        side = rng.uniform(1.5, 6)
        sample = cv2.remap(photo, (np.abs(u / side % 2 - 1) * (photo.shape[1] - 1)).astype(np.float32),
                           (np.abs(v / side % 2 - 1) * (photo.shape[0] - 1)).astype(np.float32), cv2.INTER_LINEAR)
        return linear(sample / 255.0)
    if kind == "cloth":
        count = rng.uniform(0.5, 4)
        stripes = (np.sin(2 * np.pi * u * count) > 0.2) * 0.5 + (np.sin(2 * np.pi * v * count) > 0.2) * 0.5 * \
            (rng.random() < 0.6)
        return base + (second - base) * stripes[..., None] * fade
    if kind == "tiles":
        side = rng.uniform(0.6, 3)
        joint = (np.abs(u / side % 1 - 0.5) > 0.48) | (np.abs(v / side % 1 - 0.5) > 0.48)
        checks = (np.floor(u / side) + np.floor(v / side)) % 2 * (rng.random() < 0.4)
        return np.clip(base + (second - base) * (checks[..., None] - 0.5 * joint[..., None]) * fade, 0.01, 1)
    strength = rng.uniform(0.3, 1.2) if kind == "stone" else rng.uniform(0, 0.1)
    scale = rng.uniform(4, 40)
    return base * np.exp(strength * 0.4 * noise_at(u * scale, v * scale, bank)[..., None] * fade)


def _wall(rays: np.ndarray, rng: np.random.Generator, photo: np.ndarray | None) -> np.ndarray:
    """What is seen above or beyond the table: plain, shelves and frames, a photograph out of focus."""
    height, width = rays.shape[:2]
    if photo is not None and rng.random() < 0.5:
        wall = linear(cv2.resize(photo, (width, height), interpolation=cv2.INTER_LINEAR) / 255.0)
    else:
        wall = np.empty((height, width, 3), np.float32)
        wall[:] = random_colour(rng)
        for _ in range(int(rng.integers(0, 14))):
            corner, extent = (rng.uniform(least, most, 2) * [width, height] for least, most in ((-0.2, 1), (0.03, 0.6)))
            far = corner + extent
            cv2.rectangle(wall, corner.astype(int).tolist(), far.astype(int).tolist(),
                          tuple(float(c) for c in random_colour(rng)), -1)
    return cv2.GaussianBlur(wall.astype(np.float32), (0, 0), rng.uniform(0.5, 6))
