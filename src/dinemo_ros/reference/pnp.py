# SPDX-License-Identifier: Apache-2.0
"""Matches and PnP, the classic way: every cell votes for the vertex it resembles most, RANSAC finds the pose.

This is how "Unified category-level object detection and pose estimation" (Fischer et al., ICCV 2025) and OnePose read a
neural mesh, with OpenCV's RANSAC in place of Progressive-X, as there is one object per crop. The size is the mean one.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry import pinhole_matrix, se3
from ..model.neural_mesh import NeuralMesh
from ..solver.coarse import Target

_INLIER_CELLS = 1.5  # reprojection error
_ITERATIONS = 1000
_FEWEST = 6  # matches, below which there is no pose


class PnpSolver:
    """Poses from feature maps by matching cells with vertices."""

    def __init__(self, mesh: NeuralMesh) -> None:
        self._vertices = mesh.vertices.astype(np.float64)
        self._features, self._clutter = mesh.features, mesh.clutter

    def __call__(self, features: np.ndarray, target: Target) -> np.ndarray | None:
        """T_crop_obj [4, 4] in metres from a feature map [D, h, h] float32, or None without a consistent pose."""
        cells, vertices = self.matches(features)
        if len(cells) < _FEWEST:
            return None
        K = pinhole_matrix(target.focal, target.centre, target.centre)
        points = self._vertices[vertices]
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            points, cells, K, None, iterationsCount=_ITERATIONS, reprojectionError=_INLIER_CELLS, confidence=0.999,
            flags=cv2.SOLVEPNP_EPNP)
        if not found or inliers is None or len(inliers) < _FEWEST:
            return None
        chosen = inliers[:, 0]
        rotation, translation = cv2.solvePnPRefineLM(points[chosen], cells[chosen], K, None, rotation, translation)
        return se3(cv2.Rodrigues(rotation)[0], translation[:, 0])

    def matches(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells (x, y) [N, 2] float64 that resemble a vertex more than any clutter, and that vertex [N]."""
        D, h, w = features.shape
        F = features.reshape(D, h * w)
        similarity = self._features @ F
        vertex = similarity.argmax(axis=0)
        cell = np.flatnonzero(similarity.max(axis=0) > (self._clutter @ F).max(axis=0))
        return np.stack([cell % w, cell // w], axis=1).astype(np.float64), vertex[cell]
