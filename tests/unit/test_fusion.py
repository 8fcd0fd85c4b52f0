# SPDX-License-Identifier: Apache-2.0
"""One pose out of several: planted poses with known errors come back as their mean, without what does not belong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dinemo_ros.fusion import effective_count, fuse, fuse_categories, fuse_frames
from dinemo_ros.geometry import HALF_TURN, rotation_angle, se3, so3_exp, so3_log, turn
from dinemo_ros.model.symmetry import NO_SYMMETRY, UNIFORM_VARIANCE, Symmetry, knows_azimuth, with_axis_variance
from dinemo_ros.pose import Hypothesis, ObjectPose

SIGMAS = np.array([0.004, 0.004, 0.02, 0.05, 0.06, 0.08])  # metres and radians
COVARIANCE = np.diag(SIGMAS**2)
TRUTH = se3(so3_exp(np.array([0.4, -0.9, 0.3])), np.array([0.05, -0.02, 0.7]))
SIZE = np.array([0.10, 0.08, 0.09])
EXACT = np.zeros(6)
BOTTLE, CUP = Symmetry("z", 0), Symmetry("z", 1)


def planted(error=EXACT, T=TRUTH, covariance=COVARIANCE, score=0.6, **known) -> ObjectPose:
    """A pose that is off by ``error`` [6]: metres, rotation vector about the axes of the camera."""
    return ObjectPose(se3(so3_exp(error[3:]) @ T[:3, :3], T[:3, 3] + error[:3]), score, SIZE, category="cup",
                      covariance=covariance, **known)


def flipped(pose: ObjectPose) -> ObjectPose:
    return replace(pose, T_cam_obj=pose.T_cam_obj @ se3(HALF_TURN, np.zeros(3)))


def errors(rng, count: int, sigmas=SIGMAS) -> np.ndarray:
    return rng.normal(size=(count, 6)) * sigmas


def off(T: np.ndarray, truth=TRUTH) -> np.ndarray:
    return np.hstack([T[:3, 3] - truth[:3, 3], so3_log(T[:3, :3] @ truth[:3, :3].T)])


def one(frames, symmetry=NO_SYMMETRY, least=1):
    fusion = fuse_frames(frames, symmetry, least)
    fused, = fusion.objects
    return fused


def test_mean_of_two_is_half_way():
    """Along a geodesic: half of the distance and half of the angle, and the weighted sum of the deviations is zero."""
    error = np.array([0.01, 0.0, 0.02, 0.0, 0.0, 0.2])
    fused = fuse([planted(), planted(error)], NO_SYMMETRY)
    assert off(fused.pose.T_cam_obj) == pytest.approx(error / 2, abs=1e-9)
    assert fused.spread_m == pytest.approx(np.linalg.norm(error[:3]) / 2)
    assert fused.spread_rad == pytest.approx(0.1) and fused.used == 2


def test_weights_are_those_of_information():
    """A pose with a ninth of the variance counts nine times."""
    error = np.array([0.01, 0.0, 0.02, 0.0, 0.0, 0.2])
    fused = fuse([planted(), planted(error, covariance=COVARIANCE / 9)], NO_SYMMETRY)
    assert off(fused.pose.T_cam_obj) == pytest.approx(0.9 * error, abs=1e-9)


def test_weights_are_per_direction():
    """One knows x, the other y: the mean has both."""
    wide = 10_000.0
    a = planted(np.array([0.0, 0.01, 0, 0, 0, 0]), covariance=np.diag(SIGMAS**2 * [1, wide, 1, 1, 1, 1]))
    b = planted(np.array([0.01, 0.0, 0, 0, 0, 0]), covariance=np.diag(SIGMAS**2 * [wide, 1, 1, 1, 1, 1]))
    assert off(fuse([a, b], NO_SYMMETRY).pose.T_cam_obj)[:2] == pytest.approx([0.0, 0.0], abs=1e-5)


def test_independent_errors_average_out_and_the_covariance_covers_them():
    """Over 300 sets of eight: the error shrinks by about 8, and the covariance is at least what it came to, at most
    three times that."""
    rng = np.random.default_rng(16)
    found, told = [], []
    for _ in range(300):
        fused = fuse([planted(error) for error in errors(rng, 8)], NO_SYMMETRY)
        found.append(off(fused.pose.T_cam_obj))
        told.append(fused.pose.covariance)
    variance = np.mean(np.square(found), axis=0)
    assert variance == pytest.approx(SIGMAS**2 / 8, rel=0.3)
    ratio = np.diag(np.mean(told, axis=0)) / variance
    assert (ratio > 1.0).all() and (ratio < 3.0).all()
    content = np.array([error @ np.linalg.solve(C, error) for error, C in zip(found, told, strict=True)])
    assert content.mean() < 6.0, "chi-square with six degrees of freedom"


def test_an_error_in_common_does_not_average_out():
    """A camera that stands: all frames are off alike, and ten of them are known no better than one."""
    rng = np.random.default_rng(4)
    common = errors(rng, 1)[0]
    fused = fuse([planted(common + error) for error in errors(rng, 10, 0.05 * SIGMAS)], NO_SYMMETRY)
    assert fused.pose.covariance == pytest.approx(COVARIANCE, abs=0.05 * np.outer(SIGMAS, SIGMAS).max())
    assert (np.diag(fused.pose.covariance) > 0.95 * SIGMAS**2).all()


@pytest.mark.parametrize(("share", "worth"), [(0.0, 1.0), (0.25, 5 / 4), (1.0, 5.0), (4.0, 5.0)])
def test_how_many_independent_poses_five_are_worth(share, worth):
    """By the scatter as a ``share`` of what the covariances say: 5 / (1 + 4 (1 - share)), never above five."""
    deviations = np.zeros((5, 6))
    deviations[:, 0] = [-2.0, -1.0, 0.0, 1.0, 2.0]
    deviations *= math.sqrt(share * 6 * 4 / 10.0)  # squares add up to 10
    assert effective_count(np.repeat(np.eye(6)[None], 5, 0), deviations) == pytest.approx(worth)


def test_scatter_beyond_the_covariances_is_told():
    """Covariances that are too small: the scatter of the mean is at least in the result."""
    rng = np.random.default_rng(2)
    poses = [planted(error, covariance=COVARIANCE / 1e4) for error in errors(rng, 6)]
    fused = fuse(poses, NO_SYMMETRY)
    deviations = np.array([off(pose.T_cam_obj, fused.pose.T_cam_obj) for pose in poses])
    assert (np.diag(fused.pose.covariance) >= np.diag(deviations.T @ deviations) / 5 / 6 - 1e-12).all()


def test_one_pose_stays_as_it_is():
    fused = fuse([planted(track_id=4)], NO_SYMMETRY)
    assert fused.pose.T_cam_obj == pytest.approx(TRUTH) and fused.pose.covariance == pytest.approx(COVARIANCE)
    assert fused.pose.track_id == 4 and fused.used == 1


@pytest.mark.parametrize("at", range(5))
def test_a_flip_among_five_is_dropped(at):
    rng = np.random.default_rng(at)
    poses = [planted(error) for error in errors(rng, 5, 0.3 * SIGMAS)]
    poses[at] = replace(flipped(poses[at]), score=0.99)
    fused = one([[pose] for pose in poses], least=3)
    assert (fused.used, fused.dropped) == (4, 1)
    assert rotation_angle(fused.pose.T_cam_obj[:3, :3], TRUTH[:3, :3]) < 0.1


def test_a_flip_is_dropped_however_uncertain_it_says_it_is():
    unsure = np.diag([1e-4] * 3 + [4.0] * 3)
    poses = [planted(covariance=unsure) for _ in range(4)] + [flipped(planted(covariance=unsure))]
    assert one([[pose] for pose in poses]).dropped == 1


def test_a_far_pose_among_five_is_dropped():
    """Sideways, which one image knows well; as far along the ray it would be within what is known."""
    aside, behind = np.array([0.04, 0, 0, 0, 0, 0]), np.array([0, 0, 0.04, 0, 0, 0])
    good = [[planted()] for _ in range(4)]
    fused = one([*good, [planted(aside)]], least=3)
    assert (fused.used, fused.dropped) == (4, 1) and off(fused.pose.T_cam_obj) == pytest.approx(np.zeros(6), abs=1e-9)
    assert one([*good, [planted(behind)]], least=3).used == 5
    fused = one([*good, [planted(20 * aside)]], least=3)
    assert (fused.used, fused.dropped) == (4, 1), "nothing else was in that image"


def test_no_majority_is_no_answer():
    poses = [planted(), planted(), flipped(planted()), flipped(planted())]
    fusion = fuse_frames([[pose] for pose in poses], NO_SYMMETRY)
    unclear, = fusion.unclear
    assert not fusion.objects and (unclear.seen, unclear.agree) == (4, 2)
    assert unclear.spread_rad == pytest.approx(math.pi) and unclear.spread_m == pytest.approx(0.0)


def test_seen_too_rarely():
    fusion = fuse_frames([[planted()], [], [planted()], [], []], NO_SYMMETRY, least=3)
    assert (fusion.objects, fusion.unclear, fusion.rare) == ((), (), (2,))


def test_two_objects_in_changing_order():
    """Each gets its own poses, best score first, whatever their order in the frames."""
    left, right = planted(score=0.5), planted(np.array([0.12, 0, 0, 0, 0, 0]), score=0.7)
    fusion = fuse_frames([[left, right], [right, left], [left], [right, left], [left, right]], NO_SYMMETRY, 3)
    assert [(one.used, one.dropped, one.pose.score) for one in fusion.objects] == [(4, 0, 0.7), (5, 0, 0.5)]
    assert [one.pose.T_cam_obj[0, 3] for one in fusion.objects] == pytest.approx([0.17, 0.05])


def test_two_poses_of_one_frame_are_two_objects():
    """Nearer than their uncertainty along the ray, one behind the other."""
    near, far = planted(), planted(np.array([0, 0, 0.05, 0, 0, 0]))
    fusion = fuse_frames([[near, far]] * 4, NO_SYMMETRY, 3)
    assert [one.used for one in fusion.objects] == [4, 4]
    assert sorted(one.pose.T_cam_obj[2, 3] for one in fusion.objects) == pytest.approx([0.7, 0.75])


@pytest.mark.parametrize("symmetry", [BOTTLE, Symmetry("z", 4)], ids=["bottle", "square"])
def test_equal_poses_are_one(symmetry):
    """Turned by what the symmetry allows: their mean is that pose, without a spread, turned as one of them."""
    poses = [planted(T=TRUTH @ se3(turn(angle), np.zeros(3))) for angle in (0.0, 0.5 * math.pi, math.pi, -math.pi / 2)]
    if symmetry.continuous:
        poses += [planted(T=TRUTH @ se3(turn(0.3), np.zeros(3)))]
    fused = one([[pose] for pose in poses], symmetry)
    assert fused.used == len(poses) and fused.spread_rad == pytest.approx(0.0, abs=1e-6)
    assert min(np.abs(fused.pose.T_cam_obj - pose.T_cam_obj).max() for pose in poses) < 1e-9
    assert fused.pose.T_cam_obj[:3, 2] == pytest.approx(TRUTH[:3, 2])
    assert fused.pose.size[0] == fused.pose.size[1]


def test_of_equal_poses_the_reported_one_stays_in_another_frame():
    """A bottle whose x points to the camera has it there still when its poses are told in the robot's frame."""
    T_base_cam = se3(so3_exp(np.array([1.2, -0.4, 2.0])), np.array([0.3, 0.1, 1.1]))
    T = T_base_cam @ BOTTLE.canonical(TRUTH)
    fused = one([[planted(0.1 * error, T=T)] for error in errors(np.random.default_rng(3), 5)], BOTTLE)
    assert rotation_angle(fused.pose.T_cam_obj[:3, :3], T[:3, :3]) < 0.02


