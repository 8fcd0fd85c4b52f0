# SPDX-License-Identifier: Apache-2.0
"""The geometry of a neural mesh before it has features: what :mod:`training.shape` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class CategoryShape:
    """vertices [V, 3] float64 metres at mean size, object frame; faces [F, 3] int32; normals [V, 3] unit, outward."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray

    @classmethod
    def load(cls, path: str | Path) -> CategoryShape:
        with np.load(path, allow_pickle=False) as data:
            return cls(data["vertices"].astype(np.float64), data["faces"].astype(np.int32),
                       data["normals"].astype(np.float64))

    @property
    def size(self) -> np.ndarray:
        """Mean length, width, height [3] in metres."""
        return np.ptp(self.vertices, axis=0)

    def at_size(self, size: np.ndarray) -> np.ndarray:
        """Vertices [V, 3] of an instance with box ``size`` [3] metres: the mean shape scaled per axis."""
        return self.vertices * (np.asarray(size) / self.size)

    def resized(self, size: np.ndarray) -> CategoryShape:
        """The same shape with another mean size [3] metres."""
        scale = np.asarray(size) / self.size
        normals = self.normals / scale  # they scale inversely
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return CategoryShape(self.vertices * scale, self.faces, normals)
