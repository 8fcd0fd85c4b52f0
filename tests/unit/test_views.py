# SPDX-License-Identifier: Apache-2.0
"""Both tables of views against the mesh itself, and the score of templates against plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest
from unit.planted import car_mesh, cast_rays

from dinemo_ros.geometry import rotation_from_viewpoint
from dinemo_ros.model.bundle import SearchSpec
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.solver.coarse import Target
from dinemo_ros.solver.nearest_view import nearest_starts, nearest_views
from dinemo_ros.solver.surface import prepare_surface
from dinemo_ros.solver.views import view_table
from dinemo_ros.solver.visibility import visible_row

SEARCH = SearchSpec(azimuth=8, elevation_deg=(0.0, 30.0), theta_deg=(-5.0, 5.0))


@pytest.fixture(scope="module")
def surface():
    return prepare_surface(car_mesh())


def test_a_search_view_lists_the_first_vertices_that_it_sees(surface):
    table = view_table(surface, SEARCH, 200, 30)
    angles = [(a, e, t) for e in (0.0, 30.0) for a in range(0, 360, 45) for t in (-5.0, 5.0)]
    assert len(table.rotations) == len(angles)
    for g, (a, e, t) in enumerate(angles):
        R = rotation_from_viewpoint(*np.radians([a, e, t]))
        np.testing.assert_allclose(table.rotations[g], R, atol=1e-12)
        seen = np.flatnonzero(visible_row(surface, np.radians(a), np.radians(e))[:200])[:30]
        assert table.index[g, :len(seen)].tolist() == seen.tolist()
        assert table.weight[g].tolist() == [1.0] * len(seen) + [0.0] * (30 - len(seen))
        np.testing.assert_allclose(table.points[g, :, :len(seen)], R @ surface.vertices[seen].T, atol=1e-6)


def test_the_outline_holds_the_outermost_vertices_from_near_and_far(surface):
    """A near camera sees others at the rim than a far one: of every distance within one per cent of the extent."""
    table, diagonal = view_table(surface, SEARCH, 200, 30), np.linalg.norm(np.ptp(surface.vertices, axis=0))
    for g in range(0, len(table.rotations), 5):
        rotated = surface.vertices @ table.rotations[g].T
        for distance in (1.2, 2.0, 3.0, 6.0, 12.0, 50.0):
            every, some = (p[:, :2] / (p[:, 2:] + distance * diagonal) for p in (rotated, table.outline[g]))
            size = np.ptp(every, axis=0)
            np.testing.assert_array_less(np.abs(every.min(axis=0) - some.min(axis=0)), 0.01 * size)
            np.testing.assert_array_less(np.abs(every.max(axis=0) - some.max(axis=0)), 0.01 * size)


def test_of_an_object_that_turns_into_itself_only_different_azimuths_are_listed(surface):
    for order, azimuths in ((0, 1), (2, 4), (4, 2)):
        assert len(view_table(surface, SEARCH, 200, 30, Symmetry("z", order)).rotations) == azimuths * 2 * 2


def test_a_template_shows_in_every_cell_what_a_far_camera_sees_there(surface):
    """Its vertex lies where the cell looks: within half a metre of the hit of a ray, for nine of ten cells."""
    views = nearest_views(surface, SEARCH, 400)
    assert len(views.rotations) == 2 * 12 and len(views.first) == 25 and views.first[-1] == len(views.vertex)
    for g in (0, 5, 14):
        R = views.rotations[g]
        np.testing.assert_allclose(R, rotation_from_viewpoint(np.pi / 6 * (g % 12), np.radians(30.0 * (g // 12)), 0.0))
        entries = slice(views.first[g], views.first[g + 1])
        points = surface.vertices @ R.T
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        at = 0.5 * (low + high) + (high - low).max() * views.place[:, entries].T
        far = np.array([0.0, 0.0, 1000.0])  # rays from so far are parallel
        hit, face, weights = cast_rays(np.column_stack([at, np.full(len(at), 1000.0)]), (points + far)[surface.faces])
        assert hit.mean() > 0.85  # cells that the rim only touches are painted as well
        where = np.einsum("nk,nkc->nc", weights, points[surface.faces[face]])
        off = np.linalg.norm(where - points[views.vertex[entries]], axis=1)[hit]
        assert (off < 0.5).mean() > 0.9 and np.median(off) < 0.35
        covered = np.prod(high - low) / (high - low).max() ** 2 * 400
        assert 0.6 * covered < len(at) <= 1.1 * covered + 20


def test_a_templates_score_is_the_mean_similarity_of_its_cells_where_the_roi_puts_them():
    """The larger side of the view is that of the ROI; a cell outside of the crop adds nothing, but counts."""
    rng = np.random.default_rng(0)
    V, h, w, first = 6, 11, 14, np.array([0, 30, 30, 75])
    S = rng.normal(size=(V, h * w)).astype(np.float32)
    vertex, place = rng.integers(0, V, 75).astype(np.int32), rng.uniform(-0.5, 0.5, (2, 75)).astype(np.float32)
    rotations = np.array([rotation_from_viewpoint(a, 0.0, 0.0) for a in (0.0, 1.0, 2.0)])
    views = SimpleNamespace(rotations=rotations, outline=rng.uniform(-1, 1, (3, 8, 3)).astype(np.float32), first=first,
                            vertex=vertex, place=place)
    for box in ([2.0, 3.0, 11.0, 9.0], [-6.0, -2.0, 5.0, 7.0], [5.0, 1.0, 8.0, 10.6], [0.0, 0.0, 13.0, 10.0]):
        x_min, y_min, x_max, y_max = box
        side = max(x_max - x_min, y_max - y_min)
        expected = []
        for g in range(3):
            total = 0.0
            for k in range(first[g], first[g + 1]):
                j = int(np.rint(0.5 * (x_min + x_max) + place[0, k] * side))
                i = int(np.rint(0.5 * (y_min + y_max) + place[1, k] * side))
                total += S[vertex[k], i * w + j] if 0 <= i < h and 0 <= j < w else 0.0
            expected.append(total / max(first[g + 1] - first[g], 1))
        score = np.empty(3)
        target = Target(np.array(box), np.zeros(4, np.uint8), 20.0, 6.0)
        nearest_starts(S, (h, w), views, target, 0.1, 3, 0.0, score)
        np.testing.assert_allclose(score, expected, atol=1e-5)
