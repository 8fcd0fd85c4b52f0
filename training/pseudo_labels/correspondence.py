# SPDX-License-Identifier: Apache-2.0
"""Bidirectional pseudo-correspondence (DINeMo, arXiv 2503.20220): local matches, global vote, local matches again.

Local: every mesh vertex is compared with every cell of the object over all template views. To global: the views vote
for an orientation (:mod:`dinemo_training.pseudo_labels.view_vote`). To local: vertices that the voted orientation
cannot see are suppressed and the rest matches again, now only against the views around that orientation. The paper
states no formulas. Here, with s(v, p, k) the cosine of cell p with vertex v as view k shows it: matches are
p(v) = argmax_p max_k s, and again, after the vote for view k*, argmax_p a_v max s over the views near k*, with a_v
small where k* cannot see v. Every part can be switched off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.geometry import rotation_angle

from .peak_readout import window_soft_argmax
from .template_bank import TemplateBank
from .view_vote import view_evidence, vote

_OBJECT = 0.3         # foreground below which a cell is not matched
NEAR_DEG = 25.0       # views this near to the voted orientation take part in the second matching
_SEEN_DEG = 12.0      # spread of the views that tell what the voted orientation can see
_CYCLE = 0.12         # of the object's length: how far there-and-back may miss before a match loses its weight


@dataclass(frozen=True)
class MatchConfig:
    """The options that the ablation varies (:mod:`dinemo_training.evaluation.ablation`); as they stand, everything is
    on."""

    vote: bool = True                # one orientation for all matches; off: every vertex keeps its own best view
    suppress: bool = True            # drop the vertices that the voted orientation cannot see
    rematch: bool = True             # match again against the views around the voted orientation only
    mirrored_templates: bool = True  # mirror images of the template views vote and match as well
    instances: int = 0               # how many of the templates' objects take part; 0: all
    flip_alignment: bool = False     # of a view and its mirror image only the one nearer to the picture takes part
    halves: bool = False             # an orientation counts only if plain and mirrored views, voting apart, agree on it
    layout: float = 1.0              # cost of a match that lies elsewhere in the object's box than in the view; 0: off
    cycle: bool = True               # weigh a match by whether its cell leads back to its vertex
    window: int = 2                  # half width of the soft-argmax read-out, cells; 0: plain arg-max
    temperature: float = 0.03        # of that read-out, cosine units
    sharpness: float = 60.0          # of the vote: 1 / temperature of a softmax over views, cosine units
    modes: int = 3                   # separate maxima of the vote that are followed up
    fit: bool = True                 # fit a pose to the matches; off: take the voted orientation itself


# Without the bidirectional step: every vertex keeps its best match over all views, and the best of several fits wins.
ONE_WAY = MatchConfig(vote=False, suppress=False, rematch=False)


@dataclass(frozen=True)
class Matches:
    """Vertex-to-cell links of one picture under one orientation.

    Attributes:
        rotation: [3, 3] object to camera along the ray, or None where nothing was voted for.
        confidence: share of the vote around that orientation, 0..1.
        vertices: [N] positions in the bank's list; cells: [N, 2] (x, y), sub-cell; weights: [N] trust, 0 and up.
    """

    rotation: np.ndarray | None
    confidence: float
    vertices: np.ndarray
    cells: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Every vertex of every view against every cell of one picture's object: what every variant starts from.

    Attributes:
        similarity: [K, V, P] cosines; displacement: [K, V, P] squared distance between a vertex's place in its view's
            box and a cell's place in the object's box; inside: [h * w] bool, which cells the P are; grid: (h, w).
    """

    similarity: Tensor
    displacement: Tensor
    inside: Tensor
    grid: tuple[int, int]


def compare(features: Tensor, foreground: Tensor, bank: TemplateBank) -> Comparison | None:
    """Compare one picture with the bank; None for a picture without an object.

    Args:
        features: [D, h, w] unit norm; foreground: [h, w] 0..1.
    """
    inside = foreground >= _OBJECT
    if not inside.any():
        return None
    similarity = torch.einsum("kvd,dp->kvp", bank.features, features.flatten(1)[:, inside.flatten()])
    return Comparison(similarity, _displacement(bank.layout, inside), inside.flatten(), tuple(inside.shape))


def match(comparison: Comparison, bank: TemplateBank, config: MatchConfig = MatchConfig()) -> list[Matches]:
    """Link vertices to cells of one picture: one set of links per mode of the vote, best first."""
    views = torch.ones(len(bank.mirrored), dtype=torch.bool)
    if not config.mirrored_templates:
        views &= torch.from_numpy(~bank.mirrored)
    if config.instances:
        views &= torch.from_numpy(bank.instance < config.instances)
    scores = comparison.similarity
    if config.layout:
        scores = scores - config.layout * comparison.displacement
    evidence = view_evidence(scores, bank.visible)
    if config.flip_alignment:
        views &= nearer_of_pairs(evidence, bank.mirrored)
    links = _Links(scores, bank, comparison, config)
    if not config.vote:
        return [links.read(views, torch.ones(len(bank.vertices), dtype=torch.bool), None, 1.0)]
    modes = vote(evidence, bank, config.sharpness, views.numpy()).modes(config.modes)
    if config.halves:
        modes = [mode for mode in modes if _both_halves_lead_to(mode[0], evidence, bank, views.numpy(), config)]
    return [links.under(rotation, share, views) for rotation, share in modes]


