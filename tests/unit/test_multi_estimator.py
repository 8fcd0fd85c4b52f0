# SPDX-License-Identifier: Apache-2.0
"""Several categories in one image: who is asked for what, and which claim is told."""

from dataclasses import replace

import numpy as np
import pytest
from unit.scripted_estimator import CAMERA, IMAGE, ScriptedEstimator, pose_at

from dinemo_ros.detection.finder import Found
from dinemo_ros.detection.labelled_box import LabelledBox
from dinemo_ros.errors import ImageError, RoiError
from dinemo_ros.multi_estimator import MultiPoseEstimator


class Seeing(ScriptedEstimator):
    """Finds in every box a pose of its category with ``score`` and ``presence`` at what the box shows; ``own``: what it
    finds by itself."""

    def __init__(self, category: str, score: float = 0.5, presence: float | None = 0.5, own=()) -> None:
        super().__init__(category)
        self.score, self.presence, self.own, self.asked, self.looked = score, presence, list(own), [], []
        self.detected, self.found = [], None

    def estimate(self, image, camera, rois=None, *, support=None, depth=None, detector_scores=None):
        self.asked.append((rois, detector_scores, support, depth))
        self.timings = {"features": 1.0, "total": 2.0}
        poses = self.own if rois is None else [replace(
            pose_at((0.5 * (roi[0] + roi[2]) - 200.0) / 346.4 * 5.0, 5.0, self.score), roi=tuple(roi)) for roi in rois]
        self.looked = [(pose.roi, "") for pose in poses]
        return [replace(pose, category=self.bundle.card.category, presence=self.presence) for pose in poses]


    def find(self, image):
        """The detector's boxes, where it has some; else what it proposes itself."""
        boxes = self.detected or [(pose.roi, None) for pose in self.own]
        return Found([np.array(roi) for roi, _ in boxes], [score for _, score in boxes], not self.detected, 0.25)

    def estimate_found(self, image, camera, found, *, support=None, depth=None):
        self.found = found
        self.asked.append((None, found.scores, support, depth))
        self.timings = {"features": 1.0, "total": 2.0}
        rois = [tuple(box.tolist()) for box in found.boxes]
        self.looked = [(roi, "") for roi in rois]
        poses = [pose for pose in self.own if pose.roi in rois] or [
            replace(pose_at(0.0, 5.0, self.score), roi=roi) for roi in rois]
        return [replace(pose, category=self.bundle.card.category, presence=self.presence) for pose in poses]

    def distinct(self, poses, camera):
        return poses


def roi_at(x: float) -> tuple[float, float, float, float]:
    """Of a cube 5 m away, ``x`` metres beside the middle."""
    return tuple(ScriptedEstimator().covered(pose_at(x, 5.0), CAMERA).tolist())


LEFT, RIGHT = roi_at(-1.5), roi_at(1.5)


def test_every_category_gets_its_boxes_with_their_scores():
    cup, bottle = Seeing("cup", 0.4), Seeing("bottle", 0.6)
    both = MultiPoseEstimator([cup, bottle])
    poses = both.estimate(IMAGE, CAMERA, [LabelledBox(LEFT, "cup", 0.7, "Mug"), LabelledBox(RIGHT, "bottle")],
                          support="plane", depth="depth")
    assert [(pose.category, pose.score) for pose in poses] == [("bottle", 0.6), ("cup", 0.4)], "best score first"
    assert cup.asked == [([LEFT], [0.7], "plane", "depth")] and bottle.asked == [([RIGHT], [None], "plane", "depth")]
    assert both.looked == [LabelledBox(LEFT, "cup", 0.7, "Mug"), LabelledBox(RIGHT, "bottle")]
    assert both.timings["features"] == 2.0


def test_a_category_without_a_box_costs_nothing():
    cup, bottle = Seeing("cup"), Seeing("bottle")
    both = MultiPoseEstimator([cup, bottle])
    assert len(both.estimate(IMAGE, CAMERA, [LabelledBox(LEFT, "cup")])) == 1 and not bottle.asked
    assert both.estimate(IMAGE, CAMERA, []) == [] and len(cup.asked) == 1


def test_without_boxes_each_looks_for_itself_and_one_object_is_told_once():
    """The cup sees one in the bottle; the bottle is likelier."""
    cup = Seeing("cup", 0.9, 0.4, [replace(pose_at(0.0, 5.0, 0.9), roi=LEFT)])
    bottle = Seeing("bottle", 0.5, 0.8, [replace(pose_at(0.0, 5.0, 0.5), roi=LEFT),
                                    replace(pose_at(1.5, 5.0, 0.3), roi=RIGHT)])
    both = MultiPoseEstimator([cup, bottle])
    assert [pose.category for pose in both.estimate(IMAGE, CAMERA)] == ["bottle", "bottle"]
    assert cup.asked[0][:2] == (None, [None])
    assert [(box.category, box.refused) for box in both.looked] == [
        ("cup", "is the bottle of another box"), ("bottle", ""), ("bottle", "")]


