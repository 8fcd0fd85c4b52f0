# SPDX-License-Identifier: Apache-2.0
"""Regions of interest from the neural mesh itself, for when no detector is there.

The backbone runs over the whole frame, scaled to a fixed number of pixels, to half and to a quarter of that. In each of
these feature maps the mesh in some dozen views and a few sizes slides over every cell (``sliding.py``). A view at the
right place and size is explained by one object only, so neighbours in a row of parked cars stay apart. Where a window
agrees with a piece of foreground, it takes that piece's outline, which is sharper. The best windows that do not overlap
are proposed; the pose solver has the last word: a window without the object gets a low score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ..camera.crop import BORDER_GREY
from ..features import FeatureExtractor
from ..features.protocol import LARGEST_SIDE
from ..model.bundle import Bundle
from ..process.thread_pool import ThreadPool
from ..solver.jit import kernel
from ..solver.similarity import object_probability, products
from ..solver.surface import Surface, prepare_surface
from .regions import covered_share, distinct_boxes, overlap
from .scaling import halved, scaled
from .sliding_window import VERTICES, Templates, Windows, make_templates

_PIXELS = 640 * 480  # of the scaled frame: a few crops' worth of work for the network
_LARGEST_SCALE = 1.5  # a small frame is enlarged by no more than this
_HALVINGS = 2
# Longer side of the object in cells: an octave of the size that crops are trained with, for small objects less.
_LENGTHS = (11.0, 13.0, 15.5, 18.5)
_SMALL_LENGTHS = (5.5, 7.8)
_FOREGROUND = 0.5  # probability
_SAME_OBJECT = 0.3  # of the mesh diagonal: how far apart the vertices of neighbouring cells of one object may lie
_AGREE = 0.35  # overlap of a window with a piece of foreground above which the piece's outline is taken
_WITHIN = 0.75  # share of a window inside a better one above which it shows a part of the same object
_FLOOR = 0.45  # of the bundle's accepted score: windows below are not proposed
MOST = 8  # boxes per frame that are handed to the solver


class Proposer:
    """Finds candidate boxes of the bundle's category in a frame."""

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor, threads: int = 2) -> None:
        surface = prepare_surface(bundle.mesh)
        alone = getattr(extractor, "alone", None)
        everybody, nobody_else = ThreadPool(threads, "dinemo_proposals"), ThreadPool(1, "")

        def level(lengths: Sequence[float], together: bool) -> Level:
            templates = make_templates(bundle.card, surface, lengths)
            return Level(bundle, surface, extractor if together or alone is None else alone, templates,
                         everybody if together else nobody_else)

        # The finest map is most of the work and shared by all threads; of the coarse ones each thread takes one.
        self._finest = level((*_SMALL_LENGTHS, *_LENGTHS), True)
        self._coarse = [level(_LENGTHS, alone is None) for _ in range(_HALVINGS)]
        self._side_by_side = everybody if alone else nobody_else

    def __call__(self, image: np.ndarray) -> list[tuple[float, float, float, float]]:
        """(x_min, y_min, x_max, y_max) pixels in ``image`` uint8 [H, W, 3], the most convincing first."""
        height, width = image.shape[:2]
        scale = min(np.sqrt(_PIXELS / (height * width)), _LARGEST_SCALE, LARGEST_SIDE / max(height, width))
        picture = scaled(image, scale)
        found = [self._finest(picture, scale)]
        smaller = []
        for _ in self._coarse:
            picture, scale = halved(picture), 0.5 * scale
            smaller.append((picture, scale))
        found += self._side_by_side.map(lambda k: self._coarse[k](*smaller[k]), len(smaller))
        boxes, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        keep: list[int] = []
        for k in distinct_boxes(boxes, scores):
            if all(covered_share(boxes[k], boxes[better]) < _WITHIN for better in keep):
                keep.append(k)
            if len(keep) == MOST:
                break
        size = np.array([width, height, width, height])
        return [tuple(np.clip(boxes[k], 0, size).tolist()) for k in keep]


class Level:
    """Boxes in the frame at one scale, with buffers of its own.

    Args:
        extractor: the network, as this level is to run it.
        pool: who shares the work.
    """

    def __init__(self, bundle: Bundle, surface: Surface, extractor: Callable[[np.ndarray], np.ndarray],
                 templates: Templates, pool: ThreadPool) -> None:
        self._extractor, self._stride, self._pool = extractor, bundle.card.image.stride, pool
        self._features = np.ascontiguousarray(surface.features[:VERTICES])
        self._clutter = np.ascontiguousarray(bundle.mesh.clutter)
        self._vertices = surface.vertices[:VERTICES].astype(np.float32)
        self._jump = _SAME_OBJECT * float(np.linalg.norm(bundle.mesh.extent))
        self._temperature = bundle.card.features.temperature
        self._windows = Windows(templates, pool)
        self._floor = _FLOOR * bundle.card.score.accept

    def __call__(self, picture: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [N, 4] in pixels of the frame, of which ``picture`` is the picture at ``scale``, and scores [N]."""
        S, background_score = self._similarity(picture)
        pieces = self._pieces(S, background_score)
        boxes, scores = self._windows(S, background_score, self._floor)
        boxes = np.array([snapped(box, pieces) for box in boxes]).reshape(-1, 4)
        return boxes * self._stride / scale, scores

    def _similarity(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Similarity [V, h, w] of every vertex and cell, and that of the best clutter feature [h, w]."""
        height, width = picture.shape[:2]
        padded = cv2.copyMakeBorder(picture, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=BORDER_GREY)
        F = self._extractor(padded[None])[0][:, :-(-height // self._stride), :-(-width // self._stride)]
        D, h, w = F.shape
        cells = np.ascontiguousarray(F).reshape(D, h * w)
        clutter, background_score = np.empty((len(self._clutter), h * w), np.float32), np.empty(h * w, np.float32)
        products(self._clutter, cells, clutter, 0, len(clutter), background_score)
        S = np.empty((len(self._features), h * w), np.float32)
        parts = self._pool.threads
        bounds = np.linspace(0, len(S), parts + 1).astype(int)
        self._pool.map(lambda k: products(self._features, cells, S, bounds[k], bounds[k + 1],
                                          np.empty_like(background_score)), parts)
        return S.reshape(-1, h, w), background_score.reshape(h, w)

    def _pieces(self, S: np.ndarray, background_score: np.ndarray) -> np.ndarray:
        """[N, 4] cells, edges at integers: outlines of pieces of foreground that show neighbouring vertices.

        Neighbouring cells belong to one object where their best vertices are neighbours on the mesh: from one car's
        tail to the next one's bonnet the vertex jumps.
        """
        foreground = object_probability(S.max(axis=0), background_score, self._temperature) > _FOREGROUND
        labels = np.zeros(background_score.shape, np.int32)
        count = label_objects(foreground, self._vertices[S.argmax(axis=0)], self._jump, labels)
        boxes = []
        for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=1 + count)[1:] >= 6) + 1:
            rows, columns = np.nonzero(labels == label)
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return np.array(boxes, dtype=float).reshape(-1, 4)


def snapped(box: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """The piece of foreground [4] that overlaps ``box`` most, or the box itself where none agrees with it.

    Args:
        box: [4] x_min, y_min, x_max, y_max; pieces: [N, 4] likewise, in the same unit, pixels or cells.
    """
    shares = [overlap(box, piece) for piece in pieces]
    return pieces[int(np.argmax(shares))] if shares and max(shares) >= _AGREE else box


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