def test_nothing_is_known_about_the_azimuth_of_a_bottle():
    covariance = with_axis_variance(COVARIANCE, TRUTH[:3, :3], UNIFORM_VARIANCE)
    fused = one([[planted(covariance=covariance)] for _ in range(5)], BOTTLE)
    axis = fused.pose.T_cam_obj[:3, 2]
    assert axis @ fused.pose.covariance[3:, 3:] @ axis == pytest.approx(UNIFORM_VARIANCE)


def test_a_hidden_handle_has_no_say_in_the_azimuth():
    """Where the handle is seen in three of five frames the mean has their azimuth; in none, it stays unknown."""
    unknown = with_axis_variance(COVARIANCE, TRUTH[:3, :3], UNIFORM_VARIANCE)
    hidden = [planted(T=TRUTH @ se3(turn(angle), np.zeros(3)), covariance=unknown) for angle in (2.0, -2.5)]
    fused = one([[pose] for pose in (hidden[0], planted(), hidden[1], planted(), planted())], CUP, 3)
    assert fused.used == 5 and off(fused.pose.T_cam_obj) == pytest.approx(np.zeros(6), abs=1e-3)
    assert knows_azimuth(fused.pose.covariance, fused.pose.T_cam_obj[:3, :3])
    fused = one([[pose] for pose in hidden], CUP)
    assert fused.used == 2 and not knows_azimuth(fused.pose.covariance, fused.pose.T_cam_obj[:3, :3])


