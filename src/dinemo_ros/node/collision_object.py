# SPDX-License-Identifier: Apache-2.0
"""The objects as obstacles of MoveIt's planning scene: moveit_msgs/CollisionObject from pose and size.

MoveIt is no dependency of this package: its messages are looked up when they are asked for, and everything else works
without them. ``move_group`` listens on the topic ``collision_object``.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from ..errors import DinemoError
from ..geometry import rotation_angle, se3
from ..model.bundle import Card
from ..model.grasps import Grasp
from ..model.symmetry import Symmetry, knows_azimuth
from ..pose import ObjectPose
from .conversions import nanoseconds, pose_message

TOPIC = "collision_object"
# An obstacle that changes by less is not sent again at once: MoveIt updates its whole scene for every one that it gets.
_MOVED_M, _TURNED_RAD, _GREW = 0.003, math.radians(2.0), 0.02
_AGAIN_NS = 1_000_000_000  # but after a second, for a planner that was started later
_HANDLE_WIDTH = 0.3  # of a handle's box along y, of the body's width; handles of rendered mugs are 4 to 9 % wide
_DEPTH = 100  # of the queue: more than there are objects


class MoveItMissingError(DinemoError):
    """The message packages of MoveIt are not installed and are asked for."""


def moveit_messages() -> SimpleNamespace:
    """The classes CollisionObject, ObjectType and SolidPrimitive, by name.

    Raises:
        MoveItMissingError: a package that has one of them is not installed.
    """
    places = {"CollisionObject": "moveit_msgs", "ObjectType": "object_recognition_msgs", "SolidPrimitive": "shape_msgs"}
    found = {}
    for name, package in places.items():
        try:
            found[name] = getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError) as error:
            raise MoveItMissingError(f"publish_collision_objects is true and {package} is not installed, so there are "
                                     "no collision objects: install it (apt: ros-$ROS_DISTRO-moveit-msgs), or set "
                                     "publish_collision_objects to false") from error
    return SimpleNamespace(**found)


@dataclass(frozen=True)
class Solid:
    """A primitive of an object.

    Attributes:
        kind: "BOX" or "CYLINDER", the name of the constant in shape_msgs/SolidPrimitive.
        dimensions: metres; of a box along x, y, z, of a cylinder its height and radius.
        T_obj_solid: [4, 4] from the solid's own frame, in its middle, to the object's.
    """

    kind: str
    dimensions: tuple[float, ...]
    T_obj_solid: np.ndarray


def solids(symmetry: Symmetry, pose: ObjectPose) -> list[Solid]:
    """What an object of the pose's size takes up.

    A category with an axis is a cylinder about it; where a part of it (a cup's handle, along +x) tells the turn, a box
    stands for that part, and where the turn is not known the cylinder reaches as far as the part, wherever it is.
    Everything else is a box.
    """
    length, width, height = (float(value) for value in pose.size)
    if symmetry.axis != "z" or symmetry.order > 1:
        return [Solid("BOX", (length, width, height), np.eye(4))]
    if symmetry.continuous:
        return [Solid("CYLINDER", (height, max(length, width) / 2.0), np.eye(4))]
    radius, reach = width / 2.0, length - width / 2.0  # the origin is on the axis: the body ends at -radius
    if reach <= radius:
        return [Solid("CYLINDER", (height, radius), np.eye(4))]
    if not knows_azimuth(pose.covariance, pose.T_cam_obj[:3, :3]):
        return [Solid("CYLINDER", (height, reach), np.eye(4))]
    middle = se3(np.eye(3), np.array([(radius + reach) / 2.0, 0.0, 0.0]))
    return [Solid("CYLINDER", (height, radius), np.eye(4)),
            Solid("BOX", (reach - radius, _HANDLE_WIDTH * width, height), middle)]


def collision_object(messages: SimpleNamespace, header: Header, name: str, pose: ObjectPose, shapes: Sequence[Solid],
                     grasps: Sequence[Grasp] = ()) -> Any:
    """moveit_msgs/CollisionObject that adds the object, or replaces the one of that name.

    Its subframes are the grasps: MoveIt plans to ``<name>/<grasp>`` as to any frame.

    Args:
        messages: see :func:`moveit_messages`.
        header: frame and time of ``pose``. name: in the planning scene.
    """
    message = messages.CollisionObject(header=header, id=name, pose=pose_message(pose.T_cam_obj))
    message.type = messages.ObjectType(key=pose.category)
    for solid in shapes:
        kind = getattr(messages.SolidPrimitive, solid.kind)
        message.primitives.append(messages.SolidPrimitive(type=kind, dimensions=list(solid.dimensions)))
        message.primitive_poses.append(pose_message(solid.T_obj_solid))
    message.subframe_names = [grasp.name for grasp in grasps]
    message.subframe_poses = [pose_message(grasp.T_obj_grasp) for grasp in grasps]
    message.operation = messages.CollisionObject.ADD
    return message


@dataclass(frozen=True)
class _Sent:
    """What the planning scene has of an object, and when the object was last seen, nanoseconds."""

    header: Header
    pose: ObjectPose
    shapes: list[Solid]
    grasps: tuple[str, ...]
    seen_ns: int


class CollisionObjects:
    """Keeps MoveIt's planning scene as the images have it: adds what is seen, removes what is gone."""

    def __init__(self, node: Node, card: Card) -> None:
        """MoveItMissingError where its messages are not installed."""
        self._messages = moveit_messages()
        self._node, self._card = node, card
        self._publisher = node.create_publisher(self._messages.CollisionObject, TOPIC, QoSProfile(depth=_DEPTH))
        self._sent: dict[str, _Sent] = {}

    def publish(self, header: Header, names: Sequence[str], poses: Sequence[ObjectPose],
                grasps: Sequence[Sequence[Grasp]], lifetime_s: float) -> None:
        """Send what is new or has moved, everything else once a second, and the removal of what is gone.

        Args:
            header: of the poses. names: of the objects' frames. grasps: per object.
            lifetime_s: seconds without being seen after which an object is gone; 0: never.
        """
        now = nanoseconds(header.stamp)
        for name, pose, of_object in zip(names, poses, grasps, strict=True):
            seen = _Sent(header, pose, solids(self._card.symmetry, pose), tuple(g.name for g in of_object), now)
            before = self._sent.get(name)
            if before is None or _differs(before, seen) or now - nanoseconds(before.header.stamp) >= _AGAIN_NS:
                self._publisher.publish(collision_object(self._messages, header, name, pose, seen.shapes, of_object))
                self._sent[name] = seen
            else:  # what the scene has stays what the next one is compared with
                self._sent[name] = _Sent(before.header, before.pose, before.shapes, before.grasps, now)
        for name, sent in [*self._sent.items()]:
            if name not in names and lifetime_s > 0 and not 0 <= now - sent.seen_ns <= lifetime_s * 1e9:
                self._remove(name)

    def clear(self) -> None:
        """Take everything out of the planning scene."""
        for name in [*self._sent]:
            self._remove(name)

    def destroy(self) -> None:
        """Take the publisher off the graph."""
        self._node.destroy_publisher(self._publisher)

    def _remove(self, name: str) -> None:
        header = self._sent.pop(name).header
        message = self._messages.CollisionObject(header=header, id=name, pose=Pose())
        message.operation = self._messages.CollisionObject.REMOVE
        self._publisher.publish(message)


def _differs(before: _Sent, now: _Sent) -> bool:
    """Whether the planning scene has to hear of it."""
    if before.header.frame_id != now.header.frame_id or before.grasps != now.grasps:
        return True
    if [solid.kind for solid in before.shapes] != [solid.kind for solid in now.shapes]:
        return True
    T_before, T_now = before.pose.T_cam_obj, now.pose.T_cam_obj
    if np.linalg.norm(T_now[:3, 3] - T_before[:3, 3]) > _MOVED_M:
        return True
    if rotation_angle(T_before[:3, :3], T_now[:3, :3]) > _TURNED_RAD:
        return True
    sizes = [np.concatenate([solid.dimensions for solid in sent.shapes]) for sent in (before, now)]
    return bool(np.any(np.abs(sizes[1] - sizes[0]) > _GREW * sizes[0]))
