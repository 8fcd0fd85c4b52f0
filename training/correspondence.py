# SPDX-License-Identifier: Apache-2.0
"""Bidirectional pseudo-correspondence (DINeMo, arXiv 2503.20220): local matches, global vote, local matches again.

Local to global: every mesh vertex finds its best image cell over all template views, and votes for the view that it
came from. Global to local: vertices that the voted orientation cannot see are suppressed and the rest matches again,
now only against the views around that orientation. Formalised as in the project's fact sheet, section 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TemplateBank:
    """Posed template views with one teacher feature per visible vertex.

    Attributes:
        features: [K, M, D] unit norm; vertices: [K, M] int64 ids; valid: [K, M] bool (padding is False).
        rotations: [K, 3, 3] object to camera along the viewing ray; azimuths: [K] radians.
    """

    features: Tensor
    vertices: Tensor
    valid: Tensor
    rotations: np.ndarray
    azimuths: np.ndarray


@dataclass(frozen=True)
class Matches:
    """Vertex-to-cell links of one picture.

    Attributes:
        view: index of the template view that won the vote; azimuth: radians, vote-weighted around the winner.
        confidence: share of the vote within 30 degrees of the winner, 0..1.
        vertices: [N] ids; cells: [N, 2] (x, y) feature cells, sub-cell; weights: [N] cosine similarities.
    """

    view: int
    azimuth: float
    confidence: float
    vertices: np.ndarray
    cells: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class MatchConfig:
    """Every part can be switched off, for ablations."""

    bidirectional: bool = True       # suppress invisible vertices and match again; off: keep the raw matches
    vote_sharpness: float = 20.0     # exponent on a view's mean similarity when votes are counted
    neighbourhood_deg: float = 25.0  # views this near to the winner take part in the second matching
    window: int = 2                  # half width in cells of the soft-argmax read-out (GeoAware-SC)
    window_temperature: float = 0.03


def match(features: Tensor, foreground: Tensor, bank: TemplateBank, config: MatchConfig = MatchConfig()) -> Matches:
    """Link vertices to cells of one picture.

    Args:
        features: [D, h, w] unit norm; foreground: [h, w] 0..1, cells under 0.3 are ignored.
    """
    D, h, w = features.shape
    similarity = torch.einsum("kmd,dp->kmp", bank.features, features.reshape(D, -1))
    similarity = similarity.masked_fill(foreground.reshape(1, 1, -1) < 0.3, -1.0)
    best, cell = similarity.max(-1)                         # [K, M]
    best = torch.where(bank.valid, best, torch.zeros(()))
    votes = _vote(best, bank, config)
    view = int(votes.argmax())
    around = np.abs(_wrap(bank.azimuths - bank.azimuths[view]))
    share = votes.numpy() / float(votes.sum())
    near = around < np.deg2rad(30)
    offset = float(np.sum(share[near] * _wrap(bank.azimuths[near] - bank.azimuths[view])) / share[near].sum())
    allowed = torch.from_numpy(around < np.deg2rad(config.neighbourhood_deg)) if config.bidirectional else None
    visible_from = view if config.bidirectional else None
    ids, cells, weights = _read_out(similarity, best, bank, allowed, visible_from, (h, w), config)
    return Matches(view, float(bank.azimuths[view] + offset), float(share[near].sum()), ids, cells, weights)


def _vote(best: Tensor, bank: TemplateBank, config: MatchConfig) -> Tensor:
    """[K] votes: a vertex's match counts for the view whose feature explains it, sharpened against ties."""
    mean = best.sum(1) / bank.valid.sum(1).clamp(min=1)
    evidence = torch.exp(config.vote_sharpness * (mean - mean.max()))
    spread = torch.from_numpy(np.exp(-0.5 * (_wrap(bank.azimuths[:, None] - bank.azimuths) / 0.2) ** 2)).float()
    return evidence * (spread @ evidence)


def _read_out(similarity, best, bank, allowed, view, shape, config):
    """Best cell per vertex over the allowed views, refined by a soft-argmax in a window around it."""
    scores = best.clone()
    scores[~bank.valid] = -1.0
    if allowed is not None:
        scores[~allowed] = -1.0
    flat = scores.flatten()
    order = flat.argsort(descending=True)
    vertices = bank.vertices.flatten()[order].numpy()
    _, first = np.unique(vertices, return_index=True)       # the best view of every vertex
    chosen = order[torch.from_numpy(np.sort(first))]
    chosen = chosen[flat[chosen] > 0]
    if view is not None:                                    # the voted view decides what can be seen at all
        seen = set(bank.vertices[view][bank.valid[view]].tolist())
        ids = bank.vertices.flatten()[chosen].numpy()
        chosen = chosen[torch.from_numpy(np.isin(ids, list(seen)))]
    K, M, P = similarity.shape
    rows = similarity.reshape(K * M, P)[chosen].reshape(-1, *shape)
    cells = _window_soft_argmax(rows, config.window, config.window_temperature)
    return bank.vertices.flatten()[chosen].numpy(), cells.numpy(), flat[chosen].numpy()


def _window_soft_argmax(maps: Tensor, window: int, temperature: float) -> Tensor:
    """Sub-cell maxima [N, 2] as (x, y) of similarity maps [N, h, w] (Zhang et al., Telling Left from Right, 2024)."""
    N, h, w = maps.shape
    top = maps.flatten(1).argmax(1)
    cy, cx = (top // w)[:, None, None], (top % w)[:, None, None]
    y, x = torch.arange(h)[None, :, None], torch.arange(w)[None, None, :]
    inside = ((y - cy).abs() <= window) & ((x - cx).abs() <= window)
    weight = torch.softmax((maps / temperature).masked_fill(~inside, -1e4).flatten(1), 1).reshape(N, h, w)
    return torch.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], 1)


def _wrap(angle):
    return (angle + np.pi) % (2 * np.pi) - np.pi
