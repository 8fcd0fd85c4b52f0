# SPDX-License-Identifier: Apache-2.0
"""Even, exactly mirror-symmetric remeshing by centroidal Voronoi clustering (Valette & Chassery, 2004).

Only the half y >= 0 is clustered; clusters on the plane of symmetry stay on it. The coarse triangles are the dual
of the clusters: one wherever a fine triangle touches three of them. The other half is the mirror image.
"""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial import cKDTree


def symmetric_remesh(vertices: np.ndarray, faces: np.ndarray, vertex_count: int,
                     iterations: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Remesh the half y >= 0 of a fine surface and its mirror image to about ``vertex_count`` evenly spread vertices.

    Args:
        vertices: [V, 3] in any unit of length, the half, open on the plane y = 0, its rim exactly on it.
        faces: [F, 3] indices, outward.

    Returns:
        Vertices [~vertex_count, 3] and faces [_, 3], outward, of the whole closed surface.
    """
    half = trimesh.Trimesh(vertices, faces, process=True)
    points, area = half.vertices.copy(), vertex_areas(half)
    on_plane = np.abs(points[:, 1]) < 1e-6
    points[on_plane, 1] = 0.0

    spacing = np.sqrt(2 * half.area / vertex_count * 2 / np.sqrt(3))
    plane_seeds = _spread(points[on_plane], spacing)
    side_count = (vertex_count - len(plane_seeds)) // 2
    away = points[points[:, 1] > 0.4 * spacing]
    rng = np.random.default_rng(0)
    seeds = np.concatenate([plane_seeds, away[rng.choice(len(away), side_count, replace=False)]])
    is_plane = np.arange(len(seeds)) < len(plane_seeds)

    for _ in range(iterations):
        label = _assign(points, on_plane, seeds, is_plane)
        weight = np.bincount(label, area, minlength=len(seeds))
        centre = np.stack([np.bincount(label, area * points[:, k], minlength=len(seeds)) for k in range(3)], axis=1)
        used = weight > 0
        seeds[used] = centre[used] / weight[used, None]
        seeds[is_plane, 1] = 0.0
    label = _assign(points, on_plane, seeds, is_plane)
    seeds[~is_plane] = points[cKDTree(points).query(seeds[~is_plane])[1]]
    seeds[is_plane] = points[on_plane][cKDTree(points[on_plane]).query(seeds[is_plane])[1]]
    return _mirror(seeds, dual_faces(label, half.faces), is_plane)


def vertex_areas(mesh: trimesh.Trimesh) -> np.ndarray:
    """[V] area that belongs to each vertex, in the square of the unit of length of ``mesh``."""
    area = np.zeros(len(mesh.vertices))
    for k in range(3):
        np.add.at(area, mesh.faces[:, k], mesh.area_faces / 3)
    return area


def _spread(points: np.ndarray, spacing: float) -> np.ndarray:
    """Farthest-point sampling of ``points`` until all lie within ``spacing`` of a sample."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while distance.max() > spacing:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen].copy()


def _assign(points: np.ndarray, on_plane: np.ndarray, seeds: np.ndarray, is_plane: np.ndarray) -> np.ndarray:
    """Nearest seed of each point; points on the plane belong to seeds on the plane, which closes the seam."""
    label = cKDTree(seeds).query(points)[1]
    label[on_plane] = np.flatnonzero(is_plane)[cKDTree(seeds[is_plane]).query(points[on_plane])[1]]
    return label


def dual_faces(label: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Triangles [_, 3] of cluster ids, one per triple of clusters that meet in fine triangles.

    Ragged cluster borders let a triple meet more than once, in both senses of rotation: the majority decides, and
    a tie is a fold that bounds nothing.
    """
    triangles = label[faces]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    rising = np.sort(triangles, axis=1)
    even = (triangles == rising).all(axis=1) | (np.roll(triangles, 1, 1) == rising).all(axis=1) \
        | (np.roll(triangles, 2, 1) == rising).all(axis=1)
    unique, group = np.unique(rising, axis=0, return_inverse=True)
    sense = np.bincount(group.ravel(), np.where(even, 1, -1), minlength=len(unique))
    return np.concatenate([unique[sense > 0], unique[sense < 0][:, ::-1]])


def _mirror(seeds: np.ndarray, faces: np.ndarray, is_plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join the half with its mirror image; vertices on the plane are shared, mirrored faces turn their winding."""
    twin = np.arange(len(seeds))
    twin[~is_plane] = len(seeds) + np.arange((~is_plane).sum())
    vertices = np.concatenate([seeds, seeds[~is_plane] * [1.0, -1.0, 1.0]])
    faces = np.concatenate([faces, twin[faces][:, ::-1]])
    # A triangle of three plane vertices is its own mirror image: it lies inside the plane and bounds nothing.
    faces = faces[~is_plane[np.minimum(faces, len(is_plane) - 1)].all(axis=1) | (faces >= len(seeds)).any(axis=1)]
    used = np.unique(faces)
    index = np.full(len(vertices), -1)
    index[used] = np.arange(len(used))
    return vertices[used], index[faces]
