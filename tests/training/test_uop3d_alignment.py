# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""UOP3D's alignment on planted shapes: similarity transforms, cyclic distance, hypotheses, synchronisation."""

from itertools import combinations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
pytest.importorskip("scipy", reason="training extra is not installed")
pytest.importorskip("numba", reason="training extra is not installed")

from scipy.optimize import minimize

from dinemo_ros.geometry import rotation_angle, so3_exp
from dinemo_training.sequences.uop3d.alignment import AlignConfig, Hypothesis, align
from dinemo_training.sequences.uop3d.appearance import best_view_similarity, cyclic_distance, cyclic_weights, match
from dinemo_training.sequences.uop3d.instance import Instance
from dinemo_training.sequences.uop3d.similarity import Similarity, umeyama
from dinemo_training.sequences.uop3d.synchronization import pick_reference, synchronize, to_reference


def random_similarity(rng, upright=True):
    turn = [0, 0, rng.uniform(-np.pi, np.pi)] if upright else rng.normal(size=3) * 2
    return Similarity(float(np.exp(rng.uniform(-1, 1))), so3_exp(turn), rng.normal(size=3))


def test_similarities_compose_and_invert():
    rng = np.random.default_rng(0)
    a, b, p = random_similarity(rng, False), random_similarity(rng, False), rng.normal(size=(7, 3))
    np.testing.assert_allclose((a @ b)(p), a(b(p)), atol=1e-12)
    np.testing.assert_allclose(a.inverse()(a(p)), p, atol=1e-12)
    np.testing.assert_allclose(a(p[0]), a.scale * a.R @ p[0] + a.t, atol=1e-12)


@pytest.mark.parametrize("upright", [True, False])
def test_umeyama_recovers_planted_similarities_and_ignores_what_has_no_weight(upright):
    rng = np.random.default_rng(1)
    source, target, weights, truth = [], [], [], []
    for _ in range(5):
        T, p = random_similarity(rng, upright), rng.normal(size=(20, 3))
        q, w = T(p), rng.uniform(0.2, 1, 20)
        q[:8] += rng.normal(0, 5, (8, 3))
        w[:8] = 0
        source.append(p), target.append(q), weights.append(w), truth.append(T)
    scale, R, t = umeyama(np.array(source), np.array(target), np.array(weights), upright)
    for k, T in enumerate(truth):
        assert rotation_angle(R[k], T.R) < 1e-7
        assert scale[k] == pytest.approx(T.scale)
        np.testing.assert_allclose(t[k], T.t, atol=1e-9)


@pytest.mark.parametrize("upright", [True, False])
def test_umeyama_is_the_weighted_least_squares_optimum(upright):
    rng = np.random.default_rng(2)
    p, q, w = rng.normal(size=(12, 3)), rng.normal(size=(12, 3)), rng.uniform(0, 1, 12)
    scale, R, t = (x[0] for x in umeyama(p[None], q[None], w[None], upright))

    def cost(x):
        turn = [0, 0, x[2]] if upright else x[:3]
        return np.sum(w * np.sum((q - (np.exp(x[3]) * p @ so3_exp(turn).T + x[4:])) ** 2, axis=1))

    best = min((minimize(cost, np.r_[rng.normal(size=3) * 2, -1, 0, 0, 0], method="BFGS") for _ in range(12)),
               key=lambda r: r.fun)
    assert np.sum(w * np.sum((q - (scale * p @ R.T + t)) ** 2, axis=1)) == pytest.approx(best.fun, rel=1e-5)


def test_mirrored_points_get_a_rotation_and_no_reflection():
    p = np.random.default_rng(3).normal(size=(30, 3))
    _, R, _ = umeyama(p[None], (p * [1, -1, 1])[None], np.ones((1, 30)))
    assert np.linalg.det(R[0]) == pytest.approx(1)


