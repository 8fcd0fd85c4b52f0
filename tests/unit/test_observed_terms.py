# SPDX-License-Identifier: Apache-2.0
"""What the refinement is told beside the picture: gradients against differences, and which of it is believed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from unit.planted import SIZE, car_card, car_mesh

from dinemo_ros.geometry import rotation_from_viewpoint, so3_exp
from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_ros.solver import observing
from dinemo_ros.solver.category import prepare_category, spread_of
from dinemo_ros.solver.coarse import Target
from dinemo_ros.solver.compare import rasterise
from dinemo_ros.solver.depth_term import add_depth, depth_noise
from dinemo_ros.solver.outline_term import add_outline, outline_term
from dinemo_ros.solver.problem import NO_DEPTH, Pinhole, State
from dinemo_ros.solver.refine import Refined
from dinemo_ros.solver.shape_step import shape_step, shaped
from dinemo_ros.solver.support_term import add_support, foot, support_term
from dinemo_ros.solver.workspace import make_equations, make_rendering, make_scratch, make_work

CELLS, FOCAL, CENTRE = 32, 60.0, 15.5
CAMERA = Pinhole(FOCAL, CENTRE)
R = rotation_from_viewpoint(0.8, 0.5, 0.05)
T = np.array([0.2, -0.1, 9.0])
UP = R[:, 2]


@pytest.fixture(scope="module")
def category():
    return prepare_category(car_mesh(), car_card())


def state_after(step):
    return State(so3_exp(step[3:6]) @ R, T + step[:3], step[6:] + 0.0)


def differences(value, size=1e-6):
    return np.array([(value(size * unit) - value(-size * unit)) / (2 * size) for unit in np.eye(9)])


def rendered(category, state):
    drawn = make_rendering(len(category.surface.vertices), (CELLS, CELLS))
    rasterise(category.surface.vertices, category.surface.faces, state, CAMERA, drawn, make_work())
    drawn.seen[:] = 1.0
    return drawn


def standing_plane(category, above_m=0.0, tilt_deg=0.0):
    normal = so3_exp(math.radians(tilt_deg) * np.array([0.0, 0.0, 1.0])) @ UP
    return SupportPlane(normal, float(normal @ foot(R, T, np.zeros(3), category)) - above_m)


def target(plane=None, depth=None):
    return Target(np.array([4.0, 4.0, 27.0, 27.0]), np.zeros(4, np.uint8), FOCAL, CENTRE, True, plane, depth)


def test_the_plane_pulls_the_foot_and_the_axis(category):
    plane = SupportPlane(so3_exp(np.array([0.03, 0.0, -0.05])) @ UP, -4.0)
    term, equations = support_term(plane, category), make_equations()

    def cost(step):
        state = state_after(step)
        height = plane.normal @ foot(state.R, state.t, state.log_size, category) - plane.offset_m
        tilt = np.linalg.norm(state.R[:, 2] - plane.normal)  # the chord, whose slope is that of the sine
        return -0.5 * term[8] * (height**2 * term[0] + tilt**2 * term[1])

    add_support(term, state_after(np.zeros(9)), 1.0, equations)
    np.testing.assert_allclose(equations.gradient, differences(cost), rtol=1e-5, atol=1e-3)
    assert np.linalg.eigvalsh(equations.normal).min() > -1e-6


def test_without_a_plane_nothing_is_added(category):
    equations = make_equations()
    add_support(np.zeros(9), state_after(np.zeros(9)), 1.0, equations)
    assert not equations.gradient.any() and not equations.normal.any()


def test_depth_that_is_nearer_pulls_nearer_and_what_is_far_off_has_no_say(category):
    state = state_after(np.zeros(9))
    drawn, noise = rendered(category, state), depth_noise(category)
    shown = drawn.face_of >= 0

    def gradient(depth):
        equations = make_equations()
        fitting = add_depth(depth, noise, category.surface, drawn, state, CAMERA, 1.0, equations, make_work())
        return equations.gradient, fitting

    exact = np.where(shown, drawn.depth, 0.0)
    flat, all_fit = gradient(exact)
    nearer, _ = gradient(np.where(shown, exact - 0.05, 0.0))
    covered, few_fit = gradient(np.where(shown, exact - 3.0, 0.0))
    assert np.abs(flat).max() < 1e-9 and all_fit > 0.8 * shown.sum()
    assert nearer[2] < 0.0 and few_fit < 0.01 * all_fit and np.abs(covered).max() < 0.01 * np.abs(nearer).max()
    assert not gradient(NO_DEPTH)[0].any() and not gradient(np.zeros_like(exact))[0].any()


def test_the_slope_of_the_depth_is_that_of_its_residuals(category):
    """Small ones, so that all fit and the cost is that of least squares."""
    state, noise = state_after(np.zeros(9)), depth_noise(category)
    drawn = rendered(category, state)
    moved = rendered(category, state_after(np.r_[0.01, -0.01, 0.03, 0.004, -0.003, 0.002, 0.004, 0.002, -0.003]))
    both = (drawn.face_of >= 0) & (moved.face_of >= 0)
    equations = make_equations()
    add_depth(np.where(both, moved.depth, 0.0), noise, category.surface, drawn, state, CAMERA, 1.0, equations,
              make_work())
    step = np.linalg.solve(equations.normal + 1e-6 * np.trace(equations.normal) * np.eye(9), equations.gradient)
    after = rendered(category, state_after(step))
    inner = both & (after.face_of >= 0)
    before = np.abs(drawn.depth - moved.depth)[inner]
    assert np.median(np.abs(after.depth - moved.depth)[inner]) < 0.2 * np.median(before)


def test_the_outline_is_found_to_a_fraction_of_a_cell():
    y, x = np.mgrid[:CELLS, :CELLS]
    distance = np.hypot(x - 14.3, y - 16.1) - 8.0
    outline = outline_term((1.0 / (1.0 + np.exp(distance / 0.4))).astype(np.float32))
    reach = outline[0] * 14.3 + outline[1] * 16.1 + 8.0
    off = outline[2] - reach
    assert np.ptp(off) < 0.3 and abs(np.median(off) + 0.25 + 0.4 * math.log(7 / 3)) < 0.15  # at 0.7, a quarter inwards
    assert outline[3].all()


def test_where_the_foreground_leaves_the_picture_the_outline_is_silent():
    foreground = np.zeros((CELLS, CELLS), np.float32)
    foreground[8:20, :14] = 1.0
    outline = outline_term(foreground)
    left, right = outline[3, 16], outline[3, 0]
    assert left == 0.0 and right > 0.0
    assert outline_term(np.zeros((CELLS, CELLS), np.float32)).shape == (4, 0)
    assert outline_term(np.ones((CELLS, CELLS), np.float32)).shape == (4, 0), "an object that fills the map has none"


def test_the_slope_of_the_outline_is_that_of_the_reach(category):
    outline = np.array([[1.0, 0.0, -1.0, 0.6], [0.0, 1.0, 0.0, -0.8], [27.0, 24.0, -3.0, 6.0], [2.0, 0.0, 2.0, 2.0]])

    def cost(step):
        state = state_after(step)
        X = (category.surface.vertices * np.exp(state.log_size)) @ state.R.T + state.t
        reach = ((FOCAL * X[:, :2] / X[:, 2:] + CENTRE) @ outline[:2]).max(0)
        return -float(np.sum(2.0 * np.log(1.0 + ((outline[2] - reach) * outline[3] / 2.0) ** 2)))

    equations = make_equations()
    add_outline(outline, category.surface.vertices, state_after(np.zeros(9)), CAMERA, 1.0, equations, make_work(),
                np.zeros(32, np.int64), np.zeros(32))
    np.testing.assert_allclose(equations.gradient, differences(cost, 1e-7), rtol=1e-4, atol=1e-4)


def test_a_planted_mode_of_shape_is_recovered_by_the_outline(category):
    vertices = category.surface.vertices
    mode = vertices * np.array([0.0, 1.0, 0.0]) * (vertices[:, 2:] / SIZE[2]) * 0.4  # narrower below than above
    truth = shaped(vertices, mode[None], np.array([1.5]))
    units = np.stack([np.cos(np.arange(32) * np.pi / 16), np.sin(np.arange(32) * np.pi / 16)])
    X = truth @ R.T + T
    reach = ((FOCAL * X[:, :2] / X[:, 2:] + CENTRE) @ units).max(0)
    outline = np.stack([*units, reach, np.full(32, 3.0)])
    pose, shape = Refined(R.copy(), T.copy()), np.zeros(1)
    pose.normal[:] = 1e6 * np.eye(9)  # the pose is known
    for _ in range(4):
        now = shaped(vertices, mode[None], shape)
        shape = shape_step(pose, shape, now, mode[None], outline, target(), 1.0, category.prior)
    assert shape[0] == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize("above_m, tilt_deg, used", [(0.0, 0.0, True), (0.2, 3.0, True), (-0.2, 3.0, True),
                                                     (2.5, 0.0, False), (-2.5, 0.0, False), (0.0, 50.0, False)])
def test_an_object_stands_there_or_not(category, above_m, tilt_deg, used):
    plane = standing_plane(category, above_m, tilt_deg)
    verdict = observing._standing(plane, Refined(R, T), category)
    assert verdict.used == used
    if abs(tilt_deg) < 1:
        assert verdict.residual_m == pytest.approx(above_m, abs=1e-9)
    if used:
        scaled = math.exp(verdict.log_scale) * foot(R, T, np.zeros(3), category)
        assert plane.height(scaled) == pytest.approx(0.0, abs=1e-9)
    else:
        assert verdict.told("support").reason


def test_it_stands_there_where_that_is_the_likeliest_of_three(category):
    """Model selection by densities: standing there, on something else (upright, at any height), or held (at any
    height and tilt). Of ten objects nine stand; the reach of the two others is 0.4 m up and down and a radian."""
    rng, counts = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(300):
        plane = standing_plane(category, rng.uniform(-1.5, 1.5), rng.uniform(0.0, 60.0))
        below = foot(R, T, np.zeros(3), category)
        height = plane.normal @ below - plane.offset_m
        tilt = math.acos(min(1.0, float(UP @ plane.normal)))
        sigma = math.hypot(1.4 * category.spread.log_scale * (plane.normal @ below), plane.offset_sigma)
        lean = math.hypot(category.spread.tilt, plane.normal_sigma)
        inside = math.exp(-0.5 * (height / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        upright = math.exp(-0.5 * (tilt / lean) ** 2) / (2 * math.pi * lean**2)
        stands, stacked, held = 0.9 * inside * upright, 0.05 / 0.8 * upright, 0.05 / 0.8 / math.pi
        if abs(math.log(stands / max(stacked, held))) > 1e-3:
            used = observing._standing(plane, Refined(R, T), category).used
            assert used == (stands > max(stacked, held)), (height, tilt)
            counts[used] += 1
    assert min(counts.values()) > 30


def test_a_plane_that_does_not_pass_below_the_object_is_refused(category):
    verdict = observing._standing(SupportPlane(np.array([0.0, 0.0, 1.0]), -0.5), Refined(R, T), category)
    assert not verdict.used and "normal up" in verdict.reason


def drawn_scratch(category):
    scratch = make_scratch(len(category.surface.vertices), (CELLS, CELLS), 10)
    drawn = rendered(category, state_after(np.zeros(9)))
    for name in ("screen", "face_of", "barycentric", "depth", "seen"):
        getattr(scratch, name)[:] = getattr(drawn, name)
    return scratch


def test_the_scale_is_the_one_that_most_cells_agree_on(category):
    scratch, rng = drawn_scratch(category), np.random.default_rng(0)
    measured = 1.06 * scratch.depth * (1 + 0.002 * rng.normal(size=(CELLS, CELLS)))
    measured[rng.random((CELLS, CELLS)) < 0.2] = 0.0  # holes
    measured[:, :14] = 5.0  # something nearer
    verdict = observing._depth_vote(measured, Refined(R, T), category, scratch)
    assert verdict.used and verdict.log_scale == pytest.approx(math.log(1.06), abs=0.01)
    assert verdict.residual_m == pytest.approx(0.06 * np.linalg.norm(T), abs=0.1)


def test_of_two_scales_with_about_as_many_cells_the_likelier_size_counts(category):
    scratch = drawn_scratch(category)
    measured = 1.45 * scratch.depth  # no car is so large
    measured[1::2] = scratch.depth[1::2]
    some = np.flatnonzero(scratch.face_of.ravel()[CELLS:] >= 0)[::9]
    measured.ravel()[CELLS + some] = 1.45 * scratch.depth.ravel()[CELLS + some]
    verdict = observing._depth_vote(measured, Refined(R, T), category, scratch)
    assert verdict.used and verdict.log_scale == pytest.approx(0.0, abs=1e-6) and 0.3 < verdict.share < 0.5


@pytest.mark.parametrize("depth_scale", [0.8, 1.25])
def test_the_residual_is_in_true_metres(category, depth_scale):
    known, scratch = replace(category, depth_scale=depth_scale), drawn_scratch(category)
    true = scratch.depth + (depth_scale - 1.0) * T[2]
    verdict = observing._depth_vote(np.where(scratch.face_of >= 0, 1.04 * true, 0.0), Refined(R, T), known, scratch)
    assert verdict.residual_m == pytest.approx(0.04 * depth_scale * np.linalg.norm(T), rel=0.02)


def test_depth_of_something_else_is_refused(category):
    scratch, rng = drawn_scratch(category), np.random.default_rng(0)
    behind = observing._depth_vote(rng.uniform(10, 60, (CELLS, CELLS)), Refined(R, T), category, scratch)
    nothing = observing._depth_vote(np.zeros((CELLS, CELLS)), Refined(R, T), category, scratch)
    assert not behind.used and "transparent" in behind.reason
    assert not nothing.used and math.isnan(nothing.residual_m)


def test_a_wrong_plane_is_noticed_by_the_depth_and_seen_through_depth_by_the_plane(category):
    scratch = drawn_scratch(category)
    exact = np.where(scratch.face_of >= 0, scratch.depth, 0.0)
    pose = Refined(R, T)
    wrong = observing.choose(target(standing_plane(category, 0.3), exact), pose, category, scratch)
    assert wrong.terms.source == "depth" and [o.used for o in wrong.observations] == [False, True]
    glass = exact * 1.05
    glass[np.random.default_rng(0).random(exact.shape) < 0.6] = 0.0
    seen_through = observing.choose(target(standing_plane(category), glass), pose, category, scratch)
    assert seen_through.terms.source == "support" and "transparent" in seen_through.observations[1].reason
    both = observing.choose(target(standing_plane(category), exact), pose, category, scratch)
    assert both.terms.source == "support+depth" and both.log_scale == pytest.approx(0.0, abs=1e-6)


def test_what_the_picture_leaves_open_is_what_the_bundle_has_measured():
    card = car_card()
    known = replace(card.uncertainty, probability=(0.0,) * 6, knots=(0.5,), turn=(1.0,), tilt=(3.0,), across=(1.0,),
                    along=(2.0,), size=(1.0,), floor=(0.0, 0.1, 0.0, 0.03, 0.0))
    prior = float(np.sum(np.array(card.size_prior.log_sigma) ** -2.0) ** -0.5)
    assert spread_of(card).log_scale == pytest.approx(prior)
    measured = spread_of(replace(card, uncertainty=known))
    assert measured.log_scale == pytest.approx(2.0 * math.hypot(prior, 0.03)) and measured.tilt == pytest.approx(0.3)
