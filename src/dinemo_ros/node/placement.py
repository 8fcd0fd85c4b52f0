# SPDX-License-Identifier: Apache-2.0
"""The frame that answers are published in: the image's own, or the one that the robot plans in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..pose import ObjectPose
from .message_classes import Header


@dataclass(frozen=True)
class Placement:
    """Header of everything that is published about one image, and the way of a pose into its frame.

    Attributes:
        header: the image's stamp, and the frame.
        T_out_cam: [4, 4] metres, camera's optical frame to that frame; None where both are one.
    """

    header: Header
    T_out_cam: np.ndarray | None = None

    def placed(self, pose: ObjectPose) -> ObjectPose:
        """``pose`` in the frame of the header, its covariance about that frame's axes, its runners-up with it."""
        T = self.T_out_cam
        if T is None:
            return pose
        rotate = np.zeros((6, 6))
        rotate[:3, :3] = rotate[3:, 3:] = T[:3, :3]  # positions and rotation vectors both turn with the axes
        return replace(pose, T_cam_obj=T @ pose.T_cam_obj, covariance=rotate @ pose.covariance @ rotate.T,
                       runners_up=tuple(replace(other, T_cam_obj=T @ other.T_cam_obj) for other in pose.runners_up))


def default_prefix(namespace: str) -> str:
    """What stands before the child frames of a node in ``namespace``: ``robot1/`` for /robot1, nothing for the root.

    TF knows no namespaces: two nodes of one category, each in its own, would publish one frame.
    """
    name = namespace.strip("/")
    return f"{name}/" if name else ""


def child_frame(prefix: str, pose: ObjectPose, rank: int) -> str:
    """Name of an object's frame; tf2 takes none that begins with a slash."""
    return f"{prefix}{pose.category}_{rank if pose.track_id is None else pose.track_id}".lstrip("/")
