# SPDX-License-Identifier: Apache-2.0
"""Planted cars that are larger than the mean one, or of another shape: what the plane and the depth make of them."""

from dataclasses import replace

import numpy as np
import pytest
from unit.planted import SIZE, FeatureField, car_card, car_mesh, cast_rays, render
from unit.scenes import CELLS, CENTRE, planted_scene

from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_ros.solver import PoseSolver, prepare_category

LARGER, DISTANCE = 1.06, 9.5


@pytest.fixture(scope="module")
def category():
    return prepare_category(car_mesh(), car_card())


def scene_of(azimuth=35.0, scale=(LARGER,) * 3, seed=0):
    return planted_scene(azimuth, elevation_deg=16.0, distance=DISTANCE, scale=scale, noise=0.3, seed=seed)


def plane_below(scene):
    """Through the middle of the bottom of the true car."""
    normal = scene.T[:3, 2]
    bottom = scene.T[:3, 3] - normal * 0.5 * SIZE[2] * scene.scale[2]
    return SupportPlane(normal, float(normal @ bottom))


def depth_of(scene):
    """[h, w] metres of the true car, 0 beside it."""
    mesh, at = car_mesh(), (np.arange(CELLS) - CENTRE) / scene.target.focal
    x, y = np.meshgrid(at, at)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    triangles = ((mesh.vertices * scene.scale) @ scene.T[:3, :3].T + scene.T[:3, 3])[mesh.faces]
    hit, face, barycentric = cast_rays(rays, triangles)
    z = np.einsum("nk,nk->n", barycentric, triangles[face][..., 2])
    return np.where(hit, z, 0.0).reshape(CELLS, CELLS)


def solved(category, scene, plane=False, depth=False):
    target = replace(scene.target, support=plane_below(scene) if plane else None,
                     depth=depth_of(scene) if depth else None)
    return PoseSolver(category, threads=1).solve(scene.features, target)[0]


def test_the_picture_alone_takes_a_larger_car_for_a_nearer_one(category):
    scene = scene_of()
    pose = solved(category, scene)
    assert pose.source == "rgb" and pose.observations == () and pose.pictured is None
    assert pose.T_crop_obj[2, 3] == pytest.approx(DISTANCE / LARGER, rel=0.012)


@pytest.mark.parametrize("azimuth", [35.0, 200.0])
@pytest.mark.parametrize("plane, depth, source, largest", [
    (True, False, "support", 0.006), (False, True, "depth", 0.006), (True, True, "support+depth", 0.004)])
def test_plane_and_depth_tell_how_large_and_how_far_it_is(category, azimuth, plane, depth, source, largest):
    scene = scene_of(azimuth)
    pose = solved(category, scene, plane, depth)
    assert pose.source == source and all(told.used for told in pose.observations)
    off = np.linalg.norm(pose.T_crop_obj[:3, 3] - scene.T[:3, 3]) / DISTANCE
    assert off < largest
    assert np.prod(pose.size / SIZE) ** (1 / 3) == pytest.approx(LARGER, rel=0.02)
    angle = np.degrees(np.arccos(np.clip((np.trace(pose.T_crop_obj[:3, :3].T @ scene.T[:3, :3]) - 1) / 2, -1, 1)))
    assert angle < 0.5
    assert np.sqrt(pose.covariance[2, 2]) < 0.5 * np.sqrt(pose.pictured.covariance[2, 2]), "the ray is known better"


@pytest.mark.parametrize("plane", [False, True])
@pytest.mark.parametrize("size, distance", [(1.4, 12.0), (0.7, 6.5)])
def test_the_refinement_begins_where_most_cells_of_the_depth_agree(category, size, distance, plane):
    """Such a car is nowhere near where the picture alone puts it: of its depth nothing would fit there."""
    scene = planted_scene(200.0, elevation_deg=16.0, distance=distance, scale=(size,) * 3, noise=0.3)
    pose, alone = solved(category, scene, plane, depth=True), solved(category, scene)
    assert pose.source == ("support+depth" if plane else "depth")
    assert alone.T_crop_obj[2, 3] == pytest.approx(distance / size, rel=0.03)
    assert pose.T_crop_obj[2, 3] == pytest.approx(distance, rel=0.01)


def test_the_pose_by_the_picture_alone_is_kept_beside_it(category):
    scene = scene_of()
    pose, alone = solved(category, scene, plane=True), solved(category, scene)
    np.testing.assert_allclose(pose.pictured.T_crop_obj, alone.T_crop_obj, atol=1e-9)
    assert pose.shape == ()


def narrower_above(vertices, by, inverse=False):
    """[N, 3] with y the smaller the higher: ``by`` of one narrows the roof by a tenth and widens the floor by one."""
    factor = 1.0 - 0.2 * by * vertices[:, 2:] / SIZE[2]
    return vertices * np.where([False, True, False], 1.0 / factor if inverse else factor, 1.0)


@pytest.mark.parametrize("by", [1.5, -1.5])
def test_with_a_plane_the_shape_is_found_and_the_distance_is_the_better_for_it(category, by):
    """The mode changes the outline alone; the features stay where they are on the surface."""
    surface, scene = category.surface.vertices, scene_of(150.0)
    modal = replace(category, modes=(narrower_above(surface, 1.0) - surface).astype(np.float64)[None])
    mesh = replace(car_mesh(), vertices=narrower_above(car_mesh().vertices, by).astype(np.float32))

    def field(points, normals):
        return FeatureField(0)(narrower_above(points, by, inverse=True), normals)

    features = render(mesh, scene.T, scene.target.focal, CELLS, scene.scale, field=field, noise=0.3).features
    shown = replace(scene, features=features)
    found, rigid = solved(modal, shown, plane=True), solved(category, shown, plane=True)
    assert found.shape == pytest.approx([by], abs=0.7) and solved(modal, shown).shape == ()
    off, off_rigid = (abs(pose.T_crop_obj[2, 3] / DISTANCE - 1.0) for pose in (found, rigid))
    assert off < 0.7 * off_rigid, (off, off_rigid)