def test_a_hidden_handle_does_not_make_flips_agree():
    unknown = with_axis_variance(COVARIANCE, TRUTH[:3, :3], UNIFORM_VARIANCE)
    poses = [planted(), flipped(planted()), flipped(planted()), planted(), planted(covariance=unknown)]
    assert one([[pose] for pose in poses], CUP).used == 3


def test_what_else_is_told_of_the_mean():
    poses = [planted(score=score, probability=probability, source=source, visible=0.5, track_id=track, runners_up=(
        Hypothesis(TRUTH, 0.1, SIZE),)) for score, probability, source, track in (
            (0.5, 0.9, "depth", 1), (0.7, None, "rgb", 2), (0.6, 0.7, "depth", 1))]
    pose = one([[pose] for pose in poses]).pose
    assert pose.score == pytest.approx(0.6) and pose.probability == pytest.approx(0.8) and pose.source == "depth"
    assert pose.track_id is None and pose.runners_up == () and pose.category == "cup"
    assert one([[planted()]]).pose.probability is None


def test_the_size_is_the_mean_and_its_prior_does_not_average_out():
    prior = np.diag([1e-4, 2e-4, 3e-4])
    poses = [replace(planted(), size=SIZE * scale, size_covariance=prior) for scale in (0.9, 1.0, 1.1)]
    pose = one([[pose] for pose in poses]).pose
    assert pose.size == pytest.approx(SIZE)
    assert np.diag(pose.size_covariance) == pytest.approx(np.diag(prior) + (0.1 * SIZE)**2 / 3)


