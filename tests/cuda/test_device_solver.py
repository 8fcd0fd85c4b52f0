# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The device's solver finds the poses that the CPU's solver finds; on a GPU where there is one, else its twins."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.cuda.coarse import DeviceTarget, place
from dinemo_ros.cuda.refine import Poses, jacobian, project, rotation
from dinemo_ros.cuda.solver import DeviceSolver
from dinemo_ros.geometry import rotation_angle, so3_exp
from dinemo_ros.solver import PoseSolver
from dinemo_ros.solver.coarse import place as place_on_host
from dinemo_ros.symmetry import Symmetry

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
    torch.set_num_threads(2)
    return DeviceSolver(car_mesh(), car_card(), DEVICE)


@pytest.fixture(scope="module")
def host():
    return PoseSolver(car_mesh(), car_card(), threads=2)


@pytest.fixture(scope="module")
def together(device):
    """The device's hypotheses of all scenes, solved as one batch."""
    return device.solve_batch([s.features for s in SCENES], [s.target for s in SCENES])


@pytest.mark.parametrize("k", range(len(SCENES)))
def test_finds_what_the_cpu_finds(together, host, k):
    """Both end near the same optimum; steps are few, so they stop some tenths of a degree apart."""
    found, expected = together[k][0], host.solve(SCENES[k].features, SCENES[k].target)[0]
    assert np.degrees(rotation_angle(found.T_crop_obj[:3, :3], expected.T_crop_obj[:3, :3])) < 1.0
    distance = expected.T_crop_obj[2, 3]
    np.testing.assert_allclose(found.T_crop_obj[:3, 3], expected.T_crop_obj[:3, 3], atol=0.01 * distance)
    np.testing.assert_allclose(found.size, expected.size, rtol=0.02)
    assert found.score == pytest.approx(expected.score, abs=0.01)
    assert found.visible == pytest.approx(expected.visible, abs=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), np.sqrt(np.diag(expected.covariance)), rtol=0.15)


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
    x, y, d = place(torch.as_tensor(outline), DeviceTarget(box, torch.as_tensor(sides) > 0, camera))
    for b in range(16):
        for g in range(len(outline)):
            expected = place_on_host(outline[g], target.box, sides[b], target.focal, target.centre)
            np.testing.assert_allclose([x[b, g], y[b, g], d[b, g]], expected, rtol=1e-4, atol=1e-5)


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
        ahead, behind = (torch.stack(project(pose.moved(s).points(vertices), camera), -1) for s in (step, -step))
        torch.testing.assert_close(J[..., k], (ahead - behind) / 2e-2, rtol=2e-3, atol=2e-2)


def test_rotation_vectors_turn_like_the_geometry_module():
    vectors = np.random.default_rng(1).normal(size=(5, 3))
    vectors[0] = 0
    found = rotation(torch.as_tensor(vectors, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(found, [so3_exp(v) for v in vectors], atol=1e-5)


def test_a_category_with_uncertain_azimuth_is_left_to_the_cpu():
    card = car_card(symmetry=Symmetry.parse({"axis": "z", "order": 1}))
    with pytest.raises(ValueError, match="'car' has a rotation about its axis .*device: cpu"):
        DeviceSolver(car_mesh(), card, DEVICE)
