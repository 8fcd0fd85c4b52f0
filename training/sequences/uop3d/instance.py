# SPDX-License-Identifier: Apache-2.0
"""One object instance in its sequence's own frame: coarse shape, and teacher features where its frames show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Tensor
from torch.nn import functional as F

from dinemo_training.data.batches import camera_centre, grid_coordinates, project
from dinemo_training.models.teachers import Teacher
from dinemo_training.synthetic.render.rasterizer import rasterize, visible_vertices
from dinemo_training.synthetic.shape.mean_mesh import vertex_normals
from dinemo_training.synthetic.shape.visual_hull import visual_hull

from .object_sequence import Frames, ObjectSequence

VIEWS_PER_VERTEX = 8  # of all frames that show a vertex, those that see it most squarely are kept
_GRAZING = 0.15       # cosine between normal and view below which a vertex counts as not seen
_BATCH = 16


@dataclass(frozen=True)
class Instance:
    """Vertices with viewpoint-dependent features.

    Attributes:
        vertices: [V, 3] own frame, own unit; faces: [F, 3].
        features: [M, D] unit norm; feature_vertex: [M] the vertex that each belongs to; feature_view: [M, 3] unit
            vector from the vertex to the camera that saw it, own frame.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    features: Tensor
    feature_vertex: np.ndarray
    feature_view: np.ndarray

    @property
    def extent(self) -> float:
        """Largest distance between two vertices, own unit."""
        return float(pdist(self.vertices).max())

    @property
    def seen(self) -> np.ndarray:
        """[V] bool: some view shows the vertex."""
        return np.bincount(self.feature_vertex, minlength=len(self.vertices)) > 0


def build_instance(sequence: ObjectSequence, maps: Tensor, vertex_count: int = 400) -> Instance:
    """Coarse shape by visual hull, features by look-up in ``maps`` [N, D, h, w] of every frame that shows a vertex."""
    return with_features(sequence, *visual_hull(sequence, vertex_count), maps)


def feature_maps(sequence: Frames, teacher: Teacher) -> Tensor:
    """Teacher features [N, D, h, w] of all frames, half precision (a sequence of 72 frames stays under 30 MB)."""
    pictures = torch.from_numpy(np.stack(sequence.images)).permute(0, 3, 1, 2)
    return torch.cat([teacher(batch.float()).half() for batch in pictures.split(_BATCH)])


def with_features(sequence: ObjectSequence, vertices: np.ndarray, faces: np.ndarray, maps: Tensor) -> Instance:
    """Attach to each vertex [V, 3] the features [N, D, h, w] of the frames that see it most squarely."""
    normals = vertex_normals(vertices, faces)
    tolerance = 0.04 * np.ptp(vertices, axis=0).max()
    features, ids, views, facing = [], [], [], []
    for i, (K, T, mask) in enumerate(zip(sequence.K, sequence.T_cam_own, sequence.masks, strict=True)):
        toward = camera_centre(T) - vertices
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        cosine = (toward * normals).sum(1)
        seen = rasterize(vertices, faces, K, T, mask.shape[::-1])
        visible = np.flatnonzero(visible_vertices(vertices, seen.depth, K, T, tolerance) & (cosine > _GRAZING))
        grid = torch.from_numpy(grid_coordinates(project(vertices[visible], K, T), mask.shape[0]))
        sampled = F.grid_sample(maps[i : i + 1].float(), grid[None, :, None], align_corners=False)[0, :, :, 0].T
        features.append(F.normalize(sampled, dim=1))
        ids.append(visible), views.append(toward[visible]), facing.append(cosine[visible])
    ids, facing = np.concatenate(ids), np.concatenate(facing)
    chosen = _best_of_each(ids, facing, VIEWS_PER_VERTEX)
    return Instance(sequence.name, vertices, faces, torch.cat(features)[torch.from_numpy(chosen)], ids[chosen],
                    np.concatenate(views)[chosen])


def _best_of_each(ids: np.ndarray, score: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most ``count`` entries with the best score for every id."""
    order = np.lexsort((-score, ids))
    first = np.searchsorted(ids[order], ids[order])  # where the run of this id begins
    return order[np.arange(len(order)) - first < count]


def view_agreement(instance: Instance) -> float:
    """Mean cosine between features of one vertex from different views: high when the cameras are right.

    With the sense of the turntable reversed, a vertex collects features of two different places of the object.
    """
    sums = torch.zeros(len(instance.vertices), instance.features.shape[1])
    sums.index_add_(0, torch.from_numpy(instance.feature_vertex), instance.features)
    count = torch.from_numpy(np.bincount(instance.feature_vertex, minlength=len(instance.vertices)))
    many = count > 1
    n = count[many].float()
    # |sum of n unit vectors|^2 = n + n (n - 1) * mean cosine of pairs
    return float((((sums[many] ** 2).sum(1) - n) / (n * (n - 1))).mean())
