# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Bidirectional pseudo-correspondence on planted features.

Every vertex has a feature of its own that changes smoothly with the direction it is seen from, as a teacher's does.
"""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
pytest.importorskip("timm", reason="training extra is not installed")

from posed_car import car_shape, intrinsics, look_at

from dinemo_ros.geometry import ray_rotation, rotation_angle, rotation_from_viewpoint
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler, project
from dinemo_training.pseudo_labels.correspondence import MatchConfig, compare, nearer_of_pairs
from dinemo_training.pseudo_labels.correspondence import match as match_compared
from dinemo_training.pseudo_labels.template_bank import TemplateBank
from dinemo_training.pseudo_labels.view_vote import ViewGrid, view_evidence, vote

SHAPE = car_shape()
CELLS, DIM, VIEWS = 24, 64, 24
AZIMUTHS = np.arange(VIEWS) * 2 * np.pi / VIEWS
POINTS = SHAPE.vertices[::3]


@pytest.fixture(scope="module")
def world():
    """The planted category: vertex features [K, V, D] per view, poses, which vertices each view sees, the bank."""
    rng = torch.Generator().manual_seed(0)
    own, cos, sin = torch.randn(3, 1, len(POINTS), DIM, generator=rng)
    a = torch.from_numpy(AZIMUTHS).float()[:, None, None]
    features = torch.nn.functional.normalize(own + 1.5 * (cos * a.cos() + sin * a.sin()), dim=-1)
    sampler = CorrespondenceSampler(SHAPE, AugmentConfig())
    poses = [look_at(np.rad2deg(a)) for a in AZIMUTHS]
    visible = torch.from_numpy(np.stack([sampler.visible(T, SHAPE.size)[::3] for T in poses]))
    uv = np.stack([project(POINTS, intrinsics(CELLS, 2.4), T) for T in poses])
    low, high = uv.min(1, keepdims=True), uv.max(1, keepdims=True)
    layout = torch.from_numpy((uv - 0.5 * (low + high)) / (high - low).max(2, keepdims=True)).float()
    rotations = np.stack([rotation_from_viewpoint(a, np.deg2rad(10), 0) for a in AZIMUTHS])
    ids = np.arange(0, len(SHAPE.vertices), 3)
    bank = TemplateBank(ids, POINTS, features * visible[:, :, None], visible, layout, rotations, AZIMUTHS,
                        np.full(VIEWS, np.deg2rad(10)), np.zeros(VIEWS, bool), np.zeros(VIEWS, int))
    return features, poses, bank


def picture(world, view, noise=0.0, seed=0):
    """Feature map [D, h, w] of the car in a template's pose, its foreground, and the cell of every vertex."""
    features, poses, bank = world
    rng = torch.Generator().manual_seed(seed)
    grid = torch.randn(CELLS, CELLS, DIM, generator=rng)
    foreground = torch.zeros(CELLS, CELLS)
    cells = project(POINTS, intrinsics(CELLS, 2.4), poses[view]).round().astype(int)
    for v in np.flatnonzero(bank.visible[view]):
        grid[cells[v, 1], cells[v, 0]] = features[view, v]
        foreground[cells[v, 1], cells[v, 0]] = 1
    grid = torch.nn.functional.normalize(grid, dim=-1)
    grid = torch.nn.functional.normalize(grid + noise * torch.randn(grid.shape, generator=rng) / DIM**0.5, dim=-1)
    return grid.permute(2, 0, 1), foreground, cells


def match(features, foreground, bank, config=None):
    return match_compared(compare(features, foreground, bank), bank, config or MatchConfig())


