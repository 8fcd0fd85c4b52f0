# SPDX-License-Identifier: Apache-2.0
"""What a gripper and its planner get beside the poses, when they ask for it: grasp frames and collision objects."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from std_msgs.msg import Header

from ..camera.pinhole import Camera
from ..drawing.grasps import draw_grasps
from ..model.bundle import Card
from ..model.grasps import grasp_frames
from ..pose import ObjectPose
from .collision_object import CollisionObjects
from .grasp_transforms import grasp_transforms


class GripperOutputs:
    """Of a configured pose node, beside its other publishers."""

    def __init__(self, node: Node, card: Card) -> None:
        """MoveItMissingError where collision objects are asked for and MoveIt's messages are not installed."""
        self._card = card
        wanted = node.get_parameter("publish_collision_objects").value
        self._collisions = CollisionObjects(node, card) if wanted else None

    def transforms(self, header: Header, frames: Sequence[str], poses: Sequence[ObjectPose],
                   settings: SimpleNamespace) -> list[TransformStamped]:
        """The frames of TF below the objects' ``frames``; none unless ``publish_grasps`` is set."""
        if not settings.publish_grasps:
            return []
        return [transform for frame, pose in zip(frames, poses, strict=True)
                for transform in grasp_transforms(header, frame, grasp_frames(self._card, pose))]

    def publish(self, header: Header, frames: Sequence[str], poses: Sequence[ObjectPose],
                settings: SimpleNamespace) -> None:
        """Bring MoveIt's planning scene up to date, where that is asked for; also where nothing is seen."""
        if self._collisions:
            grasps = [grasp_frames(self._card, pose) for pose in poses]
            self._collisions.publish(header, frames, poses, grasps, settings.collision_object_lifetime_s)

    def draw(self, picture: np.ndarray, camera: Camera, poses: Sequence[ObjectPose],
             settings: SimpleNamespace) -> np.ndarray:
        """``picture`` uint8 [H, W, 3] RGB with the grasps that are frames of TF; ``poses`` in the camera's frame."""
        if settings.publish_grasps:
            for pose in poses:
                picture = draw_grasps(picture, camera, pose.T_cam_obj, grasp_frames(self._card, pose))
        return picture

    def clear(self) -> None:
        """Leave nothing in the planning scene: the node stops looking."""
        if self._collisions:
            self._collisions.clear()

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        if self._collisions:
            self._collisions.destroy()
