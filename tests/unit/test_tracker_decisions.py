# SPDX-License-Identifier: Apache-2.0
"""What single lines of the tracker are for: when it searches, what it believes, when two tracks are one."""

from dataclasses import replace

import numpy as np
import pytest
from unit.scripted_estimator import ACCEPT, CAMERA, IMAGE, ScriptedEstimator, pose_at

from dinemo_ros.geometry import rotation_angle, so3_exp
from dinemo_ros.pose import Hypothesis
from dinemo_ros.tracker import PoseTracker, Track, Tracking

STEP_S = 0.1


class Played:
    """A tracker with its scripted estimator, at image ``count``; ``see`` shows it the next one."""

    def __init__(self, *poses, **settings) -> None:
        self.estimator = ScriptedEstimator()
        self.tracker = PoseTracker(self.estimator, Tracking(**{"search_every": 1000, **settings}))
        self.count = 0
        self.estimator.searches = lambda box: min(poses, key=lambda p: np.abs(self.box(p) - box).max())
        self.first = self.see([self.box(pose) for pose in poses])
        self.estimator.searches = lambda box: None
        self.estimator.clear()

    def box(self, pose) -> np.ndarray:
        return self.estimator.covered(pose, CAMERA)

    def see(self, boxes=None) -> dict:
        """Poses by track id."""
        poses = self.tracker.update(IMAGE, CAMERA, self.count * STEP_S, [] if boxes is None else boxes)
        self.count += 1
        return {pose.track_id: pose for pose in poses}

    def follow(self, *poses) -> dict:
        """See an image in which the tracks are found again at ``poses``, in order of x, and what is to be searched
        is given back by ``searches``."""
        self.estimator.clear()
        self.estimator.follows = list(poses)
        return self.see()


def test_a_score_below_the_tracks_usual_one_starts_a_search():
    """Long before the next regular one: the followed pose may be a wrong view that fits half."""
    played, better = Played(pose_at(0, 5, 0.8)), pose_at(0.02, 5, 0.8)
    played.estimator.searches = lambda box: better
    assert played.follow(pose_at(0, 5, 0.75))[0].score == 0.75 and not played.estimator.searched
    seen = played.follow(pose_at(0, 5, 0.6))
    assert len(played.estimator.searched) == 1
    assert seen[0].score == 0.8 and seen[0].T_cam_obj[0, 3] == 0.02


def test_where_tracks_touch_a_dropped_score_starts_no_search():
    """A low score is no wonder there, and the best pose in the box may be the other's."""
    played = Played(pose_at(0, 5, 0.8), pose_at(0.9, 6, 0.8))
    played.follow(pose_at(0, 5, 0.8), pose_at(0.9, 6, 0.8))  # the second track's regular search is due here
    played.follow(pose_at(0, 5, 0.6), pose_at(0.9, 6, 0.6))
    assert played.estimator.followed == 2 and not played.estimator.searched


@pytest.mark.parametrize("score, taken", [(0.5, False), (0.8, False), (0.81, False), (0.83, True)])
def test_a_searched_pose_must_be_better_than_the_followed_one(score, taken):
    """By more than noise, or tracks would jump between views that are about as good."""
    played = Played(pose_at(0, 5, 0.8), search_every=1)
    played.estimator.searches = lambda box: pose_at(0.05, 5, score)
    seen = played.follow(pose_at(0, 5, 0.8))
    assert len(played.estimator.searched) == 1
    assert seen[0].T_cam_obj[0, 3] == (0.05 if taken else 0.0)


def test_a_lost_track_takes_what_the_search_finds_if_it_is_believable():
    """Half of the accepted score: too little. Nearly all of it: enough."""
    for score, ids in ((0.5 * ACCEPT, set()), (0.9 * ACCEPT, {0})):
        played = Played(pose_at(0, 5, 0.8))
        played.estimator.searches = lambda box, score=score: pose_at(0.05, 5, score)
        assert set(played.follow(None)) == ids
        assert played.estimator.searched[0][1], "the box is the track's own"


