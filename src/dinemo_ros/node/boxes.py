# SPDX-License-Identifier: Apache-2.0
"""Which of a detector's boxes are looked at, and what became of the others: nothing is left out in silence."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from vision_msgs.msg import Detection2D, Detection2DArray

from ..camera.pinhole import Camera
from ..detection.regions import overlaps
from ..errors import RoiError
from ..io.quoting import named, quoted
from .validation import check_rois

#: Why a box is left out; diagnostics count each.
REASONS = ("class", "score", "normalised", "duplicate", "limit", "excess")

#: Boxes of one message that are considered, the first ones; no detector finds so many objects.
MOST_BOXES = 5000

_NAMES = 3  # of classes in one sentence
_SAME_BOX = 0.9  # overlap above which two boxes show one object: a detector that does not suppress its own doubles
_NORMALISED = 2.0  # no box of pixels ends so near to the corner of the image and shows anything
_TURNED = math.radians(2.0)  # a turn below is rounding

Box = tuple[float, float, float, float]


@dataclass
class Choice:
    """What a message of a detector came to.

    Attributes:
        rois: (x_min, y_min, x_max, y_max) in pixels, inside the image.
        scores: the detector's of each of them, 0 to 1; None where it has none, or another number.
        left_out: boxes per reason. sentences: one per reason, for a person.
        bad: of boxes that are none.
        notes: what is strange about the message besides, by a short name.
        passed: boxes of the right class and score.
    """

    rois: list[Box] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    sentences: dict[str, str] = field(default_factory=dict)
    bad: list[RoiError] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    passed: int = 0

    def leave_out(self, reason: str, count: int, sentence: str) -> None:
        """``count`` boxes, where there are any: "3 boxes left out: SENTENCE"."""
        if count > 0:
            self.left_out[reason] += count
            self.sentences[reason] = f"{count} box{'es' * (count != 1)} left out: {sentence}"


def choose_boxes(message: Detection2DArray, width: int, height: int, class_id: str = "", min_score: float = 0.0,
                 limit: int = 100, camera: Camera | None = None) -> Choice:
    """The boxes of ``message`` that are worth a look in an image of ``width`` x ``height`` pixels.

    At most ``limit`` of them, the detector's most certain ones: each costs its time. ``class_id`` and ``min_score``
    are those of the detection's best hypothesis; a detection without one passes where no class is asked for. With a
    ``camera`` boxes beyond what its lens shows are refused.
    """
    choice = Choice()
    choice.leave_out("excess", len(message.detections) - MOST_BOXES, f"of one message the first {MOST_BOXES} are "
                     "considered: have the detector send fewer")
    scored = _wanted(message, class_id, min_score, choice)
    choice.passed = len(scored)
    boxes = [surrounding(detection, choice) for detection, _ in scored]
    pixels = [k for k, box in enumerate(boxes) if not _is_normalised(box)]
    choice.leave_out("normalised", len(boxes) - len(pixels), "they are normalised (0 to 1) and not in pixels: have the "
                     f"detector multiply x by {width} and y by {height}, the size of the image")
    ordered = sorted(pixels, key=lambda k: -_certain(scored[k][1]))
    good, choice.bad = check_rois([boxes[k] for k in ordered], width, height, camera)
    choice.rois = _distinct(good, limit, choice)
    score_of = {boxes[k]: scored[k] for k in reversed(ordered)}  # the best of equal boxes comes last
    choice.scores = [score if detection.results and 0.0 <= score <= 1.0 else None
                     for detection, score in (score_of[roi] for roi in choice.rois)]
    return choice


def _wanted(message: Detection2DArray, class_id: str, min_score: float,
            choice: Choice) -> list[tuple[Detection2D, float]]:
    """The detections of that class and score, each with its score; 1 where it has none."""
    wanted, weak = [], []
    others: Counter[str] = Counter()
    strange: dict[str, str] = {}
    for detection in message.detections[:MOST_BOXES]:
        best = max((r.hypothesis for r in detection.results), key=lambda h: _certain(h.score), default=None)
        name, score = ("", 1.0) if best is None else (best.class_id, best.score)
        if class_id and name != class_id:
            others[name] += 1
        elif score < min_score or (math.isnan(score) and min_score > 0.0):
            weak.append(score)
        else:
            wanted.append((detection, score))
        if math.isnan(score):
            strange["score"] = ("the detector's score is not a number (NaN): such a box is used where "
                                "detections_min_score is 0, and left out otherwise")
        elif score > 1.0:
            strange["score"] = (f"the detector's score is {score:g}, not 0 to 1 (percent?): detections_min_score "
                                "compares with 0 to 1, so divide it in the detector")
    names = named(others, _NAMES)
    choice.leave_out("class", sum(others.values()), f"class {names} {'is' if len(others) == 1 else 'are'} not "
                     f"{quoted(class_id, 40)} (parameter detections_class_id)")
    if weak:
        best_weak = max(weak, key=_certain)
        choice.leave_out("score", len(weak), f"score {best_weak:.2g}{' at best' * (len(weak) > 1)} is below "
                         f"{min_score:g} (parameter detections_min_score)")
    choice.notes |= strange
    return wanted


def _certain(score: float) -> float:
    """For sorting: NaN last."""
    return -math.inf if math.isnan(score) else score


def surrounding(detection: Detection2D, choice: Choice) -> Box:
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


def _is_normalised(box: Box) -> bool:
    return box[2] > box[0] and box[3] > box[1] and max(abs(edge) for edge in box) <= _NORMALISED


def _distinct(boxes: list[Box], limit: int, choice: Choice) -> list[Box]:
    """``boxes``, best first, without those that show what a better one shows, and no more than ``limit``."""
    kept: list[Box] = []
    rest, doubles = np.array(boxes, dtype=np.float64).reshape(-1, 4), 0
    while len(rest) and len(kept) < limit:
        kept.append(tuple(rest[0].tolist()))
        others = rest[1:]
        rest = others[overlaps(rest[0], others) <= _SAME_BOX]
        doubles += len(others) - len(rest)
    choice.leave_out("duplicate", doubles, f"they overlap a better one by more than {100 * _SAME_BOX:.0f} %: the "
                     "detector should suppress its doubles")
    choice.leave_out("limit", len(rest), f"only the best {limit} are looked at (parameter max_objects)")
    return kept
