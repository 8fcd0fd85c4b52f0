# SPDX-License-Identifier: Apache-2.0
"""Coarse search: every viewpoint, some distances, all small image shifts, scored by gathering from the volume.

The ROI and the category size give each viewpoint its distance and position up to the ROI's error; the scales and shifts
around them absorb that error. A shift by whole cells needs no new projection, so 49 of them cost little more than one:
the 7 x 7 cells around a vertex, and those between their rows, are one run of memory, and such runs are added up in
vector registers, 8 bits a cell into 16. Picking out the 49 one by one takes twice the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..scene.support_plane import SupportPlane
from .jit import kernel
from .problem import Pinhole
from .similarity import UNIT, SimilarityVolume
from .views import ViewTable
from .workspace import MIN_DEPTH

SHIFT = 3  # cells; the search looks at (2 SHIFT + 1)^2 image shifts
TERMS = frozenset(("support", "depth"))  # what a target may hold beside the picture
_LINE = 32  # 16-bit numbers in a cache line: sums that begin elsewhere are stored and read again at half the speed
_LONGEST = 1024  # of a run, rounded up to whole lines: crops have at most 1024 pixels, 136 cells with their padding


@dataclass(frozen=True)
class Target:
    """Where to look: the ROI in the crop's cells and the crop camera.

    Attributes:
        box: [4] float64 (x_min, y_min, x_max, y_max) cells, cell centres at integers.
        open_sides: [4] uint8, 1 where the object may continue outside the image.
        focal, centre: crop camera in cells (square, same principal point in x and y).
        box_is_observed: somebody else says that the object fills the box; the box of a pose of our own is no evidence.
        support: the plane that the object stands on, crop camera frame; None where nobody knows one.
        depth: [h, w] metres along the crop camera's axis in each cell, 0 where nothing was measured; None without.
    """

    box: np.ndarray
    open_sides: np.ndarray
    focal: float
    centre: float
    box_is_observed: bool = True
    support: SupportPlane | None = None
    depth: np.ndarray | None = None

    @property
    def camera(self) -> Pinhole:
        return Pinhole(self.focal, self.centre)

    @property
    def terms(self) -> frozenset[str]:
        """Names of what is known beside the picture, which the solver has to use."""
        return frozenset(name for name in TERMS if getattr(self, name) is not None)


class PlainTarget(NamedTuple):
    """A :class:`Target` for kernels."""

    box: np.ndarray
    open_sides: np.ndarray
    focal: float
    centre: float


class Sums(NamedTuple):
    """Work space of :func:`gather`, see :func:`make_sums`.

    Attributes:
        total: [n] uint16 evidence per image shift.
        first: [samples] int32 where each vertex's run of cells begins.
    """

    total: np.ndarray
    first: np.ndarray


def select_distinct(rotations: np.ndarray, scores: np.ndarray, angle: float, count: int, floor: float) -> list[int]:
    """Greedy non-maximum suppression in rotation space: indices, best first, pairwise at least ``angle`` apart.

    rotations [G, 3, 3], scores [G], angle in radians; candidates below ``floor`` times the best are left out. Front
    and back of an object are pi apart, so a flip survives as a candidate of its own.
    """
    chosen: list[int] = []
    flat = rotations.reshape(-1, 9)
    alive = scores > max(floor * scores.max(), 0.0)
    same = 1.0 + 2.0 * math.cos(angle)  # trace(Ra^T Rb) = 1 + 2 cos(angle between)
    while alive.any() and len(chosen) < count:
        best = int(np.argmax(np.where(alive, scores, -1.0)))
        chosen.append(best)
        alive &= flat @ flat[best] < same
        alive[best] = False
    return chosen


def coarse_search(volume: SimilarityVolume, views: ViewTable, chosen: np.ndarray, samples: int, target: Target,
                  scales: np.ndarray, score: np.ndarray, translation: np.ndarray, sums: Sums) -> None:
    """Score the viewpoints ``chosen`` [n] int64 by their first ``samples`` vertices, at distances ``scales`` [S].

    Writes these rows of score [G] and translation [G, 3] metres, crop camera frame.
    """
    plain = PlainTarget(target.box, target.open_sides, *target.camera)
    _search(volume.evidence, volume.pad, views, chosen, samples, plain, scales, score, translation, sums)


def make_sums(samples: int) -> Sums:
    """Work space for up to ``samples`` vertices of a view; the totals begin a cache line."""
    memory = np.zeros(_LONGEST + _LINE, np.uint16)
    first = -memory.ctypes.data % (2 * _LINE) // 2
    return Sums(memory[first:first + _LONGEST], np.empty(samples, np.int32))


@kernel
def _search(evidence, pad, views, chosen, samples, target, scales, score, translation, sums):
    side, row, total = 2 * SHIFT + 1, evidence.shape[2], sums.total
    focal, centre, camera = target.focal, target.centre, Pinhole(target.focal, target.centre)
    for g in chosen:
        score[g] = -1.0
        x, y, z = place(views.outline[g], target.box, target.open_sides, focal, centre)
        for s in range(scales.shape[0]):
            d = z * scales[s]
            seen = gather(evidence, pad, views, g, samples, (x * d, y * d, d), camera, sums)
            best, shift_y, shift_x = -1, 0, 0
            for i in range(side):
                for j in range(side):
                    if total[i * row + j] > best:
                        best, shift_y, shift_x = total[i * row + j], i - SHIFT, j - SHIFT
            mean = best / (UNIT * max(seen, 1))
            if mean > score[g]:
                score[g] = mean
                translation[g, 0], translation[g, 1] = (x + shift_x / focal) * d, (y + shift_y / focal) * d
                translation[g, 2] = d


@kernel
def place(outline, box, open_sides, focal, centre):
    """Position (x/z, y/z, z) at which rotated points ``outline`` [M, 3] metres fill the ROI.

    A side on the image border says nothing about where the object ends, so it is left out.
    """
    use_x = not (open_sides[0] or open_sides[2])
    use_y = not (open_sides[1] or open_sides[3])
    width, height = max(box[2] - box[0], 1.0), max(box[3] - box[1], 1.0)
    nearest = 0.0
    for m in range(outline.shape[0]):
        nearest = min(nearest, outline[m, 2])
    d = 4.0 - nearest
    left = right = top = bottom = 0.0
    for _ in range(5):  # width is nearly inverse to distance: a fixed-point step multiplies by the ratio
        left, right, top, bottom = 1e9, -1e9, 1e9, -1e9
        for m in range(outline.shape[0]):
            u, v = outline[m, 0] / (outline[m, 2] + d), outline[m, 1] / (outline[m, 2] + d)
            left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
        ratio_x, ratio_y = focal * (right - left) / width, focal * (bottom - top) / height
        if use_x == use_y:
            # Either both are trustworthy, or both are cut and the larger picture is the better guess.
            ratio = math.sqrt(ratio_x * ratio_y) if use_x else min(ratio_x, ratio_y)
        else:
            ratio = ratio_x if use_x else ratio_y
        d = max(d * ratio, -1.15 * nearest)  # the object stays in front of the camera, whatever its size
    x = _align(left, right, (box[0] - centre) / focal, (box[2] - centre) / focal, open_sides[0], open_sides[2])
    y = _align(top, bottom, (box[1] - centre) / focal, (box[3] - centre) / focal, open_sides[1], open_sides[3])
    return x, y, d


@kernel
def _align(low, high, box_low, box_high, open_low, open_high):
    """Offset that puts the interval low..high onto the ROI's, by its middle or by the side that is not cut."""
    if open_low and not open_high:
        return box_high - high
    if open_high and not open_low:
        return box_low - low
    return 0.5 * (box_low + box_high - low - high)