def turn_deg(found, view):
    T = look_at(np.rad2deg(AZIMUTHS[view]))
    return np.rad2deg(rotation_angle(found.rotation, ray_rotation(T[:3, 3]).T @ T[:3, :3]))


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("layout", [0.0, 1.0])
def test_the_vote_finds_the_planted_view(world, noise, layout):
    for view in range(0, VIEWS, 5):
        best, *others = match(*picture(world, view, noise, seed=view)[:2], world[2], MatchConfig(layout=layout))
        assert turn_deg(best, view) < 8  # views stand 15 degrees apart
        assert 0.5 < best.confidence <= 1
        assert all(other.confidence < best.confidence for other in others)


def test_modes_are_apart_and_no_more_than_asked_for(world):
    rng = torch.Generator().manual_seed(3)
    nothing = torch.nn.functional.normalize(torch.randn(DIM, CELLS, CELLS, generator=rng), dim=0)
    found = match(nothing, torch.ones(CELLS, CELLS), world[2], MatchConfig(modes=4, sharpness=5.0))
    assert len(found) == 4
    turns = [rotation_angle(a.rotation, b.rotation) for i, a in enumerate(found) for b in found[:i]]
    assert min(turns) > np.deg2rad(25)
    assert 0 < sum(f.confidence for f in found) <= 1 + 1e-6
    assert len(match(nothing, torch.ones(CELLS, CELLS), world[2], MatchConfig(modes=1, sharpness=5.0))) == 1


def test_an_undecided_vote_has_less_confidence(world):
    sure = match(*picture(world, 5)[:2], world[2])[0].confidence
    rng = torch.Generator().manual_seed(3)
    nothing = torch.nn.functional.normalize(torch.randn(DIM, CELLS, CELLS, generator=rng), dim=0)
    assert match(nothing, torch.ones(CELLS, CELLS), world[2])[0].confidence < 0.8 * sure


def test_a_view_of_few_vertices_does_not_win_for_being_small(world):
    """A mean over visible vertices alone prefers the view whose few vertices all find something."""
    bank = world[2]
    grid, foreground, _ = picture(world, 6)
    similarity = torch.einsum("kvd,dp->kvp", bank.features, grid.flatten(1)[:, foreground.flatten() > 0])
    best = similarity[6].amax(1)
    lucky = bank.visible.clone()
    lucky[18] = False
    lucky[18, best.topk(5).indices] = True  # an opposite view that shows five vertices, and those match perfectly
    similarity[18] = similarity[6]
    evidence = view_evidence(similarity, lucky)
    over_vertices = similarity.amax(2).masked_fill(~lucky, 0.0).sum(1) / lucky.sum(1)
    assert over_vertices[18] > over_vertices[6] - 1e-6
    assert evidence[18] < evidence[6] - 0.05


def test_more_templates_of_one_side_do_not_outvote_the_other(world):
    """Thirty copies of a view are still one opinion about that direction."""
    bank = world[2]
    evidence = torch.zeros(VIEWS)
    evidence[6], evidence[18] = 0.10, 0.09
    crowded = bank.views(np.r_[np.arange(VIEWS), np.full(30, 18)])
    share = vote(torch.cat([evidence, evidence[18].repeat(30)]), crowded, 200.0)
    assert np.rad2deg(rotation_angle(share.modes(1)[0][0], bank.rotations[6])) < 8


def test_the_grid_covers_the_elevations_of_the_templates(world):
    grid = ViewGrid.covering(np.deg2rad([2.0, 31.0, 29.0]))
    np.testing.assert_allclose(np.unique(np.rad2deg(grid.elevations).round()), [0, 30])
    assert len(grid.azimuths) == 2 * 72
    R = grid.rotations[100]
    assert grid.angles_to(R[None])[100, 0] == pytest.approx(0, abs=1e-6)
    assert grid.angles_to(R[None])[30, 0] == pytest.approx(rotation_angle(grid.rotations[30], R), abs=1e-6)