def _both_halves_lead_to(rotation: np.ndarray, evidence: Tensor, bank: TemplateBank, views: np.ndarray,
                         config: MatchConfig) -> bool:
    """Do the views and their mirror images each vote for ``rotation`` [3, 3] by themselves?

    The mirror image of a picture is compared with the mirrored views nearly as the picture is with the plain
    ones, so agreement between the two pictures means little once both kinds of views vote; the two kinds are
    independent opinions.
    """
    for half in (~bank.mirrored, bank.mirrored):
        chosen = half & views
        if not chosen.any():
            return False
        best = vote(evidence, bank, config.sharpness, chosen).modes(1)[0][0]
        if rotation_angle(best, rotation) > np.deg2rad(NEAR_DEG):
            return False
    return True


def nearer_of_pairs(evidence: Tensor, mirrored: np.ndarray) -> Tensor:
    """[K] bool: of a view and its mirror image, the next in line, the one that is nearer to the picture.

    Adaptive pose alignment of Telling Left from Right (Zhang et al., CVPR 2024): source or mirrored source, whichever
    has the smaller mean distance within the object.

    Args:
        evidence: [K] mean similarity of each view.
        mirrored: [K] bool, the view is the mirror image of the one before it.
    """
    keep = torch.ones(len(evidence), dtype=torch.bool)
    for second in np.flatnonzero(mirrored):
        loser = second if evidence[second] <= evidence[second - 1] else second - 1
        keep[loser] = False
    return keep


@dataclass(frozen=True)
class _Links:
    """Reads links out of the scores [K, V, P] of one picture."""

    scores: Tensor
    bank: TemplateBank
    picture: Comparison
    config: MatchConfig

    def under(self, rotation: np.ndarray, share: float, views: Tensor) -> Matches:
        """Links that one orientation admits."""
        angle = np.arccos(np.clip((np.einsum("ij,kij->k", rotation, self.bank.rotations) - 1) / 2, -1, 1))
        seen = torch.ones(len(self.bank.vertices), dtype=torch.bool)
        if self.config.suppress:
            weight = torch.from_numpy(np.exp(-0.5 * (angle / np.deg2rad(_SEEN_DEG)) ** 2) + 1e-12).float()
            seen = (weight @ self.bank.visible.float()) / weight.sum() > 0.5
        if self.config.rematch:
            near = torch.from_numpy(angle < max(np.deg2rad(NEAR_DEG), angle.min() + 1e-6))
            views = views & near if (views & near).any() else near
        return self.read(views, seen, rotation, share)

    def read(self, views: Tensor, seen: Tensor, rotation: np.ndarray | None, share: float) -> Matches:
        """The best cell of every vertex over ``views`` [K] bool, for the vertices in ``seen`` [V] bool."""
        scores = self.scores[views]
        allowed = self.bank.visible[views] & seen
        value, view = scores.amax(2).masked_fill(~allowed, -torch.inf).max(0)
        vertices = torch.nonzero(value > -torch.inf)[:, 0]
        if not len(vertices):
            return Matches(rotation, share, np.empty(0, np.int64), np.empty((0, 2)), np.empty(0))
        rows = scores[view[vertices], vertices]                     # [N, P]
        weights = (rows.max(1).values - rows.mean(1)).clamp(min=0)  # a vertex that is like every cell gets no weight
        if self.config.cycle:
            back = scores.masked_fill(~allowed[:, :, None], -torch.inf).amax(0).argmax(0)  # [P] best vertex per cell
            weights = weights * self._near(vertices, back[rows.argmax(1)])
        maps = torch.full((len(rows), len(self.picture.inside)), -1.0)
        maps[:, self.picture.inside] = rows
        cells = window_soft_argmax(maps.reshape(-1, *self.picture.grid), self.config.window, self.config.temperature)
        return Matches(rotation, share, vertices.numpy(), cells.numpy(), weights.numpy())

    def _near(self, a: Tensor, b: Tensor) -> Tensor:
        """[N] 0..1: do two lists of vertices name the same places on the object?"""
        points = torch.from_numpy(self.bank.points).float()
        return torch.exp(-0.5 * ((points[a] - points[b]).norm(dim=1) / (_CYCLE * np.ptp(self.bank.points[:, 0]))) ** 2)


def _displacement(layout: Tensor, inside: Tensor) -> Tensor:
    """[K, V, P] squared distance between a vertex's place in its view's box and a cell's place in the object's box.

    Places are offsets from the middle of the box in units of its larger side, so the box's proportions count as well.
    """
    y, x = (axis.float() for axis in torch.nonzero(inside, as_tuple=True))
    cells = torch.stack([x, y], 1)
    low, high = cells.min(0).values - 0.5, cells.max(0).values + 0.5
    places = (cells - 0.5 * (low + high)) / (high - low).max()
    return torch.cdist(layout.flatten(0, 1), places).square().reshape(*layout.shape[:2], -1)
