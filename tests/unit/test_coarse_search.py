# SPDX-License-Identifier: Apache-2.0
"""The coarse search against plain loops: where an ROI puts an object, which shift and distance score best."""

import numpy as np
import pytest

from dinemo_ros.geometry import rotation_from_viewpoint
from dinemo_ros.solver import reference
from dinemo_ros.solver.coarse import SHIFT, Target, coarse_search, gather, make_sums, place, select_distinct
from dinemo_ros.solver.problem import Pinhole
from dinemo_ros.solver.similarity import UNIT, SimilarityVolume
from dinemo_ros.solver.views import ViewTable

FOCAL, CENTRE, H, W, PAD = 40.0, 11.5, 24, 27, SHIFT + 1
CLOSED = np.zeros(4, np.uint8)


def outline() -> np.ndarray:
    """[200, 3] of a body that is wider than high."""
    return np.random.default_rng(0).uniform([-2.0, -0.7, -0.5], [2.0, 0.7, 0.5], (200, 3)).astype(np.float32)


def extent(points, x, y, z):
    """x_min, y_min, x_max, y_max in cells of points put at z in front of the camera, then moved in the picture."""
    cells = reference.project(points + np.array([0, 0, z]), FOCAL, CENTRE) + FOCAL * np.array([x, y])
    return np.r_[cells.min(axis=0), cells.max(axis=0)]


@pytest.mark.parametrize("open_sides, sides", [
    ((0, 0, 0, 0), None),  # all four: see below
    ((0, 0, 1, 0), (0, 1, 3)),  # cut on the right: height tells the distance, the left side where it is
    ((1, 0, 0, 0), (2, 1, 3)), ((0, 1, 0, 0), (3, 0, 2)), ((0, 0, 0, 1), (1, 0, 2))])
def test_an_object_is_put_where_the_known_sides_of_the_roi_say(open_sides, sides):
    points, box = outline(), np.array([4.0, 6.0, 20.0, 13.0])
    found = extent(points, *place(points, box, np.array(open_sides, np.uint8), FOCAL, CENTRE))
    if sides is None:
        middle, size = 0.5 * (box[:2] + box[2:]), box[2:] - box[:2]
        np.testing.assert_allclose(0.5 * (found[:2] + found[2:]), middle, atol=0.01)
        assert np.prod(found[2:] - found[:2]) == pytest.approx(np.prod(size), rel=0.02)
    else:
        np.testing.assert_allclose(found[list(sides)], box[list(sides)], atol=0.1)


@pytest.mark.parametrize("open_sides, fits", [((1, 0, 0, 1), 0), ((0, 1, 1, 0), 1)])
def test_cut_both_ways_the_larger_picture_is_the_better_guess(open_sides, fits):
    """Both sides are at least as long as the ROI's, one of them just as long; the corner that is not cut stays."""
    points = outline()
    for width, height in ((16.0, 3.0), (6.0, 9.0)):
        box = np.array([4.0, 6.0, 4.0 + width, 6.0 + height])
        found = extent(points, *place(points, box, np.array(open_sides, np.uint8), FOCAL, CENTRE))
        ratio = (found[2:] - found[:2]) / [width, height]
        assert ratio.min() == pytest.approx(1.0, rel=0.02) and ratio.max() > 1.2
        known = [2, 1] if fits == 0 else [0, 3]
        np.testing.assert_allclose(found[known], box[known], atol=0.05)


def test_cut_on_opposite_sides_it_stands_in_the_middle():
    points, box = outline(), np.array([4.0, 6.0, 20.0, 13.0])
    found = extent(points, *place(points, box, np.array([1, 0, 1, 0], np.uint8), FOCAL, CENTRE))
    np.testing.assert_allclose(found[[1, 3]], box[[1, 3]], atol=0.1)
    assert found[0] + found[2] == pytest.approx(24.0, abs=0.01)


def test_an_object_never_stands_in_the_camera():
    """A box far larger than the picture: the nearest point stays in front, by 15 % of its distance to the middle."""
    points = outline()
    _, _, z = place(points, np.array([-5000.0, -5000.0, 5000.0, 5000.0]), CLOSED, FOCAL, CENTRE)
    assert z == pytest.approx(-1.15 * points[:, 2].min(), rel=1e-6)


