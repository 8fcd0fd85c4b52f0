# SPDX-License-Identifier: Apache-2.0
"""Coverage of announced covariances: honest ones pass, too narrow and too wide ones fail, for every quantity."""

import numpy as np
import pytest

from dinemo_ros.evaluation.coverage import (
    ENOUGH,
    LEVELS,
    QUANTITIES,
    azimuth_content,
    chi_square_content,
    contents,
    coverage_rows,
    summary,
)
from dinemo_ros.evaluation.metrics import wilson_interval
from dinemo_ros.geometry import so3_exp, turn
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry
from dinemo_ros.pose import ObjectPose

BOTTLE = Symmetry("z", 0)


def spread(rng, sizes):
    """A covariance with these standard deviations along axes of its own."""
    turned = np.linalg.qr(rng.normal(size=(len(sizes),) * 2))[0]
    return turned @ np.diag(np.square(sizes)) @ turned.T


def drawn(rng, symmetry=NO_SYMMETRY, widened=1.0):
    """Contents of one random pose whose true errors are ``widened`` times what it announces."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = so3_exp(rng.normal(size=3)), rng.normal(size=3) + [0, 0, 9]
    C, S, size = np.zeros((6, 6)), spread(rng, [0.02, 0.05, 0.1]), np.array([4.0, 1.7, 1.5])
    C[:3, :3], C[3:, 3:] = spread(rng, [0.02, 0.05, 0.5]), spread(rng, [0.01, 0.03, 0.08])
    pose = ObjectPose(T, 0.5, symmetry.size(size), covariance=symmetry.covariance(C, T[:3, :3]),
                      size_covariance=symmetry.size_covariance(S, size))
    error = widened * rng.multivariate_normal(np.zeros(6), C)
    truth = T.copy()
    truth[:3, 3] += error[:3]
    truth[:3, :3] = so3_exp(error[3:]) @ T[:3, :3]
    if symmetry.continuous:
        truth[:3, :3] = truth[:3, :3] @ turn(rng.uniform(-3, 3))
    return contents(pose, truth, symmetry.size(size + widened * rng.multivariate_normal(np.zeros(3), S)), symmetry)


@pytest.mark.parametrize("symmetry", [NO_SYMMETRY, BOTTLE, Symmetry("z", 1), Symmetry("z", 2)],
                         ids=["none", "all", "1", "2"])
@pytest.mark.parametrize("widened, holds", [(1.0, True), (0.7, False), (1.4, False)])
def test_honest_covariances_hold_and_wrong_ones_fail_in_both_directions(symmetry, widened, holds):
    rng = np.random.default_rng(0)
    records = [{"model": "m", "occlusion": "L0", "contents": drawn(rng, symmetry, widened)} for _ in range(800)]
    rows = coverage_rows(records)
    assert [row["quantity"] for row in rows] == list(QUANTITIES[:4])
    for row in rows:
        assert row["n"] == 800 and row["holds"] is holds, row
        inside = [row["coverage"][f"{100 * level:.1f}"] for level in LEVELS]
        assert (np.sign(np.subtract(inside, LEVELS)) == np.sign(1.0 - widened)).all() or widened == 1.0
        if widened == 1.0:
            np.testing.assert_allclose(inside, LEVELS, atol=0.04)


def test_content_is_the_distribution_function_of_chi_square():
    """Values of printed tables: 0.95 and 0.5 quantiles."""
    for freedom, half, most in ((1, 0.4549, 3.8415), (2, 1.3863, 5.9915), (3, 2.3660, 7.8147)):
        assert chi_square_content(half, freedom) == pytest.approx(0.5, abs=1e-4)
        assert chi_square_content(most, freedom) == pytest.approx(0.95, abs=1e-4)
        assert chi_square_content(0.0, freedom) == 0.0
    with pytest.raises(ValueError, match="4 degrees of freedom"):
        chi_square_content(1.0, 4)


def test_the_distance_is_judged_along_the_ray():
    """Ten metres ahead and to the right, one metre too near, 1 m announced along the ray and 1 mm across."""
    ray = np.array([0.6, 0.0, 0.8])
    T, C = np.eye(4), 1e-6 * np.eye(6)
    T[:3, 3] = 10 * ray
    C[:3, :3] += np.outer(ray, ray)
    truth = T.copy()
    truth[:3, 3] = 11 * ray
    found = contents(ObjectPose(T, 0.5, np.ones(3), covariance=C), truth, np.ones(3), NO_SYMMETRY)
    assert found["distance"] == pytest.approx(0.683, abs=0.001)
    assert found["translation"] == pytest.approx(chi_square_content(1.0, 3), abs=1e-3)


def test_the_turn_of_a_bottle_is_no_error_and_its_tilt_is():
    T, C = np.eye(4), np.eye(6) * 0.01
    T[:3, 3] = [0, 0, 1]
    truth = T.copy()
    truth[:3, :3] = turn(2.0)
    pose = ObjectPose(T, 0.5, np.ones(3), covariance=BOTTLE.covariance(C, np.eye(3)))
    assert contents(pose, truth, np.ones(3), BOTTLE)["rotation"] == pytest.approx(0.0, abs=1e-9)
    truth[:3, :3] = so3_exp([0.1, 0.0, 0.0])  # one deviation: 39 % of a plane's Gaussian lie nearer
    assert contents(pose, truth, np.ones(3), BOTTLE)["rotation"] == pytest.approx(0.3935, abs=1e-3)


def test_an_azimuth_alone_is_judged_by_the_variance_about_the_axis():
    C = np.eye(6)
    C[3:, 3:] = np.diag([9.0, 9.0, 0.04])
    pose = ObjectPose(np.eye(4), 0.5, np.ones(3), covariance=C)
    assert azimuth_content(pose, 0.2) == pytest.approx(0.6827, abs=1e-3)
    assert azimuth_content(pose, -0.4) == pytest.approx(0.9545, abs=1e-3)


def test_what_is_no_covariance_covers_nothing():
    pose = ObjectPose(np.eye(4), 0.5, np.ones(3), covariance=-np.eye(6))
    pose.T_cam_obj[2, 3] = 1.0
    assert contents(pose, pose.T_cam_obj, np.ones(3), NO_SYMMETRY)["rotation"] == 1.0


def test_few_frames_decide_nothing():
    """An honest row of one frame less than enough."""
    honest = (np.arange(ENOUGH) + 0.5) / ENOUGH
    assert summary(honest)["holds"] is True
    assert summary(honest[:-1])["holds"] is None
    assert summary(honest[:-1])["n"] == ENOUGH - 1


@pytest.mark.parametrize("inner, outer, holds", [
    (0.59, 0.95, False), (0.61, 0.95, True), (0.75, 0.95, True), (0.77, 0.95, False),
    (0.68, 0.915, False), (0.68, 0.925, True), (0.68, 0.975, True), (0.68, 0.985, False)])
def test_both_bounds_bind_at_both_levels(inner, outer, holds):
    n = 1000
    known = np.r_[np.full(round(inner * n), 0.5), np.full(round((outer - inner) * n), 0.9),
                  np.full(round((1 - outer) * n), 0.99)]
    assert summary(known)["holds"] is holds


def test_intervals_of_shares_are_wilsons():
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10)[1] == 1.0
