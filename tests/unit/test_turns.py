# SPDX-License-Identifier: Apache-2.0
"""Probabilities of turns: counted from another pose, multiplied over the pictures of a track and of several frames."""

from dataclasses import replace

import numpy as np
import pytest

from dinemo_ros.fusion import fuse
from dinemo_ros.geometry import rotation_from_viewpoint, se3, so3_exp, turn
from dinemo_ros.model.symmetry import Symmetry, axis_variance
from dinemo_ros.pose import ObjectPose
from dinemo_ros.tracker import Track
from dinemo_ros.turn_belief import believed
from dinemo_ros.turns import TURNS, angles, counted_from, deviation, product, turn_between

STEP = 2 * np.pi / TURNS
UNIFORM = np.full(TURNS, 1 / TURNS)


def peak(angle: float, sigma_deg: float = 12.0, doubt: float = 0.05) -> np.ndarray:
    away = (angles() - angle + np.pi) % (2 * np.pi) - np.pi
    weight = np.exp(-0.5 * (away / np.radians(sigma_deg)) ** 2)
    return (1 - doubt) * weight / weight.sum() + doubt / TURNS


def cup(azimuth_deg: float, turns: np.ndarray, elevation_deg: float = 25.0) -> ObjectPose:
    """Seen from there, half a metre away, with ``turns`` counted from the pose."""
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, 0.0]))
    covariance = with_variance(deviation(turns), R) if len(turns) else 1e-4 * np.eye(6)
    return ObjectPose(se3(R, np.array([0, 0, 0.5])), 0.5, np.array([0.11, 0.08, 0.1]), category="cup",
                      covariance=covariance, turns=tuple(turns))


def with_variance(sigma: float, R: np.ndarray) -> np.ndarray:
    covariance = 1e-4 * np.eye(6)
    covariance[3:, 3:] += (sigma**2 - 1e-4) * np.outer(R[:, 2], R[:, 2])
    return covariance


def announced(pose: ObjectPose) -> float:
    return np.degrees(np.sqrt(axis_variance(pose.covariance, pose.T_cam_obj[:3, :3])))


def test_turns_are_counted_from_the_one_pose_to_the_other():
    R = rotation_from_viewpoint(0.3, 0.4, 0.1)
    assert turn_between(R, R @ turn(0.7)) == pytest.approx(0.7)
    assert turn_between(R @ turn(3.0), R) == pytest.approx(-3.0)
    # The true pose lies 40 degrees on from a pose, so 10 on from one that is turned by 30 already.
    assert np.argmax(counted_from(peak(4 * STEP), 3 * STEP)) == 1
    between = counted_from(peak(0.0), 0.5 * STEP)
    assert between[0] == pytest.approx(between[-1]) and between.sum() == pytest.approx(1.0)


def test_a_product_knows_more_than_its_factors_and_nothing_from_nothing():
    assert deviation(product([peak(0.0), peak(0.0)], [1, 1])) < 0.8 * deviation(peak(0.0))
    np.testing.assert_allclose(product([peak(1.0), UNIFORM], [1, 1]), peak(1.0), rtol=1e-9)
    np.testing.assert_allclose(product([peak(1.0)] * 2, [0.5, 0.5]), peak(1.0), rtol=1e-9)
    assert np.isfinite(product([np.eye(TURNS)[0], np.eye(TURNS)[9]], [1, 1])).all(), "they contradict each other"


def followed(poses, elapsed_s=0.1, motion=None):
    """The poses that a track tells: each is predicted to be where it is found but for ``motion`` (default: exactly)."""
    belief, told = None, []
    for number, pose in enumerate(poses):
        predicted = pose if motion is None or not number else motion(told[-1], pose)
        belief, one = believed(belief, predicted, pose, elapsed_s)
        told.append(one)
    return told


def test_a_handle_that_was_seen_is_known_when_it_has_gone_behind_and_less_so_with_time():
    views = [cup(azimuth, peak(0.0)) for azimuth in (60, 80, 100, 120)] + [cup(180, UNIFORM)]
    assert announced(views[-1]) > 100
    assert announced(followed(views)[-1]) < 20
    slowly = announced(followed(views, 4.0)[-1])
    assert 1.5 * announced(followed(views)[-1]) < slowly < 60


