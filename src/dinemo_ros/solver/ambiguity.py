# SPDX-License-Identifier: Apache-2.0
"""How certain the azimuth is where a single part tells it: the posterior over all turns about the object's axis.

The normal matrix of the refinement describes the peak it stands on. If a cup's handle is hidden, a whole range of
turns explains the picture as well, and no matrix at one of them knows of the others. So the object is put there at
every turn, all else held fixed, and compared with the picture:

    log p(turn | picture) = sum over the object's cells of max(s - background_score, -cost) / unit + const

where s is the cosine between the vertex seen in a cell and the cell's feature, background_score what clutter scores
there, cost the price of calling a cell occluded (without it a handle could stand before the background for nothing),
and unit the variance that also scales the normal matrix (``state_covariance``), so that this posterior and the local
covariance are two readings of one likelihood. The sum over cells is taken as one over visible vertices, each standing
for the cells that its piece of surface covers.
"""

from __future__ import annotations

import math

import numpy as np

from ..geometry import turn, wrapped
from ..model.symmetry import UNIFORM_VARIANCE, axis_variance, with_axis_variance
from .similarity import UNIT, SimilarityVolume
from .surface import Surface
from .visibility import visible_row

TURNS = 36  # ten degrees apart: a handle is wider than that
_OCCLUDED = 0.1  # cosine that a cell is worth less than clutter if it should show the object and does not


def azimuth_posterior(volume: SimilarityVolume, surface: Surface, R: np.ndarray, t: np.ndarray, size: np.ndarray,
                      focal: float, centre: float, unit: float) -> np.ndarray:
    """[TURNS] probability that the object is turned by ``angles()`` about its z axis from the pose R, t.

    Args:
        R: [3, 3]; t: [3] metres, crop camera frame; size: [3] factors on the mean shape.
        focal, centre: of the camera, cells.
        unit: variance of a cell's cosine, see the module.
    """
    evidence = np.array([turned_evidence(volume, surface, R @ turn(angle), t, size, focal, centre)
                         for angle in angles()])
    evidence *= surface_area(surface, size) / len(volume.similarity)
    weight = np.exp((evidence - evidence.max()) / unit)
    return weight / weight.sum()


def angles() -> np.ndarray:
    """[TURNS] the turns in radians, -pi to pi, zero first."""
    return wrapped(2 * np.pi / TURNS * np.arange(TURNS))


def widened(covariance: np.ndarray, R: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """``covariance`` [6, 6] of the pose with rotation ``R`` [3, 3], with the variance about z of ``posterior`` [TURNS].

    The second moment is taken about the reported turn, not about the mean: what is published is that pose. Where the
    posterior is one narrow peak the local variance is the finer measurement and stays, but an angle cannot be less
    known than not at all: more than the variance of a uniform one is no information.
    """
    spread, local = float(np.sum(posterior * angles() ** 2)), axis_variance(covariance, R)
    variance = max(spread, min(local, UNIFORM_VARIANCE))
    return covariance if variance == local else with_axis_variance(covariance, R, variance)


def turned_evidence(volume: SimilarityVolume, surface: Surface, R: np.ndarray, t: np.ndarray, size: np.ndarray,
                    focal: float, centre: float) -> float:
    """Evidence max(s - background_score, -cost) over the cells that the object covers, by the volume's own vertices.

    These are spread evenly: to be multiplied by the square metres of surface that one stands for.

    Args:
        R: [3, 3] object to crop camera; t: [3] metres; size: [3] factors on the mean shape.
        focal, centre: of the crop camera, cells.
    """
    count = len(volume.similarity)
    camera = -R.T @ t / size  # its centre in the frame of the mean shape
    azimuth, elevation = math.atan2(camera[1], camera[0]), math.atan2(camera[2], math.hypot(camera[0], camera[1]))
    ray = camera - surface.vertices[:count]
    facing = np.sum(ray * surface.normals[:count], axis=1) / np.linalg.norm(ray, axis=1)
    seen = np.flatnonzero(visible_row(surface, azimuth, elevation)[:count] & (facing > 0.0))
    points = (surface.vertices[seen] * size) @ R.T + t
    h, w = volume.background_score.shape
    x, y = (focal * points[:, k] / points[:, 2] + centre for k in (0, 1))
    inside = (x > -1) & (y > -1) & (x < w) & (y < h) & (points[:, 2] > 0)
    seen, x, y, z = seen[inside], x[inside], y[inside], points[inside, 2]
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v, row, column = x - j, y - i, i + volume.pad, j + volume.pad  # zeros in the padding
    plane = volume.evidence
    value = ((1 - v) * ((1 - u) * plane[seen, row, column] + u * plane[seen, row, column + 1])
             + v * ((1 - u) * plane[seen, row + 1, column] + u * plane[seen, row + 1, column + 1]))
    value = np.where(value > 0, value / UNIT, -_OCCLUDED)
    return float(np.sum(value * facing[seen] * (focal / z) ** 2))  # cells that a square metre covers from there


def surface_area(surface: Surface, size: np.ndarray) -> float:
    """Square metres of the whole surface at ``size`` [3] over mean size."""
    a, b, c = ((surface.vertices * size)[surface.faces[:, k]] for k in range(3))
    return float(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())
