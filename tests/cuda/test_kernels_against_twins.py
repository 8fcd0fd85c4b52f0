# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Every Triton kernel against its twin: on the GPU where there is one, else in Triton's interpreter (see conftest.py).

float32 sums in another order differ by some 1e-6 of their terms; tolerances leave a factor of ten.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="triton is not installed")

from dinemo_ros.cuda import kernels, twins

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape), dtype=torch.float32).to(DEVICE)


@pytest.mark.parametrize(("views", "vertices", "samples"), [(3, 16, 16), (2, 21, 80), (2, 21, 18)])
def test_gather_scores(views, vertices, samples):
    """Two crops, vertices in front of, behind and beside the camera, views with fewer vertices than slots."""
    planes, pad, shift = 30, 3, 2
    evidence = torch.nn.functional.pad((400 * random(0, 2, planes, 12, 14).clamp(0, 2)).to(torch.int16), (pad,) * 4)
    index = torch.randint(planes, (views, vertices), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    weight = torch.ones(views, vertices, device=DEVICE)
    weight[0, 5:] = 0
    points, place = 0.4 * random(2, views, vertices, 3), random(3, 2, views, 2, 3) * 0.3
    place[..., 2] = place[..., 2].abs() * 4 + 0.3
    points[1, :3, 2] = -9.0
    camera = torch.tensor([[9.0, 6.0], [14.0, 6.5]], device=DEVICE)
    chosen = torch.tensor([list(range(views)), [views - 1] * views], device=DEVICE)
    arguments = (evidence.contiguous(), index, points, weight, chosen, samples, place.contiguous(), camera, pad, shift)
    (best, where), (expected, expected_where) = kernels.gather_scores(*arguments), twins.gather_scores(*arguments)
    assert torch.equal(best, expected) and torch.equal(where, expected_where)  # whole numbers
    assert expected.max() > 400 and (expected > 0).float().mean() > 0.5


@pytest.mark.parametrize("sigma", [1.5, 2.5])
def test_window_moments(sigma):
    odds, crop = torch.exp(random(4, 2, 7, 13, 11)), torch.tensor([1, 0, 1], device=DEVICE)
    u, v = 5 + 6 * random(5, 3, 7), 6 + 6 * random(6, 3, 7)
    u[0, 0], v[0, 1] = -1e4, 5e3  # far outside
    weight = (random(7, 3, 7) > -0.8).float()
    arguments = odds, crop, u, v, weight, sigma
    found, expected = kernels.window_moments(*arguments), twins.window_moments(*arguments)
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-4)
    assert (expected[0, 0] == 0).all() and (expected[weight == 0] == 0).all()
    assert (expected[..., 0] > 0).sum() > 5


def test_window_moments_of_a_single_peak():
    """All mass in one cell: its offset, and no variance."""
    odds = torch.zeros(1, 1, 9, 9, device=DEVICE)
    odds[0, 0, 5, 3] = 2.0
    zero = torch.zeros(1, 1, device=DEVICE)
    moments = kernels.window_moments(odds, torch.zeros(1, dtype=torch.int64, device=DEVICE), zero + 4.0, zero + 4.5,
                                     zero + 1.0, 2.0)[0, 0].cpu()
    assert moments[1:3].tolist() == pytest.approx([-1.0, 0.5], abs=1e-5)
    assert moments[3:].tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert float(moments[0]) == pytest.approx(2.0 * np.exp(-1.25 / 8) / (8 * np.pi), rel=1e-5)


def test_rasterise():
    """Random triangles, some seen from behind, one through the camera."""
    corners = torch.cat([7 + 5 * random(8, 2, 40, 3, 2), 2 + random(9, 2, 40, 3, 1).abs()], dim=-1)
    corners[0, 0, 1, 2] = 0.01
    found, expected = kernels.rasterise(corners.contiguous(), 13, 15), twins.rasterise(corners, 13, 15)
    same = found[0] == expected[0]
    assert same.float().mean() > 0.99  # a cell centre on an edge may fall to either side
    torch.testing.assert_close(found[1][same], expected[1][same], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2][same], expected[2][same], rtol=1e-4, atol=1e-5)
    seen = expected[0] >= 0
    assert 0.2 < seen.float().mean() < 1.0 and not (expected[0][0] == 0).any()
    torch.testing.assert_close(expected[1][seen].sum(-1), torch.ones(int(seen.sum()), device=DEVICE))


def test_rasterise_one_face_twice():
    """Of two at the same depth the first is seen, in one block of faces and in two; nothing is seen beside them."""
    one = torch.tensor([[[2.0, 2, 3], [2, 9, 3], [9, 2, 3]]], device=DEVICE)
    away = torch.tensor([[[1.0, 1, 3], [9, 1, 3], [1, 9, 3]]], device=DEVICE)  # seen from behind
    for first, second in ((3, 20), (20, 50)):
        corners = away.expand(60, -1, -1).clone()
        corners[[first, second]] = one
        for loops in (kernels, twins):
            face, weights, depth = loops.rasterise(corners[None].contiguous(), 7, 11)
            assert set(face.unique().tolist()) == {-1, first}
            assert torch.equal(torch.isinf(depth), face < 0) and (weights[face < 0] == 0).all()
            torch.testing.assert_close(depth[face >= 0], torch.full_like(depth[face >= 0], 3.0))


def test_solve_positive():
    root = random(10, 5, 9, 9)
    A = root @ root.transpose(1, 2) + torch.eye(9, device=DEVICE)
    A[3] = -A[3]  # not positive: no step
    x = random(11, 5, 9)
    found = kernels.solve_positive(A, (A @ x[..., None])[..., 0])
    expected = twins.solve_positive(A, (A @ x[..., None])[..., 0])
    assert (found[3] == 0).all() and (expected[3] == 0).all()
    good = [0, 1, 2, 4]
    torch.testing.assert_close(found[good], x[good], rtol=2e-3, atol=2e-3)  # condition numbers of some hundred
    torch.testing.assert_close(expected[good], x[good], rtol=2e-3, atol=2e-3)


def test_sample_crops():
    """Three pictures: as it is, averaged over 2 x 2 and 3 x 3 pixels, partly outside."""
    image = (128 + 40 * random(12, 31, 40, 3)).clamp(0, 255).to(torch.uint8)
    x, y = 20 + 15 * random(13, 3, 17, 17), 15 + 15 * random(14, 3, 17, 17)
    shrink = torch.tensor([1, 2, 3], dtype=torch.int32, device=DEVICE)
    found, expected = (loops.sample_crops(image, x, y, shrink, 114).int() for loops in (kernels, twins))
    assert (found - expected).abs().max() <= 1 and (found == expected).float().mean() > 0.999  # half is rounded apart
    assert 0.05 < (expected == 114).all(-1).float().mean() < 0.5
