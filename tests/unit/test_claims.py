# SPDX-License-Identifier: Apache-2.0
"""One object is told once, however many boxes or categories claim it; what is not worth a look is left out first."""

from dataclasses import replace

import numpy as np
import pytest
from unit.scripted_estimator import ACCEPT, CAMERA, ScriptedEstimator, pose_at

from dinemo_ros.detection.claims import choose, one_per_object, worth
from dinemo_ros.detection.class_map import ClassMap, ClassMapError, labels_of
from dinemo_ros.detection.labelled_box import LabelledBox
from dinemo_ros.model.card import Card, SizePrior

COVERED = ScriptedEstimator().covered
NAN = float("nan")


def of(category: str, x: float, z: float, presence: float | None = 0.9, side: float = 1.0):
    pose = pose_at(x, z)
    return replace(pose, category=category, presence=presence, size=side * pose.size)


def told(*poses) -> list[int]:
    kept, claimed = one_per_object(poses, [COVERED(pose, CAMERA) for pose in poses],
                                   [worth(pose, ACCEPT) for pose in poses])
    assert sorted([*kept, *claimed]) == list(range(len(poses))) and all(better in kept for better in claimed.values())
    return kept


def test_the_likelier_of_two_categories_has_the_object():
    cup, bottle = of("cup", 0.0, 5.0, 0.6), of("bottle", 0.05, 5.4, 0.8)
    assert told(cup, bottle) == [1] and told(bottle, cup) == [0]


def test_twenty_claims_are_one_object():
    assert len(told(*(of("cup", 0.01 * k, 5.0 + 0.01 * k, 0.5 + 0.01 * k) for k in range(20)))) == 1


def test_neighbours_and_one_behind_another_stay_two():
    assert told(of("cup", 0.0, 5.0), of("bottle", 0.8, 5.0)) == [0, 1]
    assert told(of("cup", 0.0, 5.0), of("cup", 0.1, 5.8)) == [0, 1], "a whole object farther away"
    assert told(of("cup", 0.0, 5.0), of("cup", 0.1, 5.2)) == [0], "no room for two"


@pytest.mark.parametrize(("presence", "kept"), [(0.6, [0]), (0.8, [0, 1])])
def test_a_part_of_an_object_is_another_one_only_if_it_is_as_likely(presence, kept):
    """The lower half of a bottle is no cup; a cup in front of a bottle is one."""
    assert told(of("bottle", 0.0, 5.0, 0.9, 2.0), of("cup", 0.2, 5.0, presence, 1.0)) == kept


def test_one_box_is_one_object_wherever_its_poses_are():
    """The cup in the bottle's box was found beside it."""
    cup, bottle = of("cup", 0.8, 5.0, 0.2), of("bottle", 0.0, 5.0, 0.9)
    assert told(cup, bottle) == [0, 1]
    assert told(replace(cup, roi=(10.0, 10.0, 50.0, 90.0)), replace(bottle, roi=(10.0, 10.0, 50.0, 91.0))) == [1]


def test_a_pose_that_strayed_from_its_box_comes_last():
    """In the box on the left somebody saw the van on the right, and saw it well."""
    left, right = (tuple(COVERED(of("car", x, 5.0), CAMERA).tolist()) for x in (-1.5, 1.5))
    car = replace(of("car", -1.5, 5.0, 0.5), roi=left)
    strayed, van = replace(of("van", 1.5, 5.0, 0.95), roi=left), replace(of("van", 1.52, 5.0, 0.9), roi=right)
    assert told(car, strayed, van) == [0, 2] and told(strayed, van) == [1]
    assert told(strayed) == [0], "nobody else claims it"


def test_worth_is_presence_with_the_detector_or_the_share_of_the_accepted_score():
    cup = of("cup", 0.0, 5.0, 0.6)
    assert worth(cup, ACCEPT) == 0.6 and worth(cup, ACCEPT, 0.5) == pytest.approx(0.6)
    assert worth(cup, ACCEPT, 0.9) > 0.9 and worth(cup, ACCEPT, 0.1) < 0.2
    assert worth(replace(cup, presence=None), ACCEPT) == pytest.approx(2.0)
    assert worth(cup, ACCEPT, calibrated=False) == pytest.approx(2.0), "another one does not tell its presence"


