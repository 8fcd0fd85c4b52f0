# SPDX-License-Identifier: Apache-2.0
"""Regions of interest from the neural mesh itself, for when no detector is there.

The backbone runs over the whole frame, scaled to a fixed number of pixels, to half and to a quarter of that. In each of
these feature maps the mesh in some dozen views and a few sizes slides over every cell, scored as in the coarse search:
by the mean evidence of its visible vertices. A view at the right place and size is explained by one object only, so
neighbours in a row of parked cars stay apart. Where a window agrees with a piece of foreground, it takes that piece's
outline, which is sharper. The best windows that do not overlap are proposed; the pose solver has the last word: a
window without the object gets a low score.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .bundle import Bundle
from .camera import Camera
from .crop import BORDER_GREY
from .features import FeatureExtractor
from .features.protocol import LARGEST_SIDE
from .geometry import rotation_from_viewpoint
from .pose import ObjectPose
from .regions import covered_share, distinct_boxes, overlap, projected_box
from .solver.jit import kernel
from .solver.similarity import products
from .solver.surface import Surface, prepare_surface
from .solver.visibility import visible_row

_PIXELS = 640 * 480  # of the scaled frame: a few crops' worth of work for the network
_LARGEST_SCALE = 1.5  # a small frame is enlarged by no more than this
_SCALES = (1.0, 0.5, 0.25)
# Longer side of the object in cells: an octave of the size that crops are trained with, for small objects less.
_LENGTHS = (11.0, 13.0, 15.5, 18.5)
_SMALL_LENGTHS = (5.5, 7.8)
_VERTICES = 128  # evenly spread ones of which each view uses the visible ones among the first
_SAMPLES = 24  # visible vertices per view
_AZIMUTHS, _ELEVATIONS = 24, 3
_DISTANCE = 3.0  # of the camera in bounding-box diagonals
_FOREGROUND = 0.5  # probability
_SAME_OBJECT = 0.3  # of the mesh diagonal: how far apart the vertices of neighbouring cells of one object may lie
_AGREE = 0.35  # overlap of a window with a piece of foreground above which the piece's outline is taken
_WITHIN = 0.75  # share of a window inside a better one above which it shows a part of the same object
_HIDDEN, _DOUBTFUL = 0.6, 0.75  # a pose of which so much lies over a better one needs so much of its score
_INSIDE = 0.6  # share of a view's vertices that must lie in the frame
_FLOOR = 0.45  # of the bundle's accepted score: windows below are not proposed
_LIMIT = 8  # boxes per frame that are handed to the solver


@dataclass(frozen=True)
class Templates:
    """T views in some sizes.

    Attributes:
        vertex: [T, N] int32; offset: [T, N, 2] int32 (x, y) cells from the middle of the view's box.
        box: [T, 2] width and height in cells.
    """

    vertex: np.ndarray
    offset: np.ndarray
    box: np.ndarray


def make_templates(bundle: Bundle, surface: Surface, lengths: Sequence[float]) -> Templates:
    """Views of the bundle's category, evenly over its search range, in every one of ``lengths`` (cells)."""
    search, vertices = bundle.card.search, surface.vertices
    steps = min(_AZIMUTHS, search.azimuth)
    azimuths = 2 * np.pi / steps * np.arange(bundle.card.symmetry.search_azimuths(steps))
    middle = np.linspace(0, len(search.elevation_deg) - 1, 2 * _ELEVATIONS + 1)[1::2]  # of thirds of the range
    elevations = np.unique(np.interp(middle, np.arange(len(search.elevation_deg)), sorted(search.elevation_deg)))
    distance = _DISTANCE * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    vertex, offset, box = [], [], []
    for elevation in np.deg2rad(elevations):
        for azimuth in azimuths:
            points = vertices @ rotation_from_viewpoint(azimuth, elevation, 0.0).T + [0.0, 0.0, distance]
            plane = points[:, :2] / points[:, 2:]
            low, high = plane.min(axis=0), plane.max(axis=0)
            seen = np.flatnonzero(visible_row(surface, azimuth, elevation)[:_VERTICES])
            seen = np.resize(seen, _SAMPLES)
            for length in lengths:
                scale = length / np.max(high - low)
                vertex.append(seen)
                offset.append(np.round(scale * (plane[seen] - 0.5 * (low + high))))
                box.append(scale * (high - low))
    return Templates(np.array(vertex, np.int32), np.array(offset, np.int32), np.array(box))