def toy(features, vertices=None, views=1):
    """An instance with given features [V, D], the same from every view."""
    features = torch.nn.functional.normalize(torch.as_tensor(np.asarray(features, np.float32)), dim=1)
    vertices = np.arange(3.0 * len(features)).reshape(-1, 3) if vertices is None else vertices
    ids = np.repeat(np.arange(len(features)), views)
    view = np.tile([[1.0, 0, 0]], (len(ids), 1))
    return Instance("toy", vertices, np.zeros((0, 3), int), features[torch.from_numpy(ids)], ids, view)


def test_cyclic_distance_of_toy_matches():
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0.0]])
    # 0 -> a -> 0: home. 1 -> b -> 2: five away. 2 -> b -> 2: home.
    np.testing.assert_allclose(cyclic_distance(vertices, np.array([0, 1, 1]), np.array([0, 2])), [0, 5, 0])


def test_cyclic_weights_are_a_softmax_of_mean_one():
    d = np.array([0.0, 1.0, 4.0])
    weight = cyclic_weights(d, extent=5.0, temperature=0.9)
    expected = np.exp(-d / 4.5) / np.exp(-d / 4.5).sum() * 3
    np.testing.assert_allclose(weight, expected)


def test_most_similar_pair_of_views_counts():
    a = toy(np.eye(4)[:2])
    b = Instance("b", np.zeros((2, 3)), a.faces, torch.tensor([[0, 0, 1.0, 0], [0.6, 0.8, 0, 0], [0, 0.6, 0, 0.8]]),
                 np.array([0, 0, 1]), np.zeros((3, 3)))
    np.testing.assert_allclose(best_view_similarity(a, b), [[0.6, 0], [0.8, 0.6]], atol=1e-6)
    np.testing.assert_allclose(best_view_similarity(a, b, block=1), best_view_similarity(a, b))


def test_unseen_vertices_are_neither_matched_nor_trusted():
    eye = np.eye(4)
    a, full = toy(eye[:3]), toy(eye[:3])
    b = Instance("b", full.vertices, full.faces, full.features[:2], full.feature_vertex[:2], full.feature_view[:2])
    m = match(a, b)
    assert list(m.forward[:2]) == [0, 1] and m.forward[2] != 2
    assert m.weight_t[2] == 0 and m.weight_t.mean() == pytest.approx(1)


def planted_pair(rng, upright=True, wrong=0.4):
    """A lopsided cloud with features, its moved twin of which a share of the features is nobody's."""
    vertices = rng.normal(size=(160, 3)) * [1.0, 0.5, 0.4] + [[0.0, 0, 0]]
    vertices[:50, 0] = np.abs(vertices[:50, 0]) + 0.8
    features = rng.normal(size=(160, 32))
    T = random_similarity(rng, upright)
    other = features + 0.3 * rng.normal(size=features.shape)
    mixed = rng.permutation(160)[: int(wrong * 160)]
    other[mixed] = rng.normal(size=(len(mixed), 32))
    return toy(features, vertices), toy(other, T(vertices) + rng.normal(0, 0.01, vertices.shape)), T


@pytest.mark.parametrize("upright", [True, False])
def test_planted_similarity_is_found_among_wrong_matches(upright):
    rng = np.random.default_rng(4)
    source, target, T = planted_pair(rng, upright)
    # View directions of the toy do not turn with it, so only the paper's objective judges here.
    found = align(source, target, AlignConfig(upright=upright, view_weight=0))[0]
    assert np.rad2deg(rotation_angle(found.transform.R, T.R)) < 2
    assert found.transform.scale == pytest.approx(T.scale, rel=0.03)
    assert np.linalg.norm(found.transform.t - T.t) < 0.05 * target.extent
    # One least-squares fit to all matches is pulled away by the wrong ones.
    plain = align(source, target, AlignConfig(upright=upright, view_weight=0, samples=0))[0]
    assert abs(np.log(plain.transform.scale / T.scale)) > 0.15 and plain.cost > 1.5 * found.cost


def test_cyclic_weights_prefer_the_right_matches():
    source, target, _ = planted_pair(np.random.default_rng(5))
    m = match(source, target)
    right = m.forward == np.arange(160)
    assert 0.3 < right.mean() < 0.9
    assert m.weight_s[right].mean() > 1.15 * m.weight_s[~right].mean()


