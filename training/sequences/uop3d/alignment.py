# SPDX-License-Identifier: Apache-2.0
"""Alignment of two instances by a similarity transform, without labels (UOP3D, CVPR 2024, section 3.2).

    min_T (1 - alpha) D_geo + alpha D_app
    D_app = sum_i sigma_i |T v_i - w_psi(i)|     psi: appearance nearest neighbour
    D_geo = sum_i sigma_i |T v_i - w_chi(i)|     chi: geometric nearest neighbour after T

both from source to target and back, sigma the cyclic weights of :mod:`dinemo_training.sequences.uop3d.appearance`,
distances in units of the extent. Candidates come from RANSAC: four appearance matches give a similarity in closed form
(Umeyama).

What the paper leaves open is decided here: half turns of a car cost little in D_geo, so the best candidate of every
direction is kept as a hypothesis and compared once more by how alike vertices look *that came to lie together*, seen
from the same side (:func:`view_similarity`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from .appearance import TEMPERATURE, Matching, match
from .instance import Instance
from .similarity import Similarity, umeyama


@dataclass(frozen=True)
class AlignConfig:
    """Constants of UOP3D's code; every part can be switched off for ablations."""

    alpha: float = 0.2                         # share of the appearance term
    temperature: float | None = TEMPERATURE    # of the cyclic weights; None: all matches weigh the same
    samples: int = 1000                        # RANSAC candidates; 0: one Umeyama fit to all matches
    sample_size: int = 4
    upright: bool = True                       # gravity-aligned: rotation about z only
    hypotheses: int = 4                        # candidates of different direction that appearance decides between
    apart_deg: float = 40.0                    # what counts as a different direction
    view_weight: float = 1.0                   # weight of the view-wise appearance in it; 0: UOP3D's cost alone
    seed: int = 0


DEFAULT = AlignConfig()
Similarities = tuple[np.ndarray, np.ndarray, np.ndarray]  # scale [B], R [B, 3, 3], t [B, 3]


@dataclass(frozen=True)
class Hypothesis:
    """One alignment of source to target.

    Attributes:
        transform: source to target; cost: UOP3D's objective in extents; appearance: mean cosine of vertices that came
            to lie together, seen from the same side; score: what hypotheses are ranked by, higher is better.
    """

    transform: Similarity
    cost: float
    appearance: float
    score: float

    def inverse(self) -> Hypothesis:
        """The same alignment, of target to source."""
        return replace(self, transform=self.transform.inverse())


def align(source: Instance, target: Instance, config: AlignConfig = DEFAULT) -> list[Hypothesis]:
    """Hypotheses for the similarity that lays ``source`` on ``target``, best score first."""
    matching = match(source, target, config.temperature)
    scale, R, t = candidates(source, target, matching, config)
    cost = objective(source, target, matching, (scale, R, t), config.alpha)
    found = []
    for k in _distinct(R, cost, config.hypotheses, np.deg2rad(config.apart_deg)):
        transform = Similarity(float(scale[k]), R[k], t[k])
        appearance = view_similarity(source, target, matching, transform)
        found.append(Hypothesis(transform, float(cost[k]), appearance,
                                config.view_weight * appearance - float(cost[k])))
    return sorted(found, key=lambda h: -h.score)


def candidates(source: Instance, target: Instance, matching: Matching,
               config: AlignConfig) -> Similarities:
    """Similarities (scale [B], R [B, 3, 3], t [B, 3]) from random samples of matches, or from all of them."""
    p = np.concatenate([source.vertices, source.vertices[matching.backward]])
    q = np.concatenate([target.vertices[matching.forward], target.vertices])
    w = np.concatenate([matching.weight_s / len(source.vertices), matching.weight_t / len(target.vertices)])
    if config.samples == 0:
        return umeyama(p[None], q[None], w[None], config.upright)
    rng = np.random.default_rng(config.seed)
    chosen = rng.choice(len(p), (config.samples, config.sample_size), p=w / w.sum())
    scale, R, t = umeyama(p[chosen], q[chosen], np.ones(chosen.shape), config.upright)
    # Two cars differ in size by their units only: a degenerate sample would shrink one of them to a point.
    ratio = scale * source.extent / target.extent
    fair = (ratio > 0.5) & (ratio < 2.0)
    if not fair.any():
        return umeyama(p[None], q[None], w[None], config.upright)
    return scale[fair], R[fair], t[fair]


