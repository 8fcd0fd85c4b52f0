# SPDX-License-Identifier: Apache-2.0
"""Everything the node publishes about one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray
from visualization_msgs.msg import MarkerArray

from ..camera.pinhole import Camera
from ..detection.labelled_box import LabelledBox
from ..drawing.overlay import draw_poses
from ..drawing.refused import draw_refused
from ..model.bundle import Bundle
from ..pose import ObjectPose
from . import conversions
from .boxes import boxes_message
from .gripper_outputs import GripperOutputs
from .markers import MarkerMaker
from .placement import Placement, child_frame, default_prefix

try:
    from tf2_ros import TransformBroadcaster
except ImportError:  # ROS 2 from wheels has no tf2_ros

    class TransformBroadcaster:  # type: ignore[no-redef]  # the same, for where the other is missing
        """What tf2_ros.TransformBroadcaster does: TFMessage on /tf, reliable, volatile, depth 100."""

        def __init__(self, node: Node) -> None:
            self._publisher = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))

        def sendTransform(self, transforms: list[TransformStamped]) -> None:
            """Publish ``transforms`` in one message."""
            self._publisher.publish(TFMessage(transforms=transforms))


@dataclass(frozen=True)
class Picture:
    """An image that was answered.

    Attributes:
        header: its own. image: uint8 [H, W, 3] RGB. camera: of it.
        looked: boxes that were looked at, with what became of them. left_out: boxes that were not, with the reason.
    """

    header: Header
    image: np.ndarray
    camera: Camera
    looked: Sequence[LabelledBox] = ()
    left_out: Sequence[LabelledBox] = ()


class Outputs:
    """The publishers of a configured pose node. Costly messages are made only when somebody subscribes."""

    def __init__(self, node: LifecycleNode, bundles: Mapping[str, Bundle], broadcaster: TransformBroadcaster) -> None:
        """``bundles`` by category."""
        self._node, self._tf = node, broadcaster
        self._meshes = {name: bundle.mesh for name, bundle in bundles.items()}
        self._markers_of = MarkerMaker({name: (bundle.mesh, bundle.card.size_prior.mean_m)
                                        for name, bundle in bundles.items()})
        create = node.create_lifecycle_publisher
        self._detections = create(Detection3DArray, "detections", 10)
        self._pose = create(PoseStamped, "pose", 10)
        self._pose_with_covariance = create(PoseWithCovarianceStamped, "pose_with_covariance", 10)
        self._boxes = create(Detection2DArray, "boxes", 10)
        self._markers = create(MarkerArray, "markers", 10)
        self._overlay = create(Image, "overlay", 2)
        self._estimate = create(Detection3DArray, "estimate/detections",
                                QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._grippers = {name: GripperOutputs(node, bundle.card) for name, bundle in bundles.items()}

    def clear(self) -> None:
        """Take back what others would go on believing: the node stops looking."""
        for gripper in self._grippers.values():
            gripper.clear()

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        for publisher in (self._detections, self._pose, self._pose_with_covariance, self._boxes, self._markers,
                          self._overlay, self._estimate):
            self._node.destroy_lifecycle_publisher(publisher)
        for gripper in self._grippers.values():
            gripper.destroy()

    def frames_of(self, poses: list[ObjectPose], settings: SimpleNamespace) -> list[str]:
        """The child frame of each of ``poses``, best first; ranks count per category."""
        prefix = settings.child_frame_prefix or default_prefix(self._node.get_namespace())
        ranks: Counter[str] = Counter()
        frames = []
        for pose in poses:
            frames.append(child_frame(prefix, pose, ranks[pose.category]))
            ranks[pose.category] += 1
        return frames

    def publish_estimate(self, header: Header, poses: list[ObjectPose], settings: SimpleNamespace) -> list[str]:
        """Publish what a request came to, for those who subscribe later as well; the ids of ``poses``."""
        frames = self.frames_of(poses, settings)
        self._estimate.publish(conversions.detections_message(header, poses, frames))
        return frames

    def publish(self, placement: Placement, picture: Picture, poses: list[ObjectPose],
                settings: SimpleNamespace) -> None:
        """Publish ``poses`` (best first, camera's frame) of ``picture`` as ``placement`` has it."""
        header, placed = placement.header, [placement.placed(pose) for pose in poses]
        frames = self.frames_of(poses, settings)
        self._detections.publish(conversions.detections_message(header, placed, frames))
        if placed:
            self._pose.publish(conversions.pose_stamped(header, placed[0]))
            self._pose_with_covariance.publish(conversions.pose_with_covariance_stamped(header, placed[0]))
            if settings.publish_tf:
                self._tf.sendTransform([conversions.transform_message(header, frame, pose)
                                        for frame, pose in zip(frames, placed, strict=True)]
                                       + self._grasp_frames(header, frames, placed, settings))
        for name, gripper in self._grippers.items():
            own = [k for k, pose in enumerate(poses) if pose.category == name]
            gripper.publish(header, [frames[k] for k in own], [placed[k] for k in own], settings)
        if self._boxes.get_subscription_count():
            self._boxes.publish(boxes_message(picture.header, picture.looked))
        if self._markers.get_subscription_count():
            distances = [float(np.linalg.norm(pose.T_cam_obj[:3, 3])) for pose in poses]
            self._markers.publish(self._markers_of.make(header, placed, distances, settings.marker_style,
                                                        settings.marker_lifetime_s))
        if self._overlay.get_subscription_count():
            self._overlay.publish(conversions.rgb_to_image(header, self._drawn(picture, poses, settings)))

    def _grasp_frames(self, header: Header, frames: list[str], placed: list[ObjectPose],
                      settings: SimpleNamespace) -> list[TransformStamped]:
        """The frames of TF below the objects' own ones."""
        return [transform for frame, pose in zip(frames, placed, strict=True)
                for transform in self._grippers[pose.category].transforms(header, [frame], [pose], settings)]

    def _drawn(self, picture: Picture, poses: list[ObjectPose], settings: SimpleNamespace) -> np.ndarray:
        """uint8 [H, W, 3] RGB."""
        drawn = draw_poses(picture.image, picture.camera, poses, self._meshes)
        for pose in poses:
            drawn = self._grippers[pose.category].draw(drawn, picture.camera, [pose], settings)
        if settings.overlay_refused:
            draw_refused(drawn, [*picture.left_out, *(box for box in picture.looked if box.refused)])
        return drawn
