# SPDX-License-Identifier: Apache-2.0
"""Of a detector's boxes the right ones are looked at, and of every other one is said why not."""

import math
import time

import pytest
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from dinemo_ros.node.boxes import choose_boxes

NAN = float("nan")
WIDTH, HEIGHT = 640, 480


def detection(x, y, width, height, class_id=None, score=0.9, theta=0.0) -> Detection2D:
    message = Detection2D()
    message.bbox.center.position.x, message.bbox.center.position.y = float(x), float(y)
    message.bbox.center.theta = float(theta)
    message.bbox.size_x, message.bbox.size_y = float(width), float(height)
    if class_id is not None:
        message.results = [ObjectHypothesisWithPose()]
        message.results[0].hypothesis.class_id, message.results[0].hypothesis.score = class_id, float(score)
    return message


def chosen(*detections, **settings):
    return choose_boxes(Detection2DArray(detections=list(detections)), WIDTH, HEIGHT, **settings)


def test_boxes_become_regions_of_interest():
    """The most certain first; one without a hypothesis passes where no class is asked for."""
    given = (detection(50, 40, 20, 10), detection(105, 5, 4, 4, "car", 0.9), detection(9, 9, 2, 2, "dog", 0.4))
    choice = chosen(*given)
    assert choice.rois == [(40, 35, 60, 45), (103, 3, 107, 7), (8, 8, 10, 10)]
    assert not choice.left_out and not choice.notes and not choice.bad and choice.passed == 3


def test_best_hypothesis_decides():
    two = detection(50, 40, 20, 10, "dog", 0.3)
    two.results = [*two.results, *detection(0, 0, 1, 1, "car", 0.6).results]
    assert chosen(two, class_id="car", min_score=0.5).rois and not chosen(two, class_id="dog").rois
    two.results[0].hypothesis.score = NAN
    assert chosen(two, class_id="car").rois, "NaN is never the best"


def test_other_classes_are_counted_and_named():
    boxes = [detection(50, 40, 20, 10, name) for name in ("2", "Car", "2", "car")]
    choice = chosen(*boxes, class_id="car")
    assert len(choice.rois) == 1 and choice.left_out == {"class": 3}
    assert choice.sentences["class"] == ("3 boxes left out: class '2', 'Car' are not 'car' (parameter "
                                         "detections_class_id)")
    assert chosen(detection(5, 5, 9, 9), class_id="car").sentences["class"].startswith(
        "1 box left out: class '' is not 'car'")


def test_names_of_classes_are_cut_and_escaped():
    names = ["a" * 500_000, "b\x1b[31m\n", "c", "d", "e"]
    sentence = chosen(*(detection(50, 40, 20, 10, name) for name in names), class_id="car").sentences["class"]
    assert len(sentence) < 300 and "\n" not in sentence and "\x1b" not in sentence and r"\x1b[31m\n" in sentence
    assert "'d'" not in sentence and "..." in sentence


def test_score_filter_is_told_with_the_best_of_the_others():
    choice = chosen(*(detection(50, 40, 20, 10, "car", s) for s in (0.1, 0.3, 0.8)), min_score=0.5)
    assert len(choice.rois) == 1 and choice.left_out == {"score": 2}
    assert choice.sentences["score"] == ("2 boxes left out: score 0.3 at best is below 0.5 (parameter "
                                         "detections_min_score)")


@pytest.mark.parametrize(("score", "floor", "used"), [(93.0, 0.0, True), (93.0, 0.5, True), (math.inf, 0.5, True),
                                                      (NAN, 0.0, True), (NAN, 0.5, False)])
def test_scores_that_are_none_are_told(score, floor, used):
    choice = chosen(detection(50, 40, 20, 10, "car", score), min_score=floor)
    assert bool(choice.rois) == used and choice.left_out["score"] == (not used)
    assert ("NaN" if math.isnan(score) else "percent") in choice.notes["score"]


@pytest.mark.parametrize("box", [(0.63, 0.5, 0.16, 0.16), (0.5, 0.5, 1.0, 1.0), (0.02, 0.9, 0.1, 0.2),
                                 (1, 1, 0.1, 1.5)])
def test_normalised_boxes_are_recognised_with_the_way_out(box):
    choice = chosen(detection(*box, "car"), detection(300, 200, 100, 100, "car"))
    assert choice.rois == [(250, 150, 350, 250)] and choice.left_out == {"normalised": 1} and not choice.bad
    assert "multiply x by 640 and y by 480" in choice.sentences["normalised"]


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (10, 10, 8, 8), (0, 272, 151, 87), (-300, 0, 10, 10)])
def test_boxes_in_pixels_are_not_taken_for_normalised(box):
    assert "normalised" not in chosen(detection(*box, "car")).left_out


def test_turned_box_is_replaced_by_the_upright_one_round_it():
    choice = chosen(detection(100, 100, 20, 60, theta=math.pi / 2), detection(300, 300, 20, 20, theta=math.pi / 4))
    assert choice.rois[0] == pytest.approx((70, 90, 130, 110))
    side = 20 * math.sqrt(2)
    assert choice.rois[1] == pytest.approx((300 - side / 2, 300 - side / 2, 300 + side / 2, 300 + side / 2))
    assert "theta" in choice.notes["theta"]
    assert not chosen(detection(100, 100, 20, 60, theta=0.01)).notes


@pytest.mark.parametrize("theta", [90.0, NAN, math.inf])
def test_theta_that_is_no_angle(theta):
    choice = chosen(detection(100, 100, 20, 60, theta=theta))
    assert choice.rois == [(90, 70, 110, 130)] and "no angle in radians" in choice.notes["theta"]


def test_doubles_show_one_object():
    """Twenty times the same, or nearly the same; two cars behind one another stay two."""
    same = [detection(100 + 0.1 * k, 100, 60, 40, "car", 0.5 + 0.01 * k) for k in range(20)]
    choice = chosen(*same)
    assert len(choice.rois) == 1 and choice.rois[0][0] == pytest.approx(71.9), "the best one"
    assert choice.left_out == {"duplicate": 19}
    assert len(chosen(detection(100, 100, 60, 40), detection(110, 100, 60, 40)).rois) == 2


def test_what_is_left_out_is_kept_on_request():
    """To be drawn; for a detector of many classes it is work that nobody looks at otherwise."""
    given = [detection(100, 100, 60, 40, "dog", 0.9), detection(300, 100, 60, 40, "car", 0.8),
             detection(301, 100, 60, 40, "car", 0.7)]
    assert chosen(*given, class_id="car").refused == []
    refused = chosen(*given, class_id="car", keep_refused=True).refused
    assert [(box.label, box.refused, box.roi[0]) for box in refused] == [
        ("dog", "class", 70.0), ("car", "double", 271.0)]


def test_a_flood_is_cut_before_the_work():
    """Two thousand boxes: the most certain ten remain, the rest is counted, and choosing is quick."""
    flood = [detection(20 + 10 * (k % 60), 20 + 12 * (k // 60), 9, 9, "car", k / 3000) for k in range(2000)]
    begin = time.process_time()
    choice = chosen(*flood, limit=10)
    assert time.process_time() - begin < 1.0
    assert len(choice.rois) == 10 and sum(choice.left_out.values()) + len(choice.bad) == 1990
    last = flood[-1].bbox.center.position
    assert choice.rois[0] != (last.x, last.y) and "only the best 10" in choice.sentences["limit"]


def test_no_box_is_a_box():
    choice = chosen(detection(NAN, 10, 5, 5, "car"), detection(-60, -60, 20, 20, "car"))
    assert len(choice.bad) == 2 and not choice.rois
