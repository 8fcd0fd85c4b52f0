# SPDX-License-Identifier: Apache-2.0
"""A block that looks the same after every quarter of a turn, for what has to be done about several equal readings."""

from __future__ import annotations

import numpy as np
from unit.planted import FeatureField, box_surface, car_card, car_mesh, render
from unit.scenes import CELLS, CENTRE

from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import Card, SizePrior
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.solver.coarse import Target

_SIZE = (2.0, 2.0, 1.6)
_QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def block_mesh() -> NeuralMesh:
    """Two metres long and wide."""
    half = np.array(_SIZE) / 2
    vertices, normals, faces = box_surface(-half, half)
    return NeuralMesh(vertices.astype(np.float32), faces.astype(np.int32), normals.astype(np.float32),
                      _field(vertices, normals).astype(np.float32), car_mesh().clutter)


def block_card() -> Card:
    """Of :func:`block_mesh`; the card knows nothing of the symmetry."""
    return car_card(size_prior=SizePrior(_SIZE, (0.05, 0.05, 0.05)))


def block_scene(azimuth_deg: float) -> tuple[np.ndarray, np.ndarray, Target]:
    """One of the four true rotations [3, 3], features [D, h, h] and the target of a block seen from above."""
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, 20.0, 0.0]))
    T, mesh = se3(R, np.array([0.0, 0.0, 7.0])), block_mesh()
    points = mesh.vertices @ R.T + T[:3, 3]
    plane = points[:, :2] / points[:, 2:]
    low, high = plane.min(axis=0), plane.max(axis=0)
    focal = 0.5 * CELLS / (1.15 * 0.5 * max(high - low))
    scene = render(mesh, T, focal, CELLS, field=_field, noise=0.3)
    return R, scene.features, Target(focal * np.r_[low, high] + CENTRE, np.zeros(4, np.uint8), focal, CENTRE)


def _field(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    field, total, R = FeatureField(0), 0.0, np.eye(3)
    for _ in range(4):
        total = total + field(points @ R.T, normals @ R.T)
        R = _QUARTER @ R
    return total / np.linalg.norm(total, axis=1, keepdims=True)
