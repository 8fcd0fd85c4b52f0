# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Every Triton kernel against its twin: on the GPU where there is one, else in Triton's interpreter (see conftest.py).

float32 sums in another order differ by some 1e-6 of their terms; tolerances leave a factor of ten.
"""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="triton is not installed")

from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.cuda import kernels, twins
from dinemo_ros.cuda.category import to_device
from dinemo_ros.cuda.coarse import DeviceTarget, target_row
from dinemo_ros.cuda.poses import Poses, rotation
from dinemo_ros.cuda.refine import coarse_refinement, gauss_newton_refinement
from dinemo_ros.cuda.rendered import Rendered
from dinemo_ros.cuda.similarity import similarity_volume
from dinemo_ros.geometry import so3_exp
from dinemo_ros.solver import prepare_category
from dinemo_ros.solver.coarse import SHIFT

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape), dtype=torch.float32).to(DEVICE)


def turns(seed: int, count: int) -> torch.Tensor:
    return rotation(random(seed, count, 3).cpu()).to(DEVICE)


@pytest.mark.parametrize(("views", "vertices", "samples"), [(3, 16, 16), (2, 21, 80), (2, 21, 18)])
def test_gather_scores(views, vertices, samples):
    """Two crops, vertices in front of, behind and beside the camera, views with fewer vertices than slots."""
    planes, pad, shift = 30, 3, 2
    evidence = torch.nn.functional.pad((127 * random(0, 2, planes, 12, 14).clamp(0, 2)).to(torch.uint8), (pad,) * 4)
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
def test_window_terms(sigma):
    """Vertices on the map, far beside it, behind the camera, and without weight."""
    odds, crop = torch.exp(random(4, 2, 7, 13, 11)), torch.tensor([1, 0, 1], device=DEVICE)
    vertices, t, weight = random(5, 7, 3), 0.3 * random(6, 3, 3), (random(7, 3, 7) > -0.8).float()
    t[:, 2] += torch.tensor([4.0, 6.0, 0.5], device=DEVICE)
    vertices[1] = torch.tensor([400.0, 300, 0])
    camera = torch.tensor([[9.0, 6.0], [14.0, 5.5]], device=DEVICE)
    arguments = odds, vertices, turns(21, 3), t, 0.1 * random(22, 3, 3), crop, camera, weight, sigma
    found, expected = kernels.window_terms(*arguments), twins.window_terms(*arguments)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-4)
        assert (b[weight == 0] == 0).all() and (b[:, 1] == 0).all()
    assert (expected[0] > 0).sum() > 5 and (expected[2][..., 0, 1].abs() > 1e-3).sum() > 3


def test_window_terms_of_a_single_peak():
    """All mass in one cell: it pulls there, and nothing is as certain."""
    odds = torch.zeros(1, 1, 9, 9, device=DEVICE)
    odds[0, 0, 5, 3] = 2.0
    one, zero = torch.eye(3, device=DEVICE)[None], torch.zeros(1, 3, device=DEVICE)
    vertex, camera = torch.tensor([[0.0, 0.5, 1.0]], device=DEVICE), torch.tensor([[1.0, 4.0]], device=DEVICE)
    crop, weight = torch.zeros(1, dtype=torch.int64, device=DEVICE), torch.ones(1, 1, device=DEVICE)
    for loops in (kernels, twins):
        value, pull, matrix = loops.window_terms(odds, vertex, one, zero, zero, crop, camera, weight, 2.0)
        z = 2.0 * np.exp(-1.25 / 8) / (8 * np.pi)  # the vertex is seen at (4, 4.5)
        known = 0.25 * z / (1 + z)
        assert float(value) == pytest.approx(np.log1p(z), rel=1e-5)
        assert pull[0, 0].tolist() == pytest.approx([-known, 0.5 * known], rel=1e-4)
        assert matrix[0, 0].flatten().tolist() == pytest.approx([known, 0, 0, known], abs=1e-5)


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


@pytest.mark.parametrize("points", [4, 64, 150])
def test_normal_equations(points):
    """Points before, near and behind the camera; one weight zero. Sums of ``points`` terms of some hundred each."""
    scaled, R, t = random(20, 3, points, 3), turns(21, 3), random(22, 3, 3)
    t[:, 2] = torch.tensor([4.0, 9.0, 0.4])
    pull, root = random(23, 3, points, 2), random(24, 3, points, 2, 2)
    pull[0, 0], root[0, 0] = 0, 0
    arguments = scaled, R, t, torch.tensor([40.0, 60.0, 1.0], device=DEVICE), pull, root @ root.transpose(-1, -2)
    found, expected = kernels.normal_equations(*arguments), twins.normal_equations(*arguments)
    for a, b in zip(found, expected, strict=True):
        size = b.abs().flatten(1).amax(1)
        assert (((a - b).abs().flatten(1).amax(1)) <= 2e-5 * size).all() and (size > 1).all()


@pytest.mark.parametrize("vertices", [30, 300])
def test_box_sides(vertices):
    """Boxes that fit, that are half off and that say nothing; an object that reaches behind the camera says nothing."""
    box = torch.tensor([[4.0, 5, 20, 19], [-3, 8, 16, 40]], device=DEVICE)
    trust = torch.tensor([[0.5, 1, 2, 0.7], [1, 0, 1, 0]], device=DEVICE)
    camera = torch.tensor([[40.0, 13.5], [60.0, 13.0]], device=DEVICE)
    crop, t = torch.tensor([0, 1, 0, 1], device=DEVICE), 0.2 * random(30, 4, 3)
    t[:, 2] += 8
    t[3, 2] = 0.4
    arguments = random(31, vertices, 3), turns(32, 4), t, 0.1 * random(33, 4, 3), crop, box, trust, camera
    found, expected = kernels.box_sides(*arguments), twins.box_sides(*arguments)
    for a, b in zip(found, expected, strict=True):
        assert ((a - b).abs() <= 2e-5 * b.abs().amax()).all()
        assert (b[3] == 0).all() and (b[:3].reshape(3, -1).abs().amax(1) > 0.1).all()


def equations(count: int) -> tuple:
    """What ``stepped`` is given: steps within the limits, too far, too wide, too large, and no positive matrix."""
    root, scale = random(10, count, 9, 9), torch.tensor([1, 1, 1, 10, 10, 10, 1, 1, 1.0], device=DEVICE)
    A = (root @ root.transpose(1, 2) + torch.eye(9, device=DEVICE)) * scale[:, None] * scale
    x = 0.02 * random(11, count, 9)
    x[1, 0], x[2, 4], x[3, 7] = 5.0, 1.0, -0.6
    A[4] = -A[4]
    t = random(12, count, 3) + torch.tensor([0, 0, 6.0], device=DEVICE)
    data, damping = torch.linspace(0.5, 2, count, device=DEVICE), torch.full((count,), 1e-3, device=DEVICE)
    prior = torch.tensor([30.0, 60, 90], device=DEVICE)
    return A, (A @ x[..., None])[..., 0], data, prior, damping, turns(13, count), t, 0.1 * random(14, count, 3)


def test_stepped():
    """Condition numbers of some hundred cost three of seven digits of the step, which is at most 0.35 long."""
    arguments = equations(6)
    *_, R, t, log_size = arguments
    found, expected = kernels.stepped(*arguments), twins.stepped(*arguments)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=5e-4)
    for new, old in zip(found, (R, t, log_size), strict=True):
        assert torch.equal(new[4], old[4])
        assert all((new[k] - old[k]).abs().max() > 1e-4 for k in (0, 1, 2, 3, 5))
    torch.testing.assert_close(found[0] @ found[0].transpose(1, 2), torch.eye(3, device=DEVICE).expand(6, 3, 3),
                               rtol=0, atol=2e-6)  # some roundings of float32
    assert (found[1][1] - t[1]).abs().max() <= 0.25 * t[1, 2] * 1.0001
    assert (found[2][3] - log_size[3]).abs().max() <= 0.1001


def test_a_step_is_that_of_the_equations():
    """Of a matrix known to be positive: without prior and damping the solution of A x = b, scaled if it is too long."""
    A, b, data, prior, damping, R, t, log_size = equations(6)
    step = torch.linalg.solve(A[:1].double(), b[:1].double())
    for loops in (kernels, twins):
        new = loops.stepped(A, b, data, 0 * prior, 0 * damping, R, t, log_size)
        torch.testing.assert_close((new[1] - t)[0].double(), step[0, :3], rtol=0, atol=5e-4)
        torch.testing.assert_close((new[2] - log_size)[0].double(), step[0, 6:], rtol=0, atol=5e-4)
        turned = rotation(step[:1, 3:6].float().cpu()).to(DEVICE)[0] @ R[0]
        torch.testing.assert_close(new[0][0], turned, rtol=0, atol=5e-4)


def test_compare_cells():
    """Random triangles drawn at three poses before two maps; features of 40 numbers, which no block divides."""
    vertices, D, (height, width) = 20, 40, (9, 11)
    faces = torch.randint(vertices, (30, 3), generator=torch.Generator().manual_seed(40)).to(DEVICE)
    unit = torch.nn.functional.normalize(random(41, vertices, D), dim=1)
    i, j, k = unit[faces].unbind(1)
    gram = torch.stack([(i * j).sum(1), (j * k).sum(1), (k * i).sum(1)], 1)
    category = SimpleNamespace(faces=faces, vertices=random(42, vertices, 3), features=unit, gram=gram,
                               temperature=0.07)
    screen = torch.cat([5 + 4 * random(43, 3, 30, 3, 2), 2 + random(44, 3, 30, 3, 1).abs()], dim=-1)
    face, bary, depth = twins.rasterise(screen, height, width)
    cells = torch.nn.functional.normalize(random(45, 2, height * width, D), dim=2)
    arguments = (Rendered(screen, face, bary, depth), category, cells, 0.1 * random(46, 2, height * width),
                 0.1 * random(47, 3, 3), torch.tensor([0, 1, 0], device=DEVICE))
    found, expected = kernels.compare_cells(*arguments), twins.compare_cells(*arguments)
    shown = face >= 0
    for a, b in zip(found, expected, strict=True):
        size = b[shown].abs().flatten(1).amax(1) if b.ndim > 2 else b[shown].abs()
        apart = (a - b)[shown].abs().flatten(1).amax(1) if b.ndim > 2 else (a - b)[shown].abs()
        assert (apart <= 2e-4 * size + 2e-5).all()  # slopes are differences of larger numbers
    assert 0.3 < shown.float().mean() < 1.0 and expected[1][shown].std() > 0.1
    for part in (1, 3, 4):
        assert (found[part][~shown] == 0).all() and (expected[part][~shown] == 0).all()


def test_sample_crops():
    """Three pictures: as it is, averaged over 2 x 2 and 3 x 3 pixels, partly outside."""
    image = (128 + 40 * random(12, 31, 40, 3)).clamp(0, 255).to(torch.uint8)
    x, y = 20 + 15 * random(13, 3, 17, 17), 15 + 15 * random(14, 3, 17, 17)
    shrink = torch.tensor([1, 2, 3], dtype=torch.int32, device=DEVICE)
    found, expected = (loops.sample_crops(image, x, y, shrink, 114).int() for loops in (kernels, twins))
    assert (found - expected).abs().max() <= 1 and (found == expected).float().mean() > 0.999  # half is rounded apart
    assert 0.05 < (expected == 114).all(-1).float().mean() < 0.5


def test_refinement_by_kernels_is_that_by_twins():
    """One step of each kind from a pose that is some degrees off: all kernels of it on what they get in a solve.

    Steps agree to some 1e-3 of their length, as in ``test_stepped``; a cell at an outline may be seen or not.
    """
    scene = planted_scene(20.0, 14.0)
    category = to_device(prepare_category(car_mesh(), car_card(), "clutter"), torch.device(DEVICE))
    volume = similarity_volume(torch.as_tensor(scene.features[None], device=DEVICE), category, SHIFT + 1)
    target = DeviceTarget.of(torch.as_tensor(target_row(scene.target)[None], dtype=torch.float32, device=DEVICE))
    R = torch.as_tensor(so3_exp(np.array([0.02, 0.1, 0.0])) @ scene.T[:3, :3], dtype=torch.float32, device=DEVICE)
    t = torch.as_tensor(1.04 * scene.T[:3, 3], dtype=torch.float32, device=DEVICE)
    start = Poses(R[None], t[None], torch.zeros(1, 3, device=DEVICE), torch.zeros(1, dtype=torch.int64, device=DEVICE))
    ends = []
    for loops in (kernels, twins):
        coarse = coarse_refinement(volume, category, target, start, 2.0, 1, 100, 0.5, loops)
        ends.append((coarse, *gauss_newton_refinement(volume, category, target, start, 1, loops)))
    (a, c, d), (b, e, f) = ends
    for found, expected in ((a, b), (c, e)):
        assert (expected.R - start.R).abs().max() > 0.01 and (expected.t - start.t).abs().max() > 0.01
        torch.testing.assert_close(found.R, expected.R, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.t, expected.t, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found.log_size, expected.log_size, rtol=0, atol=1e-3)
    torch.testing.assert_close(d.score, f.score, rtol=0, atol=5e-3)
    torch.testing.assert_close(d.normal, f.normal, rtol=0, atol=float(0.02 * f.normal.abs().max()))