def searched(samples: int, scales):
    """Score and translation of five views of random vertices in a random volume, with what made them."""
    rng = np.random.default_rng(4)
    V, G, N = 12, 5, 9
    evidence = np.zeros((V + 1, H + 2 * PAD, W + 2 * PAD), np.uint8)
    evidence[:-1, PAD:-PAD, PAD:-PAD] = rng.integers(0, 90, (V, H, W))
    rotations = np.array([rotation_from_viewpoint(a, 0.3, 0.0) for a in np.linspace(0, 5, G)])
    vertices = rng.uniform(-1.5, 1.5, (V, 3))
    index = np.stack([rng.permutation(V)[:N] for _ in range(G)]).astype(np.int32)
    weight = np.ones((G, N), np.float32)
    weight[2, 6:] = 0.0  # a view that sees six vertices only
    rotated = np.einsum("gij,vj->gvi", rotations, vertices)
    points = np.take_along_axis(rotated, index[:, :, None], axis=1).transpose(0, 2, 1)
    views = ViewTable(rotations, index, np.ascontiguousarray(points, np.float32), weight,
                      np.ascontiguousarray(rotated, np.float32))
    nothing = np.empty(0, np.float32)
    volume = SimilarityVolume(nothing, nothing, nothing, nothing, evidence, nothing, PAD)
    target = Target(np.array([3.0, 4.0, 19.0, 18.0]), CLOSED, FOCAL, CENTRE)
    score, translation = np.full(G, 7.0), np.full((G, 3), 7.0)
    coarse_search(volume, views, np.array([0, 2, 4]), samples, target, np.array(scales), score, translation,
                  make_sums(samples))
    return score, translation, views, volume, target


@pytest.mark.parametrize("samples", [9, 4])
def test_best_shift_and_distance_of_every_chosen_view(samples):
    scales = (0.8, 1.0, 1.3)
    score, translation, views, volume, target = searched(samples, scales)
    assert (score[[1, 3]] == 7.0).all() and (translation[[1, 3]] == 7.0).all(), "these were not asked for"
    plain = volume.evidence[:-1, PAD:-PAD, PAD:-PAD] / UNIT
    for g in (0, 2, 4):
        x, y, z = place(views.outline[g], target.box, target.open_sides, FOCAL, CENTRE)
        n = min(samples, int(views.weight[g].sum()))
        tried = {}
        for d in z * np.array(scales):
            at = views.points[g, :, :n].T + np.array([x * d, y * d, d])
            for dy in range(-SHIFT, SHIFT + 1):
                for dx in range(-SHIFT, SHIFT + 1):
                    value = reference.mean_evidence(plain, views.index[g, :n], at, FOCAL, CENTRE, (dx, dy))
                    tried[(x + dx / FOCAL) * d, (y + dy / FOCAL) * d, d] = value
        assert score[g] == pytest.approx(max(tried.values()), abs=1e-9)
        best = [t for t, value in tried.items() if value > max(tried.values()) - 1e-9]
        assert min(np.abs(np.array(t) - translation[g]).max() for t in best) < 1e-5


def test_vertices_off_the_crop_count_with_nothing():
    """Twice as many vertices, half of them far outside: half the score."""
    score = {}
    for scale in (1.0, 0.05):  # so near that most of the object is beside the picture
        score[scale] = searched(9, (scale,))[0][[0, 2, 4]]
    assert (score[0.05] < 0.7 * score[1.0]).all() and (score[0.05] >= 0).all()


def test_the_work_space_of_the_sums_begins_a_cache_line():
    total, first = make_sums(7)
    assert len(first) == 7
    assert total.ctypes.data % 64 == 0 and total.dtype == np.uint16 and len(total) >= 7 * (136 + 2)


def test_distinct_views_are_taken_until_there_are_enough_or_they_are_too_bad():
    rotations = np.array([rotation_from_viewpoint(a, 0.0, 0.0) for a in np.radians([0, 20, 40, 90, 180])])
    scores = np.array([1.0, 0.9, 0.8, 0.55, 0.7])
    assert select_distinct(rotations, scores, np.radians(25), 9, 0.6) == [0, 2, 4]
    assert select_distinct(rotations, scores, np.radians(25), 2, 0.6) == [0, 2]
    assert select_distinct(rotations, scores, np.radians(25), 9, 0.5) == [0, 2, 4, 3]
    assert select_distinct(rotations, -scores, np.radians(25), 9, 0.5) == []


@pytest.mark.parametrize("x, y, z, seen", [
    (0.0, 0.0, 4.0, True), (0.0, -1.9, 4.0, False), (0.0, 2.1, 4.0, False), (-1.9, 0.0, 4.0, False),
    (2.1, 0.0, 4.0, False), (-1.9, -1.9, 4.0, False), (0.0, 0.0, 0.05, False), (0.0, 0.0, -4.0, False)])
def test_a_vertex_beside_above_below_or_behind_counts_with_nothing(x, y, z, seen):
    """Whatever lies in memory before and behind the map of its vertex."""
    evidence = np.zeros((4, H + 2 * PAD, W + 2 * PAD), np.uint8)
    evidence[:-1, PAD:-PAD, PAD:-PAD] = 50
    found, row, nothing = make_sums(1), W + 2 * PAD, np.empty((1, 0, 3))
    one = ViewTable(nothing, np.ones((1, 1), np.int32), np.zeros((1, 3, 1), np.float32), np.ones((1, 1), np.float32),
                    nothing)
    count = gather(evidence, PAD, one, 0, 1, (x, y, z), Pinhole(FOCAL, CENTRE), found)
    sums = [found.total[i * row + j] for i in range(2 * SHIFT + 1) for j in range(2 * SHIFT + 1)]
    assert count == 1 and sums == [50 if seen else 0] * len(sums)
