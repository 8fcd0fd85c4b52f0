# SPDX-License-Identifier: Apache-2.0
"""Message types of ROS 2 where ROS 2 is not installed: their fields, and their bytes (CDR) as they stand in a bag.

``rosbags`` knows the common types; those of ``vision_msgs`` are added here. A message that is written is any object
with the fields of its type: one of ROS 2's own classes, or of those that :func:`stand_in` makes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DatasetError
from .quoting import shown

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

# As vision_msgs 4 has them, since Humble; tests compare their hashes with those of the installed packages.
_VISION = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Detection2D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
                   "vision_msgs/BoundingBox2D bbox\nstring id",
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
    "Detection3D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
                   "vision_msgs/BoundingBox3D bbox\nstring id",
    "Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections",
}
_ZEROS = {"string": "", "bool": False, "float32": 0.0, "float64": 0.0}  # of all other basic types 0
_DEFAULTS = {("geometry_msgs/msg/Quaternion", "w"): 1.0}  # the one default of these types that is not zero or empty


@functools.cache
def typestore() -> Typestore:
    """All types that a bag of ours holds.

    Raises:
        DatasetError: ``rosbags`` is not installed.
    """
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise DatasetError("writing a bag needs the rosbags library: pip install rosbags") from error
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in _VISION.items():
        store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    return store


@functools.cache
def stand_in(msgtype: str) -> type:
    """A class of the fields, defaults and constants of a message type, made like ROS 2's: ``Point(x=1.0)``.

    Raises:
        DatasetError: as for :func:`typestore`.
    """
    constants, fields = typestore().fielddefs[msgtype]
    names = [name for name, _ in fields]

    def __init__(self: Any, **given: Any) -> None:
        if unknown := set(given) - set(names):
            raise AttributeError(f"{shown(msgtype)} has no field {', '.join(sorted(unknown))}")
        for name, kind in fields:
            setattr(self, name, given[name] if name in given else _default(msgtype, name, kind))

    return type(msgtype.rpartition("/")[2], (), {"__init__": __init__, "__slots__": names, "__doc__": msgtype,
                                                  **{name: value for name, _, value in constants}})


def _default(msgtype: str, name: str, kind: tuple) -> Any:
    from rosbags.interfaces import Nodetype

    node, of = kind
    if node == Nodetype.NAME:
        return stand_in(of)()
    if node == Nodetype.BASE:
        return _DEFAULTS.get((msgtype, name), _ZEROS.get(of[0], 0))
    return [_default(msgtype, name, of[0]) for _ in range(of[1])] if node == Nodetype.ARRAY else []


def to_cdr(message: object, msgtype: str) -> bytes:
    """The bytes of a message, of whatever class it is, that has the fields of ``msgtype``."""
    return bytes(typestore().serialize_cdr(_filler(msgtype)(message), msgtype))


@functools.cache
def _filler(msgtype: str) -> Callable[[Any], object]:
    """What makes the same message of the class that ``rosbags`` has; made once per type, as a mesh has thousands of
    points."""
    made, fields = typestore().types[msgtype], typestore().fielddefs[msgtype][1]
    of_each = [(name, _of_field(kind)) for name, kind in fields]

    def filled(message: Any) -> object:
        return made(*[getattr(message, name) if of_value is None else of_value(getattr(message, name))
                      for name, of_value in of_each])

    return filled


def _of_field(kind: tuple) -> Callable[[Any], Any] | None:
    """What a field's value has to go through; None: nothing."""
    from rosbags.interfaces import Nodetype

    node, of = kind
    if node == Nodetype.BASE:
        return None
    if node == Nodetype.NAME:
        return _filler(of)
    item, base = of[0]
    if item == Nodetype.NAME:
        filler = _filler(base)
        return lambda values: [filler(one) for one in values]
    return list if base[0] == "string" else lambda values: np.asarray(values, base[0])
