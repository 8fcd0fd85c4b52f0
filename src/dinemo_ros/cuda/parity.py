# SPDX-License-Identifier: Apache-2.0
"""Whether another solver finds the CPU's poses: asked at every start, so that a broken driver costs time, no pose."""

from __future__ import annotations

import math

import numpy as np

from ..bundle import Bundle
from ..errors import BackendError
from ..pipeline import CpuPipeline, Pipeline, Solved
from ..solver import Start
from ..solver.coarse import Target
from ..solver.nearest_view import _CELLS, nearest_views
from ..solver.surface import prepare_surface
from ..symmetry import Symmetry

_VIEWS = 3
# float32 and float64 end hundredths of a degree apart; only where two hypotheses are nearly equal do they choose apart,
# and in these pictures without noise they are not.
_ANGLE, _DISTANCE = math.radians(2), 0.02


def check(bundle: Bundle, reference: CpuPipeline, pipeline: Pipeline) -> None:
    """BackendError unless both find, and then follow to, the same poses in pictures of the bundle's own features."""
    features, targets = own_views(bundle)
    known = bundle.card.symmetry
    # Where a handle may be hidden, or is left out as here where cells are coarse, the turn about the axis may differ.
    symmetry = Symmetry("z", 0) if known.uncertain_azimuth else known
    solved = reference.solve_features(features, targets)
    _require_same(solved, pipeline.solve_features(features, targets), symmetry)
    starts = [Start(poses[0].T_crop_obj, poses[0].size) for poses in solved]
    _require_same(reference.solve_features(features, targets, starts),
                  pipeline.solve_features(features, targets, starts), symmetry)


def _require_same(expected: Solved, found: Solved, symmetry: Symmetry) -> None:
    """BackendError unless the first pose of each crop is the same."""
    for a, b in zip(expected, found, strict=True):
        if not a or not b:
            raise BackendError("the GPU's solver finds nothing in a picture of the object")
        angle = symmetry.distance(a[0].T_crop_obj[:3, :3], b[0].T_crop_obj[:3, :3])
        apart = np.linalg.norm(a[0].T_crop_obj[:3, 3] - b[0].T_crop_obj[:3, 3]) / a[0].T_crop_obj[2, 3]
        if not (angle <= _ANGLE and apart <= _DISTANCE):
            raise BackendError(f"the GPU's solver finds other poses than the CPU's: {math.degrees(angle):.1f} degrees "
                               f"and {100 * apart:.1f} % of the distance apart")


def own_views(bundle: Bundle) -> tuple[np.ndarray, list[Target]]:
    """Feature maps [_VIEWS, D, h, h] of the mesh seen from around it before clutter, and their targets."""
    card, surface = bundle.card, prepare_surface(bundle.mesh)
    count = len(surface.vertices) // 4 * 4
    views = nearest_views(surface, card.search, count, card.symmetry)
    h = card.image.size // card.image.stride
    centre = 0.5 * (h - 1)
    maps = np.tile(bundle.mesh.clutter[0][:, None, None], (_VIEWS, 1, h, h)).astype(np.float32)
    targets = []
    for k in range(_VIEWS):
        g = k * len(views.rotations) // _VIEWS
        part = slice(views.first[g], views.first[g + 1])
        j, i = np.round(centre + _CELLS * views.place[part]).astype(int).clip(0, h - 1).T
        maps[k, :, i, j] = surface.features[views.vertex[part]]
        box = np.array([j.min(), i.min(), j.max(), i.max()]) + [-0.5, -0.5, 0.5, 0.5]
        targets.append(Target(box, np.zeros(4, np.uint8), 3.0 * h, centre))
    return maps, targets
