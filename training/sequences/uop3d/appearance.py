# SPDX-License-Identifier: Apache-2.0
"""Which vertex looks like which: matches between two instances and the trust in them (UOP3D, CVPR 2024, section 3).

A vertex keeps one feature per view that shows it (UOP3D: viewpoint-dependent sets, not averages). Two vertices are as
alike as their most similar pair of views. A match is trusted when going to the other instance and back ends near
where it began: the cyclic distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .instance import Instance

TEMPERATURE = 0.9  # tau of UOP3D's code, in units of the instance's extent


@dataclass(frozen=True)
class Matching:
    """Appearance links between source and target, both ways.

    Attributes:
        forward: [V_s] target vertex that looks most like each source vertex (psi); backward: [V_t] likewise.
        weight_s: [V_s], weight_t: [V_t] cyclic weights sigma, mean 1.
        similarity: [V_s, V_t] cosine of the most similar pair of views.
    """

    forward: np.ndarray
    backward: np.ndarray
    weight_s: np.ndarray
    weight_t: np.ndarray
    similarity: np.ndarray


def best_view_similarity(source: Instance, target: Instance, block: int = 4096) -> np.ndarray:
    """Cosine similarity [V_s, V_t] of the most similar pair of views of each two vertices."""
    out = torch.full((len(source.vertices), len(target.vertices)), -1.0)
    target_ids = torch.from_numpy(target.feature_vertex)
    source_ids = torch.from_numpy(source.feature_vertex)
    for rows, ids in zip(source.features.split(block), source_ids.split(block), strict=True):
        cosine = rows @ target.features.T
        per_target = torch.full((len(rows), len(target.vertices)), -1.0)
        per_target.scatter_reduce_(1, target_ids.expand(len(rows), -1), cosine, "amax")
        out.scatter_reduce_(0, ids[:, None].expand(-1, out.shape[1]), per_target, "amax")
    return out.numpy()


def cyclic_distance(vertices: np.ndarray, there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Cyclic distance [V] (UOP3D's d_cycle), in the unit of the vertices.

    Args:
        vertices: [V, 3]. there: [V] index of each one's target vertex. back: [W] index of each target vertex's match.
    """
    return np.linalg.norm(vertices - vertices[back[there]], axis=1)


def cyclic_weights(distance: np.ndarray, extent: float, temperature: float = TEMPERATURE) -> np.ndarray:
    """Weights [V]: softmax of -d_cycle [V] / (tau * extent), normalised to mean 1 (UOP3D's sigma, without unit)."""
    logit = -distance / (temperature * extent)
    weight = np.exp(logit - logit.max())
    return weight / weight.mean()


def match(source: Instance, target: Instance, temperature: float | None = TEMPERATURE) -> Matching:
    """Appearance matches both ways; ``temperature`` None weighs all of them alike (ablation)."""
    similarity = best_view_similarity(source, target)
    seen_s, seen_t = source.seen, target.seen
    similarity[~seen_s], similarity[:, ~seen_t] = -1.0, -1.0
    forward, backward = similarity.argmax(1), similarity.argmax(0)
    if temperature is None:
        weight_s, weight_t = np.ones(len(forward)), np.ones(len(backward))
    else:
        weight_s = cyclic_weights(cyclic_distance(source.vertices, forward, backward), source.extent, temperature)
        weight_t = cyclic_weights(cyclic_distance(target.vertices, backward, forward), target.extent, temperature)
    # A vertex that no view shows has no appearance to match.
    weight_s, weight_t = weight_s * seen_s, weight_t * seen_t
    return Matching(forward, backward, weight_s / weight_s.mean(), weight_t / weight_t.mean(), similarity)