def test_views_from_the_same_side_tell_a_half_turn():
    """A body that is its own half turn: the objective hardly changes, features seen from one side do."""
    rng = np.random.default_rng(6)
    half = rng.normal(size=(80, 3)) * [1.0, 0.4, 0.3]
    vertices = np.concatenate([half, half * [-1, -1, 1]])  # its own half turn
    front, rear = rng.normal(size=(2, 16))
    ids = np.tile(np.arange(160), 2)
    view = np.concatenate([np.tile([[1.0, 0, 0]], (160, 1)), np.tile([[-1.0, 0, 0]], (160, 1))])
    own = np.tile(rng.normal(size=(80, 16)), (4, 1))  # the same for a vertex and its partner, from both sides
    features = own + np.where(view[:, :1] > 0, front, rear)
    order = np.argsort(ids, kind="stable")
    unit = torch.nn.functional.normalize(torch.from_numpy(features[order]).float(), dim=1)
    a = Instance("a", vertices, np.zeros((0, 3), int), unit, ids[order], view[order])
    T = Similarity(1.3, so3_exp([0, 0, 1.0]), np.array([1.0, 2, 0]))
    b = Instance("b", T(vertices), a.faces, unit, a.feature_vertex, a.feature_view @ T.R.T)
    found = align(a, b)
    assert rotation_angle(found[0].transform.R, T.R) < 0.05
    turned = max(found, key=lambda h: rotation_angle(h.transform.R, T.R))
    assert rotation_angle(turned.transform.R, T.R) > 3 and abs(turned.cost - found[0].cost) < 0.02
    assert found[0].appearance == pytest.approx(1, abs=1e-3) and turned.appearance < 0.9


def hypotheses(truth, i, j, rng, flipped):
    """The right transform i -> j with noise, and its half turn; ``flipped``: the half turn scores higher."""
    noise = Similarity(float(np.exp(rng.normal(0, 0.02))), so3_exp(rng.normal(0, 0.03, 3)), np.zeros(3))
    right = truth[j].inverse() @ noise @ truth[i]
    wrong = truth[j].inverse() @ Similarity(1.0, so3_exp([0, 0, np.pi]), np.zeros(3)) @ truth[i]
    first, second = (wrong, right) if flipped else (right, wrong)
    return [Hypothesis(first, 0.05, 0.7, 0.65), Hypothesis(second, 0.06, 0.69, 0.63)]


def test_synchronisation_overrules_flipped_pairs():
    rng = np.random.default_rng(7)
    n = 9
    truth = [random_similarity(rng, False) for _ in range(n)]  # own frame to canonical frame
    reference, flipped = 3, {(0, 3), (3, 6), (1, 5), (2, 7), (4, 8), (0, 7)}
    pairs = {(i, j): hypotheses(truth, i, j, rng, (i, j) in flipped) for i, j in combinations(range(n), 2)}
    result = synchronize(pairs, n, reference)
    alone = to_reference(pairs, n, reference)
    home = truth[reference].inverse()
    errors = [np.rad2deg(rotation_angle(T.R, (home @ t).R)) for T, t in zip(result.transforms, truth, strict=True)]
    assert max(errors) < 4
    assert max(rotation_angle(T.R, (home @ t).R) for T, t in zip(alone, truth, strict=True)) > 3
    for T, t in zip(result.transforms, truth, strict=True):
        assert T.scale == pytest.approx((home @ t).scale, rel=0.05)
    np.testing.assert_allclose(result.transforms[reference].R, np.eye(3), atol=1e-9)
    assert result.support.min() > 0.3


def test_reference_is_the_one_that_others_lie_on_best():
    def h(score):
        return [Hypothesis(Similarity.identity(), 0.1, 0.5, score)]

    assert pick_reference({(0, 1): h(0.9), (0, 2): h(0.2), (1, 2): h(0.8)}, 3) == 1
