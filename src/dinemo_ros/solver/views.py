# SPDX-License-Identifier: Apache-2.0
"""The coarse search's viewpoints with the vertices each one sees, prepared once when a bundle is loaded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..geometry import rotation_from_viewpoint
from ..model.bundle import SearchSpec
from ..model.symmetry import NO_SYMMETRY, Symmetry
from .surface import Surface
from .visibility import visible_row

# Distances in bounding-box diagonals at which the outermost vertices are looked up: a near camera sees other ones.
_EXTREME_DISTANCES = (1.2, 3.0, 12.0)


class ViewTable(NamedTuple):
    """G viewpoints; a tuple, because kernels take it whole.

    Attributes:
        rotations: [G, 3, 3] float64, object frame to a camera that looks straight at the object.
        index: [G, N] int32, visible vertices spread evenly over the visible surface.
        points: [G, 3, N] float32, these vertices rotated, metres: all x, all y, all z.
        weight: [G, N] float32, 0 where a view has fewer than N visible vertices.
        outline: [G, M, 3] float32, rotated vertices among which the outermost left, right, top and bottom are.
    """

    rotations: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # a tuple's method, which nobody wants of this one
    points: np.ndarray
    weight: np.ndarray
    outline: np.ndarray


def view_table(surface: Surface, search: SearchSpec, first: int, samples: int,
               symmetry: Symmetry = NO_SYMMETRY) -> ViewTable:
    """Up to ``samples`` visible ones of the ``first`` vertices; in farthest-point order these are evenly spread.

    Only azimuths that the symmetry tells apart are listed.
    """
    vertices = surface.vertices
    azimuths = 2 * np.pi / search.azimuth * np.arange(symmetry.search_azimuths(search.azimuth))
    angles = [(a, np.deg2rad(e), np.deg2rad(t))
              for e in search.elevation_deg for a in azimuths for t in search.theta_deg]
    rotations = np.array([rotation_from_viewpoint(*angle) for angle in angles])
    G = len(angles)
    index, weight = np.zeros((G, samples), np.int32), np.zeros((G, samples), np.float32)
    for g, (azimuth, elevation, _) in enumerate(angles):
        chosen = np.flatnonzero(visible_row(surface, azimuth, elevation)[:first])[:samples]
        index[g, :len(chosen)], weight[g, :len(chosen)] = chosen, 1.0
    rotated = np.einsum("gij,vj->gvi", rotations, vertices)  # [G, V, 3]
    points = np.take_along_axis(rotated, index[:, :, None], axis=1).transpose(0, 2, 1)
    diagonal = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    extremes = []
    for distance in _EXTREME_DISTANCES:
        plane = rotated[:, :, :2] / (rotated[:, :, 2:] + distance * diagonal)
        extremes += [plane.argmin(axis=1), plane.argmax(axis=1)]
    outline = np.take_along_axis(rotated, np.concatenate(extremes, axis=1)[:, :, None], axis=1)
    as_float32 = [np.ascontiguousarray(a, np.float32) for a in (points, weight, outline)]
    return ViewTable(rotations, index, *as_float32)
