# SPDX-License-Identifier: Apache-2.0
"""What ``~/estimate`` answers: one sentence for a person, and below it one line of JSON for a program.

The node writes it and :mod:`dinemo_ros.client` reads it, so both are here. Nothing here needs ROS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from ..errors import DinemoError
from ..io.quoting import one_line

#: Characters of an answer that are read at most; an object takes two thousand.
_LONGEST = 1_000_000


class AnswerError(DinemoError):
    """A text that is no answer of ``~/estimate``."""


@dataclass(frozen=True)
class FoundObject:
    """One object, fused from several images.

    Attributes:
        id: the name of its child frame. category: from the bundle.
        frame: what the pose is in. stamp_ns: of the last image, nanoseconds.
        T: [4, 4] object frame to ``frame``, metres.
        covariance: [6, 6] of (x, y, z, rot_x, rot_y, rot_z), metres and radians, as in :mod:`dinemo_ros.pose`.
        size: [3] length, width, height, metres.
        score: mean evidence, 0 to 1. probability: that the rotation is within 30 degrees; None where unknown.
        presence: that there is an object of the category at all; None where unknown.
        source: what the distance is known from, "rgb", "support", "depth" or "support+depth".
        used: images that it is the mean of. dropped: poses of it that were left out.
    """

    id: str
    category: str
    frame: str
    stamp_ns: int
    T: np.ndarray
    covariance: np.ndarray
    size: np.ndarray
    score: float
    probability: float | None
    source: str
    used: int
    dropped: int
    presence: float | None = None

    def document(self) -> dict:
        """What JSON can hold; :meth:`read` has the object back from it."""
        seconds, nanoseconds = divmod(self.stamp_ns, 1_000_000_000)
        return {"id": self.id, "category": self.category, "frame": self.frame,
                "stamp": {"sec": seconds, "nanosec": nanoseconds}, "T": self.T.tolist(),
                "covariance": self.covariance.ravel().tolist(), "size": self.size.tolist(), "score": self.score,
                "probability": self.probability, "presence": self.presence, "source": self.source,
                "frames_used": self.used, "dropped": self.dropped}

    @classmethod
    def read(cls, document: dict) -> FoundObject:
        """From what :meth:`document` made; KeyError, TypeError or ValueError where it is something else."""
        stamp = document["stamp"]
        return cls(str(document["id"]), str(document["category"]), str(document["frame"]),
                   int(stamp["sec"]) * 1_000_000_000 + int(stamp["nanosec"]), _array(document["T"], (4, 4)),
                   _array(document["covariance"], (6, 6)), _array(document["size"], (3,)), float(document["score"]),
                   _known(document["probability"]), str(document["source"]), int(document["frames_used"]),
                   int(document["dropped"]), _known(document.get("presence")))  # of nodes before it was there: none


@dataclass(frozen=True)
class PoseAnswer:
    """The answer to one request. Of the best object the numbers are also here; None where nothing was found.

    Attributes:
        success: whether there is an object. reason: one sentence, what was found or why nothing was.
        objects: best score first.
    """

    success: bool
    reason: str
    objects: tuple[FoundObject, ...] = ()

    @property
    def best(self) -> FoundObject | None:
        """The object with the best score."""
        return self.objects[0] if self.objects else None

    @property
    def T(self) -> np.ndarray | None:
        """[4, 4] of the best object, object frame to :attr:`frame`, metres."""
        return self.objects[0].T if self.objects else None

    @property
    def frame(self) -> str | None:
        """What :attr:`T` is in."""
        return self.objects[0].frame if self.objects else None

    @property
    def covariance(self) -> np.ndarray | None:
        """[6, 6] of the best object."""
        return self.objects[0].covariance if self.objects else None

    @property
    def size(self) -> np.ndarray | None:
        """[3] length, width, height of the best object, metres."""
        return self.objects[0].size if self.objects else None

    @property
    def score(self) -> float | None:
        """Of the best object, 0 to 1."""
        return self.objects[0].score if self.objects else None

    def text(self) -> str:
        """The ``message`` of the service: a sentence, a line end, a line of JSON."""
        line = json.dumps({"success": self.success, "reason": self.reason,
                           "objects": [found.document() for found in self.objects]})
        return f"{one_line(self.reason)}\n{line}"

    @classmethod
    def read(cls, text: str) -> PoseAnswer:
        """From what :meth:`text` made; :class:`AnswerError` where it is something else."""
        _, _, line = text[:_LONGEST].partition("\n")
        try:
            document = json.loads(line)
            return cls(bool(document["success"]), one_line(str(document["reason"])),
                       tuple(FoundObject.read(found) for found in document["objects"]))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise AnswerError(f"the answer cannot be read ({type(error).__name__}): its second line must be the JSON "
                              "that ~/estimate of pose_node writes; are client and node of one version?") from error


def _known(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _array(values: list, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(values, dtype=np.float64).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError("not finite")
    return array
