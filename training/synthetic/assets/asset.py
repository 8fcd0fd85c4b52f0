# SPDX-License-Identifier: Apache-2.0
"""What the renderer draws: a triangle soup with materials, in the object frame, metric."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from dinemo_training.synthetic.shape.occupancy import BODY, body_bounds, surface_points


@dataclass(frozen=True)
class Material:
    """How a surface answers to light.

    Attributes:
        albedo: sRGB colour in [0, 1], multiplies the texture.
        texture: [H, W, 4] uint8, row 0 at v = 1, or None: sRGB and the share of body paint (see ``paint.py``).
        gloss: strength of the mirror reflection, 0 (cloth) to 1 (lacquer, glass).
        tint: share of the repainting of a sample that reaches this material: 1 car body, 0 tyres and glass.
    """

    albedo: tuple[float, float, float] = (0.6, 0.6, 0.6)
    texture: np.ndarray | None = None
    gloss: float = 0.0
    tint: float = 0.0


PAINT = Material((0.7, 0.7, 0.7), gloss=1.0, tint=1.0)
GLASS = Material((0.02, 0.025, 0.03), gloss=1.0)
RUBBER = Material((0.05, 0.05, 0.05), gloss=0.05)
CHROME = Material((0.55, 0.55, 0.57), gloss=1.0)
RIM = Material((0.5, 0.5, 0.52), gloss=0.5)
DARK_PLASTIC = Material((0.06, 0.06, 0.06), gloss=0.2)
HEADLAMP = Material((0.82, 0.84, 0.86), gloss=1.0)
TAIL_LAMP = Material((0.55, 0.03, 0.03), gloss=1.0)
PLATE = Material((0.85, 0.85, 0.8), gloss=0.1)


@dataclass(frozen=True)
class Part:
    """One mesh with one material: vertices [V, 3], faces [F, 3], uv [V, 2] or None."""

    vertices: np.ndarray
    faces: np.ndarray
    material: Material
    uv: np.ndarray | None = None
    normals: np.ndarray | None = None


@dataclass(frozen=True)
class Asset:
    """A car to draw.

    Attributes:
        name: unique, also the key of the hold-out list.
        vertices: [V, 3] float64 metres, object frame (x forward, y left, z up), origin in the centre of the box.
        faces: [F, 3] int32.
        normals: [F, 3, 3] float32 unit normal of each corner (sign arbitrary: the renderer turns it to the viewer).
        uv: [F, 3, 2] float32 texture coordinates of each corner, v upward.
        material: [F] int32 index into ``materials``.
        size: [3] metres length, width, height of the body without mirrors and antennas.
        ground: z of the ground in metres.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    materials: tuple[Material, ...]
    size: np.ndarray
    ground: float = field(default=0.0)

    def scaled(self, factors: np.ndarray) -> Asset:
        """The same car stretched by ``factors`` [3] along x, y, z."""
        normals = self.normals / np.asarray(factors, dtype=np.float32)
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
        return replace(self, vertices=self.vertices * factors, normals=normals, size=self.size * factors,
                       ground=self.ground * float(factors[2]))


def assemble(name: str, parts: list[Part], object_from_file: np.ndarray,
             size: float | tuple[float, float, float] | None = None, body: float = BODY) -> Asset:
    """Join ``parts`` and bring them into the object frame.

    ``object_from_file`` [3, 3] turns the file's axes (a rotation or reflection); ``size`` in metres is the
    length, or length, width and height of the real car (models are often too wide); None keeps the file's metres.
    ``body`` says what belongs to the box, see :func:`dinemo_training.synthetic.shape.occupancy.body_bounds`.
    """
    materials: list[Material] = []
    parts = [part for part in parts if len(part.faces)]
    vertices, faces, normals, uv, material = [], [], [], [], []
    offset = 0
    for part in parts:
        index = next((k for k, m in enumerate(materials) if m is part.material), len(materials))
        if index == len(materials):
            materials.append(part.material)
        points = np.asarray(part.vertices, dtype=np.float64) @ object_from_file.T
        corners = np.asarray(part.faces, dtype=np.int64)
        smooth = smooth_normals(points, corners) if part.normals is None else \
            (np.asarray(part.normals, dtype=np.float64) @ object_from_file.T)[corners]
        vertices.append(points)
        faces.append(corners + offset)
        normals.append(smooth)
        uv.append(np.zeros((len(corners), 3, 2)) if part.uv is None else np.asarray(part.uv)[corners])
        material.append(np.full(len(corners), index))
        offset += len(points)
    points, corners = np.concatenate(vertices), np.concatenate(faces)
    lower, upper = body_bounds(surface_points(points, corners, 300_000), body)
    centre = 0.5 * (lower + upper)
    car = Asset(name, points - centre, corners.astype(np.int32), np.concatenate(normals).astype(np.float32),
                np.concatenate(uv).astype(np.float32), np.concatenate(material).astype(np.int32), tuple(materials),
                upper - lower, float((points - centre)[:, 2].min()))
    if size is None:
        return car
    return car.scaled(np.asarray(size) / (car.size if np.ndim(size) else np.repeat(car.size[0], 3)))


def smooth_normals(vertices: np.ndarray, faces: np.ndarray, crease_deg: float = 40.0) -> np.ndarray:
    """Corner normals [F, 3, 3]: the mean over faces that share the position and lie within the crease angle.

    CAD files often give each face vertices of its own and no common winding, so positions are matched by value
    and neighbours are turned to agree before they are added.
    """
    _, position = np.unique(np.round(vertices / (np.ptp(vertices, axis=0).max() * 1e-5)), axis=0, return_inverse=True)
    position = position.ravel()[faces]
    raw = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    area = np.linalg.norm(raw, axis=1, keepdims=True)
    flat = raw / np.maximum(area, 1e-20)
    corner_position = position.ravel()
    order = np.argsort(corner_position, kind="stable")
    start = np.flatnonzero(np.r_[True, np.diff(corner_position[order]) > 0, True])
    result = np.repeat(flat[:, None], 3, axis=1).reshape(-1, 3)
    cosine = np.cos(np.radians(crease_deg))
    for first, last in zip(start[:-1], start[1:], strict=True):
        corners = order[first:last]
        if len(corners) < 2 or len(corners) > 64:
            continue
        n = flat[corners // 3]
        dot = n @ n.T
        weight = np.where(np.abs(dot) > cosine, np.sign(dot), 0.0) * area[corners // 3].T
        result[corners] = weight @ n
    result /= np.maximum(np.linalg.norm(result, axis=1, keepdims=True), 1e-20)
    return result.reshape(-1, 3, 3)
