# SPDX-License-Identifier: Apache-2.0
"""The mesh in some dozen views and a few sizes slides over every cell of a feature map.

A view scores by the mean evidence of its visible vertices, as in the coarse search, and as there evidence is kept in 16
bits: where a vertex of the view lies at all places of the view at once is one run of memory, because there is a margin
about the map, and runs are added up in vector registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ..geometry import rotation_from_viewpoint
from ..model.bundle import Card
from ..process.thread_pool import ThreadPool
from ..solver.jit import kernel
from ..solver.similarity import MOST, UNIT
from ..solver.surface import Surface
from ..solver.visibility import visible_row

VERTICES = 128  # evenly spread ones of which each view uses the visible ones among the first
_SAMPLES = 24  # visible vertices per view, a multiple of 4
_AZIMUTHS, _ELEVATIONS = 24, 3
_DISTANCE = 3.0  # of the camera in bounding-box diagonals
_INSIDE = 0.6  # share of a view's vertices that must lie in the frame


class Templates(NamedTuple):
    """T views in some sizes; a tuple, because kernels take it whole.

    Attributes:
        vertex: [T, N] int32, N a multiple of 4; offset: [T, N, 2] int32 (x, y) cells from the middle of the view's box.
        box: [T, 2] width and height in cells.
    """

    vertex: np.ndarray
    offset: np.ndarray
    box: np.ndarray


def make_templates(card: Card, surface: Surface, lengths: Sequence[float]) -> Templates:
    """Views of the category, evenly over its search range, in every one of ``lengths`` (cells)."""
    search, vertices = card.search, surface.vertices
    steps = min(_AZIMUTHS, search.azimuth)
    azimuths = 2 * np.pi / steps * np.arange(card.symmetry.search_azimuths(steps))
    middle = np.linspace(0, len(search.elevation_deg) - 1, 2 * _ELEVATIONS + 1)[1::2]  # of thirds of the range
    elevations = np.unique(np.interp(middle, np.arange(len(search.elevation_deg)), sorted(search.elevation_deg)))
    distance = _DISTANCE * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    vertex, offset, box = [], [], []
    for elevation in np.deg2rad(elevations):
        for azimuth in azimuths:
            points = vertices @ rotation_from_viewpoint(azimuth, elevation, 0.0).T + [0.0, 0.0, distance]
            plane = points[:, :2] / points[:, 2:]
            low, high = plane.min(axis=0), plane.max(axis=0)
            seen = np.flatnonzero(visible_row(surface, azimuth, elevation)[:VERTICES])
            seen = np.resize(seen, _SAMPLES)
            for length in lengths:
                scale = length / np.max(high - low)
                vertex.append(seen)
                offset.append(np.round(scale * (plane[seen] - 0.5 * (low + high))))
                box.append(scale * (high - low))
    return Templates(np.array(vertex, np.int32), np.array(offset, np.int32), np.array(box))


class Windows:
    """Where templates fit a feature map best; buffers are reused for maps of the same size.

    pool: who shares the work.
    """

    def __init__(self, templates: Templates, pool: ThreadPool) -> None:
        self._templates, self._pool, self._parts = templates, pool, pool.threads
        self._margin = int(np.abs(templates.offset).max())
        self._bounds = np.linspace(0, len(templates.vertex), pool.threads + 1).astype(int)
        self._evidence = np.zeros(0, np.uint8)

    def __call__(self, S: np.ndarray, background_score: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [N, 4] in cells with edges at integers, and scores [N], of the local maxima from ``floor`` on.

        Args:
            S: [V, h, w] float32 similarity of every vertex and every cell; background_score: [h, w] that of clutter.
        """
        h, w = background_score.shape
        self._make_room(S.shape)
        score, best = np.zeros((self._parts, h, w), np.float32), np.zeros((self._parts, h, w), np.int32)
        share = np.linspace(0, len(S), self._parts + 1).astype(int)
        self._pool.map(lambda k: fill_evidence(S, background_score, self._evidence, self._margin, share[k],
            share[k + 1]),
                       self._parts)
        t = self._templates
        self._pool.map(lambda k: slide(self._evidence, self._count, self._margin, t, self._bounds[k],
                                       self._bounds[k + 1], _INSIDE, score[k], best[k], self._total[k]), self._parts)
        winner = score.argmax(axis=0)[None]
        score, best = np.take_along_axis(score, winner, 0)[0], np.take_along_axis(best, winner, 0)[0]
        peak = (score >= floor) & (score >= cv2.dilate(score, np.ones((3, 3), np.uint8)))
        i, j = np.nonzero(peak)
        half, middle = 0.5 * t.box[best[i, j]], np.stack([j, i], axis=1) + 0.5
        return np.concatenate([middle - half, middle + half], axis=1), score[i, j]

    def _make_room(self, shape: tuple[int, int, int]) -> None:
        V, h, w = shape
        margin = self._margin
        if self._evidence.shape != (V, h + 2 * margin, w + 2 * margin):
            self._evidence = np.zeros((V, h + 2 * margin, w + 2 * margin), np.uint8)
            self._total = np.empty((self._parts, h * (w + 2 * margin)), np.uint16)
            self._count = np.empty((len(self._templates.vertex), h, w), np.uint8)
            count_inside(self._templates.offset, self._count)


