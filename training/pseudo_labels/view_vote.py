# SPDX-License-Identifier: Apache-2.0
"""Local to global: the views that explain a picture best vote for one orientation on a grid of viewing directions.

The majority vote of DINeMo (Guo et al., arXiv 2503.20220, figure 2), over whole views and not over single matches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.geometry import rotation_from_viewpoint

from .template_bank import TemplateBank

_STEP_DEG = 5.0          # of the grid in azimuth
_ELEVATION_STEP_DEG = 10.0
_SPREAD_DEG = 10.0       # of one view's vote: templates stand some 15 degrees apart
_SAME_MODE_DEG = 40.0    # maxima of the vote nearer than this are one


@dataclass(frozen=True)
class ViewGrid:
    """Directions around the object. azimuths, elevations: [G] radians; rotations: [G, 3, 3] object to camera."""

    azimuths: np.ndarray
    elevations: np.ndarray
    rotations: np.ndarray

    @classmethod
    def covering(cls, elevations: np.ndarray) -> ViewGrid:
        """Full circles at the elevations [K] (radians) that the templates have."""
        step = np.deg2rad(_ELEVATION_STEP_DEG)
        rows = np.unique(np.round(elevations / step)) * step
        columns = np.arange(0, 2 * np.pi - 1e-9, np.deg2rad(_STEP_DEG))
        elevation, azimuth = (m.ravel() for m in np.meshgrid(rows, columns, indexing="ij"))
        return cls(azimuth, elevation, np.array([rotation_from_viewpoint(a, e, 0.0)
                                                 for a, e in zip(azimuth, elevation, strict=True)]))

    def angles_to(self, rotations: np.ndarray) -> np.ndarray:
        """Turns [G, K] in radians between the grid's orientations and ``rotations`` [K, 3, 3]."""
        trace = np.einsum("gij,kij->gk", self.rotations, rotations)
        return np.arccos(np.clip((trace - 1) / 2, -1, 1))


@dataclass(frozen=True)
class Vote:
    """Share of the vote per grid direction, [G], sums to one."""

    grid: ViewGrid
    share: np.ndarray

    def modes(self, count: int) -> list[tuple[np.ndarray, float]]:
        """The ``count`` best separate orientations: rotation [3, 3] and the share of the vote around it, best first."""
        left, found = self.share.copy(), []
        angles = self.grid.angles_to(self.grid.rotations)
        for _ in range(count):
            if left.max() <= 0:
                break
            best = int(left.argmax())
            around = angles[best] < np.deg2rad(_SAME_MODE_DEG)
            found.append((self._mean_rotation(best, left * around), float((left * around).sum())))
            left[around] = 0.0
        return found

    def _mean_rotation(self, best: int, weight: np.ndarray) -> np.ndarray:
        """Vote-weighted mean viewpoint around a grid direction: finer than the grid."""
        turn = (self.grid.azimuths - self.grid.azimuths[best] + np.pi) % (2 * np.pi) - np.pi
        azimuth = self.grid.azimuths[best] + np.average(turn, weights=weight)
        return rotation_from_viewpoint(azimuth, float(np.average(self.grid.elevations, weights=weight)), 0.0)


def view_evidence(similarity: Tensor, visible: Tensor) -> Tensor:
    """[K] how well each view explains the object's cells and the object's cells explain the view.

    The mean of two means: of the best cell over the view's vertices, and of the best vertex over all cells of the
    object. The first alone favours views that show little of the object, whose few vertices all find something.

    Args:
        similarity: [K, V, P] cosines, P cells on the object; visible: [K, V] bool.
    """
    vertices = similarity.amax(2).masked_fill(~visible, 0.0).sum(1) / visible.sum(1).clamp(min=1)
    cells = similarity.masked_fill(~visible[:, :, None], -1.0).amax(1).mean(1)
    return 0.5 * (vertices + cells)


def vote(evidence: Tensor, bank: TemplateBank, sharpness: float, views: np.ndarray | None = None) -> Vote:
    """Views vote, sharpened against ties.

    Args:
        evidence: [K] of :func:`view_evidence`. sharpness: 1 / temperature of a softmax over it.
        views: [K] bool, which of them may vote; None: all.
    """
    chosen = np.ones(len(bank.rotations), bool) if views is None else views
    weight = torch.softmax(sharpness * evidence[torch.from_numpy(chosen)], 0).numpy()
    grid = ViewGrid.covering(bank.elevations[chosen])
    kernel = np.exp(-0.5 * (grid.angles_to(bank.rotations[chosen]) / np.deg2rad(_SPREAD_DEG)) ** 2)
    density = kernel.sum(1)  # of templates: where two sequences overlap, neither counts for more
    share = (kernel @ weight) / np.maximum(density, 0.2 * density.max())
    return Vote(grid, share / share.sum())
