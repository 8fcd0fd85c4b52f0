# SPDX-License-Identifier: Apache-2.0
"""Starts by template matching: which of a few hundred pictures of the mesh, filling the ROI, resembles the crop most.

The coarse search shifts and scales each view freely and looks at a few vertices; it finds objects in rough boxes, and
pays with orientation. Here a view stays where the ROI puts it, every cell of it counts, and clutter is not asked: in
a box that is about right its best view is half as far from the truth. Looking a cell up is a gather from the similarity
volume, so a view costs some hundred additions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..drawing.painters_rasterizer import painted_faces
from ..geometry import rotation_from_viewpoint
from ..model.bundle import SearchSpec
from ..model.symmetry import NO_SYMMETRY, Symmetry
from .coarse import Target, place, select_distinct
from .jit import kernel
from .surface import Surface

_AZIMUTHS = 72
_CELLS = 20  # along the larger side of a stored view; looked up in the crop's cells wherever the ROI puts them
_EXTREMES = 24  # outline points per view


@dataclass(frozen=True)
class NearestViews:
    """G views.

    Attributes:
        rotations: [G, 3, 3] object frame to a camera that looks straight at the object.
        outline: [G, M, 3] float32 rotated vertices of the silhouette, metres.
        first: [G + 1] int64, where each view's entries begin in the arrays below.
        vertex: [E] int32, search vertex that a cell of the view shows.
        place: [2, E] float32 where that cell lies: x and y from the middle of the view's box, in larger sides of it.
    """

    rotations: np.ndarray
    outline: np.ndarray
    first: np.ndarray
    vertex: np.ndarray
    place: np.ndarray


def nearest_views(surface: Surface, search: SearchSpec, vertices: int,
                  symmetry: Symmetry = NO_SYMMETRY) -> NearestViews:
    """Pictures of the mesh from all sides, in terms of the ``vertices`` first ones."""
    steps = min(_AZIMUTHS, max(search.azimuth, 4) * 3 // 2)
    azimuths = 2 * np.pi / steps * np.arange(symmetry.search_azimuths(steps))
    rotations = np.array([rotation_from_viewpoint(float(a), math.radians(e), 0.0)
                          for e in search.elevation_deg for a in azimuths])
    shown = _vertex_of_faces(surface, vertices)
    entries, places, outlines = [], [], []
    for R in rotations:
        points = surface.vertices @ R.T
        cells, at = _picture(points, surface.faces)
        entries.append(shown[cells])
        places.append(at)
        outlines.append(points[_silhouette(points)])
    first = np.r_[0, np.cumsum([len(e) for e in entries])]
    return NearestViews(rotations, np.ascontiguousarray(outlines, np.float32), first.astype(np.int64),
                        np.concatenate(entries).astype(np.int32),
                        np.ascontiguousarray(np.concatenate(places).T, np.float32))


def _vertex_of_faces(surface: Surface, vertices: int) -> np.ndarray:
    """[F] the search vertex that stands for each face: the nearest among those that look the same way."""
    corners = surface.vertices[surface.faces]
    normals = surface.normals[surface.faces].mean(axis=1)
    distance = np.linalg.norm(corners.mean(axis=1)[:, None] - surface.vertices[None, :vertices], axis=-1)
    turned = normals @ surface.normals[:vertices].T < 0.3
    return np.where(turned, distance + 1e3, distance).argmin(axis=1)


def _picture(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces that a view's cells show [n] and where these lie [n, 2], see :class:`NearestViews`."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    pixels = (points[:, :2] - 0.5 * (low + high)) * (_CELLS / (high - low).max()) + 0.5 * (_CELLS - 1)
    canvas = painted_faces(pixels, points[:, 2], faces, _CELLS)
    rows, columns = np.nonzero(canvas >= 0)
    return canvas[rows, columns], (np.stack([columns, rows], axis=1) + 0.5) / _CELLS - 0.5


def _silhouette(points: np.ndarray) -> np.ndarray:
    """Indices [_EXTREMES] of the points farthest out in as many directions of the picture."""
    angle = 2 * np.pi / _EXTREMES * np.arange(_EXTREMES)
    return (points[:, :2] @ np.stack([np.cos(angle), np.sin(angle)])).argmax(axis=0)


def nearest_starts(S: np.ndarray, cells: tuple[int, int], views: NearestViews, target: Target, angle: float, count: int,
                   floor: float, score: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Up to ``count`` distinct starts, likeliest first: rotation [3, 3] and position [3] metres, crop camera frame.

    Args:
        S: [V', h * w] similarity of every search vertex to every cell.
        angle, floor: see :func:`select_distinct`. score: [G] work space.
    """
    _score_views(S, cells[0], cells[1], views.first, views.vertex, views.place, target.box, score)
    starts = []
    for g in select_distinct(views.rotations, score, angle, count, floor):
        x, y, z = place(views.outline[g], target.box, target.open_sides, target.focal, target.centre)
        starts.append((views.rotations[g].copy(), np.array([x * z, y * z, z])))
    return starts


@kernel
def _score_views(S, height, width, first, vertex, at, box, score):
    """Mean similarity of each view's cells, the view's larger side being that of ``box`` [4] cells."""
    x, y = np.float32(0.5 * (box[0] + box[2])), np.float32(0.5 * (box[1] + box[3]))
    side = np.float32(max(box[2] - box[0], box[3] - box[1]))
    h, w, values, entry = np.int32(height), np.int32(width), S.reshape(-1), np.empty(_CELLS * _CELLS, np.int32)
    for g in range(score.shape[0]):
        count = first[g + 1] - first[g]
        v, dx, dy = (vertex[first[g]:first[g + 1]], at[0, first[g]:first[g + 1]], at[1, first[g]:first[g + 1]])
        for k in range(count):  # apart from the sum, without branches and in 32 bits: vector instructions
            j, i = np.rint(x + dx[k] * side), np.rint(y + dy[k] * side)
            inside = (i >= 0) & (j >= 0) & (i < h) & (j < w)
            entry[k] = (v[k] * h + np.int32(i)) * w + np.int32(j) if inside else np.int32(-1)
        total = np.float32(0.0)
        for k in range(count):
            if entry[k] >= 0:
                total += values[entry[k]]
        score[g] = total / max(count, 1)