def test_invisible_vertices_are_suppressed(world):
    grid, foreground, _ = picture(world, 3)
    seen = set(np.flatnonzero(world[2].visible[3]).tolist())
    full = match(grid, foreground, world[2])[0]
    raw = match(grid, foreground, world[2], MatchConfig(suppress=False, rematch=False))[0]
    suppressed = match(grid, foreground, world[2], MatchConfig(rematch=False))[0]
    assert len(set(raw.vertices.tolist()) - seen) > 25  # the far side of the car finds something as well, wrongly
    for found in (full, suppressed):
        assert len(set(found.vertices.tolist()) - seen) < 0.05 * len(found.vertices)
        assert len(set(found.vertices.tolist()) & seen) > 0.9 * len(seen)


def test_without_the_vote_every_vertex_keeps_its_own_best_view(world):
    grid, foreground, _ = picture(world, 3)
    (found,) = match(grid, foreground, world[2], MatchConfig(vote=False))
    assert found.rotation is None and found.confidence == 1
    assert set(found.vertices.tolist()) == set(np.flatnonzero(world[2].visible.any(0)).tolist())


def test_matching_again_forgets_what_a_view_from_the_other_side_said(world):
    """The roof is seen from everywhere; a far view shows it like something in a corner of this picture."""
    grid, foreground, cells = picture(world, 3, noise=1.0)
    bank = world[2]
    roof = np.flatnonzero((bank.visible[3] & bank.visible[15]).numpy())[:10]
    corner = np.argwhere(foreground.numpy() > 0)[0]
    misleading = bank.features.clone()
    misleading[15, roof] = grid[:, corner[0], corner[1]]
    config = MatchConfig(layout=0.0, window=0, cycle=False)

    def misled(config):
        found = match(grid, foreground, replace(bank, features=misleading), config)[0]
        assert turn_deg(found, 3) < 8
        wrong = (found.cells == corner[::-1]).all(1) & (cells[found.vertices] != corner[::-1]).any(1)
        return np.isin(roof, found.vertices[wrong]).mean()

    assert misled(replace(config, rematch=False)) > 0.8
    assert misled(config) < 0.2


def test_matches_lie_where_the_vertices_are(world):
    grid, foreground, cells = picture(world, 3)
    found = match(grid, foreground, world[2], MatchConfig(layout=0.0))[0]
    assert len(found.vertices) == len(set(found.vertices.tolist())) == len(found.cells) == len(found.weights)
    sure = found.weights > np.quantile(found.weights, 0.6)
    assert sure.sum() > 25  # several vertices share a cell, only the last one written is there
    assert np.quantile(np.abs(found.cells[sure] - cells[found.vertices[sure]]).max(1), 0.9) < 0.3


def test_a_match_that_does_not_lead_back_loses_its_weight(world):
    """Two vertices want the same cell; the cell's own best vertex is the one that was written there."""
    grid, foreground, cells = picture(world, 3)
    kept = match(grid, foreground, world[2], MatchConfig(layout=0.0, window=0))[0]
    every = match(grid, foreground, world[2], MatchConfig(layout=0.0, window=0, cycle=False))[0]
    np.testing.assert_array_equal(kept.vertices, every.vertices)
    right = np.abs(every.cells - cells[every.vertices]).max(1) < 1.5
    ratio = kept.weights / every.weights
    assert ratio.max() <= 1 + 1e-6
    assert np.median(ratio[right]) > 0.9
    assert np.median(ratio[~right]) < 0.6


def test_the_layout_tells_apart_what_features_cannot(world):
    """Two identical wheels: each vertex must go to the one that lies where it should."""
    features, poses, bank = world
    front, rear = (int(np.argmin(np.linalg.norm(POINTS - p, axis=1)))
                   for p in ([1.4, 0.85, -0.3], [-1.4, 0.85, -0.3]))
    same = bank.features.clone()
    same[:, rear] = same[:, front] * bank.visible[:, rear, None]
    view = VIEWS // 4  # its left side
    assert bank.visible[view, front] and bank.visible[view, rear]
    grid, foreground, cells = picture((features, poses, bank), view)
    for v in (front, rear):
        grid[:, cells[v, 1], cells[v, 0]] = same[view, front]
    found = match(grid, foreground, replace(bank, features=same), MatchConfig(window=0, cycle=False))[0]
    places = dict(zip(found.vertices.tolist(), found.cells, strict=True))
    np.testing.assert_allclose([places[front], places[rear]], cells[[front, rear]], atol=0.1)
    blind = match(grid, foreground, replace(bank, features=same), MatchConfig(window=0, cycle=False, layout=0.0))[0]
    places = dict(zip(blind.vertices.tolist(), blind.cells, strict=True))
    np.testing.assert_allclose(places[front], places[rear])