@kernel
def gather(evidence, pad, views, g, samples, position, camera, sums):
    """Sum of the evidence of the ``samples`` first vertices of view ``g`` at a position (x, y, z), per image shift.

    Shift (i - SHIFT, j - SHIFT) in y and x is in sums.total[i * row + j], row the length of a row of ``evidence``; what
    is between these is to be ignored. Returns how many vertices there were; one outside the crop counts with zero.
    """
    index, points, weight, total, first = views.index[g], views.points[g], views.weight[g], sums.total, sums.first
    side, height, row = np.int32(2 * SHIFT + 1), np.int32(evidence.shape[1]), np.int32(evidence.shape[2])
    run = ((side - 1) * row + side + _LINE - 1) // _LINE * _LINE
    cells, nowhere = evidence.reshape(-1), np.int32((evidence.shape[0] - 1) * height * row)  # the plane of zeros
    seen = 0
    for n in range(samples):
        seen += weight[n] > 0.0
    # Without branches and in 32 bits: the compiler makes vector instructions of it, half the time of one by one.
    X, Y, Z = points[0], points[1], points[2]
    to_x, to_y, to_z = np.float32(position[0]), np.float32(position[1]), np.float32(position[2])
    scale, middle = np.float32(camera.focal), np.float32(camera.centre + 0.5 + pad - SHIFT)
    nearest = np.float32(MIN_DEPTH)
    for n in range(seen):
        depth = Z[n] + to_z
        cell = scale / max(depth, nearest)
        j, i = np.floor(cell * (X[n] + to_x) + middle), np.floor(cell * (Y[n] + to_y) + middle)
        inside = (depth >= nearest) & (i >= 0) & (j >= 0) & (i <= height - side) & (j <= row - side)
        corner = (index[n] * height + np.int32(i)) * row + np.int32(j)
        first[n] = corner if inside else nowhere
    for k in range(run):
        total[k] = 0
    n = 0
    while n + 4 <= seen:  # four at a time: the totals are read and written once for all of them
        a, b = cells[first[n]:first[n] + run], cells[first[n + 1]:first[n + 1] + run]
        c, d = cells[first[n + 2]:first[n + 2] + run], cells[first[n + 3]:first[n + 3] + run]
        for k in range(run):
            total[k] += a[k] + b[k] + c[k] + d[k]
        n += 4
    while n < seen:
        a = cells[first[n]:first[n] + run]
        for k in range(run):
            total[k] += a[k]
        n += 1
    return seen
