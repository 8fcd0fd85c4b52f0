# SPDX-License-Identifier: Apache-2.0
"""Several categories tracked at a time: ids per category, and no object claimed by two tracks."""

from dataclasses import replace

import numpy as np
import pytest
from unit.scripted_estimator import CAMERA, IMAGE, ScriptedEstimator, pose_at
from unit.test_presence import SPEC

from dinemo_ros.detection.finder import Found
from dinemo_ros.detection.labelled_box import LabelledBox
from dinemo_ros.errors import RoiError
from dinemo_ros.multi_tracker import MultiPoseTracker
from dinemo_ros.pose import ObjectPose
from dinemo_ros.tracker import Tracking

STEP_S = 0.1


class World:
    """Two categories, ``a`` and ``b``, that see what is there: ``things`` holds (category, pose) of now.

    ``presence``: of what is seen, by category. ``fooled``: categories that see the things of the other one as well,
    with the presence given.
    """

    def __init__(self, **settings) -> None:
        self.things: list[tuple[str, ObjectPose]] = []
        self.fooled: dict[str, float] = {}
        self.presence = {"a": 0.9, "b": 0.9}
        self.estimators = {name: Seeing(name, self) for name in "ab"}
        self.tracker = MultiPoseTracker(list(self.estimators.values()), Tracking(**{"search_every": 1000, **settings}))
        self.count = 0

    def see(self, *things: tuple[str, ObjectPose], boxes=None, **options) -> list[tuple[str, int]]:
        """(category, id) of what is told of the next image; ``boxes`` in the place of those of the things."""
        self.things = list(things)
        if boxes is None:
            boxes = [self.box(pose, name) for name, pose in things]
        poses = self.tracker.update(IMAGE, CAMERA, self.count * STEP_S, boxes, **options)
        self.count += 1
        return sorted((pose.category, pose.track_id) for pose in poses)

    def box(self, pose: ObjectPose, category: str = "", score: float = 0.8) -> LabelledBox:
        return LabelledBox(tuple(self.estimators["a"].covered(pose, CAMERA).tolist()), category, score, category)


class Seeing(ScriptedEstimator):
    """Sees the things of its category where they are, the nearest to where it looks; a hidden one it does not see."""

    def __init__(self, category: str, world: World) -> None:
        super().__init__(category)
        self.category, self.world = category, world
        self.searches = lambda box: self.nearest(0.5 * (box[:2] + box[2:]))

    def sees(self, thing: ObjectPose) -> bool:
        """Whether this very thing is found where it is."""
        box = self.covered(thing, CAMERA)
        found = self.nearest(0.5 * (box[:2] + box[2:]))
        return found is not None and np.array_equal(found.T_cam_obj, thing.T_cam_obj)

    def nearest(self, centre: np.ndarray) -> ObjectPose | None:
        found = []
        for name, pose in self.world.things:
            presence = self.world.presence[name] if name == self.category else self.world.fooled.get(self.category)
            box = self.covered(pose, CAMERA)
            hidden = any(other.T_cam_obj[2, 3] < pose.T_cam_obj[2, 3] - 0.1
                         and np.all(np.abs(self.covered(other, CAMERA) - box) < 12.0) for _, other in self.world.things)
            if presence is not None and not hidden:
                seen = replace(pose, category=self.category, presence=presence)
                found.append((float(np.linalg.norm(0.5 * (box[:2] + box[2:]) - centre)), len(found), seen))
        return min(found)[2] if found and min(found)[0] < 25.0 else None

    def follow(self, image, camera, poses, support=None, depth=None):
        self.followed += len(poses)
        boxes = [self.covered(pose, camera) for pose in poses]
        return [self.nearest(0.5 * (box[:2] + box[2:])) for box in boxes]


def test_ids_count_per_category_and_stay():
    world = World()
    for k in range(5):
        assert world.see(("a", pose_at(-2 + 0.1 * k, 5)), ("b", pose_at(2, 5)), ("a", pose_at(0, 6))) == [
            ("a", 0), ("a", 1), ("b", 0)]
    assert world.tracker.reset() == 3


def test_a_label_that_flickers_changes_no_id():
    """The thing is an a; now and then the detector calls it b, and b would see something there, a little likelier."""
    world, thing = World(max_age_s=0.5), ("a", pose_at(0, 5))
    world.fooled["b"] = 0.95
    assert world.see(thing) == [("a", 0)]
    for k in range(20):
        world.estimators["b"].clear()
        assert world.see(thing, boxes=[world.box(thing[1], "b" if k % 3 else "a")]) == [("a", 0)]
        assert not world.estimators["b"].searched, "and no time is lost on it"
    assert world.tracker.looked[0].refused == "" or world.tracker.looked[0].refused == "is a tracked a"


