# SPDX-License-Identifier: Apache-2.0
"""Starts by template matching: the right view wins where the box is about right."""

import numpy as np
import pytest
from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.geometry import rotation_angle
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.solver import prepare_category
from dinemo_ros.solver.nearest_view import nearest_starts


@pytest.fixture(scope="module")
def category():
    return prepare_category(car_mesh(), car_card(), "clutter")


@pytest.mark.parametrize("azimuth", [10.0, 95.0, 160.0, 235.0, 320.0])
def test_the_best_view_is_near_the_truth(category, azimuth):
    scene = planted_scene(azimuth, elevation_deg=15.0, noise=0.5)
    F = scene.features
    S = category.search_features @ F.reshape(len(F), -1)
    score = np.empty(len(category.nearest.rotations))
    starts = nearest_starts(S, F.shape[1:], category.nearest, scene.target, np.radians(25), 4, 0.6, score)
    R, t = starts[0]
    assert np.degrees(rotation_angle(R, scene.T[:3, :3])) < 20.0  # orthographic views of a near car: a start, no pose
    np.testing.assert_allclose(t[:2] / t[2], scene.T[:2, 3] / scene.T[2, 3], atol=0.04)
    assert t[2] == pytest.approx(scene.T[2, 3], rel=0.25)  # a view some degrees off is wider or narrower
    apart = [rotation_angle(a[0], b[0]) for i, a in enumerate(starts) for b in starts[:i]]
    assert len(starts) <= 4 and all(angle > np.radians(24.9) for angle in apart)


def test_views_show_visible_vertices_inside_their_box(category):
    views = category.nearest
    for g in range(0, len(views.rotations), 37):
        entries = slice(views.first[g], views.first[g + 1])
        assert np.abs(views.place[:, entries]).max() <= 0.5
        normals = category.surface.normals[views.vertex[entries]] @ views.rotations[g].T
        assert (normals[:, 2] < 0.35).mean() > 0.97  # they face the camera, a few at the rim hardly


def test_symmetry_leaves_out_views_that_look_alike():
    turned = prepare_category(car_mesh(), car_card(symmetry=Symmetry("z", 0)), "clutter")
    assert len(turned.nearest.rotations) == 5  # one azimuth for each elevation
