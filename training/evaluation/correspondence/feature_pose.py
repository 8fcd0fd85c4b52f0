# SPDX-License-Identifier: Apache-2.0
"""The pose of one object by its features in a few posed pictures, as 3DCorrEnhance measures features by OnePose.

Every observation of a point of the object keeps the feature it had (none is averaged), at most so many. In a new
picture features on a grid and observations that are each other's nearest neighbours are matches of pixels and points,
and PnP with RANSAC finds the pose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from dinemo_training.models.teachers.protocol import Teacher

from .matching import FeatureMap, feature_map, read_picture
from .one_shot_pose import OneShotObject, Posed, pose_error

MOST_OBSERVATIONS = 120_000
_GRID = 4  # pixels of the square that the teacher sees
_REPROJECTION_PX, _ITERATIONS, _FEWEST_INLIERS = 8.0, 10_000, 6
_CHUNK = 1024  # grid points at once


@dataclass(frozen=True)
class Templates:
    """Features [M, D] of observations and the points [M, 3] (metres, object) that they are of."""

    features: Tensor
    points: np.ndarray


def templates_of(teacher: Teacher, item: OneShotObject, side: int, seed: int = 0) -> Templates:
    """The observations of all reference pictures, at most :data:`MOST_OBSERVATIONS`, drawn at random."""
    features, points = [], []
    for reference in item.references:
        features.append(feature_map(teacher, read_picture(reference.picture), side).at(reference.pixels))
        points.append(reference.points)
    joined, places = torch.cat(features), np.concatenate(points)
    if len(places) > MOST_OBSERVATIONS:
        kept = np.sort(np.random.default_rng(seed).choice(len(places), MOST_OBSERVATIONS, replace=False))
        joined, places = joined[torch.from_numpy(kept)], places[kept]
    return Templates(joined, places)


def errors_of(teacher: Teacher, item: OneShotObject, side: int, queries: Iterable[Posed]) -> list[tuple[float, float]]:
    """Degrees and centimetres of every frame, see :func:`~.one_shot_pose.pose_error`."""
    templates = templates_of(teacher, item, side)
    return [pose_error(found_pose(feature_map(teacher, read_picture(query.picture), side), templates, query.K, side),
                       query.T_cam_obj) for query in queries]


def found_pose(seen: FeatureMap, templates: Templates, K: np.ndarray, side: int) -> np.ndarray | None:
    """T_cam_obj [4, 4] in metres, or None where fewer than six matches agree.

    Args:
        K: [3, 3] pixels of the picture. side: of the square that the teacher saw, pixels.
    """
    pixels = _grid(seen, side)
    best, cosines, back = _nearest(seen.at(pixels), templates.features)
    mutual = np.flatnonzero(back[best] == np.arange(len(pixels)))
    if len(mutual) < _FEWEST_INLIERS:
        return None
    cv2.setRNGSeed(0)
    done, rotation, translation, inliers = cv2.solvePnPRansac(
        templates.points[best[mutual]] * 1000, pixels[mutual], K, None, reprojectionError=_REPROJECTION_PX,
        iterationsCount=_ITERATIONS, flags=cv2.SOLVEPNP_EPNP)
    if not done or inliers is None or len(inliers) < _FEWEST_INLIERS:
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(rotation)[0], translation[:, 0] / 1000
    return T


def _grid(seen: FeatureMap, side: int) -> np.ndarray:
    """Pixels [G, 2] of the picture, every fourth of what the teacher saw."""
    step = _GRID * seen.side / side
    x, y = (np.arange(step / 2 - 0.5, length - 0.5, step) for length in seen.size)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _nearest(queries: Tensor, templates: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each query [G] the nearest template and its cosine, for each template [M] the nearest query."""
    best, cosines = torch.empty(len(queries), dtype=torch.long), torch.empty(len(queries))
    back, back_cosine = torch.zeros(len(templates), dtype=torch.long), torch.full((len(templates),), -2.0)
    for first in range(0, len(queries), _CHUNK):
        products = queries[first : first + _CHUNK] @ templates.T
        cosines[first : first + _CHUNK], best[first : first + _CHUNK] = products.max(dim=1)
        there, row = products.max(dim=0)
        nearer = there > back_cosine
        back[nearer], back_cosine[nearer] = row[nearer] + first, there[nearer]
    return best.numpy(), cosines.numpy(), back.numpy()