def test_a_wrong_track_ends_when_the_detector_insists():
    world, thing = World(max_age_s=0.5), ("b", pose_at(0, 5))
    world.fooled["a"] = 0.6
    assert world.see(thing, boxes=[world.box(thing[1], "a")]) == [("a", 0)]
    assert world.see(thing) == [("a", 0)] and world.tracker.looked[0].refused == "is a tracked a"
    for _ in range(7):
        last = world.see(thing)
    assert last == [("b", 0)]


@pytest.mark.parametrize(("presence", "winner"), [(0.8, "b"), (0.95, "a")])
def test_two_new_claims_are_one_track(presence, winner):
    world, thing = World(), ("b", pose_at(0, 5))
    world.fooled["a"] = presence
    both = [world.box(thing[1], "a"), world.box(thing[1], "b")]
    for _ in range(3):
        assert world.see(thing, boxes=both) == [(winner, 0)]
    assert sum(len(tracker.tracks) for tracker in world.tracker.trackers.values()) == 1


def test_without_boxes_a_new_claim_has_to_be_clearly_likelier_than_a_track():
    """Both look for themselves in every other image; the a begins to see itself in the b's place."""
    world, thing = World(search_every=2), ("b", pose_at(0, 5))
    box = np.array(world.box(thing[1]).roi)
    world.estimators["b"].proposals = [box]
    world.things = [thing]

    def told(presence: float) -> list[tuple[str, int | None]]:
        world.fooled["a"] = presence
        seen = []
        for _ in range(4):
            poses = world.tracker.update(IMAGE, CAMERA, world.count * STEP_S, None)
            world.count += 1
            seen += [(pose.category, pose.track_id) for pose in poses]
        return seen

    assert told(0.95) == [("b", 0)] * 4
    world.estimators["a"].proposals = [box]
    assert told(0.95) == [("b", 0)] * 4 and not world.tracker.trackers["a"].tracks
    world.presence["b"] = 0.5
    assert told(0.95)[-1][0] == "a"
    assert {box.category for box in world.tracker.looked} <= {"a", "b"}


def test_a_box_of_any_category_goes_to_the_track_that_explains_it():
    world, thing = World(), ("b", pose_at(0, 5))
    world.see(thing)
    world.estimators["a"].clear()
    assert world.see(thing, boxes=[world.box(thing[1])]) == [("b", 0)] and not world.estimators["a"].searched
    assert world.see(thing, ("a", pose_at(2, 5)), boxes=[world.box(pose_at(2, 5))]) == [("a", 0), ("b", 0)]


def test_of_two_tracks_at_one_place_one_goes_on_unseen_and_ends():
    """The b comes to where the a is, and both are seen there: the first has the place, also where the other is a
    little likelier for a moment."""
    world = World(max_age_s=0.5)
    seen = [world.see(("a", pose_at(0, 5)), ("b", pose_at(1.2 - 0.1 * k, 5))) for k in range(11)]
    assert seen[0] == [("a", 0), ("b", 0)] and seen[-1] == [("a", 0)]
    world.presence["b"] = 0.95
    for _ in range(10):
        assert world.see(("a", pose_at(0, 5)), ("b", pose_at(0.3, 5))) == [("a", 0)]
    assert not world.tracker.trackers["b"].tracks


def test_a_much_likelier_claim_takes_the_place():
    world = World()
    world.presence["a"] = 0.5
    for k in range(11):
        last = world.see(("a", pose_at(0, 5)), ("b", pose_at(1.2 - 0.1 * k, 5)))
    assert last == [("b", 0)]


def test_nothing_is_searched_behind_something_nearer_of_another_category():
    world = World()
    world.see(("a", pose_at(0, 4)), ("b", pose_at(2, 8)))
    world.estimators["b"].clear()
    for x in (1.6, 1.2, 0.8, 0.4, 0.0):
        world.see(("a", pose_at(0, 4)), ("b", pose_at(x, 8)), boxes=[world.box(pose_at(0, 4), "a")])
    assert world.tracker.trackers["b"].tracks[0].hidden


