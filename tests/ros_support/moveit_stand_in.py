# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the message classes of MoveIt, where they are not installed: fields and constants of the .msg files.

moveit_msgs/msg/CollisionObject (branch ros2), shape_msgs/msg/SolidPrimitive, object_recognition_msgs/msg/ObjectType.
As classes of rosidl they take their fields by keyword only, refuse any other name, and have ``byte`` as bytes.
"""

from __future__ import annotations

import importlib.util
import sys
import types

from geometry_msgs.msg import Polygon, Pose
from std_msgs.msg import Header


class Message:
    """Fields with defaults; whatever else is set or given is an error, as in a class of rosidl."""

    FIELDS: dict[str, type] = {}

    def __init__(self, **fields) -> None:
        assert set(fields) <= set(self.FIELDS), f"no field {set(fields) - set(self.FIELDS)}"
        for name, kind in self.FIELDS.items():
            setattr(self, name, fields.get(name, kind()))

    def __setattr__(self, name: str, value) -> None:
        if name not in self.FIELDS:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        assert isinstance(value, self.FIELDS[name]), f"{name} is {type(value).__name__}"
        object.__setattr__(self, name, value)


class Byte(bytes):
    """``byte`` of a .msg file: bytes of length one."""

    def __new__(cls, value: bytes = b"\0") -> Byte:
        return super().__new__(cls, value)


class ObjectType(Message):
    FIELDS = {"key": str, "db": str}


class SolidPrimitive(Message):
    BOX, SPHERE, CYLINDER, CONE, PRISM = 1, 2, 3, 4, 5
    BOX_X, BOX_Y, BOX_Z, SPHERE_RADIUS, CYLINDER_HEIGHT, CYLINDER_RADIUS = 0, 1, 2, 0, 0, 1
    FIELDS = {"type": int, "dimensions": list, "polygon": Polygon}

    def __setattr__(self, name: str, value) -> None:
        assert name != "dimensions" or (len(value) <= 3 and all(isinstance(v, float) for v in value))
        super().__setattr__(name, value)


class CollisionObject(Message):
    ADD, REMOVE, APPEND, MOVE = Byte(b"\0"), Byte(b"\1"), Byte(b"\2"), Byte(b"\3")
    FIELDS = {"header": Header, "pose": Pose, "id": str, "type": ObjectType, "primitives": list,
              "primitive_poses": list, "meshes": list, "mesh_poses": list, "planes": list, "plane_poses": list,
              "subframe_names": list, "subframe_poses": list, "operation": Byte}


def modules() -> dict[str, types.ModuleType]:
    """What goes into ``sys.modules``."""
    found = {}
    for package, kind in (("moveit_msgs", CollisionObject), ("object_recognition_msgs", ObjectType),
                          ("shape_msgs", SolidPrimitive)):
        found[package], found[f"{package}.msg"] = types.ModuleType(package), types.ModuleType(f"{package}.msg")
        found[package].msg = found[f"{package}.msg"]
        setattr(found[f"{package}.msg"], kind.__name__, kind)
    return found


def installed(monkeypatch) -> None:
    """As if the packages were installed."""
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)


def missing(monkeypatch) -> None:
    """As if they were not, whatever this machine has."""
    for name in modules():
        monkeypatch.setitem(sys.modules, name, None)


def absent() -> bool:
    """Whether this machine really has no MoveIt."""
    return importlib.util.find_spec("moveit_msgs") is None
