# SPDX-License-Identifier: Apache-2.0
"""Random surroundings that light a car and mirror in its paint: latitude-longitude pictures, linear RGB."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

HEIGHT, WIDTH = 48, 96  # row 0 looks straight up; column 0 along +x of the object, columns turn towards +y
_IRRADIANCE = (8, 16)


class Environment(NamedTuple):
    """Light around the object; a tuple, because the shading kernel takes it whole.

    Attributes:
        radiance: [48, 96, 3] float32 linear RGB, direction = row (polar angle from +z), column (azimuth from +x).
        irradiance: [8, 16, 3] float32, cosine-weighted mean radiance, same layout.
        sun: [3] unit vector to the sun, object frame; sun_colour [3] its linear RGB, zero when overcast or indoors.
        zenith, horizon, ground: [3] linear RGB colours for a matching background.
    """

    radiance: np.ndarray
    irradiance: np.ndarray
    sun: np.ndarray
    sun_colour: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    ground: np.ndarray


def directions(height: int, width: int) -> np.ndarray:
    """Unit vectors [height, width, 3] in the object frame of the pixels of a latitude-longitude picture."""
    polar = (np.arange(height) + 0.5) / height * np.pi
    azimuth = (np.arange(width) + 0.5) / width * 2 * np.pi
    sin = np.sin(polar)[:, None]
    return np.stack([sin * np.cos(azimuth), sin * np.sin(azimuth), np.cos(polar)[:, None] * np.ones(width)], axis=-1)


def _cosine_kernel() -> np.ndarray:
    """[irradiance cells, radiance cells]: clamped cosine times solid angle, rows sum to one."""
    source = directions(HEIGHT, WIDTH).reshape(-1, 3)
    solid_angle = np.repeat(np.sin((np.arange(HEIGHT) + 0.5) / HEIGHT * np.pi), WIDTH)
    kernel = np.clip(directions(*_IRRADIANCE).reshape(-1, 3) @ source.T, 0, None) * solid_angle
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)


_COSINE_KERNEL = _cosine_kernel()
_SKY = directions(HEIGHT, WIDTH)


def random_environment(rng: np.random.Generator) -> Environment:
    """Sunny or overcast outdoors, a bright or dark studio, or dusk with lamps."""
    kind = rng.choice(["sunny", "overcast", "white_studio", "dark_studio", "dusk"], p=[0.42, 0.25, 0.12, 0.13, 0.08])
    sun_azimuth, sun_height = rng.uniform(0, 2 * np.pi), rng.uniform(np.radians(15), np.radians(75))
    sun = np.array([np.cos(sun_height) * np.cos(sun_azimuth), np.cos(sun_height) * np.sin(sun_azimuth),
                    np.sin(sun_height)])
    grey = rng.uniform(0.12, 0.5)
    ground = grey * (1 + 0.05 * rng.normal(size=3))
    if kind == "sunny":
        zenith, horizon = np.array([0.18, 0.35, 0.8]) * rng.uniform(0.5, 1.2), np.array([0.75, 0.85, 1.0])
        sun_colour = np.array([1.0, 0.93, 0.82]) * rng.uniform(0.7, 2.0)
    elif kind == "overcast":
        zenith = np.full(3, rng.uniform(0.7, 1.3)) * [0.96, 0.98, 1.02]
        horizon, sun_colour = zenith * rng.uniform(0.6, 1.0), np.full(3, rng.choice([0.0, 0.25]))
    elif kind == "white_studio":
        zenith = np.full(3, rng.uniform(0.9, 1.5))
        horizon, ground, sun_colour = zenith * rng.uniform(0.6, 1), zenith * rng.uniform(0.4, 0.9), np.full(3, 0.2)
    elif kind == "dark_studio":
        zenith = np.full(3, rng.uniform(0.02, 0.15))
        horizon, ground, sun_colour = zenith * rng.uniform(0.5, 2), zenith * rng.uniform(0.3, 2), np.zeros(3)
    else:
        zenith, horizon = np.array([0.08, 0.12, 0.3]), np.array([0.6, 0.35, 0.25]) * rng.uniform(0.3, 1)
        ground, sun_colour = ground * 0.4, np.zeros(3)
    ground = np.clip(ground, 0.01, 1)
    radiance = _layout(rng, kind, zenith, horizon, ground)
    irradiance = (_COSINE_KERNEL @ radiance.reshape(-1, 3)).reshape(*_IRRADIANCE, 3)
    # The camera's exposure: light on walls and roofs comes out near the middle of the range.
    light = irradiance[: _IRRADIANCE[0] // 2 + 1].mean() + 0.4 * sun_colour.mean()
    exposure = (0.45 if kind == "dark_studio" else 0.75) * np.exp(rng.normal(0, 0.3)) / light
    return Environment((exposure * radiance).astype(np.float32), (exposure * irradiance).astype(np.float32), sun,
                       exposure * sun_colour, exposure * zenith, exposure * horizon, exposure * ground)


def _layout(rng: np.random.Generator, kind: str, zenith: np.ndarray, horizon: np.ndarray,
            ground: np.ndarray) -> np.ndarray:
    up = _SKY[..., 2:]
    blend = np.clip(up, 0, 1) ** rng.uniform(0.3, 0.8)
    radiance = np.where(up > 0, horizon + (zenith - horizon) * blend, ground * (1 - 0.3 * np.clip(-up, 0, 1)))
    if kind in ("sunny", "overcast", "dusk"):
        skyline = cv2.resize(rng.uniform(0, 1, (1, 12)), (WIDTH, 1), interpolation=cv2.INTER_LINEAR)[0]
        colour = rng.uniform(0.03, 0.35) * (1 + 0.3 * rng.normal(size=(1, 8, 3)))
        colour = cv2.resize(np.clip(colour, 0.01, 1), (WIDTH, 1), interpolation=cv2.INTER_NEAREST)[0]
        below = (up[..., 0] > 0) & (up[..., 0] < skyline * rng.uniform(0.05, 0.6))
        radiance = np.where(below[..., None], colour[None], radiance)
    lamps = {"sunny": 0, "overcast": 0, "white_studio": 2, "dark_studio": int(rng.integers(2, 7)), "dusk": 5}[kind]
    for _ in range(lamps):
        height, width = int(rng.integers(2, 9)), int(rng.integers(4, 30))
        row, column = int(rng.integers(1, HEIGHT // 2 - 2)), int(rng.integers(0, WIDTH))
        columns = np.arange(column, column + width) % WIDTH
        radiance[row:row + height, columns] = rng.uniform(1.5, 6.0) * (1 + 0.08 * rng.normal(size=3))
    noise = cv2.resize(rng.normal(0, 0.1, (12, 24)).astype(np.float32), (WIDTH, HEIGHT))
    return np.clip(radiance * (1 + noise[..., None]), 0.0, None).astype(np.float32)