def objective(source: Instance, target: Instance, matching: Matching, transforms: Similarities,
              alpha: float) -> np.ndarray:
    """UOP3D's objective [B] of similarities (CVPR 2024, section 3): mean of both directions, in units of the extents.

    Args:
        transforms: B similarities, source to target.
        alpha: weight of the appearance, 0 to 1; the rest is geometry.
    """
    scale, R, t = transforms
    moved = scale[:, None, None] * np.einsum("vc,bdc->bvd", source.vertices, R) + t[:, None]
    tree = cKDTree(target.vertices)
    back = np.einsum("bvc,bcd->bvd", target.vertices - t[:, None], R) / scale[:, None, None]
    source_tree = cKDTree(source.vertices)
    w_s, w_t = matching.weight_s / len(source.vertices), matching.weight_t / len(target.vertices)
    unit_t, unit_s = target.extent, source.extent
    app = np.linalg.norm(moved - target.vertices[matching.forward], axis=-1) @ w_s / unit_t \
        + np.linalg.norm(back - source.vertices[matching.backward], axis=-1) @ w_t / unit_s
    geo = tree.query(moved.reshape(-1, 3))[0].reshape(len(scale), -1) @ w_s / unit_t \
        + source_tree.query(back.reshape(-1, 3))[0].reshape(len(scale), -1) @ w_t / unit_s
    return 0.5 * ((1 - alpha) * geo + alpha * app)


def view_similarity(source: Instance, target: Instance, matching: Matching, transform: Similarity) -> float:
    """Mean cosine of features of vertices that lie together, each pair from the two views nearest to one another.

    UOP3D keeps a feature per view and compares the most similar pair; once a transform is given, the pair is known:
    a wing seen from the front looks like a wing seen from the front.
    """
    lands_on = cKDTree(target.vertices).query(transform(source.vertices))[1]
    comes_from = cKDTree(source.vertices).query(transform.inverse()(target.vertices))[1]
    there = _paired(source, target, lands_on, transform.R)
    back = _paired(target, source, comes_from, transform.R.T)
    return 0.5 * (_weighted_mean(there, matching.weight_s) + _weighted_mean(back, matching.weight_t))


def _paired(source: Instance, target: Instance, lands_on: np.ndarray, R: np.ndarray) -> np.ndarray:
    """[V_s] mean cosine over the views of a vertex with the nearest view of the vertex it lies on; nan: none."""
    start = np.searchsorted(target.feature_vertex, np.arange(len(target.vertices) + 1))
    other = lands_on[source.feature_vertex]
    views = source.feature_view @ R.T
    slots = int(np.diff(start).max())
    index = start[other][:, None] + np.arange(slots)
    valid = index < start[other + 1][:, None]
    index = np.minimum(index, len(target.feature_vertex) - 1)
    closeness = np.where(valid, np.einsum("mc,mkc->mk", views, target.feature_view[index]), -2.0)
    nearest = closeness.argmax(1)
    near = closeness[np.arange(len(other)), nearest] > np.cos(np.deg2rad(35))
    cosine = (source.features * target.features[index[np.arange(len(other)), nearest]]).sum(1).numpy()
    total = np.bincount(source.feature_vertex, cosine * near, len(source.vertices))
    count = np.bincount(source.feature_vertex, near, len(source.vertices))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    known = np.isfinite(values)
    total = float(weights[known].sum())
    return float((values[known] * weights[known]).sum() / total) if total > 0 else 0.0


def _distinct(R: np.ndarray, cost: np.ndarray, count: int, apart: float) -> list[int]:
    """Indices of the cheapest rotations [B, 3, 3] that differ from each other by at least ``apart`` radians."""
    chosen: list[int] = []
    cos = np.cos(apart)
    for k in np.argsort(cost):
        if all(0.5 * (np.sum(R[k] * R[j]) - 1) < cos for j in chosen):
            chosen.append(int(k))
            if len(chosen) == count:
                break
    return chosen
