# SPDX-License-Identifier: Apache-2.0
"""An estimator that finds what a test says, so that the decisions of the tracker can be looked at one by one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.detection.finder import Found
from dinemo_ros.detection.regions import projected_box
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import se3
from dinemo_ros.pose import ObjectPose
from dinemo_ros.verification.spec import PresenceSpec

CAMERA = Camera.from_hfov(400, 240, 60.0)
IMAGE = np.zeros((240, 400, 3), np.uint8)
ACCEPT = 0.4
_CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def pose_at(x: float, z: float, score: float = 0.8, R: np.ndarray | None = None) -> ObjectPose:
    """A cube with sides of a metre."""
    return ObjectPose(se3(np.eye(3) if R is None else R, np.array([x, 0.0, z])), score, np.ones(3), category="cube")


class ScriptedEstimator:
    """The part of a ``PoseEstimator`` that a tracker uses.

    Attributes:
        follows: what :meth:`follow` finds per pose that it is given, in order of their x; None: where it was predicted.
        searches: what :meth:`locate` finds, called with a box; None: nothing.
        followed, searched: how many poses and boxes were asked for since the last :meth:`clear`; ``searched`` holds
            pairs of the box and whether it was a proposal.
    """

    def __init__(self, category: str = "cube") -> None:
        self.bundle = SimpleNamespace(card=SimpleNamespace(category=category, score=SimpleNamespace(accept=ACCEPT),
                                                           presence=PresenceSpec()))
        self.timings: dict[str, float] = {}
        self.follows, self.proposals, self.searches = None, [], lambda box: None
        self.clear()

    def clear(self) -> None:
        self.followed, self.searched, self.detections = 0, [], 0

    def covered(self, pose, camera):
        return projected_box(pose, camera, _CUBE)

    def follow(self, image, camera, poses, support=None, depth=None):
        self.followed += len(poses)
        if self.follows is None:
            return list(poses)
        order = np.argsort([pose.T_cam_obj[0, 3] for pose in poses])
        found = dict(zip(order.tolist(), self.follows, strict=True))
        return [found[k] for k in range(len(poses))]

    def locate(self, image, camera, boxes, proposed=False, support=None, depth=None):
        self.searched += [(tuple(box), proposed) for box in boxes]
        return [self.searches(box) for box in boxes]

    def find(self, image):
        self.detections += 1
        return Found([np.array(box) for box in self.proposals], [None] * len(self.proposals), True)

    refused = PoseEstimator.refused
