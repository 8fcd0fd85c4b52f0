# SPDX-License-Identifier: Apache-2.0
"""The grasps of an object as frames of TF, below the frame of the object.

A planner asks TF where the gripper has to go, in whatever frame it plans, and needs nothing of this package. RViz shows
the frames as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from ..model.grasps import Grasp
from .conversions import transform_between

#: What stands behind the name of a grasp's frame where the gripper waits.
PREGRASP = "pregrasp"


def grasp_transforms(header: Header, object_frame: str, grasps: Sequence[Grasp]) -> list[TransformStamped]:
    """Two frames per grasp, ``<object frame>/<grasp>`` and ``<object frame>/<grasp>/pregrasp``.

    Both are children of the object's frame: whoever drops one of them loses no other. Slashes inside a name are no
    namespace to tf2, and MoveIt calls the subframes of a collision object likewise.

    Args:
        header: of the object's own transform; only its stamp is taken.
        object_frame: child frame of that transform.
        grasps: of the object, as the bundle's card has them at its size.
    """
    frames: list[tuple[str, np.ndarray]] = []
    for grasp in grasps:
        name = f"{object_frame}/{grasp.name}"
        frames += [(name, grasp.T_obj_grasp), (f"{name}/{PREGRASP}", grasp.T_obj_pregrasp)]
    below = Header(stamp=header.stamp, frame_id=object_frame)
    return [transform_between(below, name, T) for name, T in frames]
