# SPDX-License-Identifier: Apache-2.0
"""Even remeshing of any closed surface by centroidal Voronoi clustering (Valette & Chassery, 2004).

As :mod:`dinemo_training.synthetic.shape.symmetric_remesh`, for what has no plane of symmetry: one object, not a
category.
"""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from .symmetric_remesh import dual_faces, vertex_areas


def even_remesh(vertices: np.ndarray, faces: np.ndarray, vertex_count: int,
                iterations: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """At most ``vertex_count`` evenly spread vertices [_, 3] on a fine closed surface, and outward faces [_, 3].

    Args:
        vertices: [V, 3] in any unit, V several times ``vertex_count``. faces: [F, 3] outward.
    """
    fine = trimesh.Trimesh(vertices, faces, process=True)
    points, area = np.asarray(fine.vertices), vertex_areas(fine)
    count = min(vertex_count, len(points) // 4)
    seeds = points[np.random.default_rng(0).choice(len(points), count, replace=False, p=area / area.sum())]
    for _ in range(iterations):
        label = cKDTree(seeds).query(points)[1]
        weight = np.bincount(label, area, minlength=count)
        used = weight > 0
        centre = np.stack([np.bincount(label, area * points[:, k], minlength=count) for k in range(3)], axis=1)
        seeds[used] = centre[used] / weight[used, None]
    label = cKDTree(seeds).query(points)[1]
    seeds = points[cKDTree(points).query(seeds)[1]]
    coarse = dual_faces(label, np.asarray(fine.faces))
    used = np.unique(coarse)
    index = np.full(count, -1)
    index[used] = np.arange(len(used))
    return seeds[used], index[coarse]
