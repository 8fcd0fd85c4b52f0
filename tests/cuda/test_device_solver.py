# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The device's solver finds the poses that the CPU's solver finds; on a GPU where there is one, else its twins."""

from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from unit.planted import car_card, car_mesh
from unit.planted_cup import cup_card, cup_mesh, cup_scene
from unit.scenes import planted_scene

from dinemo_ros.cuda.ambiguity import turn_likelihoods, turns
from dinemo_ros.cuda.coarse import DeviceTarget, place
from dinemo_ros.cuda.distinct import distance, keep_distinct
from dinemo_ros.cuda.hypotheses import Hypotheses
from dinemo_ros.cuda.nearest_view import view_scores
from dinemo_ros.cuda.poses import Poses, jacobian, project, rotation
from dinemo_ros.cuda.similarity import similarity_volume
from dinemo_ros.cuda.solver import DeviceSolver, candidates
from dinemo_ros.geometry import rotation_angle, so3_exp
from dinemo_ros.model.symmetry import Symmetry, axis_variance
from dinemo_ros.solver import PoseSolver, Start, crop_solver, prepare_category
from dinemo_ros.solver.coarse import place as place_on_host
from dinemo_ros.solver.nearest_view import _score_views
from dinemo_ros.solver.refine import Refined

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def hide_left(covered):
    hidden = np.zeros_like(covered)
    columns = np.flatnonzero(covered.any(0))
    hidden[:, : columns[len(columns) // 3]] = True
    return hidden


SCENES = [planted_scene(20.0, 14.0), planted_scene(130.0, 8.0, 3.0, box_error=(0.04, -0.03, -0.02, 0.05)),
          planted_scene(250.0, 25.0, noise=0.6), planted_scene(315.0, 10.0, occlude=hide_left)]


@pytest.fixture(scope="module")
def device():
    torch.set_num_threads(1)  # more would wait for each other on a busy machine
    return DeviceSolver(prepare_category(car_mesh(), car_card()), DEVICE)


@pytest.fixture(scope="module")
def host():
    return PoseSolver(prepare_category(car_mesh(), car_card()), threads=1)


@pytest.fixture(scope="module")
def together(device):
    """The device's hypotheses of all scenes, solved as one batch."""
    return device.solve_batch([s.features for s in SCENES], [s.target for s in SCENES])


def both(mesh, card, evidence="clutter"):
    category = prepare_category(mesh, card, evidence)
    return DeviceSolver(category, DEVICE), PoseSolver(category, threads=1)


def assert_same(found, expected, degrees=0.2):
    """The same hypotheses in the same order: float32 against float64 on the same path."""
    assert len(found) == len(expected)
    a, b = found[0], expected[0]
    assert np.degrees(rotation_angle(a.T_crop_obj[:3, :3], b.T_crop_obj[:3, :3])) < degrees
    np.testing.assert_allclose(a.T_crop_obj[:3, 3], b.T_crop_obj[:3, 3], atol=0.002 * b.T_crop_obj[2, 3])
    np.testing.assert_allclose(a.size, b.size, rtol=0.002)
    np.testing.assert_allclose([a.score, a.visible], [b.score, b.visible], atol=0.002)
    np.testing.assert_allclose(np.sqrt(np.diag(a.covariance)), np.sqrt(np.diag(b.covariance)), rtol=0.02)


@pytest.mark.parametrize("k", range(len(SCENES)))
def test_finds_what_the_cpu_finds(together, host, k):
    assert_same(together[k], host.solve(SCENES[k].features, SCENES[k].target))


def test_a_batch_gives_what_single_crops_give(device, together):
    """And features that lie on the device already are taken as they are."""
    alone = device.solve(torch.from_numpy(SCENES[1].features).to(DEVICE), SCENES[1].target)
    assert len(alone) == len(together[1])
    np.testing.assert_allclose(alone[0].T_crop_obj, together[1][0].T_crop_obj, atol=2e-3)
    assert device.solve_batch([], []) == []


def test_a_cut_roi_is_placed_like_the_cpu_places_it(device):
    """All combinations of open sides, against the CPU's kernel."""
    outline, target = device._host.views.outline[::40], SCENES[0].target
    sides = np.array([[a, b, c, d] for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)], np.uint8)
    box = torch.as_tensor(np.tile(target.box, (16, 1)), dtype=torch.float32)
    camera = torch.tensor([[target.focal, target.centre]]).float().expand(16, 2)
    x, y, d = place(torch.as_tensor(outline), DeviceTarget(box, torch.as_tensor(sides) > 0, camera, torch.ones(16, 4)))
    for b in range(16):
        for g in range(len(outline)):
            expected = place_on_host(outline[g], target.box, sides[b], target.focal, target.centre)
            np.testing.assert_allclose([x[b, g], y[b, g], d[b, g]], expected, rtol=1e-4, atol=1e-5)


def moved(pose: Poses, step: torch.Tensor) -> Poses:
    """After steps [H, 9]: translation, rotation about the object's origin, log-sizes."""
    return Poses(rotation(step[:, 3:6]) @ pose.R, pose.t + step[:, :3], pose.log_size + step[:, 6:], pose.crop)


def test_jacobian_against_finite_differences():
    rng = np.random.default_rng(0)
    R = torch.as_tensor(np.stack([so3_exp(v) for v in rng.normal(size=(2, 3))]), dtype=torch.float32)
    log_size = torch.as_tensor(rng.normal(0, 0.1, (2, 3)), dtype=torch.float32)
    pose = Poses(R, torch.tensor([[0.2, -0.1, 6.0], [-0.4, 0.3, 9.0]]), log_size, torch.arange(2))
    vertices, camera = torch.as_tensor(rng.normal(size=(7, 3))).float(), torch.tensor([[40.0, 16.0], [60.0, 15.0]])
    scaled = vertices * torch.exp(pose.log_size)[:, None]
    J = jacobian(pose.points(vertices), pose, scaled, camera[:, 0])
    for k in range(9):
        step = torch.zeros(2, 9)
        step[:, k] = 1e-2
        ahead, behind = (torch.stack(project(moved(pose, s).points(vertices), camera), -1) for s in (step, -step))
        torch.testing.assert_close(J[..., k], (ahead - behind) / 2e-2, rtol=2e-3, atol=2e-2)


def test_rotation_vectors_turn_like_the_geometry_module():
    vectors = np.random.default_rng(1).normal(size=(5, 3))
    vectors[0] = 0
    found = rotation(torch.as_tensor(vectors, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(found, [so3_exp(v) for v in vectors], atol=1e-5)


def test_following_ends_where_the_cpu_ends(device, host):
    """From a start that is off by some degrees, centimetres and percent; then the flip."""
    scenes, start = SCENES[:2], []
    for scene in scenes:
        T = scene.T.copy()
        T[:3, :3] = so3_exp(np.array([0.02, 0.1, 0.0])) @ T[:3, :3]
        T[:3, 3] *= 1.04
        start.append(Start(T, 1.03 * np.array(car_card().size_prior.mean_m)))
    features, targets = [s.features for s in scenes], [s.target for s in scenes]
    for found, expected in zip(device.follow_batch(features, targets, start),
                               host.follow_batch(features, targets, start), strict=True):
        assert len(found) == 2
        assert_same(found, expected)
        # The flip is a pose that nothing holds, so small differences grow.
        assert found[1].score == pytest.approx(expected[1].score, abs=0.05) and found[1].score < 0.5 * found[0].score
        assert rotation_angle(found[0].T_crop_obj[:3, :3], found[1].T_crop_obj[:3, :3]) > 0.5 * np.pi


def test_a_box_of_our_own_is_no_evidence(device, host):
    """Its sides do not pull."""
    target = replace(SCENES[1].target, box_is_observed=False)
    assert_same(device.solve(SCENES[1].features, target), host.solve(SCENES[1].features, target))


def test_a_box_cut_on_all_sides(device, host):
    target = replace(SCENES[1].target, open_sides=np.ones(4, np.uint8))
    assert_same(device.solve(SCENES[1].features, target), host.solve(SCENES[1].features, target))


def test_posterior_evidence():
    device, host = both(car_mesh(), car_card(), "posterior")
    assert_same(device.solve(SCENES[0].features, SCENES[0].target), host.solve(SCENES[0].features, SCENES[0].target))


def azimuth_deviation(pose):
    return np.sqrt(axis_variance(pose.covariance, pose.T_crop_obj[:3, :3]))


@pytest.fixture(scope="module")
def cup():
    mesh = cup_mesh()
    return both(mesh, cup_card(mesh, Symmetry("z", 1)))


@pytest.mark.parametrize("azimuth, hidden", [(40.0, False), (180.0, True)])
def test_a_cup_whose_handle_may_be_hidden(cup, azimuth, hidden):
    """Pose, order and uncertainty of the turn: with the handle beside, and behind the body, where no turn is right."""
    device, host = cup
    _, scene, target = cup_scene(cup_mesh(), azimuth)
    found, expected = device.solve(scene.features, target)[0], host.solve(scene.features, target)[0]
    start = [Start(expected.T_crop_obj, expected.size)]
    followed, known = (s.follow_batch([scene.features], [target], start)[0][0] for s in cup)
    for a, b in ((found, expected), (followed, known)):
        assert (azimuth_deviation(a) > 0.3) == (azimuth_deviation(b) > 0.3) == hidden
        if not hidden:
            assert np.degrees(rotation_angle(a.T_crop_obj[:3, :3], b.T_crop_obj[:3, :3])) < 1.0
            assert azimuth_deviation(a) == pytest.approx(azimuth_deviation(b), rel=0.05)


def test_likelihoods_of_turns_are_those_of_the_host(cup):
    """At the same pose, seen well, and half out of the crop."""
    device, host = cup[0], crop_solver.CropSolver(prepare_category(cup_mesh(), cup_card(cup_mesh(), Symmetry("z", 1))))
    T, scene, target = cup_scene(cup_mesh(), 40.0)
    category, volume = device.search.category, host._similarity(scene.features)
    on_device = similarity_volume(torch.as_tensor(scene.features[None], device=DEVICE), category, volume.pad)
    t = np.stack([T[:3, 3], T[:3, 3] + [0.05, -0.03, 0.0]])
    tensors = [torch.as_tensor(x, dtype=torch.float32, device=DEVICE) for x in (
        np.stack([T[:3, :3]] * 2), t, np.full((2, 3), 0.05), [[target.focal, target.centre]], [0.6, 0.8], turns())]
    R, position, log_size, camera, cosine, turned = tensors
    poses = Poses(R, position, log_size, torch.zeros(2, dtype=torch.int64, device=DEVICE))
    found = turn_likelihoods(on_device, category, camera, poses, cosine, turned).cpu().numpy()
    for k in range(2):
        pose = Refined(T[:3, :3], t[k], np.full(3, 0.05), cosine=float(cosine[k]))
        np.testing.assert_allclose(found[k], host._turn_likelihoods(volume, target, pose), rtol=1e-3, atol=1e-3)
    assert np.ptp(found[0]) > 0.5 and abs(found[0] - found[1]).max() > 0.1


def test_a_bottle():
    """Every turn leaves it as it is: views from one azimuth, hypotheses that differ by a turn are one, no flip."""
    mesh = cup_mesh(handle=False)
    device, host = both(mesh, cup_card(mesh, Symmetry("z", 0)))
    _, scene, target = cup_scene(mesh, 40.0)
    found, expected = device.solve(scene.features, target), host.solve(scene.features, target)
    assert len(found) == len(expected)
    assert np.degrees(np.arccos(found[0].T_crop_obj[:3, 2] @ expected[0].T_crop_obj[:3, 2])) < 0.2
    start = [Start(expected[0].T_crop_obj, expected[0].size)]
    assert len(device.follow_batch([scene.features], [target], start)[0]) == 1


@pytest.mark.parametrize("symmetry", [Symmetry(), Symmetry("z", 0), Symmetry("z", 1), Symmetry("z", 4)])
def test_distances_and_choices_are_those_of_the_host(symmetry):
    rng = np.random.default_rng(2)
    R = np.stack([so3_exp(v) for v in 0.4 * rng.normal(size=(12, 3))])
    found = distance(symmetry, torch.as_tensor(R)[:, None], torch.as_tensor(R)).numpy()
    np.testing.assert_allclose(found, [[symmetry.distance(a, b) for b in R] for a in R], atol=1e-6)
    rank = torch.as_tensor(rng.normal(size=12))
    R_batch, found = torch.as_tensor(R)[None], rank[None] > -1
    mask = keep_distinct(symmetry, R_batch, rank[None], found, crop_solver._DISTINCT_ANGLE)
    poses = [Refined(R[k], np.zeros(3), score=float(rank[k])) for k in range(12) if rank[k] > -1]
    expected = [pose.score for pose in crop_solver._distinct(poses, symmetry, attrgetter("score"))]
    assert sorted(rank[mask[0]].tolist(), reverse=True) == expected


def test_templates_score_as_on_the_host(device):
    """Every view of two crops, one box half outside the map."""
    solver = crop_solver.CropSolver(prepare_category(car_mesh(), car_card()))
    boxes = [SCENES[0].target.box, SCENES[1].target.box + 14.0]
    maps = torch.as_tensor(np.stack([s.features for s in SCENES[:2]]), device=DEVICE)
    category = device.search.category
    found = view_scores(similarity_volume(maps, category, 4), category.nearest,
                        torch.as_tensor(np.array(boxes), dtype=torch.float32, device=DEVICE)).cpu().numpy()
    views, expected = solver._category.nearest, np.empty((2, len(found[0])))
    for k in range(2):
        volume = solver._similarity(SCENES[k].features)
        _score_views(volume.similarity, *volume.background_score.shape, views.first, views.vertex, views.place,
                     boxes[k], expected[k])
    np.testing.assert_allclose(found, expected, atol=0.02)  # a cell may be rounded to its neighbour
    assert np.abs(found - expected).mean() < 1e-4


def test_what_is_no_number_is_no_pose(device):
    assert device.solve(np.full_like(SCENES[0].features, np.nan), SCENES[0].target) == []
    rows = np.ones((1, 1, 101))
    assert len(candidates(Hypotheses.unpacked(rows), 0)) == 1
    rows = np.tile(rows, (1, 3, 1))
    rows[0, 1, 20], rows[0, :, 9] = np.nan, (1, 2, 3)  # t
    assert [pose.t[0] for pose in candidates(Hypotheses.unpacked(rows), 0)] == [1, 3]  # one less, and no error
