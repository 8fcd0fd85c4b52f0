# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Bidirectional pseudo-correspondence on planted features.

Every vertex has a feature of its own that changes smoothly with the direction it is seen from, as a teacher's does.
"""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")

from posed_car import car_shape, intrinsics, look_at

from dinemo_ros.geometry import rotation_from_viewpoint
from training.augment import AugmentConfig
from training.batches import CorrespondenceSampler, project
from training.correspondence import MatchConfig, TemplateBank, _window_soft_argmax, match

SHAPE = car_shape()
CELLS, DIM, VIEWS = 24, 64, 24
AZIMUTHS = np.arange(VIEWS) * 2 * np.pi / VIEWS


@pytest.fixture(scope="module")
def world():
    """The planted category: vertex features [K, V, D] per view, poses, which vertices each view sees, the bank."""
    rng = torch.Generator().manual_seed(0)
    own, cos, sin = torch.randn(3, 1, len(SHAPE.vertices), DIM, generator=rng)
    a = torch.from_numpy(AZIMUTHS).float()[:, None, None]
    features = torch.nn.functional.normalize(own + 1.5 * (cos * a.cos() + sin * a.sin()), dim=-1)
    sampler = CorrespondenceSampler(SHAPE, AugmentConfig())
    poses = [look_at(np.rad2deg(a)) for a in AZIMUTHS]
    seen = [np.flatnonzero(sampler.visible(T, SHAPE.size)) for T in poses]
    most = max(map(len, seen))
    ids = np.stack([np.pad(s, (0, most - len(s))) for s in seen])
    valid = np.arange(most) < np.array([len(s) for s in seen])[:, None]
    rotations = np.stack([rotation_from_viewpoint(a, np.deg2rad(10), 0) for a in AZIMUTHS])
    bank = TemplateBank(features[np.arange(VIEWS)[:, None], ids], torch.from_numpy(ids), torch.from_numpy(valid),
                        rotations, AZIMUTHS)
    return features, poses, seen, bank


def picture(world, view, noise=0.0, seed=0):
    """Feature map [D, h, w] of the car in a template's pose, its foreground, and the cell of every seen vertex."""
    features, poses, seen, _ = world
    rng = torch.Generator().manual_seed(seed)
    grid = torch.randn(CELLS, CELLS, DIM, generator=rng)
    foreground = torch.zeros(CELLS, CELLS)
    cells = project(SHAPE.vertices, intrinsics(CELLS, 2.4), poses[view]).round().astype(int)
    for v in seen[view]:
        grid[cells[v, 1], cells[v, 0]] = features[view, v]
        foreground[cells[v, 1], cells[v, 0]] = 1
    grid = torch.nn.functional.normalize(grid, dim=-1)
    grid = torch.nn.functional.normalize(grid + noise * torch.randn(grid.shape, generator=rng) / DIM**0.5, dim=-1)
    return grid.permute(2, 0, 1), foreground, cells


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_vote_finds_the_planted_view(world, noise):
    off, errors = [], []
    for view in range(0, VIEWS, 3):
        grid, foreground, _ = picture(world, view, noise, seed=view)
        found = match(grid, foreground, world[3])
        off.append(min((found.view - view) % VIEWS, (view - found.view) % VIEWS))
        errors.append(abs((found.azimuth - AZIMUTHS[view] + np.pi) % (2 * np.pi) - np.pi))
        assert 0.5 < found.confidence <= 1
    assert max(off) <= 1 and np.mean(off) < 0.2  # neighbouring views see nearly the same vertices
    assert np.rad2deg(np.max(errors)) < 12


def test_an_undecided_vote_has_less_confidence(world):
    sure = match(*picture(world, 5)[:2], world[3]).confidence
    rng = torch.Generator().manual_seed(3)
    grid = torch.nn.functional.normalize(torch.randn(DIM, CELLS, CELLS, generator=rng), dim=0)
    assert match(grid, torch.ones(CELLS, CELLS), world[3]).confidence < 0.6 * sure


def test_invisible_vertices_are_suppressed_only_when_bidirectional(world):
    grid, foreground, _ = picture(world, 3)
    seen = set(world[2][3].tolist())
    both_ways = match(grid, foreground, world[3], MatchConfig(bidirectional=True))
    one_way = match(grid, foreground, world[3], MatchConfig(bidirectional=False))
    assert both_ways.view == one_way.view == 3
    assert set(both_ways.vertices.tolist()) <= seen
    invisible = set(one_way.vertices.tolist()) - seen
    assert len(invisible) > 50  # the far side of the car finds something as well, wrongly


def test_matches_lie_where_the_vertices_are(world):
    grid, foreground, cells = picture(world, 3)
    found = match(grid, foreground, world[3])
    assert len(found.vertices) == len(set(found.vertices.tolist())) == len(found.cells) == len(found.weights)
    sure = found.weights > 0.99  # several vertices share a cell, only the last one written is there
    assert sure.sum() > 80
    np.testing.assert_allclose(found.cells[sure], cells[found.vertices[sure]], atol=0.3)


def test_background_cells_are_never_matched(world):
    grid, foreground, _ = picture(world, 3)
    left = foreground.clone()
    left[:, CELLS // 2:] = 0
    # The read-out averages over a window, so only its middle is bound to the foreground: take none.
    found = match(grid, left, world[3], MatchConfig(window=0))
    assert len(found.vertices) > 0
    x, y = found.cells.round().astype(int).T
    assert (left[y, x] == 1).all()


def test_without_any_foreground_nothing_is_matched(world):
    grid, foreground, _ = picture(world, 3)
    found = match(grid, torch.zeros_like(foreground), world[3])
    assert len(found.vertices) == len(found.cells) == len(found.weights) == 0


def test_padding_has_no_vote_and_no_match(world):
    grid, foreground, _ = picture(world, 3)
    bank = world[3]
    plain = match(grid, foreground, bank)
    poison = bank.features.clone()
    poison[~bank.valid] = grid[:, CELLS // 2, CELLS // 2]  # a padding entry that would match perfectly
    padded = match(grid, foreground, replace(bank, features=poison))
    assert padded.view == plain.view and padded.azimuth == plain.azimuth
    np.testing.assert_array_equal(padded.vertices, plain.vertices)


def bump(centre, spread=1.0, height=1.0):
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    return height - 0.03 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * spread**2)


def test_window_read_out_is_sub_cell():
    rng = np.random.default_rng(0)
    centres = rng.uniform(5, 14, (50, 2))
    maps = torch.stack([bump(c) for c in centres])
    found = _window_soft_argmax(maps, window=3, temperature=0.03).numpy()
    assert np.abs(found - centres).max() < 0.05
    whole = _window_soft_argmax(maps, window=0, temperature=0.03).numpy()
    np.testing.assert_array_equal(whole, centres.round())  # a window of one cell is the plain arg-max


def test_window_read_out_ignores_a_second_maximum_far_away():
    first, second = bump((5.3, 6.4)), bump((15.0, 15.0), height=0.99)
    maps = torch.maximum(first, second)[None]
    near = _window_soft_argmax(maps, window=2, temperature=0.03)[0].numpy()
    anywhere = _window_soft_argmax(maps, window=20, temperature=0.03)[0].numpy()
    assert np.hypot(*(near - [5.3, 6.4])) < 0.15
    assert np.hypot(*(anywhere - [5.3, 6.4])) > 2  # what the window is for
