# SPDX-License-Identifier: Apache-2.0
"""Geometry of the neural mesh of cups and bottles: the mean profile of vessels, turned about its axis.

A solid average (:mod:`dinemo_training.synthetic.shape.mean_mesh`) would blur handles away, which stand elsewhere on
every cup, and would make a bottle nearly round where its category is declared exactly round. So only the profile is
averaged; a cup gets one handle of mean reach, and its inside is closed a little below the rim, where a drink would be.
"""

from __future__ import annotations

import numpy as np

from dinemo_training.synthetic.assets.vessel import lathe, sweep

from .mean_mesh import vertex_normals

_FILLED = 0.18  # of the height: how far below the rim a cup is closed
HANDLE_HIGH, HANDLE_LOW, HANDLE_THICK = 0.33, -0.30, 0.05  # of the height: where the handle's line begins and ends


def vessel_mesh(profile: np.ndarray, size: np.ndarray, is_open: bool,
                vertex_count: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """At most ``vertex_count`` vertices [V, 3] metres, origin on the axis half way up, and outward faces [F, 3].

    The third result are the vertices' places [V, 3] if there is a handle: it alone tells one side of the body from
    another, so a ring of the body is one place, see :func:`ring_places`. So is a ring around the handle's tube: it is
    thinner than a feature cell, and places that share a cell share its probability, each alone would lose to clutter.

    Args:
        profile: [N] radius from bottom to top, of any scale.
        size: [3] the box in metres: width along y, height; a length beyond the width is the handle's, along +x.
    """
    length, width, height = size
    profile = profile * (0.5 * width / profile.max())
    z = np.linspace(-0.5, 0.5, len(profile)) * height
    line = np.stack([profile, z], axis=1)
    line = np.concatenate([[[1e-6, -height / 2]], line])
    if is_open:
        inner = profile[-1] * 0.92
        line = np.concatenate([line, [[inner, z[-1]], [inner, z[-1] - _FILLED * height],
                                      [1e-6, z[-1] - _FILLED * height]]])
    else:
        line = np.concatenate([line, [[1e-6, height / 2]]])
    ear, ear_faces, ear_places = np.empty((0, 3)), np.empty((0, 3), int), np.empty((0, 3))
    if length > 1.02 * width:
        ear, ear_faces, ear_places = _handle(profile, z, width, height, length - 0.5 * width)
    # Vertices around the axis, about as far apart as those along it; where a ring is one place, half as many will do,
    # and the search, which reads a few hundred vertices, gets to see the handle's.
    sparse, fewer = (2, 4) if len(ear) else (1, 1)  # of so few a fourth has to lie on each half axis
    for corners in range(80, 7, -fewer):
        even = _even(line, 2 * np.pi * profile.mean() / (sparse * corners))
        if len(ear) + corners * len(even) <= vertex_count:
            break
    vertices, faces = _merged(*lathe(even[:, 0], even[:, 1], corners))
    places = np.concatenate([ring_places(vertices, faces), ear_places]) if len(ear) else None
    return np.concatenate([vertices, ear]), np.concatenate([faces, ear_faces + len(vertices)]), places


def ring_places(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[V, 3] metres: radius, a gap between outside and inside of an open body, height. The same all around the axis."""
    radius, z = np.hypot(vertices[:, 0], vertices[:, 1]), vertices[:, 2]
    normal = vertex_normals(vertices, faces)
    outward = np.sum(normal[:, :2] * vertices[:, :2], axis=1) / np.maximum(radius, 1e-9)
    inside = (outward < -0.3) | ((normal[:, 2] > 0.5) & (z < 0.9 * z.max()))
    return np.stack([radius, np.where(inside, 0.3 * radius.max(), 0.0), z], axis=1)


def _even(line: np.ndarray, step: float) -> np.ndarray:
    """Points about ``step`` apart on the line [N, 2], its sharp corners kept."""
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    direction = np.diff(line, axis=0) / np.maximum(np.diff(along), 1e-12)[:, None]
    sharp = 1 + np.flatnonzero(np.sum(direction[1:] * direction[:-1], axis=1) < np.cos(np.radians(50)))
    result = []
    for a, b in zip(np.r_[0, sharp], np.r_[sharp, len(line) - 1], strict=True):
        count = max(1, round((along[b] - along[a]) / step))
        at = np.linspace(along[a], along[b], count + 1)[:-1]
        result.append(np.stack([np.interp(at, along, line[:, k]) for k in (0, 1)], axis=1))
    return np.concatenate([*result, line[-1:]])


def _merged(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rings at both ends, which are points, as one vertex each; empty faces left out; faces turned outwards."""
    _, first, index = np.unique(np.round(vertices, 5), axis=0, return_index=True, return_inverse=True)
    vertices, faces = vertices[first], index.ravel()[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    return vertices, _outwards(vertices, faces)


def _outwards(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces of a closed surface, all turned round if its signed volume is negative."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return faces[:, ::-1] if np.sum(np.cross(a, b) * c) < 0 else faces


def _handle(profile: np.ndarray, z: np.ndarray, width: float, height: float,
            reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An ear from the wall out to ``reach`` metres from the axis: vertices, faces, the middle of each one's ring."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
    high, low = HANDLE_HIGH * height, HANDLE_LOW * height
    level = 0.5 * (high + low) + 0.5 * (high - low) * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.8
    wall = np.interp(level, z, profile)
    thick, wide = HANDLE_THICK * height, 0.09 * width
    out = np.cos(angle) ** 0.8
    x = wall + out * (reach - 0.5 * thick - wall[len(wall) // 2])
    points, faces = sweep(np.stack([x, np.zeros_like(x), level], axis=1), thick, wide, corners=6)
    points[:, 0] *= reach / points[:, 0].max()
    rings = points.reshape(len(level), -1, 3)
    middles = np.repeat(rings.mean(axis=1), rings.shape[1], axis=0)
    return points, _outwards(points - points.mean(axis=0), faces), middles
