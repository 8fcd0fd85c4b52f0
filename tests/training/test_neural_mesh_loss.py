# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The contrastive loss falls when, and only when, features say where they are."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")

from dinemo_training.models.neural_mesh import NeuralMeshFeatures, contrastive_loss, neighbour_targets

CELLS, DIM = 6, 64


@pytest.fixture
def scene():
    """Twenty vertices, each in a feature cell of its own, the other cells background."""
    torch.manual_seed(0)
    vertices = torch.rand(20, 3, dtype=torch.float64) * 4
    mesh = NeuralMeshFeatures(20, dim=DIM, clutter=3).double()
    cells = torch.randperm(CELLS * CELLS)
    return {"mesh": mesh, "vertices": vertices, "on": cells[:20], "off": cells[20:],
            "neighbours": neighbour_targets(vertices, 0.15)}


def centres(cells):
    """grid_sample coordinates [1, N, 2] of cell centres."""
    xy = torch.stack([cells % CELLS, cells // CELLS], -1)[None].double()
    return (2 * xy + 1) / CELLS - 1


def planted_map(scene, order=None):
    """Feature map [1, D, h, w]: the vertex's feature in its cell, clutter elsewhere."""
    mesh = scene["mesh"]
    flat = torch.empty(CELLS * CELLS, DIM, dtype=torch.float64)
    flat[scene["on"]] = mesh.vertices.detach()[torch.arange(20) if order is None else order]
    flat[scene["off"]] = mesh.clutter.detach()[torch.arange(len(scene["off"])) % 3]
    return flat.T.reshape(1, DIM, CELLS, CELLS)


def loss(scene, features, weights=None, pixels=None, background=None):
    weights = torch.ones(1, 20, dtype=torch.float64) if weights is None else weights
    background = centres(scene["off"]) if background is None else background
    return contrastive_loss(features, scene["mesh"], centres(scene["on"]) if pixels is None else pixels,
                            torch.arange(20)[None], weights, scene["neighbours"], background,
                            torch.ones(background.shape[:2], dtype=torch.float64))


def target_entropy(scene):
    p = scene["neighbours"]
    return float(-(p * torch.log(p.clamp(min=1e-12))).sum(1).mean())


def test_right_features_have_little_loss_and_wrong_ones_much(scene):
    scene["neighbours"] = torch.eye(20, dtype=torch.float64)
    right = loss(scene, planted_map(scene))
    wrong = loss(scene, planted_map(scene, torch.arange(20).roll(1)))
    assert right["vertex"] < 0.05
    assert right["accuracy"] == 1.0 and wrong["accuracy"] < 0.3
    assert wrong["vertex"] > right["vertex"] + 5


def test_clutter_loss_asks_for_clutter_in_the_background(scene):
    features = planted_map(scene)
    assert loss(scene, features)["clutter"] < 0.1
    assert loss(scene, features, background=centres(scene["on"]))["clutter"] > 5


def test_descent_finds_the_soft_targets(scene):
    torch.manual_seed(1)
    raw = torch.randn(1, DIM, CELLS, CELLS, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([raw, *scene["mesh"].parameters()], lr=0.05)
    history = []
    for _ in range(120):
        result = loss(scene, torch.nn.functional.normalize(raw, dim=1))
        optimizer.zero_grad()
        (result["vertex"] + result["clutter"]).backward()
        optimizer.step()
        history.append((float(result["vertex"].detach()), float(result["clutter"].detach())))
    assert history[0][0] > 3 and history[0][1] > 1
    # Cross-entropy cannot fall below the entropy of its targets; a descent that does has a wrong sign somewhere.
    assert target_entropy(scene) <= history[-1][0] < target_entropy(scene) + 0.1
    assert history[-1][1] < 0.05
    assert result["accuracy"] == 1.0


def test_a_link_without_weight_changes_nothing(scene):
    features = planted_map(scene)
    weights = torch.ones(1, 20, dtype=torch.float64)
    weights[0, 3:] = 0
    moved = centres(scene["on"]).clone()
    moved[0, 3:] = 0.123
    a, b = loss(scene, features, weights), loss(scene, features, weights, pixels=moved)
    assert a["vertex"] == b["vertex"] and a["accuracy"] == b["accuracy"]
    moved[0, :3] = 0.123
    assert loss(scene, features, weights, pixels=moved)["vertex"] > a["vertex"] + 1


def test_no_links_at_all_give_zero_and_not_nan(scene):
    result = loss(scene, planted_map(scene), torch.zeros(1, 20, dtype=torch.float64))
    assert result["vertex"] == 0.0


def test_gradient_against_finite_differences(scene):
    mesh = NeuralMeshFeatures(4, dim=5, clutter=2).double()
    neighbours = neighbour_targets(torch.rand(4, 3, dtype=torch.float64), 0.3)
    rng = torch.Generator().manual_seed(2)
    pixels = torch.rand(2, 3, 2, generator=rng, dtype=torch.float64) * 1.2 - 0.6
    background = torch.rand(2, 2, 2, generator=rng, dtype=torch.float64) * 1.2 - 0.6
    ids = torch.tensor([[0, 1, 3], [2, 0, 1]])
    weights = torch.tensor([[1.0, 0.5, 1.0], [0.0, 1.0, 0.2]], dtype=torch.float64)
    names = [name for name, _ in mesh.named_parameters()]

    def total(features, *parameters):
        values = dict(zip(names, parameters, strict=True))
        result = torch.func.functional_call(_Loss(mesh), {f"mesh.{k}": v for k, v in values.items()},
                                            (features, pixels, ids, weights, neighbours, background))
        return result["vertex"] + 0.5 * result["clutter"]

    features = torch.randn(2, 5, 3, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(total, (features, *mesh.parameters()), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("per_place", [1, 27])
def test_a_place_counts_once_however_many_vertices_share_it(scene, per_place):
    """The posterior against clutter depends on the cosines alone, not on how finely a ring is meshed."""
    mesh = scene["mesh"]
    ring = NeuralMeshFeatures(20 * per_place, DIM, 3, torch.arange(20).repeat_interleave(per_place)).double()
    ring.load_state_dict({**mesh.state_dict(), "place": ring.place})
    assert ring.vertices.shape == (20 * per_place, DIM) and torch.equal(ring.vertices[per_place - 1], mesh.places[0])
    links = {"pixels": centres(scene["on"]), "weights": torch.ones(1, 20, dtype=torch.float64),
             "neighbours": scene["neighbours"], "background": centres(scene["off"]),
             "background_weight": torch.ones(1, len(scene["off"]), dtype=torch.float64)}
    features = planted_map(scene)
    one = contrastive_loss(features, mesh, vertex_ids=torch.arange(20)[None], **links)
    many = contrastive_loss(features, ring, vertex_ids=torch.arange(20)[None] * per_place + per_place // 2, **links)
    assert {name: float(value.detach()) for name, value in one.items()} == {
        name: float(value.detach()) for name, value in many.items()}


class _Loss(torch.nn.Module):
    """The loss as a module, so that its parameters can be varied one by one."""

    def __init__(self, mesh):
        super().__init__()
        self.mesh = mesh

    def forward(self, features, pixels, ids, weights, neighbours, background):
        return contrastive_loss(features, self.mesh, pixels, ids, weights, neighbours, background,
                                torch.ones(background.shape[:2], dtype=torch.float64), temperature=0.3)


def test_soft_targets_are_distributions_over_near_vertices():
    vertices = torch.from_numpy(np.random.default_rng(3).uniform(0, 2, (60, 3)))
    sigma = 0.3
    targets = neighbour_targets(vertices, sigma)
    distance = torch.cdist(vertices, vertices)
    torch.testing.assert_close(targets.sum(1), torch.ones(60, dtype=torch.float64))
    assert (targets[distance > 3 * sigma] == 0).all()
    assert (targets.argmax(1) == torch.arange(60)).all()
    near = (distance > 0) & (distance < 2 * sigma)
    assert near.any() and (targets[near] > 0).all()
    # Of two neighbours, the nearer has the larger share: exp(-d^2 / 2 sigma^2).
    ratio = targets / targets.diagonal()[:, None]
    torch.testing.assert_close(ratio[near], torch.exp(-0.5 * (distance[near] / sigma) ** 2))