def test_the_same_picture_again_tells_nothing_new_and_other_sides_do():
    same = followed([cup(60, peak(0.0))] * 30, 0.0)
    assert announced(same[-1]) == pytest.approx(announced(same[0]), rel=0.02)
    trembling = followed([cup(60 + (-1) ** k, peak(0.0, 25.0)) for k in range(30)], 0.0)
    assert announced(trembling[-1]) == pytest.approx(announced(trembling[0]), rel=0.02)
    around = followed([cup(azimuth, peak(0.0, 25.0)) for azimuth in range(0, 360, 15)], 0.0)
    assert announced(around[-1]) < 0.6 * announced(around[0])


def test_another_reading_of_the_same_view_is_no_other_view():
    """The pose jumps by half a turn and back while nothing moves: what was known goes along with the object."""
    def still(before, _):
        return before

    one, other = cup(60, peak(0.0)), cup(240, peak(np.pi))  # both say: as in the first
    told = followed([one, other] * 6, 0.0, still)
    for pose in told:
        assert np.degrees(abs(turn_between(pose.T_cam_obj[:3, :3], one.T_cam_obj[:3, :3]))) < 1
        assert announced(pose) == pytest.approx(announced(told[0]), rel=0.1)


def test_a_pose_is_turned_to_what_is_clearly_likelier_and_its_turns_with_it():
    wrong = cup(100, peak(9 * STEP))
    (told,) = followed([wrong])
    assert turn_between(wrong.T_cam_obj[:3, :3], told.T_cam_obj[:3, :3]) == pytest.approx(9 * STEP)
    assert np.argmax(told.turns) == 0 and announced(told) < 20
    doubtful = cup(100, 0.5 * peak(0.0) + 0.5 * peak(9 * STEP))
    np.testing.assert_array_equal(followed([doubtful])[0].T_cam_obj, doubtful.T_cam_obj)


def test_a_pose_without_probabilities_ends_what_was_known_and_stays_as_it_is():
    belief, _ = believed(None, cup(60, peak(0.0)), cup(60, peak(0.0)), 0.1)
    plain = cup(60, np.empty(0))
    assert believed(belief, plain, plain, 0.1) == (None, plain)


def test_a_track_adds_up_and_takes_back():
    first = cup(60, peak(0.0))
    track = Track(1, first, 0.0, 0.0)
    for number, azimuth in enumerate((60, 100, 140, 180)):
        hidden = azimuth == 180
        found = cup(azimuth, UNIFORM if hidden else peak(0.0))
        track.pose = found  # where it was predicted
        known = track.turns
        track.correct(found, 0.1, 0.1 * (number + 1))
    assert announced(track.pose) < 25 and sum(track.pose.turns) == pytest.approx(1.0)
    track.take_back()
    assert track.turns is known


def test_frames_of_one_object_multiply_what_they_say_by_what_they_are_worth():
    """Frames without scatter are worth one; frames that scatter, more; and the axis of the rest is not touched."""
    symmetry = Symmetry("z", 1)
    same = [cup(60, peak(0.0))] * 5
    fused = fuse(same, symmetry).pose
    assert announced(fused) == pytest.approx(announced(same[0]), rel=0.02)
    np.testing.assert_allclose(fused.turns, same[0].turns, atol=1e-6)
    scattered = []
    for angle in np.radians([-18, -12, -6, 6, 12, 18]):  # as far as each says that it may be off
        pose, moved = cup(60, peak(0.0)), np.sign(angle) * np.array([0.01, 0.01, 0.01])
        T = se3(so3_exp(np.sign(angle) * np.array([0.01, 0, 0])) @ pose.T_cam_obj[:3, :3] @ turn(angle),
                pose.T_cam_obj[:3, 3] + moved)
        scattered.append(replace(pose, T_cam_obj=T, turns=tuple(counted_from(pose.turns, angle))))
    assert announced(fuse(scattered, symmetry).pose) < 0.8 * announced(same[0])
    assert fuse([*same, cup(60, np.empty(0))], symmetry).pose.turns == ()