class Proposer:
    """Finds candidate boxes of the bundle's category in a frame."""

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor, threads: int = 2) -> None:
        self._extractor, self._stride, self._threads = extractor, bundle.card.image.stride, max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dinemo_proposals")
        surface = prepare_surface(bundle.mesh)
        self._features = np.ascontiguousarray(surface.features[:_VERTICES])
        self._clutter = np.ascontiguousarray(bundle.mesh.clutter)
        self._vertices = surface.vertices[:_VERTICES].astype(np.float32)
        self._jump = _SAME_OBJECT * float(np.linalg.norm(bundle.mesh.extent))
        self._temperature = bundle.card.features.temperature
        self._templates = make_templates(bundle, surface, _LENGTHS)
        self._small_templates = make_templates(bundle, surface, (*_SMALL_LENGTHS, *_LENGTHS))
        self._unit = bundle.mesh.vertices / bundle.mesh.extent
        self._floor = _FLOOR * bundle.card.score.accept

    def __call__(self, image: np.ndarray) -> list[tuple[float, float, float, float]]:
        """(x_min, y_min, x_max, y_max) pixels in ``image`` uint8 [H, W, 3], the most convincing first."""
        height, width = image.shape[:2]
        fine = min(np.sqrt(_PIXELS / (height * width)), _LARGEST_SCALE, LARGEST_SIDE / max(height, width))
        boxes, scores = [], []
        for scale in fine * np.array(_SCALES):
            templates = self._small_templates if scale == fine else self._templates
            S, rival = self._similarity(image, scale)
            pieces = self._pieces(S, rival)
            found, score = self._windows(np.maximum(S - rival, 0.0, out=S), templates)
            found = np.array([snapped(box, pieces) for box in found]).reshape(-1, 4)
            boxes.append(found * self._stride / scale)
            scores.append(score)
        boxes, scores = np.concatenate(boxes), np.concatenate(scores)
        keep: list[int] = []
        for k in distinct_boxes(boxes, scores):
            if all(covered_share(boxes[k], boxes[better]) < _WITHIN for better in keep):
                keep.append(k)
        keep = keep[:_LIMIT]
        size = np.array([width, height, width, height])
        return [tuple(np.clip(boxes[k], 0, size).tolist()) for k in keep]

    def _similarity(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Of the frame scaled by ``scale``: similarity [V, h, w] and that of the best clutter feature [h, w]."""
        height, width = (max(1, round(scale * n)) for n in image.shape[:2])
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        padded = cv2.copyMakeBorder(resized, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=BORDER_GREY)
        F = self._extractor(padded[None])[0][:, :-(-height // self._stride), :-(-width // self._stride)]
        D, h, w = F.shape
        cells = np.ascontiguousarray(F).reshape(D, h * w)
        clutter, rival = np.empty((len(self._clutter), h * w), np.float32), np.empty(h * w, np.float32)
        products(self._clutter, cells, clutter, 0, len(clutter), rival)
        S = np.empty((len(self._features), h * w), np.float32)
        bounds = np.linspace(0, len(S), self._threads + 1).astype(int)
        self._each(lambda k: products(self._features, cells, S, bounds[k], bounds[k + 1], np.empty_like(rival)))
        return S.reshape(-1, h, w), rival.reshape(h, w)

    def _pieces(self, S: np.ndarray, rival: np.ndarray) -> np.ndarray:
        """[N, 4] cells, edges at integers: outlines of pieces of foreground that show neighbouring vertices.

        Neighbouring cells belong to one object where their best vertices are neighbours on the mesh: from one car's
        tail to the next one's bonnet the vertex jumps.
        """
        foreground = 1.0 / (1.0 + np.exp((rival - S.max(axis=0)) / self._temperature)) > _FOREGROUND
        labels = np.zeros(rival.shape, np.int32)
        count = label_objects(foreground, self._vertices[S.argmax(axis=0)], self._jump, labels)
        boxes = []
        for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=1 + count)[1:] >= 6) + 1:
            rows, columns = np.nonzero(labels == label)
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return np.array(boxes, dtype=float).reshape(-1, 4)

    def _windows(self, evidence: np.ndarray, t: Templates) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [N, 4] in cells with edges at integers, and scores [N], of the local maxima above the floor."""
        h, w = evidence.shape[1:]
        score = np.zeros((self._threads, h, w), np.float32)
        best = np.zeros((self._threads, h, w), np.int32)
        bounds = np.linspace(0, len(t.vertex), self._threads + 1).astype(int)
        self._each(lambda k: slide(evidence, t.vertex, t.offset, bounds[k], bounds[k + 1], _INSIDE, score[k], best[k],
                                   np.empty((h, w), np.float32), np.empty((h, w), np.float32)))
        winner = score.argmax(axis=0)[None]
        score, best = np.take_along_axis(score, winner, 0)[0], np.take_along_axis(best, winner, 0)[0]
        peak = (score >= self._floor) & (score >= cv2.dilate(score, np.ones((3, 3), np.uint8)))
        i, j = np.nonzero(peak)
        half, middle = 0.5 * t.box[best[i, j]], np.stack([j, i], axis=1) + 0.5
        return np.concatenate([middle - half, middle + half], axis=1), score[i, j]

    def _each(self, function) -> None:
        """function(0) ... function(threads - 1) on the pool."""
        for _ in self._pool.map(function, range(self._threads)):
            pass

    def without_duplicates(self, poses: Sequence[ObjectPose], camera: Camera) -> list[ObjectPose]:
        """Of poses, best first, that project onto the same place, the best; their ROI becomes that place.

        One that lies mostly over a better one is kept if it is nearly as good: a car half behind another, no second
        reading of the same one.
        """
        boxes = np.array([projected_box(pose, camera, self._unit) for pose in poses]).reshape(-1, 4)
        kept: list[int] = []
        for k in distinct_boxes(boxes, -np.arange(len(poses), dtype=float)):
            if all(covered_share(boxes[k], boxes[better]) < _HIDDEN
                   or poses[k].score > _DOUBTFUL * poses[better].score for better in kept):
                kept.append(k)
        return [replace(poses[k], roi=tuple(boxes[k].tolist())) for k in kept]


def snapped(box: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """The piece [N, 4] of foreground that overlaps ``box`` [4] most, or the box itself where none agrees with it."""
    shares = [overlap(box, piece) for piece in pieces]
    return pieces[int(np.argmax(shares))] if shares and max(shares) >= _AGREE else box


@kernel
def slide(evidence, vertex, offset, first, last, inside, score, best, total, mass):
    """Raise score [h, w] and best [h, w] to the templates first:last whose middle is at a cell.

    evidence [V, h, w]; vertex [T, N], offset [T, N, 2] of the templates; a template counts where at least the share
    ``inside`` of its vertices lies on the map, with the mean over these. total, mass [h, w] are work space.
    """
    h, w = score.shape
    N = vertex.shape[1]
    least = np.float32(inside * N)
    for t in range(first, last):
        for i in range(h):
            for j in range(w):
                total[i, j] = mass[i, j] = np.float32(0.0)
        for n in range(N):
            plane, dx, dy = evidence[vertex[t, n]], offset[t, n, 0], offset[t, n, 1]
            left, right = max(0, -dx), min(w, w - dx)
            if left >= right:
                continue
            for i in range(max(0, -dy), min(h, h - dy)):
                source, into, count = plane[i + dy, left + dx:right + dx], total[i, left:right], mass[i, left:right]
                for j in range(right - left):
                    into[j] += source[j]
                    count[j] += np.float32(1.0)
        for i in range(h):
            for j in range(w):
                if mass[i, j] >= least and total[i, j] > score[i, j] * mass[i, j]:
                    score[i, j], best[i, j] = total[i, j] / mass[i, j], t


@kernel
def label_objects(mask, points, jump, labels):
    """Fill ``labels`` int32 [h, w]: 1, 2, ... per piece of ``mask``, neighbours' points nearer than ``jump``.

    Flood fill over the four neighbours; returns the number of pieces.
    """
    h, w = mask.shape
    stack = np.empty((h * w, 2), np.int32)
    count = 0
    for i0 in range(h):
        for j0 in range(w):
            if not mask[i0, j0] or labels[i0, j0]:
                continue
            count += 1
            labels[i0, j0] = count
            stack[0, 0], stack[0, 1] = i0, j0
            top = 1
            while top:
                top -= 1
                i, j = stack[top, 0], stack[top, 1]
                for k in range(4):
                    a, b = i + (k == 0) - (k == 1), j + (k == 2) - (k == 3)
                    if a < 0 or b < 0 or a >= h or b >= w or not mask[a, b] or labels[a, b]:
                        continue
                    x = points[a, b, 0] - points[i, j, 0]
                    y = points[a, b, 1] - points[i, j, 1]
                    z = points[a, b, 2] - points[i, j, 2]
                    if x * x + y * y + z * z < jump * jump:
                        labels[a, b] = count
                        stack[top, 0], stack[top, 1] = a, b
                        top += 1
    return count
