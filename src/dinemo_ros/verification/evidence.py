# SPDX-License-Identifier: Apache-2.0
"""What a crop's features say for and against an object at a pose that was found in it.

The score asks how far the visible vertices beat clutter, and so does whatever looks a little like the object.
So more is measured, in half a millisecond and from the features alone, whatever device solved the pose: not only how
alike vertices and cells are but whether each cell's best vertex is the one that the pose puts there, what surrounds the
silhouette, how much of what looks like the object is inside of it, and the mean features of both, in which the training
finds the directions that tell the category from others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from ..detection.regions import overlap
from ..model.bundle import Bundle
from ..solver.coarse import Target
from ..solver.crop_solver import SolvedPose
from ..solver.similarity import object_probability, products
from ..solver.surface import prepare_surface
from ..solver.visibility import direction_index
from .spec import NUMBERS

_COMPARED = 200  # evenly spread vertices that each cell is compared with
_NEAR = 0.1  # of the diagonal: a best vertex so close to the expected one is in place
_SPREAD_OUT = np.ones((3, 3), np.uint8)  # a silhouette of cells grows by one,
_AROUND = np.ones((7, 7), np.uint8)  # and its surroundings end three cells away
_SHARPEST = 1e-8  # variance of a rotation, square radians
_CLOSEST = 1e-3  # of the distance to the camera, metres


class Evidence(NamedTuple):
    """numbers: [N] in the order of :data:`~dinemo_ros.verification.spec.NUMBERS`. pooled: [2 D]."""

    numbers: np.ndarray
    pooled: np.ndarray


class _Cells(NamedTuple):
    """flat: [D, P] features. peak, clutter: [P] best cosine with vertices, with clutter. best: [P] that vertex."""

    flat: np.ndarray
    peak: np.ndarray
    clutter: np.ndarray
    best: np.ndarray


class _Seen(NamedTuple):
    """Visible vertices inside the crop: vertex [n], cell [n]; silhouette and surroundings bool [P]; box [4] cells;
    inside: share of the visible ones that the crop shows; axis: height of the camera above the object, -1 to 1."""

    vertex: np.ndarray
    cell: np.ndarray
    silhouette: np.ndarray
    surroundings: np.ndarray
    box: np.ndarray
    inside: float
    above: float


class EvidenceReader:
    """Reads the evidence for the poses of one category's bundle; what it needs of that is prepared once."""

    def __init__(self, bundle: Bundle) -> None:
        self._surface, card = prepare_surface(bundle.mesh), bundle.card
        vertices = self._surface.vertices
        extent = np.ptp(vertices, axis=0)
        self._unit, self._diagonal = vertices / extent, float(np.linalg.norm(extent))
        self._mean, self._sigma = np.array(card.size_prior.mean_m), np.array(card.size_prior.log_sigma)
        self._temperature, self._symmetry = card.features.temperature, card.symmetry
        padding = ((0, 0), (0, -card.features.dim % 4))  # the kernel takes four channels at a time
        self._compared = np.pad(self._surface.features[:_COMPARED], padding)
        self._clutter = np.pad(bundle.mesh.clutter, padding)

    def __call__(self, features: np.ndarray, target: Target, poses: list[SolvedPose]) -> Evidence:
        """Evidence for the first of a crop's ``poses`` from its ``features`` [D, h, h] float32; see :class:`Target`.

        It is weighed as it was learnt: of poses by the picture alone.
        """
        poses = [pose.pictured or pose for pose in poses]
        pose, cells = poses[0], self._cells(features)
        seen = self._seen(pose, target, features.shape[1])
        if not len(seen.vertex):
            return Evidence(np.zeros(len(NUMBERS)), np.zeros(2 * len(features)))
        sampled, expected = cells.flat[:, seen.cell].T, self._surface.features[seen.vertex]
        inside = sampled.mean(axis=0)
        outside = _mean(cells.flat, seen.surroundings)
        numbers = [*self._matches(cells, seen, sampled, expected), *self._contrast(cells, seen),
                   *np.log(pose.size / self._mean) / self._sigma, seen.above, overlap(seen.box, target.box),
                   seen.inside, *_pooled(inside, expected.mean(axis=0)),
                   float(np.mean(cells.peak[seen.cell] - np.sum(sampled * expected, axis=1))), *self._solver(poses)]
        return Evidence(np.array(numbers, float), np.concatenate([inside, outside]).astype(float))

    def _cells(self, features: np.ndarray) -> _Cells:
        flat = np.ascontiguousarray(features, np.float32).reshape(len(features), -1)
        padded = np.pad(flat, ((0, -len(flat) % 4), (0, 0))) if len(flat) % 4 else flat
        cosine, background = (np.empty((len(rows), flat.shape[1]), np.float32)
                              for rows in (self._compared, self._clutter))
        peak, clutter = np.empty((2, flat.shape[1]), np.float32)
        products(self._compared, padded, cosine, 0, len(cosine), peak)
        products(self._clutter, padded, background, 0, len(background), clutter)
        return _Cells(flat, peak, clutter, cosine.argmax(axis=0))

    def _seen(self, pose: SolvedPose, target: Target, side: int) -> _Seen:
        R, t = pose.T_crop_obj[:3, :3], pose.T_crop_obj[:3, 3]
        direction = (R.T @ -t) * (self._mean / pose.size)
        surface = self._surface
        visible = surface.visible[direction_index(direction, surface.azimuths, surface.elevations)] > 0
        points = (R * pose.size) @ self._unit.T + t[:, None]
        places = target.focal * points[:2] / np.maximum(points[2], _CLOSEST) + target.centre
        shown = np.all((places > -0.5) & (places < side - 0.5), axis=0)
        column, row = np.rint(np.where(shown, places, 0.0)).astype(np.intp)
        silhouette = np.zeros((side, side), np.uint8)
        silhouette[row[shown], column[shown]] = 1
        silhouette = cv2.morphologyEx(silhouette, cv2.MORPH_CLOSE, _SPREAD_OUT)
        around = cv2.dilate(silhouette, _AROUND) - cv2.dilate(silhouette, _SPREAD_OUT)
        vertex = np.flatnonzero(visible & shown)
        return _Seen(vertex, row[vertex] * side + column[vertex], silhouette.ravel() > 0, around.ravel() > 0,
                     np.concatenate([places.min(axis=1), places.max(axis=1)]),
                     len(vertex) / max(int(visible.sum()), 1), float(direction[2] / np.linalg.norm(direction)))

    def _matches(self, cells: _Cells, seen: _Seen, sampled: np.ndarray, expected: np.ndarray) -> list[float]:
        """agreement: mean cosine of vertex and cell; lead: by how much it beats clutter, seen: how often, gain: by how
        much where it does; scatter of the cosine; specific: what of it is not owed to the mean of all vertices; place:
        from each vertex to the best one of its cell, in diagonals; placed: how often these are near."""
        cosine = np.sum(sampled * expected, axis=1)
        lead = cosine - cells.clutter[seen.cell]
        apart = self._surface.vertices[cells.best[seen.cell]] - self._surface.vertices[seen.vertex]
        place = np.sqrt(np.sum(apart**2, axis=1)) / self._diagonal
        specific = cosine - sampled @ expected.mean(axis=0)
        return [float(np.mean(x)) for x in (cosine, lead, lead > 0, np.maximum(lead, 0.0))] + [
            float(cosine.std()), float(specific.mean()), float(place.mean()), float(np.mean(place < _NEAR))]

    def _contrast(self, cells: _Cells, seen: _Seen) -> list[float]:
        """foreground, around: probability of any vertex in the silhouette and around it; the same of the best cosine
        with vertices (peak) and with clutter; held: which part of the foreground lies in the silhouette; share: of the
        crop that is foreground."""
        foreground = object_probability(cells.peak, cells.clutter, self._temperature)
        pairs = [_mean(values, where) for values in (foreground, cells.peak, cells.clutter)
                 for where in (seen.silhouette, seen.surroundings)]
        total = float(foreground.sum())
        return [*map(float, pairs), float(foreground[seen.silhouette].sum()) / (total + 1e-3),
                total / len(foreground)]

    def _solver(self, poses: list[SolvedPose]) -> list[float]:
        """score and visible share of the first, apart: by which share of its score the next lies behind, sharp: minus
        the logarithm of the rotation's standard deviation."""
        pose, others = poses[0], [other.score for other in poses[1:]]
        apart = min(max(1.0 - max(others) / pose.score, -1.0), 1.0) if others and pose.score > 0.0 else 1.0
        rotation = pose.covariance[3:, 3:]
        variance = float(np.trace(rotation))
        if self._symmetry.continuous:
            axis = pose.T_crop_obj[:3, 2]
            variance -= float(axis @ rotation @ axis)
        return [pose.score, pose.visible, apart, -0.5 * math.log(min(max(variance, _SHARPEST), 1.0 / _SHARPEST))]


def _pooled(inside: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """pooled: length of the mean feature, 1 where all cells agree; alike: its cosine with the mean of the vertices."""
    length = float(np.sqrt(inside @ inside))
    return length, float(inside @ expected) / (length * float(np.sqrt(expected @ expected)) + 1e-9)


def _mean(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean over the cells ``where`` [P] is true, zero of none; values [P] or [D, P]."""
    return values[..., where].mean(axis=-1) if where.any() else np.zeros(values.shape[:-1], values.dtype)
