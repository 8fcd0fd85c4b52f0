# SPDX-License-Identifier: Apache-2.0
"""Planted scenes with an ROI, as the solver is given them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from unit.planted import car_mesh, render

from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.solver.coarse import Target

CELLS, CENTRE = 32, 15.5


@dataclass(frozen=True)
class PlantedScene:
    """Truth ``T`` [4, 4], ``scale`` [3] of the size, the features and the target."""

    T: np.ndarray
    scale: np.ndarray
    features: np.ndarray
    covered: np.ndarray
    target: Target


def planted_scene(azimuth_deg: float, elevation_deg: float = 12.0, theta_deg: float = 0.0, distance: float = 9.0,
                  scale=(1.0, 1.0, 1.0), box_error=(0.0, 0.0, 0.0, 0.0), seed: int = 0, occlude=None,
                  **options) -> PlantedScene:
    """The planted car in a crop whose ROI is off by ``box_error`` (share of its size per side).

    occlude(covered [h, h] bool) -> [h, h] bool names the cells that something else hides.
    """
    mesh, scale = car_mesh(), np.asarray(scale, float)
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, theta_deg]))
    T = se3(R, np.array([0.01, -0.02, 1.0]) * distance)
    points = (mesh.vertices * scale) @ R.T + T[:3, 3]
    plane = points[:, :2] / points[:, 2:]
    low, high = plane.min(axis=0), plane.max(axis=0)
    focal = 0.5 * CELLS / (1.15 * 0.5 * max(high - low))
    middle = 0.5 * (low + high)  # the crop camera looks at the ROI's middle
    T[:3, 3] -= np.array([*middle, 0.0]) * distance
    box = focal * np.r_[low - middle, high - middle] + CENTRE
    side = box[2:] - box[:2]
    target = Target(box + np.asarray(box_error) * np.r_[side, side], np.zeros(4, np.uint8), focal, CENTRE)
    scene = render(mesh, T, focal, CELLS, scale, seed=seed, **options)
    if occlude is not None:
        scene = render(mesh, T, focal, CELLS, scale, seed=seed, occluded=occlude(scene.covered), **options)
    return PlantedScene(T, scale, scene.features, scene.covered, target)
