# SPDX-License-Identifier: Apache-2.0
"""Readable numpy twins of the kernels: what they compute, without how they do it fast. The tests compare both."""

from __future__ import annotations

import numpy as np

from ..geometry import so3_exp


def similarity(C: np.ndarray, clutter: np.ndarray, F: np.ndarray, temperature: float,
               evidence: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(evidence, odds) [V, h, w], background_score, foreground [h, w] of ``similarity.Similarity``.

    Args:
        C: [V, D], clutter: [K, D], F: [D, h, w] features, all of unit length over D.
        temperature: of the training's softmax. evidence: "clutter" or "posterior".
    """
    S = np.einsum("vd,dhw->vhw", C, F)
    background = np.einsum("kd,dhw->khw", clutter, F)
    foreground = 1.0 / (1.0 + np.exp((background.max(0) - S.max(0)) / temperature))
    if evidence == "posterior":
        likelihood = np.exp(S / temperature).mean(0) + np.exp(background / temperature).mean(0)
        level = background_score = temperature * np.log(likelihood)
    else:
        background_score = background.max(0)
        level = np.sum(background_score * foreground) / np.sum(foreground)
    odds = foreground * np.exp((S - level) / temperature)
    return np.maximum(S - background_score, 0.0), odds, background_score, foreground


def transform(vertices: np.ndarray, R: np.ndarray, t: np.ndarray, log_size: np.ndarray) -> np.ndarray:
    """Points [N, 3] in the camera frame, metres, of vertices.

    vertices: [N, 3] metres at mean size, object frame. R: [3, 3] object to camera, t: [3] metres, log_size: [3].
    """
    return (vertices * np.exp(log_size)) @ R.T + t


def project(points: np.ndarray, focal: float, centre: float) -> np.ndarray:
    """Cells (x, y) [N, 2] of ``points`` [N, 3], camera frame, metres; ``focal`` and ``centre`` in cells."""
    return focal * points[:, :2] / points[:, 2:] + centre


def moved(R: np.ndarray, t: np.ndarray, log_size: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, ...]:
    """The pose after a ``step`` [9] of ``likelihood.py``: translation, rotation about the object's origin, log-sizes.

    R: [3, 3] object to camera, t: [3] metres, log_size: [3]; so are the results.
    """
    return so3_exp(step[3:6]) @ R, t + step[:3], log_size + step[6:]


def mean_evidence(evidence: np.ndarray, index: np.ndarray, points: np.ndarray, focal: float, centre: float,
                  shift: tuple[int, int]) -> float:
    """Coarse score of ``points`` [N, 3] (camera frame, metres) of vertices ``index`` [N], moved by ``shift`` cells.

    evidence: [V, h, w]. focal, centre: of the camera, cells.
    """
    cells = np.floor(project(points, focal, centre) + 0.5).astype(int) + shift
    height, width = evidence.shape[1:]
    values = [evidence[v, y, x] if 0 <= x < width and 0 <= y < height else 0.0
              for v, (x, y) in zip(index, cells, strict=True)]
    return float(np.mean(values))


def window(plane: np.ndarray, u: float, v: float, sigma: float) -> tuple[float, np.ndarray, np.ndarray]:
    """(Z, mean [2], covariance [2, 2]) of ``plane`` [h, w] under a Gaussian about (u, v), cut at 2.5 sigma per axis."""
    y, x = np.mgrid[:plane.shape[0], :plane.shape[1]].astype(float)
    dx, dy = x - u, y - v
    mass = np.exp(-0.5 * (dx**2 + dy**2) / sigma**2) * plane
    mass *= (np.abs(dx) <= 2.5 * sigma) & (np.abs(dy) <= 2.5 * sigma)
    offset = np.stack([dx, dy], axis=-1).reshape(-1, 2)
    weight = mass.reshape(-1) / mass.sum()
    mean = weight @ offset
    return mass.sum() / (2 * np.pi * sigma**2), mean, (offset * weight[:, None]).T @ offset - np.outer(mean, mean)


def log_likelihood(odds: np.ndarray, vertices: np.ndarray, index: np.ndarray, weight: np.ndarray, R: np.ndarray,
                   t: np.ndarray, log_size: np.ndarray, focal: float, centre: float, sigma: float) -> float:
    """Windowed log-likelihood, the value of ``likelihood.accumulate``.

    Args:
        odds: [V, h, w]. vertices: [V, 3] mean size, metres. index, weight: [N] which of them count, and how much.
        R: [3, 3] object to crop camera; t: [3] metres; log_size: [3]. focal, centre, sigma: cells.
    """
    cells = project(transform(vertices[index], R, t, log_size), focal, centre)
    return float(sum(w * np.log1p(window(odds[v], x, y, sigma)[0])
                     for v, w, (x, y) in zip(index, weight, cells, strict=True)))


def rendered_cosines(cells: np.ndarray, C: np.ndarray, vertices: np.ndarray, faces: np.ndarray, R: np.ndarray,
                     t: np.ndarray, log_size: np.ndarray, focal: float, centre: float) -> tuple[np.ndarray, np.ndarray]:
    """(cosine, face) [h, w] between each cell's feature and the mesh rendered under it; face -1 off the mesh.

    Every ray meets every face's plane; the nearest hit inside a face that is turned to the camera counts.

    Args:
        cells: [h, w, D] features of unit length. C: [V, D] the vertices'. vertices: [V, 3] metres at mean size.
        faces: [F, 3]. R: [3, 3] object to camera, t: [3] metres, log_size: [3]. focal, centre: of the camera, cells.
    """
    h, w, _ = cells.shape
    corners = transform(vertices, R, t, log_size)[faces]  # [F, 3, 3]
    y, x = np.mgrid[:h, :w].reshape(2, -1)
    rays = np.stack([(x - centre) / focal, (y - centre) / focal, np.ones(h * w)], axis=-1)
    # ray * depth = sum of bary * corner, sum of bary = 1:  bary / depth = corners^-1 ray
    inverse = np.linalg.pinv(corners.transpose(0, 2, 1))
    bary = np.einsum("fij,nj->nfi", inverse, rays)
    depth = 1.0 / bary.sum(axis=2)
    bary *= depth[:, :, None]
    facing = np.linalg.det(corners) < 0  # the corners turn counter-clockwise seen from the camera
    hit = (bary >= 0).all(axis=2) & (depth > 0) & facing
    face = np.where(hit, depth, np.inf).argmin(axis=1)
    bary = bary[np.arange(h * w), face]
    rendered = np.einsum("nk,nkd->nd", bary, C[faces[face]])
    cosine = np.sum(rendered * cells.reshape(h * w, -1), axis=1) / np.linalg.norm(rendered, axis=1)
    on = hit.any(axis=1)
    return np.where(on, cosine, 0.0).reshape(h, w), np.where(on, face, -1).reshape(h, w)