def test_of_what_the_detector_finds_the_most_certain_is_looked_at():
    """Over all categories, with the detector's scores and floor; what is proposed comes after that."""
    cup, bottle = Seeing("cup"), Seeing("bottle")
    cup.detected, bottle.detected = [(LEFT, 0.4), (roi_at(0.0), 0.8)], [(RIGHT, 0.6)]
    both = MultiPoseEstimator([cup, bottle])
    both.estimate(IMAGE, CAMERA, most=2, support="plane", depth="depth")
    assert cup.asked == [(None, [0.8], "plane", "depth")] and bottle.asked == [(None, [0.6], "plane", "depth")]
    assert cup.found.floor == 0.25 and not cup.found.proposed
    assert both.left_out == [LabelledBox(LEFT, "cup", 0.4, "cup", "too many boxes")]
    bottle.detected, bottle.own = [], [replace(pose_at(1.5, 5.0), roi=RIGHT)]
    both.estimate(IMAGE, CAMERA, most=2)
    assert cup.found.scores == [0.4, 0.8] and [box.category for box in both.left_out] == ["bottle"]


def test_what_is_proposed_is_looked_at_in_turns():
    """Each category proposes up to eight boxes, which say nothing yet: none of them starves, and with ``max_objects`` 1
    the object may still be in the last one."""
    cup, bottle = (Seeing(name, own=[replace(pose_at(-2.4 + 0.6 * k, 5.0), roi=roi_at(-2.4 + 0.6 * k))
                                     for k in range(8)]) for name in ("cup", "bottle"))
    both = MultiPoseEstimator([cup, bottle])
    for most, each in ((10, 5), (1, 4), (None, 8)):
        both.estimate(IMAGE, CAMERA, most=most)
        for one in (cup, bottle):
            assert [tuple(box.tolist()) for box in one.found.boxes] == [pose.roi for pose in one.own[:each]]
        assert [box.score for box in both.left_out] == [None] * (16 - 2 * each)


def test_a_box_of_any_category_is_looked_at_for_each_and_told_once():
    cup, bottle = Seeing("cup", presence=0.7), Seeing("bottle", presence=0.3)
    poses = MultiPoseEstimator([cup, bottle]).estimate(IMAGE, CAMERA, [LabelledBox(LEFT)])
    assert [pose.category for pose in poses] == ["cup"] and len(cup.asked) == len(bottle.asked) == 1


def test_the_detectors_score_weighs_in():
    """Two boxes of two classes on one thing, equally likely to our own eyes."""
    both = MultiPoseEstimator([Seeing("cup"), Seeing("bottle")])
    for scores, winner in (((0.9, 0.3), "cup"), ((0.3, 0.9), "bottle")):
        boxes = [LabelledBox(LEFT, "cup", scores[0]), LabelledBox(LEFT, "bottle", scores[1])]
        assert [pose.category for pose in both.estimate(IMAGE, CAMERA, boxes)] == [winner]


def test_twenty_equal_boxes_are_one_look():
    cup = Seeing("cup")
    boxes = [LabelledBox(LEFT, "cup", 0.5 + 0.01 * k) for k in range(20)]
    assert len(MultiPoseEstimator([cup, Seeing("bottle")]).estimate(IMAGE, CAMERA, boxes)) == 1
    assert cup.asked == [([LEFT], [0.69], None, None)]


def test_the_cap_is_before_the_work_and_over_all_categories():
    cup, bottle = Seeing("cup"), Seeing("bottle")
    boxes = [LabelledBox(roi_at(-2.5 + 0.7 * k), ("cup", "bottle")[k % 2], 0.1 * k) for k in range(8)]
    MultiPoseEstimator([cup, bottle]).estimate(IMAGE, CAMERA, boxes, most=3)
    assert [scores for _, scores, *_ in cup.asked] == [[pytest.approx(0.6)]]
    assert [scores for _, scores, *_ in bottle.asked] == [[pytest.approx(0.5), pytest.approx(0.7)]]


def test_what_cannot_be_used_is_told():
    both = MultiPoseEstimator([Seeing("cup"), Seeing("bottle")])
    with pytest.raises(RoiError, match="category 'mug'; allowed: cup, bottle"):
        both.estimate(IMAGE, CAMERA, [LabelledBox(LEFT, "mug")])
    with pytest.raises(ImageError):
        both.estimate(np.zeros((4, 4, 3), np.uint8), CAMERA, [])
    with pytest.raises(ValueError, match="each of another category"):
        MultiPoseEstimator([Seeing("cup"), Seeing("cup")])
