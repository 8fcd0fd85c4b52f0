# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Geometry of the neural mesh: mirror-symmetric, closed, in its box, facing the right way."""

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh", reason="training extra is not installed")
pytest.importorskip("skimage", reason="training extra is not installed")

from dinemo_training.synthetic.shape.mean_mesh import box_mesh, mean_mesh, read_cad, save_shape, vertex_normals
from dinemo_training.synthetic.shape.occupancy import body_bounds, surface_points

SIZE = np.array([4.0, 1.8, 1.5])


def block(lower, upper):
    mesh = trimesh.creation.box(bounds=[lower, upper])
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def pickup(cabin_x):
    """A lorry of two blocks in the object frame; the cabin at ``cabin_x`` .. ``cabin_x`` + 0.3 of the length."""
    body, cabin = block([-0.5, -0.3, -0.2], [0.5, 0.3, 0.1]), block([cabin_x, -0.28, 0.0], [cabin_x + 0.3, 0.28, 0.3])
    mirror = block([0.2, 0.3, 0.1], [0.22, 0.36, 0.14])
    parts, faces, offset = [], [], 0
    for v, f in (body, cabin, mirror):
        parts.append(v)
        faces.append(f + offset)
        offset += len(v)
    return np.concatenate(parts), np.concatenate(faces)


@pytest.fixture(scope="module")
def shape():
    return mean_mesh([pickup(0.1), pickup(0.15), pickup(0.2)], SIZE, vertex_count=400)


def test_mean_mesh_is_exactly_mirror_symmetric(shape):
    vertices, faces = shape
    mirrored = {tuple(v) for v in np.round(vertices * [1, -1, 1], 9) + 0.0}
    assert mirrored == {tuple(v) for v in np.round(vertices, 9) + 0.0}
    key = {tuple(v): k for k, v in enumerate(np.round(vertices, 9) + 0.0)}
    twin = np.array([key[tuple(v)] for v in np.round(vertices * [1, -1, 1], 9) + 0.0])
    assert {frozenset(f) for f in twin[faces]} == {frozenset(f) for f in faces}


def test_mean_mesh_fills_its_box_with_about_the_vertices_asked_for(shape):
    vertices, _ = shape
    np.testing.assert_allclose(vertices.min(axis=0), -SIZE / 2, atol=1e-9)
    np.testing.assert_allclose(vertices.max(axis=0), SIZE / 2, atol=1e-9)
    assert 0.9 * 400 < len(vertices) < 1.1 * 400


def test_mean_mesh_is_closed_and_faces_outward(shape):
    mesh = trimesh.Trimesh(*shape, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert 0.5 * SIZE.prod() < mesh.volume < SIZE.prod()
    normals = vertex_normals(*shape)
    top = shape[0][:, 2] > 0.5 * SIZE[2] - 0.02
    assert (normals[top, 2] > 0.3).all()


def test_mean_mesh_keeps_the_cabin_where_most_models_have_it(shape):
    vertices, _ = shape
    roof = vertices[vertices[:, 2] > 0.4 * SIZE[2]]
    # Models' cabins cover 0.10-0.40, 0.15-0.45 and 0.20-0.50 of the length: two of three agree on 0.15 to 0.45.
    np.testing.assert_allclose([roof[:, 0].min(), roof[:, 0].max()], np.array([0.15, 0.45]) * SIZE[0], atol=0.2)


def test_vertices_are_evenly_spread(shape):
    vertices, faces = shape
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=-1)
    assert np.percentile(edges, 95) < 2.2 * np.percentile(edges, 5)


def test_body_bounds_leave_mirrors_out():
    vertices, faces = pickup(0.1)
    assert vertices[:, 1].max() == pytest.approx(0.36)
    lower, upper = body_bounds(surface_points(vertices, faces, 200_000))
    np.testing.assert_allclose(lower, [-0.5, -0.3, -0.2], atol=0.011)
    np.testing.assert_allclose(upper, [0.5, 0.3, 0.3], atol=0.011)


def test_box_mesh_has_nemo_spacing_and_closed_sides():
    vertices, faces = box_mesh(np.array([4.25, 1.75, 1.5]))
    assert 900 < len(vertices) < 1150
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.volume == pytest.approx(4.25 * 1.75 * 1.5)
    assert mesh.area == pytest.approx(2 * (4.25 * 1.75 + 1.75 * 1.5 + 1.5 * 4.25))


def test_convention_cad_axes_become_the_object_frame(tmp_path):
    # PASCAL3D+: front = -y, left = +x, up = z. A wedge that tells them apart.
    (tmp_path / "a.obj").write_text("v 0 -3 0\nv 2 0 0\nv 0 0 1\nf 1 2 3\n")
    vertices, _ = read_cad(tmp_path / "a.obj")
    np.testing.assert_allclose(vertices, [[3, 0, 0], [0, 2, 0], [0, 0, 1]])


def test_saved_shape_is_plain_arrays(tmp_path, shape):
    save_shape(tmp_path / "shape.npz", *shape)
    with np.load(tmp_path / "shape.npz", allow_pickle=False) as data:
        assert {k: data[k].dtype.name for k in data} == {"vertices": "float32", "faces": "int32", "normals": "float32"}
        np.testing.assert_allclose(np.linalg.norm(data["normals"], axis=1), 1, atol=1e-5)


def stool():
    """A seat on four legs, which are 1 % of its cross-section each."""
    pieces = [block([-0.5, -0.5, 0.3], [0.5, 0.5, 0.5])]
    pieces += [block([x - 0.05, y - 0.05, -0.5], [x + 0.05, y + 0.05, 0.3]) for x in (-0.4, 0.4) for y in (-0.4, 0.4)]
    offset = np.cumsum([0, *(len(v) for v, _ in pieces)])
    faces = [f + k for (_, f), k in zip(pieces, offset, strict=False)]
    return np.concatenate([v for v, _ in pieces]), np.concatenate(faces)


def test_thin_legs_belong_to_the_box_and_stay_apart_where_the_recipe_says_so():
    legs = {}
    for body, filled in ((0.0, False), (0.0, True)):
        vertices, _ = mean_mesh([stool()], np.ones(3), vertex_count=600, body=body, filled=filled)
        legs[filled] = vertices[(vertices[:, 2] < 0.1) & (vertices[:, 2] > -0.4)]
        assert len(legs[filled]) > 40
    assert np.abs(legs[False][:, 1]).min() > 0.25 and np.abs(legs[True][:, 1]).min() < 0.05
    points = surface_points(*stool(), 100_000)
    assert np.ptp(body_bounds(points, 0.0), axis=0) == pytest.approx([1, 1, 1], abs=0.02)
    assert np.ptp(body_bounds(points, 0.06), axis=0)[2] < 0.3, "a share that leaves the legs out"
