# SPDX-License-Identifier: Apache-2.0
"""Invented materials for untextured CAD cars: a drawing of windows, lamps and plates projected from four sides.

Outlines are given in the car's own box: x, y, z in [-0.5, 0.5], measured on orthographic renders of each model.
They are drawn for y >= 0 and mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dinemo_training.synthetic.shape.mean_mesh import read_cad
from dinemo_training.synthetic.shape.occupancy import body_bounds, surface_points

from .asset import RIM, RUBBER, Material, Part

Outline = tuple[tuple[float, float], ...]
_TILE = 256  # pixels per drawing; the texture holds 2 x 2: side, front / rear, plain
_PAINT = (200, 200, 200, 255)
_GLASS, _WHITE, _RED = (16, 18, 20, 0), (225, 228, 230, 0), (150, 12, 12, 0)
_BLACK, _PLATE, _CHROME = (22, 22, 22, 0), (215, 215, 205, 0), (120, 122, 125, 0)
_SEAM = (70, 70, 70, 0)


@dataclass(frozen=True)
class CadCar:
    """Where things are on a CAD car.

    Attributes:
        length: metres.
        side_windows: outlines in (x, z); windshield, rear_window: half outlines in (y, z).
        wheels: x of front and rear axle, z of both, radius as a share of the length.
        lamps: (y_min, z_min, y_max, z_max) front and rear; grille likewise.
    """

    length: float
    side_windows: tuple[Outline, ...]
    windshield: Outline
    rear_window: Outline
    wheels: tuple[float, float, float, float]
    front_lamp: tuple[float, float, float, float]
    rear_lamp: tuple[float, float, float, float]
    grille: tuple[float, float, float, float]


def read_cad_car(path: Path, car: CadCar) -> list[Part]:
    """Parts of the CAD model in its own axes (z up, front -y), so that all readers agree on what they return."""
    vertices, faces = read_cad(path)
    lower, upper = body_bounds(surface_points(vertices, faces, 300_000))
    box = (vertices - 0.5 * (lower + upper)) / (upper - lower)
    corners = box[faces]
    tyre, rim = _wheel_faces(corners, car, (upper - lower) / (upper - lower)[0])
    body = ~(tyre | rim)
    file_vertices = np.stack([vertices[:, 1], -vertices[:, 0], vertices[:, 2]], axis=1)
    skin = Material((1.0, 1.0, 1.0), _drawing(car), gloss=0.9, tint=1.0)
    return [Part(file_vertices[faces[body]].reshape(-1, 3), np.arange(3 * body.sum()).reshape(-1, 3), skin,
                 _projection(corners[body]).reshape(-1, 2)),
            Part(file_vertices, faces[tyre], RUBBER), Part(file_vertices, faces[rim], RIM)]


def _wheel_faces(corners: np.ndarray, car: CadCar, aspect: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which triangles [F, 3, 3] are tyre and which rim."""
    front, rear, height, radius = car.wheels
    tyre, rim = np.zeros(len(corners), bool), np.zeros(len(corners), bool)
    outer = (np.abs(corners[..., 1]) > 0.30).all(axis=1)
    for x in (front, rear):
        offset = (corners[..., [0, 2]] - [x, height]) * aspect[[0, 2]]
        share = np.linalg.norm(offset, axis=-1).max(axis=1) / radius
        tyre |= outer & (share < 1.04) & (share >= 0.68)
        rim |= outer & (share < 0.68)
    return tyre, rim


def _projection(corners: np.ndarray) -> np.ndarray:
    """Texture coordinates [F, 3, 2] of body triangles [F, 3, 3]: the drawing of the side they face."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Orientation of CAD faces is arbitrary: outward is away from the car's long axis.
    centre = corners.mean(axis=1)
    normal *= np.sign((normal * (centre * [1.2, 1.0, 1.0])).sum(axis=1, keepdims=True))
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    x, y, z = (corners[..., k] for k in range(3))
    side = np.abs(normal[:, 1]) > np.abs(normal[:, 0]) * 0.9
    side &= np.abs(normal[:, 1]) > 0.45
    front, rear = ~side & (normal[:, 0] > 0.22), ~side & (normal[:, 0] < -0.22)
    uv = np.empty((*x.shape, 2))
    uv[..., 0], uv[..., 1] = 0.75, 0.25  # plain paint
    # Front and rear drawings show one half in full width.
    for chosen, horizontal, origin in ((side, x + 0.5, (0.0, 0.5)), (front, 2 * np.abs(y), (0.5, 0.5)),
                                       (rear, 2 * np.abs(y), (0.0, 0.0))):
        uv[chosen, :, 0] = origin[0] + 0.5 * np.clip(horizontal[chosen], 0.01, 0.99)
        uv[chosen, :, 1] = origin[1] + 0.5 * np.clip(z[chosen] + 0.5, 0.01, 0.99)
    return uv


def _drawing(car: CadCar) -> np.ndarray:
    """The texture [512, 512, 4]: RGB and share of paint, drawings of side, front and rear."""
    side, front, rear, plain = (np.full((_TILE, _TILE, 4), _PAINT, np.uint8) for _ in range(4))
    for x in {round(outline[0][0], 3) for outline in car.side_windows} | {car.side_windows[-1][-1][0]}:
        cv2.line(side, *_pixels([(x, -0.30), (x, 0.40)], 1.0), _SEAM, 1)
    for outline in car.side_windows:
        cv2.fillPoly(side, [_pixels(outline, 1.0)], _GLASS, cv2.LINE_AA)
    for tile, window in ((front, car.windshield), (rear, car.rear_window)):
        cv2.rectangle(tile, *_pixels([(-0.5, -0.5), (0.5, -0.30)], 1.0), _BLACK, -1)
        cv2.fillPoly(tile, [_pixels(window, 2.0)], _GLASS, cv2.LINE_AA)
    _rectangle(front, car.grille, _BLACK)
    for z in np.arange(car.grille[1] + 0.02, car.grille[3], 0.035):
        cv2.line(front, *_pixels([(0, z), (car.grille[2], z)], 2.0), _CHROME, 1)
    for tile, lamp, colour in ((front, car.front_lamp, _WHITE), (rear, car.rear_lamp, _RED)):
        _rectangle(tile, lamp, colour)
        cv2.rectangle(tile, *_pixels([lamp[:2], lamp[2:]], 2.0), _BLACK, 1)
    _rectangle(front, (0.0, -0.30, 0.13, -0.21), _PLATE)
    _rectangle(rear, (0.0, -0.12, 0.13, -0.03), _PLATE)
    cv2.line(rear, *_pixels([(0, -0.17), (0.45, -0.17)], 2.0), _SEAM, 1)
    return np.vstack([np.hstack([side, front]), np.hstack([rear, plain])])


def _pixels(outline: Sequence[tuple[float, float]], scale: float) -> np.ndarray:
    """Tile pixels [N, 2] of (horizontal, z) box coordinates; scale 2 when the tile shows the half y >= 0 only."""
    points = np.asarray(outline, dtype=np.float64)
    column = scale * points[:, 0] + (0.5 if scale == 1.0 else 0.0)
    return np.round(np.stack([column, 0.5 - points[:, 1]], axis=1) * _TILE).astype(np.int32)


def _rectangle(tile: np.ndarray, box: tuple[float, float, float, float],
               colour: tuple[int, ...]) -> None:
    cv2.rectangle(tile, *_pixels([(box[0], box[1]), (box[2], box[3])], 2.0), colour, -1)