def box(x: float, score: float | None = 0.5, category: str = "cup") -> LabelledBox:
    return LabelledBox((x, 0.0, x + 100.0, 100.0), category, score)


def test_the_most_certain_boxes_are_chosen_over_all_categories():
    boxes = [box(0, 0.2), box(200, 0.9), box(400, NAN), box(600, None), box(800, 0.5, "bottle")]
    chosen = choose(boxes, 3)
    assert (chosen.kept, chosen.doubles, chosen.beyond) == ([3, 1, 4], [], [0, 2])
    assert choose(boxes).kept == [3, 1, 4, 0, 2] and choose([]).kept == []


def test_boxes_that_are_nearly_the_same_are_one_per_category():
    chosen = choose([*(box(0.1 * k, 0.5 + 0.01 * k) for k in range(20)), box(0, 0.1, "bottle")])
    assert chosen.kept == [19, 20] and sorted(chosen.doubles) == list(range(19)) and not chosen.beyond


# Classes of a detector

def card(category: str, **hint) -> Card:
    made = Card(category, "1.0", SizePrior((0.1, 0.1, 0.1), (0.1, 0.1, 0.1)))
    if hint:
        object.__setattr__(made, "detector", type("Hint", (), hint))
    return made


def test_labels_are_the_categorys_name_and_what_the_card_has():
    assert labels_of(card("cup")) == ("cup",)
    assert labels_of(card("cup", labels=("Mug", "Coffee cup"))) == ("cup", "Mug", "Coffee cup")


def test_ids_of_a_detector_become_categories():
    classes = ClassMap([card("cup", labels=("Mug",)), card("bottle")], ["41=cup", "a=b=bottle", "", "wine glass=cup"])
    assert [classes.of(label) for label in ("41", "cup", "MUG", " mug ", "a=b", "Wine Glass")] == [
        ("cup",), ("cup",), ("cup",), ("cup",), ("bottle",), ("cup",)]
    assert classes.of("39") == () and classes.of("") == ("cup", "bottle"), "no class: it may be any"


def test_an_entry_comes_before_the_cards_and_may_mean_several():
    classes = ClassMap([card("cup"), card("bottle")], ["cup=bottle", "vessel=cup", "vessel=bottle"])
    assert classes.of("cup") == ("bottle",) and classes.of("vessel") == ("cup", "bottle")


def test_a_category_stands_once_for_a_label_that_is_told_twice():
    """A card with its own name among its labels: a box would be looked at twice."""
    classes = ClassMap([card("cup", labels=("cup", "Mug", "mug"))])
    assert [classes.of(label) for label in ("cup", "mug")] == [("cup",)] * 2
    entered = ClassMap([card("cup"), card("bottle")], ["41=cup", "41=bottle", " 41 = cup "])
    assert entered.of("41") == ("cup", "bottle"), "an entry that is there twice"
    assert ClassMap([card("cup", labels=(" Coffee cup ",))]).of("coffee cup") == ("cup",)


@pytest.mark.parametrize(("entry", "words"), [("41", "allowed: ID=category"), ("=cup", "allowed: ID=category"),
                                              ("41=", "allowed: ID=category"), ("41=mug", "allowed: cup, bottle")])
def test_what_is_no_entry_is_told(entry, words):
    with pytest.raises(ClassMapError, match="class_map") as error:
        ClassMap([card("cup"), card("bottle")], [entry])
    assert words in str(error.value)


def test_claims_know_boxes_by_what_they_cover():
    """The measure of all of the above: cubes whose boxes overlap by what was meant."""
    a, b = (COVERED(of("cup", x, 5.0), CAMERA) for x in (0.0, 0.8))
    assert np.all(a[2:] > a[:2]) and b[0] > a[0]
