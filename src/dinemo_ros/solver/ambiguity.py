# SPDX-License-Identifier: Apache-2.0
"""How certain the azimuth is where a single part tells it: the posterior over all turns about the object's axis.

The normal matrix of the refinement describes the peak it stands on. If a cup's handle is hidden, a whole range of
turns explains the picture as well, and no matrix at one of them knows of the others. So the object is put there at
every turn, all else held fixed, and compared with the picture, whole views with one another:

    log likelihood of a turn = sum over the object's cells of (s - level) / unit

where s is the cosine between the vertex seen in a cell and the cell's feature, level what it is in a cell that shows
something else, and unit the variance of a cell's cosine. Clutter is not asked: in a covered cell it explains more than
any turn does, and what little the cell says of the turn would be lost with it (of renders covered by half the likeliest
turn was right in 45 % with clutter as the rival, in 54 % without). The sum over cells is taken as one over visible
vertices, each standing for the cells that its piece of surface covers.

A probability is made of it by what was fitted to renders (:class:`~dinemo_ros.model.azimuth.AzimuthSpec`). That the
telling part is not to be seen at all is one more reading of the picture; its likelihood is the mean over the turns that
hide the part behind the object, and it leaves every turn as likely as any other.
"""

from __future__ import annotations

import math

import numpy as np

from ..geometry import turn, wrapped
from ..model.azimuth import HANDLE_SEEN_DEG, AzimuthSpec
from ..model.symmetry import UNIFORM_VARIANCE, axis_variance, with_axis_variance
from ..turns import TURNS, angles, blurred, deviation
from .similarity import SimilarityVolume
from .surface import Surface
from .visibility import visible_row


def turn_likelihoods(volume: SimilarityVolume, surface: Surface, R: np.ndarray, t: np.ndarray, size: np.ndarray,
                     focal: float, centre: float, level: float, unit: float) -> np.ndarray:
    """[TURNS] logarithm of the likelihood, up to a constant, of a turn by ``angles()`` about z from the pose R, t.

    Args:
        R: [3, 3]; t: [3] metres, crop camera frame; size: [3] factors on the mean shape.
        focal, centre: of the camera, cells.
        level, unit: of a cell's cosine, see the module.
    """
    evidence = np.array([turned_evidence(volume, surface, R @ turn(angle), t, size, focal, centre, level)
                         for angle in angles()])
    return evidence * (surface_area(surface, size) / len(volume.similarity) / unit)


def azimuth_posterior(likelihoods: np.ndarray, azimuth: float, spec: AzimuthSpec) -> np.ndarray:
    """[TURNS] probability that the object is turned by ``angles()`` about its z axis.

    Args:
        likelihoods: [TURNS] their logarithms, see :func:`turn_likelihoods`.
        azimuth: radians, of the camera about the object's axis without a turn; 0 sees the part that tells the turn.
        spec: of the bundle.
    """
    weight = np.exp(likelihoods - likelihoods.max())
    if not spec:
        return weight / weight.sum()
    behind = np.abs(wrapped(azimuth - angles())) > math.radians(HANDLE_SEEN_DEG)
    weight = weight + spec.unseen * weight[behind].mean()
    return (1.0 - spec.doubt) * blurred(weight / weight.sum(), math.radians(spec.blur_deg)) + spec.doubt / TURNS


def azimuth_of(R: np.ndarray, t: np.ndarray) -> float:
    """Radians, of the camera about the axis of an object at the pose R [3, 3], t [3]; 0 sees its front."""
    camera = -R.T @ t
    return math.atan2(camera[1], camera[0])


def widened(covariance: np.ndarray, R: np.ndarray, posterior: np.ndarray, fitted: bool = False) -> np.ndarray:
    """``covariance`` [6, 6] of the pose with rotation ``R`` [3, 3], with the variance about z of ``posterior`` [TURNS].

    What a ``fitted`` posterior says replaces the local variance, see :func:`deviation`. Of another one the second
    moment is taken about the reported turn, not about the mean: what is published is that pose. Where it is one narrow
    peak the local variance is the finer measurement and stays. An angle cannot be less known than not at all: more than
    the variance of a uniform one is no information.
    """
    local = axis_variance(covariance, R)
    if fitted:
        variance = deviation(posterior) ** 2
    else:
        variance = max(float(np.sum(posterior * angles() ** 2)), min(local, UNIFORM_VARIANCE))
    return covariance if variance == local else with_axis_variance(covariance, R, variance)


def turned_evidence(volume: SimilarityVolume, surface: Surface, R: np.ndarray, t: np.ndarray, size: np.ndarray,
                    focal: float, centre: float, level: float) -> float:
    """Evidence s - level over the cells that the object covers, by the volume's own vertices, bilinear between cells.

    These are spread evenly: to be multiplied by the square metres of surface that one stands for.

    Args:
        R: [3, 3] object to crop camera; t: [3] metres; size: [3] factors on the mean shape.
        focal, centre: of the crop camera, cells. level: see the module.
    """
    count = len(volume.similarity)
    camera = -R.T @ t / size  # its centre in the frame of the mean shape
    azimuth, elevation = math.atan2(camera[1], camera[0]), math.atan2(camera[2], math.hypot(camera[0], camera[1]))
    ray = camera - surface.vertices[:count]
    facing = np.einsum("vk,vk->v", ray, surface.normals[:count]) / np.sqrt(np.einsum("vk,vk->v", ray, ray))
    seen = np.flatnonzero(visible_row(surface, azimuth, elevation)[:count] & (facing > 0.0))
    points = (surface.vertices[seen] * size) @ R.T + t
    h, w = volume.background_score.shape
    x, y = (focal * points[:, k] / points[:, 2] + centre for k in (0, 1))
    inside = (x > -1) & (y > -1) & (x < w) & (y < h) & (points[:, 2] > 0)
    seen, x, y, z = seen[inside], x[inside], y[inside], points[inside, 2]
    value = _bilinear(volume.similarity, (h, w), seen, x, y, level)
    return float(np.sum(value * facing[seen] * (focal / z) ** 2))  # cells that a square metre covers from there


def _bilinear(similarity: np.ndarray, shape: tuple[int, int], seen: np.ndarray, x: np.ndarray, y: np.ndarray,
              level: float) -> np.ndarray:
    """[n] cosines less ``level`` of the vertices ``seen`` [n] at cells x, y [n], between cells; zero beyond the crop.

    similarity: [V, h * w] cosines. shape: (h, w) cells.
    """
    h, w = shape
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    right, down = x - j, y - i
    plane, cells = seen * (h * w), similarity.ravel()
    if i.size and i.min() >= 0 and j.min() >= 0 and i.max() < h - 1 and j.max() < w - 1:  # nearly always
        corner = plane + i * w + j
        upper = (1 - right) * cells.take(corner) + right * cells.take(corner + 1)
        lower = (1 - right) * cells.take(corner + w) + right * cells.take(corner + w + 1)
        return (1 - down) * upper + down * lower - level
    value = np.zeros(len(seen))
    for row, of_row in ((i, 1 - down), (i + 1, down)):
        for column, of_column in ((j, 1 - right), (j + 1, right)):
            there = (row >= 0) & (row < h) & (column >= 0) & (column < w)
            at = np.where(there, plane + row * w + column, 0)
            value += np.where(there, of_row * of_column * (cells.take(at) - level), 0.0)
    return value


def surface_area(surface: Surface, size: np.ndarray) -> float:
    """Square metres of the whole surface at ``size`` [3] over mean size."""
    a, b, c = ((surface.vertices * size)[surface.faces[:, k]] for k in range(3))
    return float(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())
