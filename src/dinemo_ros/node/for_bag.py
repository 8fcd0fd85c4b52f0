# SPDX-License-Identifier: Apache-2.0
"""What the pose node says about one image, for whoever writes it into a bag: the same messages, without ROS.

Those of a node in the root namespace with its default parameters: the image's own frame, markers as meshes, a frame of
TF per object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..detection.labelled_box import LabelledBox
from ..model.bundle import Bundle
from ..pose import ObjectPose
from . import conversions
from .boxes import boxes_message
from .markers import MarkerMaker
from .message_classes import Header, TFMessage
from .placement import child_frame

_MARKER_STYLE, _MARKER_LIFETIME_S = "mesh", 1.0  # defaults of the parameters
#: Topics and types, in the order in which the messages of an image are written.
TOPICS = {
    "/detections": "vision_msgs/msg/Detection3DArray",
    "/pose": "geometry_msgs/msg/PoseStamped",
    "/pose_with_covariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/markers": "visualization_msgs/msg/MarkerArray",
    "/boxes": "vision_msgs/msg/Detection2DArray",
}


def header_of(stamp: tuple[int, int], frame_id: str) -> Any:
    """std_msgs/Header of a stamp, seconds and nanoseconds, and a frame."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = stamp
    return header


class ImageMessages:
    """Makes the messages, image after image: markers of objects that are gone are removed by the next."""

    def __init__(self, bundle: Bundle) -> None:
        self._markers = MarkerMaker({bundle.card.category: (bundle.mesh, bundle.card.size_prior.mean_m)})

    def of(self, stamp: tuple[int, int], frame_id: str, poses: list[ObjectPose],
           looked: Sequence[LabelledBox]) -> Iterator[tuple[str, Any]]:
        """(topic, message) of what was found in the image of that stamp and frame, best first, and where was looked."""
        header = header_of(stamp, frame_id)
        frames = [child_frame("", pose, rank) for rank, pose in enumerate(poses)]
        yield "/detections", conversions.detections_message(header, poses, frames)
        if poses:
            yield "/pose", conversions.pose_stamped(header, poses[0])
            yield "/pose_with_covariance", conversions.pose_with_covariance_stamped(header, poses[0])
            yield "/tf", TFMessage(transforms=[conversions.transform_message(header, frame, pose)
                                               for frame, pose in zip(frames, poses, strict=True)])
        distances = [float(np.linalg.norm(pose.T_cam_obj[:3, 3])) for pose in poses]
        yield "/markers", self._markers.make(header, poses, distances, _MARKER_STYLE, _MARKER_LIFETIME_S)
        yield "/boxes", boxes_message(header, looked)
