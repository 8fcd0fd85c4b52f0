# SPDX-License-Identifier: Apache-2.0

"""The rasteriser against geometry that can be written down, and against ray casting."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="training extra is not installed")

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_training.synthetic.render.rasterizer import rasterize, visible_vertices

CAMERA = Camera.from_hfov(97, 71, 50)
SIZE = (97, 71)


def icosphere(radius, subdivisions=4):
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def pixel_rays():
    column, row = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    return CAMERA.rays(np.stack([column.ravel(), row.ravel()], axis=1))


def test_slanted_plane_has_the_depth_of_ray_plane_intersection():
    corners = np.array([[-2.5, -2.5, 0], [2.5, -2.5, 0], [2.5, 2.5, 0], [-2.5, 2.5, 0]])
    T = se3(rotation_from_viewpoint(0.4, 0.7, 0.1), [0.2, -0.1, 6.0])
    fragments = rasterize(corners, np.array([[0, 1, 2], [0, 2, 3]]), CAMERA.K, T, SIZE)
    normal, point = T[:3, 2], T[:3, 3]  # plane z = 0 of the object
    expected = (point @ normal) / (pixel_rays() @ normal)  # rays have z = 1: the factor is the depth
    hit = fragments.mask.ravel()
    assert hit.mean() > 0.3
    np.testing.assert_allclose(fragments.depth.ravel()[hit], expected[hit], rtol=1e-5)


def test_sphere_has_the_depth_of_ray_sphere_intersection():
    radius, centre = 1.0, np.array([0.3, -0.2, 4.0])
    fragments = rasterize(*icosphere(radius), CAMERA.K, se3(np.eye(3), centre), SIZE)
    rays = pixel_rays()
    a, b, c = (rays**2).sum(1), rays @ centre, centre @ centre - radius**2
    discriminant = b**2 - a * c
    inner = discriminant > 0.3  # the rim is left out: there the facets deviate most
    expected = (b - np.sqrt(np.maximum(discriminant, 0))) / a
    assert fragments.mask.ravel()[inner].all()
    # 5120 facets of a unit sphere lie up to 0.0014 inside it, seen at up to 60 degrees.
    np.testing.assert_allclose(fragments.depth.ravel()[inner], expected[inner], atol=0.006)
    assert not fragments.mask.ravel()[discriminant < -0.05].any()


def cast(rays, triangles):
    """Moeller-Trumbore for every ray and triangle: nearest distance [N] (z of the hit) and face [N]."""
    a, edge1, edge2 = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = np.cross(rays[:, None], edge2[None])
    determinant = (p * edge1).sum(-1)
    u = (p * -a).sum(-1) / determinant
    q = np.cross(-a, edge1)[None]
    v = (q * rays[:, None]).sum(-1) / determinant
    t = (q * edge2).sum(-1) / determinant
    t = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0), t, np.inf)
    return t.min(axis=1), t.argmin(axis=1)


def test_random_triangles_equal_brute_force_ray_casting():
    rng = np.random.default_rng(0)
    vertices = rng.uniform([-2, -1.5, 3], [2, 1.5, 7], (90, 3))  # they pierce each other
    faces = np.arange(90).reshape(30, 3)
    fragments = rasterize(vertices, faces, CAMERA.K, np.eye(4), SIZE)
    depth, face = cast(pixel_rays(), vertices[faces])
    hit = np.isfinite(depth)
    assert 0.2 < hit.mean() < 0.95
    # Rays that meet an edge exactly may fall to either side in floating point; none is expected in random data.
    np.testing.assert_array_equal(fragments.mask.ravel(), hit)
    np.testing.assert_array_equal(fragments.face.ravel()[hit], face[hit])
    np.testing.assert_allclose(fragments.depth.ravel()[hit], depth[hit], rtol=1e-5)


def test_convention_weights_give_the_point_that_the_camera_projects_onto_the_pixel_centre():
    vertices, faces = icosphere(1.0, 2)
    T = se3(rotation_from_viewpoint(1.0, 0.3, 0.0), [0.2, 0.1, 3.0])
    fragments = rasterize(vertices, faces, CAMERA.K, T, SIZE)
    row, column = np.nonzero(fragments.mask)
    corners = vertices[faces[fragments.face[row, column]]]
    points = (fragments.weights[row, column][..., None] * corners).sum(axis=1) @ T[:3, :3].T + T[:3, 3]
    np.testing.assert_allclose(CAMERA.project(points), np.stack([column, row], axis=1), atol=2e-3)


def test_nothing_is_drawn_of_triangles_behind_the_camera():
    vertices = np.array([[-1.0, -1, -2], [1, -1, -2], [0, 1, -2], [0, 1, 2]])
    fragments = rasterize(vertices, np.array([[0, 1, 2], [0, 1, 3]]), CAMERA.K, np.eye(4), SIZE)
    assert not fragments.mask.any()


def test_visible_vertices_are_those_of_the_near_half_inside_the_picture():
    vertices, faces = icosphere(1.0, 3)
    T = se3(np.eye(3), [1.2, 0, 4.0])  # partly outside the picture on the right
    fragments = rasterize(vertices, faces, CAMERA.K, T, SIZE)
    visible = visible_vertices(vertices, fragments.depth, CAMERA.K, T, tolerance=0.02)
    points = vertices + T[:3, 3]
    facing = -(vertices * points).sum(axis=1) / np.linalg.norm(points, axis=1)  # cosine of normal and view
    column = CAMERA.project(points)[:, 0]
    assert visible[(facing > 0.25) & (column < 96)].all()
    assert not visible[facing < -0.25].any()
    assert not visible[column > 97].any()
