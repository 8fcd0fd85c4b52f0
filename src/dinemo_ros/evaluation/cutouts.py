# SPDX-License-Identifier: Apache-2.0
"""Things to paste over a picture: cut-outs drawn from a seed, or cut from pictures of one's own.

Occluded PASCAL3D+ pastes objects cut out of MS COCO, which nobody has at hand. The drawn ones have the outlines of what
stands before things (posts, crates, people, bushes, boulders) and textures with structure at every scale, because plain
patches are too easy to tell from an object.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ..errors import DatasetError
from ..io.picture_read import imread
from ..io.sources.folder import IMAGE_SUFFIXES


class CutOuts(Protocol):
    """Source of cut-outs."""

    def __call__(self, rng: np.random.Generator, area: float) -> tuple[np.ndarray, np.ndarray]:
        """A picture uint8 [h, w, 3] RGB and its opacity float32 [h, w]; about ``area`` pixels are opaque."""


class DrawnCutOuts:
    """Procedural cut-outs: nothing but numpy is needed."""

    def __call__(self, rng: np.random.Generator, area: float) -> tuple[np.ndarray, np.ndarray]:
        shape = _SHAPES[int(rng.integers(len(_SHAPES)))](rng)
        opacity = _of_area(shape, area)
        return _texture(rng, opacity.shape), opacity


class FolderCutOuts:
    """Cut-outs from a folder: pictures with an alpha channel as they are, others cut to a drawn outline.

    Raises:
        DatasetError: no folder, or no picture in it.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        self._files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        if not self._files:
            raise DatasetError(f"{folder}: no picture to cut occluders from; give a folder with "
                               f"{', '.join(IMAGE_SUFFIXES)} files, best PNGs whose alpha channel is the cut-out")

    def __call__(self, rng: np.random.Generator, area: float) -> tuple[np.ndarray, np.ndarray]:
        file = self._files[int(rng.integers(len(self._files)))]
        picture = imread(file, cv2.IMREAD_UNCHANGED)
        if picture is None or picture.dtype != np.uint8:
            raise DatasetError(f"{file}: not an 8-bit picture; take it out of the occluders")
        if picture.ndim == 3 and picture.shape[2] == 4 and (picture[..., 3] > 127).any():
            opacity = picture[..., 3] / np.float32(255)
            rows, columns = np.flatnonzero((opacity > 0.5).any(axis=1)), np.flatnonzero((opacity > 0.5).any(axis=0))
            window = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
            opacity, picture = _of_area(opacity[window], area), picture[window]
        else:
            opacity = _of_area(_SHAPES[int(rng.integers(len(_SHAPES)))](rng), area)
        colour = picture if picture.ndim == 2 else picture[..., :3]
        colour = cv2.resize(colour, opacity.shape[::-1], interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(colour, cv2.COLOR_GRAY2RGB if colour.ndim == 2 else cv2.COLOR_BGR2RGB), opacity


_SIDE = 160  # pixels in which outlines are drawn


def _of_area(opacity: np.ndarray, area: float) -> np.ndarray:
    """Scaled so that ``area`` pixels are opaque; float32 in [0, 1]."""
    scale = math.sqrt(area / max(float(opacity.sum()), 1.0))
    size = tuple(max(2, round(side * scale)) for side in opacity.shape[::-1])
    return cv2.resize(np.asarray(opacity, np.float32), size, interpolation=cv2.INTER_AREA if scale < 1 else
                      cv2.INTER_LINEAR)


def _polygon(points: np.ndarray) -> np.ndarray:
    canvas = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    return canvas[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] / np.float32(255)


def _blob(rng: np.random.Generator, waves: int = 5, roughness: float = 0.22) -> np.ndarray:
    """A boulder: a circle whose radius is a random Fourier series."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    order = np.arange(1, waves + 1)
    radius = 1 + (rng.normal(size=waves) * roughness / np.sqrt(order)) @ np.cos(
        order[:, None] * angle + rng.uniform(0, 2 * np.pi, (waves, 1)))
    stretch = math.exp(rng.normal(0, 0.3))
    points = np.clip(radius, 0.3, 1.7)[:, None] * np.stack([np.cos(angle) * stretch, np.sin(angle) / stretch], axis=1)
    return _fitted(points, rng)


def _bush(rng: np.random.Generator) -> np.ndarray:
    """A blob with a ragged outline and holes."""
    blob = _blob(rng, 4, 0.18)
    noise = _noise(rng, blob.shape, 5)
    return np.clip((blob * 1.2 - 0.75 * (noise < 0.36) - 0.5 * (blob < 0.99)) * 3, 0, 1).astype(np.float32) * (blob > 0)


def _post(rng: np.random.Generator) -> np.ndarray:
    """A post, trunk or rail, upright or lying."""
    slender = rng.uniform(0.12, 0.35)
    lean = rng.normal(0, 0.05)
    points = np.array([[-slender, -1], [slender, -1], [slender * 1.1 + lean, 1], [-slender * 1.1 + lean, 1]])
    return _fitted(points if rng.random() < 0.75 else points[:, ::-1], None)


def _crate(rng: np.random.Generator) -> np.ndarray:
    """The hexagon that a box is seen as."""
    skew, height = rng.uniform(0.1, 0.45, 2), rng.uniform(0.5, 1.4)
    points = np.array([[-1, -height], [0, -height - skew[0]], [1, -height + 0.2 * skew[1]], [1, height - skew[1]],
                       [0.1, height], [-1, height - skew[0]]])
    return _fitted(points, None)


def _figure(rng: np.random.Generator) -> np.ndarray:
    """Somebody standing: head, trunk, arms, legs."""
    canvas = np.zeros((_SIDE, _SIDE), np.uint8)
    c, s = _SIDE // 2, _SIDE / 160

    def limb(a, b, width):
        cv2.line(canvas, (round(c + a[0] * s), round(a[1] * s)), (round(c + b[0] * s), round(b[1] * s)), 255,
                 max(1, round(width * s)), cv2.LINE_AA)

    stride, reach = rng.uniform(3, 18), rng.uniform(10, 30)
    cv2.ellipse(canvas, (c, round(16 * s)), (round(9 * s), round(12 * s)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    limb((0, 40), (0, 82), 30)
    limb((-12, 34), (-reach, 82), 10)
    limb((12, 34), (reach, 82), 10)
    limb((-6, 82), (-stride, 152), 13)
    limb((6, 82), (stride * rng.uniform(0, 1), 152), 13)
    columns = np.flatnonzero(canvas.any(axis=0))
    return canvas[:, columns[0]:columns[-1] + 1] / np.float32(255)


_SHAPES = (_blob, _bush, _post, _crate, _figure)


def _fitted(points: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """Opacity of the polygon [N, 2], turned by chance where a generator is given, filling the canvas."""
    if rng is not None:
        turn = rng.uniform(0, 2 * np.pi)
        points = points @ np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    low, high = points.min(axis=0), points.max(axis=0)
    return _polygon(2 + (points - low) / (high - low).max() * (_SIDE - 5))


def _noise(rng: np.random.Generator, shape: tuple[int, int], octaves: int) -> np.ndarray:
    """Fractal noise [h, w] in [0, 1]."""
    total, weight = np.zeros(shape, np.float32), 0.0
    for k in range(octaves):
        cells = 2 ** (k + 1) + 1
        layer = cv2.resize(rng.random((cells, cells), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
        total += layer * 0.6**k
        weight += 0.6**k
    return np.clip(total / weight, 0, 1)


def _texture(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [h, w, 3]: three colours mixed by noise, stripes or tiles, lit from one side."""
    h, w = shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / max(h, w)
    noise = _noise(rng, shape, 6)
    kind, turn, count = rng.integers(4), rng.uniform(0, np.pi), rng.uniform(3, 14)
    along, across = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    if kind == 0:
        share = noise
    elif kind == 1:  # stripes, bent by the noise
        share = 0.5 + 0.5 * np.sin(2 * np.pi * count * along + 4 * noise)
    elif kind == 2:  # tiles
        share = 0.7 * ((np.floor(count * along) + np.floor(count * across)) % 2) + 0.3 * noise
    else:  # patches with sharp borders
        share = np.floor(noise * 5) / 4
    colours = _colours(rng)
    ramp = np.clip(2 * share[..., None] - np.arange(2), 0, 1)
    picture = colours[0] + (colours[1] - colours[0]) * ramp[..., :1] + (colours[2] - colours[1]) * ramp[..., 1:]
    light = rng.uniform(0, 2 * np.pi)
    shade = 0.75 + 0.5 * (math.cos(light) * (x - 0.5) + math.sin(light) * (y - 0.5)) + 0.2 * (noise - 0.5)
    grain = rng.normal(0, 4, (h, w, 1))
    return np.clip(picture * shade[..., None] + grain, 0, 255).astype(np.uint8)


def _colours(rng: np.random.Generator) -> np.ndarray:
    """Three RGB colours [3, 3] about one hue, as things have, muted more often than not."""
    hue = (rng.uniform(0, 180) + rng.normal(0, 12, 3)) % 180
    saturation = 255 * np.clip(rng.beta(1.5, 2.5) + rng.normal(0, 0.1, 3), 0, 1)
    value = 255 * np.clip(np.sort(rng.uniform(0.08, 1.0, 3)), 0, 1)
    hsv = np.stack([hue, saturation, value], axis=1).astype(np.uint8)[None]
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0].astype(np.float32)