def test_a_track_is_searched_once_in_so_many_images():
    """Each at another image, so that the work is spread."""
    played = Played(pose_at(-1, 5), pose_at(1, 5), search_every=3)
    counts = []
    for _ in range(6):
        played.follow(pose_at(-1, 5), pose_at(1, 5))
        counts.append(len(played.estimator.searched))
    assert counts == [1, 0, 1, 1, 0, 1]


def test_a_detectors_box_is_searched_and_not_the_tracks_own():
    played = Played(pose_at(0, 5), search_every=1)
    box = played.box(pose_at(0.2, 5))
    played.estimator.follows = [pose_at(0, 5)]
    played.see([box])
    assert played.estimator.searched == [(tuple(box), False)]
    played.estimator.clear()
    played.see([played.box(pose_at(2.0, 5))])
    assert (tuple(played.box(pose_at(0, 5))), True) in played.estimator.searched


def test_two_tracks_in_one_place_are_one_object():
    """The one that left its path for it is somewhere else: it goes on unseen, with what was known of it before."""
    played = Played(pose_at(-1.5, 5), pose_at(1.5, 5))
    together = pose_at(-1.5, 5, 0.7)
    seen = played.follow(together, together)
    assert set(seen) == {0} and len(played.first) == 2
    back = played.follow(pose_at(-1.5, 5), pose_at(1.5, 5))
    assert set(back) == {0, 1} and back[1].T_cam_obj[0, 3] == 1.5


@pytest.mark.parametrize("before, other, ids", [
    (pose_at(-1.1, 5.3), pose_at(-1.4, 5.1), {0}), (pose_at(-0.7, 5.3), pose_at(-0.9, 5), {0, 1}),
    (pose_at(-1.3, 6.2), pose_at(-1.5, 5.9), {0, 1})], ids=["nearly the same place", "beside it", "behind it"])
def test_tracks_beside_and_behind_one_another_stay_two(before, other, ids):
    played = Played(pose_at(-1.5, 5), pose_at(1.5, 5.5))
    played.tracker._tracks[1].pose = before
    assert set(played.follow(pose_at(-1.5, 5), other)) == ids


@pytest.mark.parametrize(("box", "taken"), [
    (None, True), (pose_at(0.8, 5), True), (pose_at(-1.5, 5), False), ((), False)])
def test_a_leap_needs_a_box_that_no_other_track_explains(box, taken):
    """An object that is hidden does not take its neighbour's place. Without a detector nobody can tell."""
    played = Played(pose_at(-1.5, 5), pose_at(1.5, 5))
    played.estimator.follows = [pose_at(-1.5, 5), pose_at(0.8, 5) if taken else pose_at(-1.5, 5.9)]
    boxes = box if box in (None, ()) else [played.box(box)]
    poses = played.tracker.update(IMAGE, CAMERA, played.count * STEP_S, boxes if box is None else list(boxes))
    assert {pose.track_id for pose in poses} == ({0, 1} if taken else {0})


def test_a_leap_is_no_motion():
    """The pose is taken, the velocity it would mean is not: the track would be carried far away by it."""
    track = Track(0, pose_at(0, 5), 0.0, 0.0)
    track.correct(pose_at(0, 5.4), 0.1, 0.1)
    assert track.velocity[2] > 2.0
    track.correct(pose_at(0, 8.0), 0.1, 0.2)
    assert np.array_equal(track.velocity, np.zeros(3)) and track.pose.T_cam_obj[2, 3] == 8.0


def test_what_stands_behind_something_nearer_is_not_looked_for():
    """It would be taken for the nearer one; it goes on and is found again when the nearer one is gone."""
    played = Played(pose_at(-1.5, 4), pose_at(1.5, 8))
    played.tracker._tracks[1].pose = pose_at(-3.0, 8)  # the same place in the picture, twice as far
    seen = played.follow(pose_at(-1.5, 4))
    assert played.estimator.followed == 1 and set(seen) == {0} and not played.estimator.searched