@kernel
def count_inside(offset, count):
    """count [T, h, w]: how many vertices of each template lie on the map, its middle at a cell; offset [T, N, 2]."""
    T, h, w = count.shape
    for t in range(T):
        count[t] = 0
        for n in range(offset.shape[1]):
            x, y = offset[t, n, 0], offset[t, n, 1]
            for i in range(max(-y, 0), min(h - y, h)):
                for j in range(max(-x, 0), min(w - x, w)):
                    count[t, i, j] += 1


@kernel
def fill_evidence(S, background_score, evidence, margin, first, last):
    """Of the vertices first:last UNIT * max(S - background_score, 0), rounded, into the middle of ``evidence``."""
    h, w = background_score.shape
    for v in range(first, last):
        for i in range(h):
            source, r, into = S[v, i], background_score[i], evidence[v, i + margin, margin:margin + w]
            for j in range(w):
                into[j] = np.uint8(np.float32(UNIT) * min(max(source[j] - r[j], np.float32(0.0)), MOST)
                                   + np.float32(0.5))


@kernel
def slide(evidence, count, margin, templates, first, last, share, score, best, total):
    """Raise score [h, w] and best [h, w] to the templates first:last whose middle is at a cell.

    evidence [V, h + 2 margin, w + 2 margin] uint8 in UNITs, zero in its margins, which no offset leads out of. count
    [T, h, w] of :func:`count_inside`; a template counts where at least ``share`` of its vertices lies on the map, with
    the mean over these. total [h (w + 2 margin)] uint16 is work space.
    """
    vertex, offset, (h, w) = templates.vertex, templates.offset, score.shape
    N, row = vertex.shape[1], evidence.shape[2]
    plane, run = evidence.shape[1] * row, h * row - 2 * margin  # the last row ends with its last place
    cells, least = evidence.reshape(-1), np.float32(share * N)
    for t in range(first, last):
        for k in range(run):
            total[k] = 0
        for n in range(0, N, 4):
            p = (vertex[t, n] * plane + (offset[t, n, 1] + margin) * row + offset[t, n, 0] + margin)
            q = (vertex[t, n + 1] * plane + (offset[t, n + 1, 1] + margin) * row + offset[t, n + 1, 0] + margin)
            r = (vertex[t, n + 2] * plane + (offset[t, n + 2, 1] + margin) * row + offset[t, n + 2, 0] + margin)
            s = (vertex[t, n + 3] * plane + (offset[t, n + 3, 1] + margin) * row + offset[t, n + 3, 0] + margin)
            a, b, c, d = cells[p:p + run], cells[q:q + run], cells[r:r + run], cells[s:s + run]
            for k in range(run):  # four at a time: the totals are read and written once for all of them
                total[k] += a[k] + b[k] + c[k] + d[k]
        for i in range(h):
            for j in range(w):
                mean = np.float32(total[i * row + j]) / max(np.float32(UNIT) * np.float32(count[t, i, j]),
                                                            np.float32(1.0))
                if count[t, i, j] >= least and mean > score[i, j]:
                    score[i, j], best[i, j] = mean, t
