# SPDX-License-Identifier: Apache-2.0
"""Which of a detector's boxes are looked at, and what became of the others: nothing is left out in silence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..camera.pinhole import Camera
from ..detection.claims import SAME_BOX, certainty_of, choose
from ..detection.class_map import ClassMap
from ..detection.labelled_box import LabelledBox
from ..errors import RoiError
from ..io.quoting import named, quoted
from ..pose import Roi
from .message_classes import Detection2D, Detection2DArray, Header, ObjectHypothesisWithPose
from .validation import check_rois

#: Why a box is left out; diagnostics count each.
REASONS = ("class", "score", "normalised", "duplicate", "limit", "excess")

#: Boxes of one message that are considered, the first ones; no detector finds so many objects.
MOST_BOXES = 5000

_NAMES = 3  # of classes in one sentence
_NORMALISED = 2.0  # no box of pixels ends so near to the corner of the image and shows anything
_TURNED = math.radians(2.0)  # a turn below is rounding
_MOST_KEPT = 200  # of the boxes that are left out, to be shown


_Wanted = tuple[LabelledBox, tuple[str, ...]]  # a box, and the categories that it may be


@dataclass
class Choice:
    """What a message of a detector came to.

    Attributes:
        boxes: to look at, inside the image, each of one category; of any where there is no class map. Their score is
            None where the detector has none, or another number than 0 to 1.
        keeps_refused: those that are left out are wanted, to be shown. refused: the first of them, with the reason.
        left_out: boxes per reason. sentences: one per reason, for a person.
        bad: of boxes that are none.
        notes: what is strange about the message besides, by a short name.
        passed: boxes of the right class and score.
    """

    keeps_refused: bool = False
    boxes: list[LabelledBox] = field(default_factory=list)
    refused: list[LabelledBox] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    sentences: dict[str, str] = field(default_factory=dict)
    bad: list[RoiError] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    passed: int = 0

    @property
    def rois(self) -> list[Roi]:
        """(x_min, y_min, x_max, y_max) in pixels of each of the boxes to look at."""
        return [box.roi for box in self.boxes]

    @property
    def scores(self) -> list[float | None]:
        """The detector's of each of them."""
        return [box.score for box in self.boxes]

    def leave_out(self, reason: str, count: int, sentence: str) -> None:
        """``count`` boxes, where there are any: "3 boxes left out: SENTENCE"."""
        if count > 0:
            self.left_out[reason] += count
            self.sentences[reason] = f"{count} box{'es' * (count != 1)} left out: {sentence}"

    def refuse(self, box: LabelledBox, why: str) -> None:
        """A box that is left out."""
        if self.keeps_refused and len(self.refused) < _MOST_KEPT:
            self.refused.append(replace(box, refused=why))

    def refuse_detection(self, detection: Detection2D, score: float, label: str, why: str) -> None:
        """The same, of a message whose box is not known yet."""
        if self.keeps_refused and len(self.refused) < _MOST_KEPT:
            self.refuse(LabelledBox(surrounding(detection, Choice()), "", score, label), why)


def choose_boxes(message: Detection2DArray, width: int, height: int, class_id: str = "", min_score: float = 0.0,
                 limit: int = 100, camera: Camera | None = None, class_map: ClassMap | None = None,
                 keep_refused: bool = False) -> Choice:
    """The boxes of ``message`` that are worth a look in an image of ``width`` x ``height`` pixels.

    At most ``limit`` of them over all categories, the detector's most certain ones: each costs its time. ``class_id``
    and ``min_score`` are those of the detection's best hypothesis; a detection without one passes where no class is
    asked for. With a ``camera`` boxes beyond what its lens shows are refused. With a ``class_map`` a box is of the
    categories that its class may be, and left out where that is none; one of several is looked at for each of them.
    ``keep_refused``: see :class:`Choice`.
    """
    choice = Choice(keep_refused)
    choice.leave_out("excess", len(message.detections) - MOST_BOXES, f"of one message the first {MOST_BOXES} are "
                     "considered: have the detector send fewer")
    wanted = _wanted(message, class_id, min_score, choice, class_map)
    choice.passed = len(wanted)
    usable = [replace(box, category=category)
              for box, categories in _usable(wanted, width, height, camera, choice) for category in categories]
    chosen = choose(usable, limit)
    choice.boxes = [_with_known_score(usable[k]) for k in chosen.kept]
    for k in chosen.doubles:
        choice.refuse(usable[k], "double")
    for k in chosen.beyond:
        choice.refuse(usable[k], f"beyond the best {limit}")
    choice.leave_out("duplicate", len(chosen.doubles), f"they overlap a better one by more than {100 * SAME_BOX:.0f} "
                     "%: the detector should suppress its doubles")
    choice.leave_out("limit", len(chosen.beyond), f"only the best {limit} are looked at (parameter max_objects)")
    return choice


