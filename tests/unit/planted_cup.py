# SPDX-License-Identifier: Apache-2.0
"""A cup with known truth: the features of its body tell the height but not the azimuth, a handle on +x tells both."""

from __future__ import annotations

import numpy as np
from unit.planted import CLUTTER, DIM, Scene, render
from unit.scenes import CELLS, CENTRE

from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import Card, FeatureSpec, ScoreSpec, SearchSpec, SizePrior
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.solver.coarse import Target

RADIUS, HEIGHT, REACH = 0.04, 0.10, 0.075
_AROUND, _UP = 32, 14
_WAVES = np.random.default_rng(5).normal(size=(3, DIM)) * np.array([[60.0], [60.0], [1.5]])  # height, reach, normal z
_PHASE = np.random.default_rng(6).uniform(0, 2 * np.pi, DIM)


def field(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Unit features [N, DIM]: the same all around the body."""
    reach = np.clip(np.hypot(points[:, 0], points[:, 1]) - 1.02 * RADIUS, 0.0, None)
    known = np.stack([points[:, 2], 3 * reach, normals[:, 2]], axis=1)
    features = np.cos(known @ _WAVES + _PHASE)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def cup_mesh(handle: bool = True) -> NeuralMesh:
    """Closed cylinder about z, and a plate as handle."""
    angle = 2 * np.pi * np.arange(_AROUND) / _AROUND
    z = np.linspace(-0.5, 0.5, _UP) * HEIGHT
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    parts = [_grid(RADIUS * ring[None] + z[:, None, None] * [0, 0, 1.0], np.repeat(ring[None], _UP, 0), closed=True)]
    radii = np.array([1.0, 0.66, 0.33, 0.02])
    for side in (-1.0, 1.0):
        disc = RADIUS * radii[:, None, None] * ring + side * 0.5 * HEIGHT * np.array([0, 0, 1.0])
        parts.append(_grid(disc, np.full_like(disc, [0, 0, side]), closed=True))
    if handle:
        x, level = np.meshgrid(np.linspace(RADIUS, REACH, 6), np.linspace(-0.3, 0.3, 9) * HEIGHT, indexing="ij")
        for side in (-1.0, 1.0):
            plate = np.stack([x, np.full_like(x, side * 0.005), level], axis=-1)
            parts.append(_grid(plate, np.full_like(plate, [0, side, 0]), closed=False))
    vertices, normals, faces, offset = [], [], [], 0
    for points, directions, triangles in parts:
        vertices.append(points)
        normals.append(directions)
        faces.append(triangles + offset)
        offset += len(points)
    vertices, normals, faces = (np.concatenate(x) for x in (vertices, normals, faces))
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    wrong = np.sum(np.cross(b - a, c - a) * normals[faces].sum(axis=1), axis=1) < 0
    faces[wrong] = faces[wrong][:, ::-1]
    clutter = np.random.default_rng(1).normal(size=(CLUTTER, DIM))
    clutter /= np.linalg.norm(clutter, axis=1, keepdims=True)
    return NeuralMesh(vertices.astype(np.float32), faces.astype(np.int32), normals.astype(np.float32),
                      field(vertices, normals).astype(np.float32), clutter.astype(np.float32))


def cup_card(mesh: NeuralMesh, symmetry: Symmetry) -> Card:
    search = SearchSpec(azimuth=24, elevation_deg=(0.0, 20.0, 40.0), theta_deg=(0.0,))
    return Card(category="cup", version="0", symmetry=symmetry, search=search, features=FeatureSpec(DIM, 0.07),
                score=ScoreSpec(covariance_scale=2.0),  # noise is independent from cell to cell here
                size_prior=SizePrior(tuple(float(v) for v in mesh.extent), (0.1, 0.1, 0.1)))


def cup_scene(mesh: NeuralMesh, azimuth_deg: float, elevation_deg: float = 15.0, noise: float = 0.3, seed: int = 0,
              distance: float = 0.5) -> tuple[np.ndarray, Scene, Target]:
    """Truth [4, 4], feature map and target of the cup ``distance`` metres away."""
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, 0.0]))
    T = se3(R, np.array([0.0, 0.0, distance]))
    plane = mesh.vertices @ R.T + T[:3, 3]
    plane = plane[:, :2] / plane[:, 2:]
    low, high = plane.min(axis=0), plane.max(axis=0)
    focal = CELLS / (1.2 * max(high - low))
    T[:2, 3] -= 0.5 * (low + high) * distance
    half = 0.5 * focal * (high - low)
    target = Target(np.r_[CENTRE - half, CENTRE + half], np.zeros(4, np.uint8), focal, CENTRE)
    return T, render(mesh, T, focal, CELLS, noise=noise, field=field, seed=seed), target


def _grid(points: np.ndarray, normals: np.ndarray, closed: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, normals and triangles of a grid of points [A, B, 3], its B direction closed or not."""
    A, B = points.shape[:2]
    i, j = np.mgrid[:A - 1, :B if closed else B - 1]
    i, j, k = i.ravel(), j.ravel(), (j.ravel() + 1) % B
    quads = np.stack([i * B + j, i * B + k, (i + 1) * B + k, (i + 1) * B + j], axis=1)
    return points.reshape(-1, 3), normals.reshape(-1, 3), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
