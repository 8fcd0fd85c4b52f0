# SPDX-License-Identifier: Apache-2.0
"""Which vertices a camera can see, from every direction, computed once when a bundle is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .jit import kernel

if TYPE_CHECKING:
    from .surface import Surface

_RESOLUTION = 96  # pixels per side of the depth image; a 4.5 m car gets cells of 6 cm
_DISTANCE = 2.5  # camera distance in bounding-box diagonals: where robots meet objects, between near and infinite
_TOLERANCE = 0.03  # of the diagonal: how far a vertex may lie behind the surface and still count as on it
_GRAZING = 0.05  # cosine between normal and viewing ray below which a vertex faces away


@dataclass(frozen=True)
class VisibilityTable:
    """Visible vertices per camera direction.

    Attributes:
        visible: [elevations * azimuths, V] uint8; row e * azimuths + a.
        azimuths, elevations: grid size; azimuth a is 2 pi a / azimuths, elevation e runs from -pi/2 to pi/2.
    """

    visible: np.ndarray
    azimuths: int
    elevations: int


def visibility_table(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, azimuths: int = 48,
                     elevations: int = 25) -> VisibilityTable:
    """Table for a mesh: vertices [V, 3], faces [F, 3], outward unit normals [V, 3], object frame."""
    azimuth = 2 * np.pi * np.arange(azimuths) / azimuths
    elevation = np.linspace(-np.pi / 2, np.pi / 2, elevations)
    a, e = np.meshgrid(azimuth, elevation)
    directions = direction_of(a, e).reshape(-1, 3)
    diagonal = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    positions = 0.5 * (vertices.min(0) + vertices.max(0)) + _DISTANCE * diagonal * directions
    visible = visible_vertices(vertices.astype(np.float64), faces.astype(np.int32), normals.astype(np.float64),
                               positions.astype(np.float64), directions, diagonal)
    return VisibilityTable(visible, azimuths, elevations)


def direction_of(azimuth: np.ndarray | float, elevation: np.ndarray | float) -> np.ndarray:
    """Unit vectors [..., 3] from the object to the camera, object frame, of angles [...] in radians."""
    level = np.cos(elevation)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=-1)


def visible_row(table: VisibilityTable | Surface, azimuth: float, elevation: float) -> np.ndarray:
    """[V] bool, vertices seen from ``azimuth`` and ``elevation``, radians as in PASCAL3D+, object frame."""
    direction = direction_of(azimuth, elevation)
    return table.visible[direction_index(direction, table.azimuths, table.elevations)].astype(bool)


@kernel
def direction_index(direction, azimuths, elevations):
    """Row of the table for a direction [3] object -> camera, of any length, object frame."""
    x, y, z = direction[0], direction[1], direction[2]
    a = int(round(math.atan2(y, x) / (2 * math.pi) * azimuths)) % azimuths
    e = int(round((math.atan2(z, math.hypot(x, y)) / math.pi + 0.5) * (elevations - 1)))
    return e * azimuths + a


def visible_vertices(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, positions: np.ndarray,
                     directions: np.ndarray, diagonal: float) -> np.ndarray:
    """Depth-buffer test: uint8 [N, V], 1 where a camera sees a vertex.

    Args:
        vertices: [V, 3] metres, faces: [F, 3], normals: [V, 3] outward unit vectors, object frame.
        positions: [N, 3] metres of the cameras, which look along -``directions`` [N, 3].
        diagonal: of the mesh, metres.
    """
    forward = -directions
    up = np.where(np.abs(forward[:, 2:]) < 0.9, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    axes = np.stack([right, np.cross(forward, right), forward], axis=1)  # [N, 3, 3] rows: right, down, forward
    out = np.zeros((len(positions), len(vertices)), np.uint8)
    _test_depths(vertices, faces, normals, positions, axes, diagonal, out)
    return out


@kernel
def _test_depths(vertices, faces, normals, positions, axes, diagonal, out):
    V = vertices.shape[0]
    depth = np.empty((_RESOLUTION, _RESOLUTION))
    pixels = np.empty((V, 3))
    half = 0.5 * _RESOLUTION
    focal = half * (_DISTANCE - 0.5) / 0.55  # the bounding sphere fills the picture
    for n in range(positions.shape[0]):
        for v in range(V):
            for k in range(3):
                pixels[v, k] = 0.0
                for m in range(3):
                    pixels[v, k] += axes[n, k, m] * (vertices[v, m] - positions[n, m])
            pixels[v, 0] = focal * pixels[v, 0] / pixels[v, 2] + half
            pixels[v, 1] = focal * pixels[v, 1] / pixels[v, 2] + half
        for i in range(_RESOLUTION):
            for j in range(_RESOLUTION):
                depth[i, j] = 1e9
        for f in range(faces.shape[0]):
            _draw(depth, pixels[faces[f, 0]], pixels[faces[f, 1]], pixels[faces[f, 2]])
        for v in range(V):
            dot = norm = 0.0
            for k in range(3):
                ray = positions[n, k] - vertices[v, k]
                dot += ray * normals[v, k]
                norm += ray * ray
            i = min(max(int(pixels[v, 1]), 0), _RESOLUTION - 1)
            j = min(max(int(pixels[v, 0]), 0), _RESOLUTION - 1)
            if dot > _GRAZING * math.sqrt(norm) and pixels[v, 2] <= depth[i, j] + _TOLERANCE * diagonal:
                out[n, v] = 1


@kernel
def _draw(depth, a, b, c):
    """Lower ``depth`` to the triangle a, b, c, each (x, y, z) in pixels and metres."""
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if abs(area) < 1e-9:
        return
    i0, i1 = max(int(min(a[1], b[1], c[1])), 0), min(int(max(a[1], b[1], c[1])) + 1, depth.shape[0])
    j0, j1 = max(int(min(a[0], b[0], c[0])), 0), min(int(max(a[0], b[0], c[0])) + 1, depth.shape[1])
    for i in range(i0, i1):
        for j in range(j0, j1):
            x, y = j + 0.5, i + 0.5
            wa = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
            wb = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
            wc = 1.0 - wa - wb
            if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                z = wa * a[2] + wb * b[2] + wc * c[2]
                if z < depth[i, j]:
                    depth[i, j] = z
