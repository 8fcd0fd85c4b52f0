# SPDX-License-Identifier: Apache-2.0
"""Objects mostly stand upright: derivatives of that prior, when it holds its tongue, and what it is good for."""

import math

import numpy as np
import pytest
from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.geometry import rotation_from_viewpoint, so3_exp
from dinemo_ros.model.bundle import ScoreSpec, SearchSpec
from dinemo_ros.solver import PoseSolver, prepare_category
from dinemo_ros.solver.refine import CORRELATED
from dinemo_ros.solver.upright_prior import add_upright_prior, upright_prior
from dinemo_ros.solver.workspace import make_equations


def evaluate(upright, R, unit=1.0):
    equations = make_equations()
    add_upright_prior(upright, R, unit, equations)
    return equations


def log_prior(upright, R):
    """What the gradient belongs to: the Cauchy cost with a tail of two sigmas."""
    return -0.5 * upright[1] * 4.0 * math.log1p(upright[0] * R[0, 2] ** 2 / 4.0)


@pytest.mark.parametrize("lean_deg", [-50.0, -4.0, 7.0, 85.0])
def test_gradient_is_that_of_finite_differences(lean_deg):
    upright, R = upright_prior(SearchSpec(), 20.0), rotation_from_viewpoint(*np.radians([40.0, 15.0, lean_deg]))
    numeric = np.zeros(9)
    for k in range(3):
        step = 1e-6 * np.eye(3)[k]
        numeric[3 + k] = (log_prior(upright, so3_exp(step) @ R) - log_prior(upright, so3_exp(-step) @ R)) / 2e-6
    np.testing.assert_allclose(evaluate(upright, R)[0], numeric, rtol=1e-4, atol=1e-4)


def test_an_upright_object_is_left_alone_and_held():
    upright, R = upright_prior(SearchSpec(), 20.0), rotation_from_viewpoint(0.7, 0.3, 0.0)
    gradient, normal = evaluate(upright, R)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-9)
    axis = R[:, 2]
    assert axis[0] == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(normal[3:6, 3:6] @ axis, 0.0, atol=1e-9)  # turning about its own axis costs nothing
    assert normal[5, 5] > 0.0 and not normal[:3].any() and not normal[6:].any()


def test_a_search_in_all_leanings_expects_any():
    assert upright_prior(SearchSpec(theta_deg=(-90.0, 0.0, 90.0, 180.0)), 20.0)[0] == 0.0
    narrow, usual = (upright_prior(SearchSpec(theta_deg=t), 20.0)[0] for t in ((0.0,), (-8.0, 0.0, 8.0)))
    assert narrow > usual > 0.0


def test_a_lean_that_the_picture_hardly_tells_is_smaller_with_the_prior():
    """Noise over features that say little; the truth stands upright. The prior's strength is the card's scale."""
    leans = []
    for scale in (1.0 / CORRELATED, 20.0):
        solver, off = PoseSolver(prepare_category(car_mesh(), car_card(score=ScoreSpec(covariance_scale=scale)))), []
        for seed in range(8):
            scene = planted_scene(145.0, noise=8.0, seed=seed)
            off.append(abs(solver.solve(scene.features, scene.target)[0].T_crop_obj[0, 2]))
        leans.append(np.median(off))
    assert leans[1] < 0.8 * leans[0]


def test_an_object_that_clearly_leans_is_found_leaning():
    solver, scene = PoseSolver(prepare_category(car_mesh(), car_card())), planted_scene(60.0, theta_deg=14.0)
    found = solver.solve(scene.features, scene.target)[0].T_crop_obj[:3, 2]
    assert math.degrees(math.acos(float(np.clip(found @ scene.T[:3, 2], -1.0, 1.0)))) < 2.5