def _wanted(message: Detection2DArray, class_id: str, min_score: float, choice: Choice,
            class_map: ClassMap | None) -> list[_Wanted]:
    """The boxes of that class and score; a detection without a hypothesis has no score, and is certain."""
    wanted: list[_Wanted] = []
    weak: list[float] = []
    others: Counter[str] = Counter()
    strange: dict[str, str] = {}
    for detection in message.detections[:MOST_BOXES]:
        best = max((r.hypothesis for r in detection.results), key=lambda h: certainty_of(h.score), default=None)
        name, score = ("", 1.0) if best is None else (best.class_id, best.score)
        categories = ("",) if class_map is None else class_map.of(name)
        if (class_id and name != class_id) or not categories:
            others[name] += 1
            choice.refuse_detection(detection, score, name, "class")
        elif score < min_score or (math.isnan(score) and min_score > 0.0):
            weak.append(score)
            choice.refuse_detection(detection, score, name, f"score {score:.2f} < {min_score:.2f}")
        else:
            roi = surrounding(detection, choice)
            wanted.append((LabelledBox(roi, "", None if best is None else score, name), categories))
        if math.isnan(score):
            strange["score"] = ("the detector's score is not a number (NaN): such a box is used where "
                                "detections_min_score is 0, and left out otherwise")
        elif score > 1.0:
            strange["score"] = (f"the detector's score is {score:g}, not 0 to 1 (percent?): detections_min_score "
                                "compares with 0 to 1, so divide it in the detector")
    choice.leave_out("class", sum(others.values()), _other_classes(others, class_id, class_map))
    if weak:
        best_weak = max(weak, key=certainty_of)
        choice.leave_out("score", len(weak), f"score {best_weak:.2g}{' at best' * (len(weak) > 1)} is below "
                         f"{min_score:g} (parameter detections_min_score)")
    choice.notes |= strange
    return wanted


def _other_classes(others: Counter[str], class_id: str, class_map: ClassMap | None) -> str:
    """What is said of boxes that are of another class."""
    names, are = named(others, _NAMES), "is" if len(others) == 1 else "are"
    if class_id or class_map is None:
        return f"class {names} {are} not {quoted(class_id, 40)} (parameter detections_class_id)"
    return (f"class {names} {are} no {' or '.join(class_map.categories)} (parameter class_map tells which class of "
            "the detector is which category)")


def _usable(given: Sequence[_Wanted], width: int, height: int, camera: Camera | None, choice: Choice) -> list[_Wanted]:
    """Those of ``given`` that are boxes in the image."""
    pixels = [(box, categories) for box, categories in given if not _is_normalised(box.roi)]
    usable = []
    for box, categories in pixels:
        good, errors = check_rois([box.roi], width, height, camera)
        choice.bad += errors
        usable += [(box, categories) for _ in good]
    choice.leave_out("normalised", len(given) - len(pixels), "they are normalised (0 to 1) and not in pixels: have the "
                     f"detector multiply x by {width} and y by {height}, the size of the image")
    return usable


def _with_known_score(box: LabelledBox) -> LabelledBox:
    score = box.score if box.score is not None and 0.0 <= box.score <= 1.0 else None
    return replace(box, score=score)


def surrounding(detection: Detection2D, choice: Choice) -> Roi:
    """(x_min, y_min, x_max, y_max) round the detection's box, which may be turned."""
    box = detection.bbox
    x, y, theta = box.center.position.x, box.center.position.y, box.center.theta
    half_width, half_height = 0.5 * box.size_x, 0.5 * box.size_y
    if not abs(theta) <= 2.0 * math.pi:
        choice.notes["theta"] = f"a box is turned by theta = {theta:g}, which is no angle in radians: taken as upright"
    elif abs(theta) > _TURNED:
        choice.notes["theta"] = (f"a box is turned by {math.degrees(theta):.0f} deg (theta): the upright box round it "
                                 "is used")
        c, s = abs(math.cos(theta)), abs(math.sin(theta))
        half_width, half_height = c * half_width + s * half_height, s * half_width + c * half_height
    return x - half_width, y - half_height, x + half_width, y + half_height


def _is_normalised(box: Roi) -> bool:
    return box[2] > box[0] and box[3] > box[1] and max(abs(edge) for edge in box) <= _NORMALISED


def boxes_message(header: Header, boxes: Sequence[LabelledBox]) -> Detection2DArray:
    """Detection2DArray of ``boxes``, each with the detector's class and score of it, 0 where it has none.

    header: of the image.
    """
    message = Detection2DArray(header=header)
    for box in boxes:
        x_min, y_min, x_max, y_max = box.roi
        detection = Detection2D(header=header, id=box.category)
        detection.bbox.center.position.x = 0.5 * (x_min + x_max)
        detection.bbox.center.position.y = 0.5 * (y_min + y_max)
        detection.bbox.size_x, detection.bbox.size_y = x_max - x_min, y_max - y_min
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = box.label, float(box.score or 0.0)
        detection.results = [hypothesis]
        message.detections.append(detection)
    return message