def test_ten_crossing_objects_of_two_categories_keep_their_ids():
    """Five go to the right in front, five to the left behind them, of both categories; each is hidden now and then."""
    world = World(max_age_s=1.5)
    names = "ababa" + "babab"
    owner: dict[tuple[str, int], int] = {}
    switches = told = 0
    for k in range(40):
        front = [(names[j], pose_at(-4.2 + 1.3 * j + 0.06 * k, 8.0)) for j in range(5)]
        back = [(names[5 + j], pose_at(-2.2 + 1.3 * j - 0.06 * k, 9.5)) for j in range(5)]
        things = world.things = front + back
        boxes = [world.box(pose, name) for name, pose in things if world.estimators[name].sees(pose)]
        poses = world.tracker.update(IMAGE, CAMERA, k * STEP_S, boxes)
        told += len(poses)
        for pose in poses:
            away = [np.linalg.norm(pose.T_cam_obj[:3, 3] - thing.T_cam_obj[:3, 3]) + 9.0 * (name != pose.category)
                    for name, thing in things]
            assert min(away) < 0.5
            nearest = int(np.argmin(away))
            switches += owner.setdefault((pose.category, pose.track_id), nearest) != nearest
    assert switches == 0 and len(owner) == 10 and 300 < told < 395, (switches, len(owner), told)


def test_more_tracks_than_allowed_do_not_begin():
    world = World()
    things = [("ab"[k % 2], pose_at(-2.5 + 1.25 * k, 6.0)) for k in range(5)]
    boxes = [world.box(pose, name, 0.5 + 0.1 * k) for k, (name, pose) in enumerate(things)]
    assert len(world.see(*things, boxes=boxes, most=2)) == 2
    more = [world.box(pose, name, 0.9 - 0.1 * k) for k, (name, pose) in enumerate(things)]
    assert len(world.see(*things, boxes=more, most=2)) == 2
    assert [box.refused for box in world.tracker.left_out] == ["too many tracks"] * 2


@pytest.mark.parametrize("proposed", [False, True])
def test_the_cap_holds_for_what_is_found_without_boxes(proposed):
    """No more is looked at than may be tracked, but all proposals of a category while there is room for one."""
    things = [(name, pose_at(x, 8.0)) for name, x in zip("aaabbb", (-3.5, -2.1, -0.7, 0.7, 2.1, 3.5), strict=True)]
    world = World(search_every=1)
    world.things = things
    for name, estimator in world.estimators.items():
        boxes = [estimator.covered(pose, CAMERA) for category, pose in things if category == name]
        estimator.find = lambda image, boxes=boxes: Found(boxes, [None if proposed else 0.9] * 3, proposed)
    poses = world.tracker.update(IMAGE, CAMERA, 0.0, None, most=3)
    assert len(poses) == 3 and sum(len(one.searched) for one in world.estimators.values()) == 3
    assert [(box.category, box.refused) for box in world.tracker.left_out] == [("b", "too many tracks")] * 3
    world.tracker.trackers["a"].end(world.tracker.trackers["a"].tracks[0])
    poses = world.tracker.update(IMAGE, CAMERA, 0.1, None, most=3)
    assert sorted(pose.category for pose in poses) == ["a", "a", "b"], "who has fewest comes first"
    assert len(world.estimators["b"].searched) == (3 if proposed else 1)


def test_time_that_goes_back_begins_anew_and_a_bad_box_changes_nothing():
    world = World()
    world.see(("a", pose_at(0, 5)), ("b", pose_at(2, 5)))
    with pytest.raises(RoiError):
        world.tracker.update(IMAGE, CAMERA, 0.1, [LabelledBox((5.0, 5.0, 1.0, 1.0), "b")])
    assert world.see(("a", pose_at(0, 5)), ("b", pose_at(2, 5))) == [("a", 0), ("b", 0)]
    world.count = 0
    assert world.see(("a", pose_at(0, 5)), ("b", pose_at(2, 5))) == [("a", 1), ("b", 1)]
    world.count = 0
    assert world.see(("b", pose_at(0, 5))) == [("b", 2)], "what stood there before is forgotten"


def test_scores_of_boxes_reach_the_trackers():
    """A box that its detector doubts starts no track, here as without tracking."""
    world, thing = World(), pose_at(0.0, 4.0)
    for estimator in world.estimators.values():
        estimator.bundle.card.presence = replace(SPEC, floor=0.6)
    world.presence = {"a": 0.7, "b": 0.7}
    assert world.see(("a", thing), boxes=[world.box(thing, "a", 0.3)]) == []
    assert world.see(("a", thing), boxes=[world.box(thing, "a", 0.6)]) == [("a", 0)]