def test_background_cells_are_never_matched(world):
    grid, foreground, _ = picture(world, 3)
    left = foreground.clone()
    left[:, CELLS // 2:] = 0
    # The read-out averages over a window, so only its middle is bound to the foreground: take none.
    found = match(grid, left, world[2], MatchConfig(window=0))[0]
    assert len(found.vertices) > 0
    x, y = found.cells.round().astype(int).T
    assert (left[y, x] == 1).all()


def test_without_any_foreground_nothing_is_matched(world):
    grid, foreground, _ = picture(world, 3)
    assert compare(grid, torch.zeros_like(foreground), world[2]) is None


def test_vertices_that_a_view_does_not_show_have_no_vote_and_no_match(world):
    grid, foreground, _ = picture(world, 3)
    bank = world[2]
    plain = match(grid, foreground, bank)[0]
    poison = bank.features.clone()
    poison[~bank.visible] = grid[:, CELLS // 2, CELLS // 2]  # an entry that would match perfectly
    padded = match(grid, foreground, replace(bank, features=poison))[0]
    np.testing.assert_array_equal(padded.rotation, plain.rotation)
    np.testing.assert_array_equal(padded.vertices, plain.vertices)


def test_mirrored_templates_can_be_left_out(world):
    """The right view is there only as a mirror image."""
    grid, foreground, _ = picture(world, 3)
    marked = replace(world[2], mirrored=np.abs(np.arange(VIEWS) - 3) < 2)
    assert turn_deg(match(grid, foreground, marked)[0], 3) < 8
    assert turn_deg(match(grid, foreground, marked, MatchConfig(mirrored_templates=False))[0], 3) > 15


def test_an_orientation_on_which_the_two_kinds_of_views_differ_can_be_refused(world):
    """All views twice, the second time as mirror images: these agree, or see the car turned round."""
    grid, foreground, _ = picture(world, 3)
    twice = world[2].views(np.repeat(np.arange(VIEWS), 2))
    twice = replace(twice, mirrored=np.arange(2 * VIEWS) % 2 == 1)
    halves = MatchConfig(halves=True)
    assert turn_deg(match(grid, foreground, twice, halves)[0], 3) < 8
    turned = twice.rotations.copy()
    turned[1::2] = turned[1::2] @ np.diag([-1.0, -1.0, 1.0])
    doubtful = replace(twice, rotations=turned)
    assert match(grid, foreground, doubtful, halves) == []
    assert match(grid, foreground, doubtful) != []
    assert match(grid, foreground, world[2], halves) == []  # there are no mirrored views to ask


def test_one_object_alone_can_be_the_template(world):
    grid, foreground, _ = picture(world, 3)
    two = replace(world[2], instance=(np.abs(np.arange(VIEWS) - 3) < 2).astype(int))  # the right views are the second's
    assert turn_deg(match(grid, foreground, two)[0], 3) < 8
    assert turn_deg(match(grid, foreground, two, MatchConfig(instances=1))[0], 3) > 15


def test_flip_alignment_keeps_the_nearer_of_a_view_and_its_mirror_image():
    keep = nearer_of_pairs(torch.tensor([0.3, 0.5, 0.6, 0.2]), np.array([False, True, False, True]))
    assert keep.tolist() == [False, True, True, False]
