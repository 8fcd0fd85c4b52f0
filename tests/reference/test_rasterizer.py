# SPDX-License-Identifier: Apache-2.0
"""Our rasteriser against a ray caster that shares no code with it, and against pytorch3d's where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
from unit.planted import car_mesh, cast_rays

from dinemo_ros.errors import DinemoError
from dinemo_ros.geometry import rotation_from_viewpoint

torch = pytest.importorskip("torch", reason="the reference solver needs torch")

from dinemo_ros.reference.rasterizer import TorchRasterizer, create_rasterizer  # noqa: E402 (needs torch)

SIDE, CENTRE, FOCAL = 28, 13.5, 60.0


def poses(count: int, seed: int = 0) -> torch.Tensor:
    """Vertices [B, V, 3] float64 of the planted car at random poses, some of them cut by the picture's border."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform([0, -0.4, -0.5], [2 * np.pi, 1.0, 0.5], (count, 3))
    shift = rng.uniform([-2, -1, 9], [2, 1, 16], (count, 3))
    vertices = car_mesh().vertices.astype(np.float64)
    return torch.from_numpy(np.stack([vertices @ rotation_from_viewpoint(*a).T + t
                                      for a, t in zip(angles, shift, strict=True)]))


def faces() -> torch.Tensor:
    return torch.from_numpy(car_mesh().faces.astype(np.int64))


def points(fragments, vertices: torch.Tensor) -> torch.Tensor:
    """Surface points [N, 3] under the cells that see anything, in order."""
    pose, row, column = (fragments.face >= 0).nonzero(as_tuple=True)
    corners = vertices[pose[:, None], faces()[fragments.face[pose, row, column]]]
    return torch.einsum("nk,nkc->nc", fragments.barycentric[pose, row, column], corners)


def test_torch_rasterizer_sees_what_rays_hit():
    vertices = poses(5)
    fragments = TorchRasterizer()(vertices, faces(), FOCAL, CENTRE, SIDE)
    at = (np.arange(SIDE) - CENTRE) / FOCAL
    rays = np.stack([*np.meshgrid(at, at), np.ones((SIDE, SIDE))], axis=-1).reshape(-1, 3)
    for k in range(5):
        hit, face, barycentric = cast_rays(rays, vertices[k].numpy()[car_mesh().faces])
        seen = (fragments.face[k] >= 0).numpy().ravel()
        np.testing.assert_array_equal(seen, hit)
        # Which of two faces an edge belongs to is rounding; the point on the surface is not.
        expected = np.einsum("nk,nkc->nc", barycentric[hit], vertices[k].numpy()[car_mesh().faces[face[hit]]])
        one = TorchRasterizer()(vertices[k:k + 1], faces(), FOCAL, CENTRE, SIDE)
        np.testing.assert_allclose(points(one, vertices[k:k + 1]).numpy(), expected, atol=1e-9)


def test_points_lie_on_the_rays_of_their_cells():
    vertices = poses(3, seed=1)
    fragments = TorchRasterizer()(vertices, faces(), FOCAL, CENTRE, SIDE)
    _, row, column = (fragments.face >= 0).nonzero(as_tuple=True)
    at = points(fragments, vertices)
    torch.testing.assert_close(FOCAL * at[:, :2] / at[:, 2:] + CENTRE, torch.stack([column, row], dim=1).double())


def test_gradient_of_the_torch_rasterizer():
    vertices = poses(1, seed=2)
    fragments = TorchRasterizer()(vertices, faces(), FOCAL, CENTRE, SIDE)
    value = torch.rand(len(vertices[0]), dtype=torch.float64, generator=torch.manual_seed(0))
    inside = (fragments.barycentric > 0.02).all(dim=-1) & (fragments.face >= 0)  # these keep their face when moved

    def mean_value(shift: torch.Tensor) -> torch.Tensor:
        moved = TorchRasterizer()(vertices + shift, faces(), FOCAL, CENTRE, SIDE)
        assert torch.equal(moved.face[inside], fragments.face[inside])
        return (moved.barycentric * value[faces()[moved.face]])[inside].sum(dim=-1).mean()

    assert torch.autograd.gradcheck(mean_value, torch.zeros(3, dtype=torch.float64, requires_grad=True), eps=1e-6)


def test_a_mesh_outside_the_picture_is_not_seen():
    assert (TorchRasterizer()(poses(1) + torch.tensor([50.0, 0, 0]), faces(), FOCAL, CENTRE, SIDE).face == -1).all()


def test_pytorch3d_agrees():
    pytest.importorskip("pytorch3d", reason="pytorch3d is not installed (easypytorch3d on PyPI fits torch 2.12)")
    vertices = poses(6, seed=3).float()
    results = []
    for name in ("torch", "pytorch3d"):
        moving = vertices.clone().requires_grad_()
        fragments = create_rasterizer(name)(moving, faces(), FOCAL, CENTRE, SIDE)
        results.append((fragments, moving))
    (ours, our_vertices), (theirs, their_vertices) = results
    same = ours.face == theirs.face
    # Cells whose centre lies on an edge to within float32 may go to either neighbour, or to none at the outline.
    assert same.float().mean() > 0.998
    both = same & (ours.face >= 0)
    assert both.sum() > 500
    # pytorch3d interpolates in float32 screen coordinates, where a small face's area has lost three digits.
    torch.testing.assert_close(ours.barycentric[both], theirs.barycentric[both], atol=5e-3, rtol=0)
    value = torch.rand(len(car_mesh().vertices), generator=torch.manual_seed(0))
    for fragments, _ in results:
        (fragments.barycentric[both] * value[faces()[fragments.face[both]]]).sum().backward()
    gradients = our_vertices.grad.reshape(6, -1), their_vertices.grad.reshape(6, -1)
    assert (torch.cosine_similarity(*gradients, dim=1) > 0.999).all()


def test_unknown_rasterizer_is_named():
    with pytest.raises(DinemoError, match="rasterizer is 'cuda'; allowed: auto, pytorch3d, torch"):
        create_rasterizer("cuda")