def test_the_same_poses_give_the_same_answer():
    rng = np.random.default_rng(1)
    frames = [[planted(error), planted(error + np.array([0.3, 0, 0, 0, 0, 0]))] for error in errors(rng, 7)]
    a, b = fuse_frames(frames, NO_SYMMETRY, 3), fuse_frames(frames, NO_SYMMETRY, 3)
    assert all((x.pose.T_cam_obj == y.pose.T_cam_obj).all() and (x.pose.covariance == y.pose.covariance).all()
               for x, y in zip(a.objects, b.objects, strict=True)) and len(a.objects) == 2


def test_no_frames_and_empty_frames():
    assert fuse_frames([], NO_SYMMETRY).objects == fuse_frames([[], []], NO_SYMMETRY).objects == ()


def test_categories_are_fused_apart_and_one_object_is_of_one():
    """Seen as a cup in three images and as a bottle in two: a cup. Another bottle stands beside it."""
    here, beside = (100.0, 100.0, 200.0, 220.0), (300.0, 100.0, 380.0, 260.0)
    cup = planted(roi=here)
    bottle = replace(cup, category="bottle", score=0.9)
    other = replace(bottle, T_cam_obj=se3(TRUTH[:3, :3], TRUTH[:3, 3] + [0.3, 0.0, 0.0]), roi=beside, score=0.5)
    frames = [[cup, other], [bottle, other], [cup, other], [cup, other], [bottle, other]]
    symmetries = {"cup": NO_SYMMETRY, "bottle": Symmetry("z", 0), "car": NO_SYMMETRY}
    found = fuse_categories(frames, symmetries, 2).objects
    assert [(one.pose.category, one.used, one.pose.roi) for one in found] == [("cup", 3, here), ("bottle", 5, beside)]
    only = fuse_categories(frames, {"cup": NO_SYMMETRY}, 4)
    assert only.objects == () and only.rare == (3,)
