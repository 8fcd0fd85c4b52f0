# SPDX-License-Identifier: Apache-2.0
"""Matches and PnP on planted scenes."""

from __future__ import annotations

import numpy as np
import pytest
from unit.planted import CLUTTER, DIM, car_mesh
from unit.scenes import CELLS, planted_scene

from dinemo_ros.geometry import rotation_angle
from dinemo_ros.reference.pnp import PnpSolver


@pytest.fixture(scope="module")
def solver():
    return PnpSolver(car_mesh())


@pytest.mark.parametrize("azimuth", [20, 110, 235, 320])
def test_finds_the_planted_pose(solver, azimuth):
    scene = planted_scene(azimuth, noise=0.3)
    T = solver(scene.features, scene.target)
    assert np.degrees(rotation_angle(T[:3, :3], scene.T[:3, :3])) < 5
    assert np.linalg.norm(T[:3, 3] - scene.T[:3, 3]) < 0.05 * scene.T[2, 3]


def test_matches_are_the_object_s_cells(solver):
    scene = planted_scene(50)
    cells, vertices = solver.matches(scene.features)
    x, y = cells.astype(int).T
    assert scene.covered[y, x].mean() > 0.97 and len(cells) > 0.9 * scene.covered.sum()
    projected = car_mesh().vertices[vertices] @ scene.T[:3, :3].T + scene.T[:3, 3]
    error = scene.target.focal * projected[:, :2] / projected[:, 2:] + scene.target.centre - cells
    assert np.median(np.linalg.norm(error, axis=1)) < 1.0


def test_clutter_alone_has_no_pose(solver):
    features = np.empty((DIM, CELLS, CELLS), np.float32)
    features[:] = car_mesh().clutter[np.arange(CELLS) % CLUTTER].T[:, None]
    assert solver(features, planted_scene(0).target) is None
