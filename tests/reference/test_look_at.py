# SPDX-License-Identifier: Apache-2.0
"""NeMo's camera against the package's conventions."""

from __future__ import annotations

import numpy as np
import pytest

from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint

torch = pytest.importorskip("torch", reason="the reference solver needs torch")

from dinemo_ros.reference.look_at import along_ray, camera_centre, look_at  # noqa: E402 (needs torch)


def random_angles(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).uniform([0, -1.4, -3], [2 * np.pi, 1.4, 3], (count, 3))


def test_look_at_is_the_viewpoint_of_pascal3d():
    angles = random_angles()
    azimuth, elevation, theta = torch.from_numpy(angles.T.copy())
    rotation, distance = look_at(camera_centre(azimuth, elevation, torch.full_like(azimuth, 7.0)), theta)
    np.testing.assert_allclose(distance, 7.0)
    np.testing.assert_allclose(rotation, [rotation_from_viewpoint(*a) for a in angles], atol=1e-12)


def test_along_ray_is_the_smallest_turn():
    rng = np.random.default_rng(1)
    rays = rng.uniform(-0.6, 0.6, (20, 2))
    R = np.stack([rotation_from_viewpoint(*a) for a in random_angles()])
    rotation, translation = along_ray(torch.from_numpy(R), torch.full((20,), 3.0, dtype=torch.float64),
                                      torch.from_numpy(rays))
    for k in range(20):
        ray = np.append(rays[k], 1.0)
        np.testing.assert_allclose(rotation[k], ray_rotation(ray) @ R[k], atol=1e-12)
        np.testing.assert_allclose(translation[k], 3.0 * ray / np.linalg.norm(ray), atol=1e-12)


def test_gradients():
    centre = torch.tensor([[3.0, -2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    ray = torch.tensor([[0.1, -0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, t, r: along_ray(*look_at(c, t), r), (centre, theta, ray))
