# SPDX-License-Identifier: Apache-2.0
"""The trainable neural mesh: a feature per vertex and a few clutter features, all learnt by back-propagation.

NeMo keeps vertex features as a moving average (arXiv 2101.12378); learning them by back-propagation measured better in
Fischer et al., ICCV 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NeuralMeshFeatures(nn.Module):
    """Features of the P distinguishable places [P, D] and of clutter [K, D], unit norm when read.

    Args:
        vertices: V. dim: D. clutter: K.
        place: [V] int64, which place a vertex belongs to (the ring of a cup's body is one); None if each is its own.
    """

    def __init__(self, vertices: int, dim: int = 64, clutter: int = 16, place: Tensor | None = None) -> None:
        super().__init__()
        self.raw_vertices = nn.Parameter(torch.randn(vertices if place is None else int(place.max()) + 1, dim))
        self.raw_clutter = nn.Parameter(torch.randn(clutter, dim))
        self.register_buffer("place", place)

    @torch.no_grad()
    def start_smooth(self, positions: Tensor, length: float) -> None:
        """Random Fourier features of the position: neighbours ([P, 3] metres, over ``length``) start out alike.

        Independent random features would have to learn first which vertices are near each other.
        """
        dim = self.raw_vertices.shape[1]
        waves, phase = torch.randn(3, dim) / length, 2 * torch.pi * torch.rand(dim)
        self.raw_vertices.copy_((2 ** 0.5) * torch.cos(positions.to(waves) @ waves + phase))

    @property
    def places(self) -> Tensor:
        """[P, D], what is learnt."""
        return F.normalize(self.raw_vertices, dim=1)

    @property
    def vertices(self) -> Tensor:
        """[V, D], vertices of one place alike: what a bundle holds."""
        return self.places if self.place is None else self.places[self.place]

    @property
    def clutter(self) -> Tensor:
        return F.normalize(self.raw_clutter, dim=1)


def contrastive_loss(features: Tensor, mesh: NeuralMeshFeatures, pixels: Tensor, vertex_ids: Tensor, weights: Tensor,
                     neighbours: Tensor, background: Tensor, background_weight: Tensor,
                     temperature: float = 0.07) -> dict[str, Tensor]:
    """Part-contrastive loss of NeMo (Wang et al., arXiv 2101.12378, section 3) with soft targets over near places.

    Every sampled vertex looks up the image feature at its projection and must be classified as its place among all
    places and the clutter. NeMo removes near vertices from the denominator; here they share the target by
    distance (``neighbours``), which keeps the similarity volume smooth enough for second-order pose refinement.

    A place counts once, however many vertices it has: the solver compares one cosine with clutter's. With a term per
    vertex, a ring of n would win against clutter with a cosine that is temperature x log n below it.

    Args:
        features: [B, D, h, w] unit norm.
        pixels: [B, N, 2] projections of the sampled vertices in grid_sample coordinates (-1..1).
        vertex_ids: [B, N] int64.
        weights: [B, N] trust in each correspondence, 0 drops it.
        neighbours: [P, P] rows sum to one: the target distribution of each place.
        background: [B, M, 2] cells off the object, grid_sample coordinates.
        background_weight: [B, M].

    Returns:
        ``vertex`` and ``clutter``: scalar losses, and ``accuracy``: share of arg-max hits within the target's support.
    """
    f = _sample(features, pixels)                                        # [B, N, D]
    logits = _log_posterior(f, mesh, temperature)                        # [B, N, P + 1]
    target = neighbours[vertex_ids if mesh.place is None else mesh.place[vertex_ids]]  # [B, N, P]
    cross_entropy = -(target * logits[..., :-1]).sum(-1)
    total = weights.sum().clamp(min=1.0)
    vertex_loss = (cross_entropy * weights).sum() / total
    off = _log_posterior(_sample(features, background), mesh, temperature)[..., -1]
    clutter_loss = -(off * background_weight).sum() / background_weight.sum().clamp(min=1.0)
    with torch.no_grad():
        best = logits[..., :-1].argmax(-1, keepdim=True)
        hit = target.gather(-1, best)[..., 0] > 0.2 * target.amax(-1)
        accuracy = (hit * weights).sum() / total
    return {"vertex": vertex_loss, "clutter": clutter_loss, "accuracy": accuracy}


def _sample(features: Tensor, pixels: Tensor) -> Tensor:
    sampled = F.grid_sample(features, pixels.unsqueeze(2), mode="bilinear", align_corners=False)  # [B, D, N, 1]
    return F.normalize(sampled[..., 0].transpose(1, 2), dim=-1)


def _log_posterior(f: Tensor, mesh: NeuralMeshFeatures, temperature: float) -> Tensor:
    """log p(place or clutter | feature) [B, N, P + 1]; the last entry sums over the clutter features."""
    place = f @ mesh.places.T / temperature
    clutter = torch.logsumexp(f @ mesh.clutter.T / temperature, dim=-1, keepdim=True)
    return F.log_softmax(torch.cat([place, clutter], dim=-1), dim=-1)


def neighbour_targets(positions: Tensor, sigma: float) -> Tensor:
    """Soft targets [P, P]: Gaussian in the distance between places [P, 3] metres, rows sum to one."""
    distance = torch.cdist(positions, positions)
    kernel = torch.exp(-0.5 * (distance / sigma) ** 2)
    kernel[distance > 3 * sigma] = 0.0
    return kernel / kernel.sum(dim=1, keepdim=True)
