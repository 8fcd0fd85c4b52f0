# SPDX-License-Identifier: Apache-2.0
"""Flip test-time augmentation, for objects that are their own mirror image.

Where a picture shows vertex v, its mirror image shows the vertex opposite, m(v). So the features of both pictures,
the second turned back, are put side by side as [f(x), f'(x)] / sqrt 2, those of the mesh as [C_v, C_m(v)] / sqrt 2,
and every cosine becomes the mean of what the two pictures say. The solver knows nothing of it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..errors import BundleError
from .neural_mesh import NeuralMesh

HALF = np.float32(math.sqrt(0.5))  # two unit vectors side by side, each times this, are one of them
_ACROSS = np.array([1.0, -1.0, 1.0])  # left for right: y of the object frame points to its left
_CLOSE = 1e-3  # of the object's diagonal: how far a vertex's mirror image may lie from a vertex


def counterparts(vertices: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """[V] for every vertex the index of the one opposite in the plane y = 0; its own in the middle.

    Args:
        vertices: [V, 3] metres, object frame. normals: [V, 3] unit vectors.

    Raises:
        BundleError: the mesh is not its own mirror image.
    """
    diagonal = np.linalg.norm(np.ptp(vertices, axis=0))
    # The normal decides between vertices in one place: at a crease each face may have its own.
    points = np.hstack([vertices / diagonal, _CLOSE * normals]).astype(np.float64)
    mirrored = points * np.tile(_ACROSS, 2)
    squares = np.sum(points**2, axis=1)  # those of the mirrored ones, too
    opposite = (squares - 2 * mirrored @ points.T).argmin(axis=1)
    apart = np.linalg.norm((mirrored - points[opposite])[:, :3], axis=1)
    worst = int(apart.argmax())
    if apart[worst] > _CLOSE or len(np.unique(opposite)) < len(points):
        raise BundleError("features.flip_tta is true, but the mesh is not its own mirror image in the plane y = 0 "
                          f"(from that of vertex {worst} the nearest is {apart[worst] * diagonal:.2g} m away): set it "
                          "to false")
    return opposite


def with_counterparts(mesh: NeuralMesh) -> NeuralMesh:
    """``mesh`` with the features of a picture and its mirror image, [V, 2 D] and [K, 2 D] of unit norm."""
    opposite = counterparts(mesh.vertices, mesh.normals)
    return replace(mesh, features=side_by_side(mesh.features, mesh.features[opposite]),
                   clutter=side_by_side(mesh.clutter, mesh.clutter))


def side_by_side(features: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """[V, 2 D] of unit length per row, of ``features`` [V, D] and ``mirrored`` [V, D], which are so."""
    return HALF * np.hstack([features, mirrored])