def test_smoothing_turns_from_the_measured_rotation_towards_the_predicted_one():
    """0.75: a quarter of the way from where it was predicted to where it was measured."""
    turn = np.array([0.0, 0.0, 0.2])
    track = Track(0, pose_at(0, 5), 0.0, 0.0)
    track.correct(pose_at(1, 5, R=so3_exp(turn)), STEP_S, STEP_S, smoothing=0.75)
    np.testing.assert_allclose(track.pose.T_cam_obj[:3, :3], so3_exp(0.25 * turn), atol=1e-12)
    np.testing.assert_allclose(track.pose.T_cam_obj[:3, 3], [0.25, 0, 5], atol=1e-12)


def test_motion_is_learnt_from_what_the_prediction_missed():
    """0.7 of the difference, in metres and radians a second, and predicted with the time that passes."""
    track = Track(0, pose_at(0, 5), 0.0, 0.0)
    track.correct(pose_at(0.1, 5, R=so3_exp(np.array([0.0, 0.1, 0.0]))), STEP_S, STEP_S)
    np.testing.assert_allclose(track.velocity, [0.7, 0, 0], atol=1e-9)
    np.testing.assert_allclose(track.spin, [0, 0.7, 0], atol=1e-9)
    assert track.residual == pytest.approx(0.1 / np.hypot(0.1, 5))
    track.move_on(0.2)
    np.testing.assert_allclose(track.pose.T_cam_obj[:3, 3], [0.24, 0, 5], atol=1e-9)
    np.testing.assert_allclose(track.pose.T_cam_obj[:3, :3], so3_exp(np.array([0.0, 0.24, 0.0])), atol=1e-9)


def test_another_view_of_it_ends_the_motion_that_was_believed():
    track = Track(0, pose_at(0, 5), 0.0, 0.0, velocity=np.ones(3), spin=np.ones(3), flip=0.04)
    found = pose_at(0.1, 5, R=so3_exp(np.array([0.0, 2.0, 0.0])))
    track.correct(found, STEP_S, STEP_S, smoothing=0.5)
    assert not track.velocity.any() and not track.spin.any() and track.flip == 0.0
    np.testing.assert_array_equal(track.pose.T_cam_obj, found.T_cam_obj)


def test_a_tracks_usual_score_follows_slowly_and_comes_back_with_the_rest():
    track = Track(0, pose_at(0, 5, 0.8), 0.0, 0.0, level=0.8)
    track.correct(pose_at(0.1, 5, 0.3), STEP_S, STEP_S)
    assert track.level == pytest.approx(0.75) and track.seen_s == STEP_S
    track.take_back()
    assert track.level == 0.8 and track.seen_s == 0.0 and track.hidden and not track.velocity.any()
    assert track.pose.T_cam_obj[0, 3] == 0.0


def test_evidence_for_the_flip_fades_and_is_spent():
    """Three hundredths an image turn it in the second; of one image three later little is left."""
    pose = replace(pose_at(0, 5, 0.5), probability=0.93, runners_up=(
        Hypothesis(pose_at(1, 5).T_cam_obj, 0.53, 2 * np.ones(3)),))
    against = replace(pose, runners_up=(Hypothesis(pose_at(1, 5).T_cam_obj, 0.5, np.ones(3)),))
    track = Track(0, pose, 0.0, 0.0)
    assert track.weigh_flip(pose) is pose
    flipped = track.weigh_flip(pose)
    assert flipped.T_cam_obj[0, 3] == 1.0 and flipped.score == 0.53 and flipped.size[0] == 2.0
    assert flipped.probability is None  # what was announced is of the pose that it no longer is
    assert flipped.runners_up[0].score == 0.5 and flipped.runners_up[0].T_cam_obj[0, 3] == 0.0
    assert track.flip == 0.0
    track.weigh_flip(pose)
    for _ in range(3):
        track.weigh_flip(against)
    assert track.weigh_flip(pose) is pose, "what was seen four images ago counts less"


def test_what_a_detector_insists_on_is_followed_at_its_own_low_score():
    """Accepted scores are for what the model proposes; a track may live at half of that, but not drop from there."""
    low = 0.5 * ACCEPT
    played = Played(pose_at(0, 5, low))
    assert set(played.follow(pose_at(0, 5, 0.9 * low))) == {0}
    assert set(played.follow(pose_at(0, 5, 0.5 * low))) == set()


