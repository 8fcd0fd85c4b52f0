# SPDX-License-Identifier: Apache-2.0
"""What the answers to a scene with truth came to, by what the pose node was given: a line per picture and a table."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ..geometry import rotation_angle

#: What the node is given beside the pictures, in the order of play; as ``ObjectPose.source`` has it.
GIVEN = ("rgb", "support", "depth", "support+depth")
_WORDS = {"rgb": "RGB alone", "support": "with the plane", "depth": "with depth", "support+depth": "with both"}
_NEAR_M = 0.01


@dataclass
class Answers:
    """Errors of the poses that came, one of each list for each, and what is not there.

    Attributes:
        sources: poses by what the node says that their distance is known from.
    """

    translation_m: list[float] = field(default_factory=list)
    rotation_deg: list[float] = field(default_factory=list)
    without_pose: int = 0
    unanswered: int = 0
    sources: Counter[str] = field(default_factory=Counter)

    @property
    def images(self) -> int:
        """Pictures that were shown."""
        return len(self.translation_m) + self.without_pose + self.unanswered


class SceneTable:
    """Collects; prints nothing."""

    def __init__(self) -> None:
        self.answers = {given: Answers() for given in GIVEN}

    @property
    def started(self) -> bool:
        """Whether a picture was shown."""
        return any(answers.images for answers in self.answers.values())

    @property
    def poses(self) -> int:
        """All that came."""
        return sum(len(answers.translation_m) for answers in self.answers.values())

    def add(self, given: str, name: str, T: np.ndarray | None, T_true: np.ndarray, answered: bool = True) -> str:
        """Take the pose T [4, 4] of picture ``name``, None where there is none, beside the true one, both metres and in
        one frame; the line about it."""
        begin, answers = f"{_WORDS[given]:<15} {name}: ", self.answers[given]
        if T is None:
            answers.without_pose += answered
            answers.unanswered += not answered
            return begin + ("no object" if answered else "no answer")
        translation_m = float(np.linalg.norm(T[:3, 3] - T_true[:3, 3]))
        rotation_deg = math.degrees(rotation_angle(T[:3, :3], T_true[:3, :3]))
        answers.translation_m.append(translation_m)
        answers.rotation_deg.append(rotation_deg)
        return f"{begin}error {100 * translation_m:5.2f} cm, {rotation_deg:5.1f} deg"

    def text(self) -> str:
        """The table."""
        rows = ["given            images  poses  translation (median)  within 1 cm  rotation (median)  known from"]
        for given, answers in self.answers.items():
            sources = ", ".join(f"{count} {source}" for source, count in answers.sources.items()) or "-"
            errors = answers.translation_m
            middle = f"{100 * statistics.median(errors):.2f} cm" if errors else "-"
            turn = f"{statistics.median(answers.rotation_deg):.1f} deg" if errors else "-"
            near = sum(error <= _NEAR_M for error in errors)
            rows.append(f"{_WORDS[given]:<15}  {answers.images:>6}  {len(errors):>5}  {middle:>20}  {near:>11}  "
                        f"{turn:>17}  {sources}")
        return "\n".join(rows)
