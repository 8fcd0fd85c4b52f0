# SPDX-License-Identifier: Apache-2.0
"""A plain wheel for models that come without: rubber tyre, five-spoke rim, dark inside."""

from __future__ import annotations

import numpy as np

from .asset import DARK_PLASTIC, RIM, RUBBER, Material, Part

_SEGMENTS = 40
_SPOKES = 5


def wheel_parts(centre: np.ndarray, radius: float, width: float, axle: int, outward: float) -> list[Part]:
    """Parts of a wheel at ``centre`` [3]; ``axle`` is the index of its axis, ``outward`` (+-1) the visible side.

    ``radius`` and ``width`` in the unit of ``centre``.
    """
    profile_tyre = [(0.62, 0.5), (0.70, 0.52), (0.93, 0.5), (1.0, 0.38), (1.0, -0.5), (0.0, -0.5)]
    parts = [_revolve(profile_tyre, RUBBER), _revolve([(0.66, 0.50), (0.60, 0.50), (0.58, 0.30)], RIM),
             _revolve([(0.60, 0.28), (0.0, 0.28)], DARK_PLASTIC), _revolve([(0.14, 0.44), (0.0, 0.46)], RIM), _spokes()]
    u, v = (axle + 1) % 3, (axle + 2) % 3
    placed = []
    for part in parts:
        points = np.empty_like(part.vertices)
        points[:, u], points[:, v] = part.vertices[:, 0] * radius, part.vertices[:, 1] * radius
        points[:, axle] = part.vertices[:, 2] * width * outward
        placed.append(Part(points + centre, part.faces, part.material))
    return placed


def _revolve(profile: list[tuple[float, float]], material: Material) -> Part:
    """Surface of revolution of (radius, height) pairs about the third axis."""
    angle = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    rings = [np.stack([r * np.cos(angle), r * np.sin(angle), np.full(_SEGMENTS, h)], axis=1) for r, h in profile]
    k, n = np.arange(_SEGMENTS), (np.arange(_SEGMENTS) + 1) % _SEGMENTS
    faces = []
    for ring in range(len(profile) - 1):
        a, b = ring * _SEGMENTS, (ring + 1) * _SEGMENTS
        faces += [np.stack([a + k, a + n, b + n], 1), np.stack([a + k, b + n, b + k], 1)]
    return Part(np.concatenate(rings), np.concatenate(faces), material)


def _spokes() -> Part:
    vertices, faces = [], []
    for spoke in range(_SPOKES):
        angle = 2 * np.pi * spoke / _SPOKES
        direction = np.array([np.cos(angle), np.sin(angle), 0.0])
        across = np.array([-np.sin(angle), np.cos(angle), 0.0])
        base = 4 * spoke
        vertices += [direction * r + across * s * w + [0, 0, h]
                     for r, w, h in ((0.08, 0.09, 0.44), (0.62, 0.06, 0.46)) for s in (-1, 1)]
        faces += [(base, base + 1, base + 3), (base, base + 3, base + 2)]
    return Part(np.array(vertices), np.array(faces), RIM)