def test_own_proposals_start_tracks_above_the_accepted_score_only():
    for score, ids in ((0.9 * ACCEPT, set()), (1.1 * ACCEPT, {0})):
        estimator = ScriptedEstimator()
        estimator.proposals = [tuple(estimator.covered(pose_at(0, 5), CAMERA))]
        estimator.searches = lambda box, score=score: pose_at(0, 5, score)
        found = PoseTracker(estimator).update(IMAGE, CAMERA, 0.0)
        assert {pose.track_id for pose in found} == ids and estimator.searched[0][1]


def test_new_objects_are_looked_for_once_in_so_many_images():
    """And at once while nothing is tracked."""
    estimator = ScriptedEstimator()
    tracker, detections = PoseTracker(estimator, Tracking(search_every=3)), []
    for k in range(9):
        if k == 2:
            estimator.proposals = [tuple(estimator.covered(pose_at(0, 5), CAMERA))]
            estimator.searches = lambda box: pose_at(0, 5)
        estimator.clear()
        tracker.update(IMAGE, CAMERA, k * STEP_S)
        detections.append(estimator.detections)
    assert detections == [1, 1, 1, 0, 0, 1, 0, 0, 1]


def test_a_box_that_turns_out_to_show_a_tracked_object_starts_no_track():
    played = Played(pose_at(0, 5))
    played.estimator.searches = lambda box: pose_at(0.05, 5)
    played.estimator.follows = [pose_at(0, 5)]
    assert set(played.see([played.box(pose_at(2, 5))])) == {0}
    played.estimator.searches = lambda box: pose_at(2, 5)
    assert set(played.see([played.box(pose_at(2, 5))])) == {0, 1}


def test_of_two_boxes_on_one_new_object_the_better_pose_starts_the_track():
    played = Played()
    scores = iter([0.5, 0.7])
    played.estimator.searches = lambda box: pose_at(0, 5, next(scores))
    seen = played.see([played.box(pose_at(0.1, 5)), played.box(pose_at(-0.1, 5))])
    assert [pose.score for pose in seen.values()] == [0.7]


def test_a_track_that_the_detector_gave_up_ends_though_it_is_still_followed():
    played = Played(pose_at(0, 5), max_age_s=0.35)
    alive = [bool(played.follow(pose_at(0, 5))) for _ in range(5)]
    assert alive == [True, True, True, False, False]


def test_poses_come_best_first_with_their_ids():
    played = Played(pose_at(-1, 5, 0.6), pose_at(1, 5, 0.8))
    found = played.tracker.update(IMAGE, CAMERA, STEP_S, [])
    assert [pose.score for pose in found] == [0.8, 0.6]
    assert [pose.track_id for pose in found] == [0, 1], "of new objects the most convincing one is the first"


def test_reset_forgets_the_tracks_and_not_the_ids():
    played = Played(pose_at(0, 5))
    played.tracker.reset()
    played.estimator.searches = lambda box: pose_at(0, 5)
    assert set(played.see([played.box(pose_at(0, 5))])) == {1}


def test_a_flip_of_the_track_is_followed_by_its_evidence_alone():
    """Through :meth:`PoseTracker.update`: two images whose flip is better turn the track round, without a search."""
    half = np.diag([-1.0, -1.0, 1.0])
    played = Played(pose_at(0, 5, 0.6))
    found = replace(pose_at(0, 5, 0.6), runners_up=(Hypothesis(pose_at(0, 5, R=half).T_cam_obj, 0.64, np.ones(3)),))
    turns = [rotation_angle(played.follow(found)[0].T_cam_obj[:3, :3], half) for _ in range(2)]
    assert turns[0] > 3.0 and turns[1] < 1e-6 and not played.estimator.searched


def test_a_new_tracks_usual_score_is_its_own():
    """And not its neighbour's: what has always scored low is not searched for that."""
    played = Played(pose_at(-1.5, 5, 0.8), pose_at(1.5, 5, 0.5))
    for _ in range(3):
        played.follow(pose_at(-1.5, 5, 0.8), pose_at(1.5, 5, 0.5))
    assert played.estimator.followed == 2 and not played.estimator.searched
