# SPDX-License-Identifier: Apache-2.0
"""A synthetic category with known truth: a car-like mesh, a smooth feature field on it, feature maps ray-cast from it.

The ray caster is a plain Moeller-Trumbore over all triangles and shares no code with the solver under test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dinemo_ros.model.bundle import Card, FeatureSpec, SizePrior
from dinemo_ros.model.neural_mesh import NeuralMesh

DIM, CLUTTER = 64, 8
SIZE = (4.4, 1.8, 1.5)
_CELL = 0.25  # metres between the car's vertices


def car_mesh(seed: int = 0) -> NeuralMesh:
    """A box with a cabin on it, like a car left-right symmetric in shape but not front-back; about 700 vertices."""
    lower = box_surface((-2.2, -0.9, -0.75), (2.2, 0.9, 0.1))
    cabin = box_surface((-1.6, -0.8, 0.1), (0.7, 0.8, 0.75))
    vertices = np.concatenate([lower[0], cabin[0]])
    normals = np.concatenate([lower[1], cabin[1]])
    faces = np.concatenate([lower[2], cabin[2] + len(lower[0])])
    field = FeatureField(seed)
    clutter = _unit(np.random.default_rng(seed + 1).normal(size=(CLUTTER, DIM)))
    return NeuralMesh(vertices.astype(np.float32), faces.astype(np.int32), normals.astype(np.float32),
                      field(vertices, normals).astype(np.float32), clutter.astype(np.float32))


def car_card(**changes) -> Card:
    """Card of :func:`car_mesh`."""
    return Card(**{"category": "car", "version": "0", "size_prior": SizePrior(SIZE, (0.08, 0.05, 0.08)),
                   "features": FeatureSpec(DIM, 0.07), **changes})


class FeatureField:
    """Unit features that vary smoothly over the surface: random Fourier features, about ``length`` metres long."""

    def __init__(self, seed: int, length: float = 0.7) -> None:
        rng = np.random.default_rng(seed)
        self._W = rng.normal(size=(6, DIM)) / np.array([length] * 3 + [1.5] * 3)[:, None]
        self._b = rng.uniform(0, 2 * np.pi, DIM)

    def __call__(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """[N, DIM] of points [N, 3] metres at mean size with normals [N, 3]."""
        return _unit(np.cos(np.concatenate([points, normals], axis=1) @ self._W + self._b))


@dataclass(frozen=True)
class Scene:
    """A planted feature map [D, h, h] with its truth; ``covered`` [h, h] marks the object's cells."""

    features: np.ndarray
    covered: np.ndarray


def render(mesh: NeuralMesh, T: np.ndarray, focal: float, cells: int = 32, scale=(1, 1, 1), noise: float = 0.0,
           occluded: np.ndarray | None = None, field: FeatureField | None = None, seed: int = 0) -> Scene:
    """Features of the mesh at ``T`` [4, 4] in a camera with ``focal`` cells and its principal point in the middle.

    scale [3]: true size over mean size. noise: length of a random vector added to each unit feature.
    occluded [h, h] bool: cells that something else hides. field: of the vertices' features by default seed 0.
    """
    rng = np.random.default_rng(seed)
    field = field or FeatureField(0)
    at = (np.arange(cells) - 0.5 * (cells - 1)) / focal
    x, y = np.meshgrid(at, at)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    vertices = (mesh.vertices * np.asarray(scale)) @ T[:3, :3].T + T[:3, 3]
    hit, face, barycentric = cast_rays(rays, vertices[mesh.faces])
    corner = mesh.faces[face]
    points = np.einsum("nk,nkc->nc", barycentric, mesh.vertices[corner])
    normals = _unit(np.einsum("nk,nkc->nc", barycentric, mesh.normals[corner]))
    features = mesh.clutter[rng.integers(len(mesh.clutter), size=len(rays))].astype(np.float64)
    if occluded is not None:
        hit &= ~occluded.ravel()
    features[hit] = field(points[hit], normals[hit])
    features = _unit(features + noise * _unit(rng.normal(size=features.shape)))
    return Scene(features.T.reshape(DIM, cells, cells).astype(np.float32), hit.reshape(cells, cells))


def cast_rays(rays: np.ndarray, triangles: np.ndarray):
    """Nearest hit of rays [N, 3] from the origin with triangles [F, 3, 3]: hit [N], face [N], barycentric [N, 3]."""
    a, ab, ac = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = np.cross(rays[:, None], ac[None])
    det = np.einsum("nfc,fc->nf", p, ab)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.einsum("nfc,fc->nf", p, -a) / det
        q = np.cross(-a, ab)
        v = rays @ q.T / det
        depth = np.sum(q * ac, axis=1) / det
        inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0) & np.isfinite(depth)
    depth = np.where(inside, depth, np.inf)
    face = depth.argmin(axis=1)
    row = np.arange(len(rays))
    u, v = u[row, face], v[row, face]
    return np.isfinite(depth[row, face]), face, np.nan_to_num(np.stack([1 - u - v, u, v], axis=1))


def box_surface(low, high):
    """Vertices, normals and faces of a box whose six sides are grids of their own (as NeMo's cuboids)."""
    low, high = np.array(low), np.array(high)
    vertices, normals, faces, offset = [], [], [], 0
    for axis in range(3):
        for sign in (-1, 1):
            b, c = (axis + 1) % 3, (axis + 2) % 3
            nb, nc = (max(2, int(round((high[k] - low[k]) / _CELL)) + 1) for k in (b, c))
            grid = np.zeros((nb, nc, 3))
            grid[..., axis] = high[axis] if sign > 0 else low[axis]
            grid[..., b] = np.linspace(low[b], high[b], nb)[:, None]
            grid[..., c] = np.linspace(low[c], high[c], nc)[None]
            normal = np.zeros(3)
            normal[axis] = sign
            i = (np.arange(nb - 1)[:, None] * nc + np.arange(nc - 1)).ravel() + offset
            quads = np.stack([i, i + nc, i + nc + 1, i + 1], axis=1)[:, ::sign]
            faces += [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
            vertices.append(grid.reshape(-1, 3))
            normals.append(np.tile(normal, (nb * nc, 1)))
            offset += nb * nc
    return np.concatenate(vertices), np.concatenate(normals), np.concatenate(faces)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
