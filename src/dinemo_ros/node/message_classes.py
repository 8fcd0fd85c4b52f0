# SPDX-License-Identifier: Apache-2.0
"""The message classes of ROS 2, or where it is not installed stand-ins of the same fields.

So what builds messages from poses serves the nodes and also whoever writes them into a bag without ROS; both say the
same. Whatever publishes or subscribes needs ROS's own and imports them from there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..io.bag_types import stand_in

_PACKAGES = {
    "builtin_interfaces": ("Duration", "Time"),
    "geometry_msgs": ("Point", "Pose", "PoseStamped", "PoseWithCovariance", "PoseWithCovarianceStamped", "Quaternion",
                      "TransformStamped", "Vector3"),
    "sensor_msgs": ("CameraInfo", "CompressedImage", "Image"),
    "std_msgs": ("ColorRGBA", "Header"),
    "tf2_msgs": ("TFMessage",),
    "vision_msgs": ("BoundingBox2D", "Detection2D", "Detection2DArray", "Detection3D", "Detection3DArray",
                    "ObjectHypothesisWithPose"),
    "visualization_msgs": ("Marker", "MarkerArray"),
}
_HOMES = {name: package for package, names in _PACKAGES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The class of that name; AttributeError for one that is not listed above."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no message class {name!r}")
    try:
        return getattr(import_module(f"{_HOMES[name]}.msg"), name)
    except ImportError:
        return stand_in(f"{_HOMES[name]}/msg/{name}")
