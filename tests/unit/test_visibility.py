# SPDX-License-Identifier: Apache-2.0
"""Which vertices a camera sees: those that face it and that nothing hides, against rays cast one by one."""

import numpy as np
from unit.planted import car_mesh, cast_rays

from dinemo_ros.solver.surface import outward
from dinemo_ros.solver.visibility import direction_index, visibility_table, visible_row

CAMERA_DISTANCE, GRAZING, TOLERANCE = 2.5, 0.05, 0.03  # in diagonals, a cosine, in diagonals


def plate(x: float, half: float, steps: int = 9):
    """Vertices, faces and normals of a square across the x axis at ``x``, seen from its front."""
    at = np.linspace(-half, half, steps)
    y, z = (grid.ravel() for grid in np.meshgrid(at, at))
    vertices = np.stack([np.full(y.shape, x), y, z], axis=1)
    i = (np.arange(steps - 1)[:, None] * steps + np.arange(steps - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + steps + 1], 1), np.stack([i, i + steps + 1, i + steps], 1)])
    return vertices, faces, np.tile([1.0, 0.0, 0.0], (len(vertices), 1))


def two_plates(front_half: float):
    """A plate of half a metre's half side one metre behind another; first the vertices of the front one."""
    (a, f, n), (b, g, m) = plate(0.5, front_half), plate(-0.5, 0.5)
    return np.concatenate([a, b]), np.concatenate([f, g + len(a)]), np.concatenate([n, m]), len(a)


def test_an_object_hides_parts_of_itself():
    """Both plates face the camera; the front one is seen and the rear one is not, from the side it is."""
    vertices, faces, normals, front = two_plates(0.8)
    table = visibility_table(vertices, faces, normals, azimuths=12, elevations=5)
    seen = visible_row(table, 0.0, 0.0)
    assert seen[:front].all() and not seen[front:].any()
    aside = visible_row(table, np.radians(60.0), 0.0)
    assert aside[front:].mean() > 0.6
    assert not visible_row(table, np.pi, 0.0).any(), "from behind both show their rear"


def test_only_what_lies_behind_is_hidden():
    """A small plate hides the middle of a large one."""
    vertices, faces, normals, front = two_plates(0.2)
    seen = visible_row(visibility_table(vertices, faces, normals, azimuths=12, elevations=5), 0.0, 0.0)
    rear = vertices[front:]
    shadow = np.abs(rear[:, 1:]).max(axis=1)
    assert not seen[front:][shadow < 0.2].any() and seen[front:][shadow > 0.3].all()


def test_a_vertex_just_below_the_surface_still_counts_as_on_it():
    """The depth picture is coarse: up to three hundredths of the diagonal are forgiven, ten are not."""
    vertices, faces, normals, front = two_plates(0.8)
    for depth, expected in ((0.01, True), (0.1, False)):
        near = vertices.copy()
        near[front:, 0] = 0.5 - depth * np.linalg.norm(np.ptp(near[:front], axis=0))
        seen = visible_row(visibility_table(near, faces, normals, azimuths=12, elevations=5), 0.0, 0.0)
        assert seen[front:].all() == expected == seen[front:].any()


def test_the_table_is_what_rays_say():
    """Every seventh vertex of the car, from fifteen sides."""
    mesh, azimuths, elevations, some = car_mesh(), 8, 5, slice(None, None, 7)
    vertices, normals = mesh.vertices.astype(float), mesh.normals.astype(float)
    faces = outward(mesh.faces, vertices, normals)
    table = visibility_table(vertices, faces, normals, azimuths, elevations)
    assert table.visible.shape == (azimuths * elevations, len(vertices))
    diagonal = np.linalg.norm(np.ptp(vertices, axis=0))
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    undecided = 0
    for e, elevation in enumerate(np.linspace(-np.pi / 2, np.pi / 2, elevations)):
        for a in range(0, azimuths, 3):
            azimuth = 2 * np.pi * a / azimuths
            towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                                np.sin(elevation)])
            camera = middle + CAMERA_DISTANCE * diagonal * towards
            sure_seen, sure_hidden = verdicts(vertices[some], normals[some], vertices[faces], camera, diagonal)
            row = table.visible[e * azimuths + a, some].astype(bool)
            assert row[sure_seen].all() and not row[sure_hidden].any(), (azimuth, elevation)
            undecided += np.mean(~(sure_seen | sure_hidden))
    assert undecided / 15 < 0.25, "rays leave too much open to judge anything"


def verdicts(vertices, normals, triangles, camera, diagonal):
    """Vertices [V] that must be seen and those that must not; neither: within a pixel of an edge, or grazing."""
    away = camera - vertices
    cosine = np.sum(away * normals, axis=1) / np.linalg.norm(away, axis=1)
    pixel = 0.015 * diagonal * np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
    behind = np.stack([blocked_by(vertices + shift, triangles, camera) for shift in pixel])
    seen = (cosine > GRAZING + 0.02) & (behind < 0.5 * TOLERANCE * diagonal).all(axis=0)
    hidden = (cosine < GRAZING - 0.02) | (behind > 1.5 * TOLERANCE * diagonal).all(axis=0)
    return seen, hidden


def blocked_by(points, triangles, camera):
    """[N] metres from the nearest surface on the way from the camera to each point; 0 where nothing is in between."""
    rays = points - camera
    hit, face, weights = cast_rays(rays, triangles - camera)
    surface = np.einsum("nk,nkc->nc", weights, (triangles - camera)[face])
    gap = np.linalg.norm(rays, axis=1) - np.linalg.norm(surface, axis=1)
    return np.where(hit, np.maximum(gap, 0.0), 0.0)


def test_a_direction_has_the_row_of_its_azimuth_and_elevation():
    for azimuth in range(8):
        for elevation in range(1, 4):
            a, e = 2 * np.pi * azimuth / 8, np.pi * (elevation / 4 - 0.5)
            direction = 3.0 * np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
            assert direction_index(direction, 8, 5) == elevation * 8 + azimuth
    assert direction_index(np.array([0.0, 0.0, -1.0]), 8, 5) == 0
    assert direction_index(np.array([0.0, 0.0, 1.0]), 8, 5) == 32
