# SPDX-License-Identifier: Apache-2.0
"""Everything the node publishes about one image."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from ..camera.pinhole import Camera
from ..drawing.overlay import draw_poses
from ..model.bundle import Bundle
from ..pose import ObjectPose
from . import conversions
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


class Outputs:
    """The publishers of a configured pose node. Costly messages are made only when somebody subscribes."""

    def __init__(self, node: LifecycleNode, bundle: Bundle, broadcaster: TransformBroadcaster) -> None:
        self._node, self._bundle, self._tf = node, bundle, broadcaster
        self._markers_of = MarkerMaker(bundle.mesh, bundle.card.size_prior.mean_m)
        create = node.create_lifecycle_publisher
        self._detections = create(Detection3DArray, "detections", 10)
        self._pose = create(PoseStamped, "pose", 10)
        self._pose_with_covariance = create(PoseWithCovarianceStamped, "pose_with_covariance", 10)
        self._markers = create(MarkerArray, "markers", 10)
        self._overlay = create(Image, "overlay", 2)
        self._estimate = create(Detection3DArray, "estimate/detections",
                                QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._gripper = GripperOutputs(node, bundle.card)

    def clear(self) -> None:
        """Take back what others would go on believing: the node stops looking."""
        self._gripper.clear()

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        for publisher in (self._detections, self._pose, self._pose_with_covariance, self._markers, self._overlay,
                          self._estimate):
            self._node.destroy_lifecycle_publisher(publisher)
        self._gripper.destroy()

    def frames_of(self, poses: list[ObjectPose], settings: SimpleNamespace) -> list[str]:
        """The child frame of each of ``poses``, best first."""
        prefix = settings.child_frame_prefix or default_prefix(self._node.get_namespace())
        return [child_frame(prefix, pose, rank) for rank, pose in enumerate(poses)]

    def publish_estimate(self, header: Header, poses: list[ObjectPose], settings: SimpleNamespace) -> list[str]:
        """Publish what a request came to, for those who subscribe later as well; the ids of ``poses``."""
        frames = self.frames_of(poses, settings)
        self._estimate.publish(conversions.detections_message(header, poses, frames))
        return frames

    def publish(self, placement: Placement, image: np.ndarray, camera: Camera, poses: list[ObjectPose],
                settings: SimpleNamespace) -> None:
        """Publish ``poses`` (best first, camera's frame) of ``image`` uint8 [H, W, 3] RGB as ``placement`` has it."""
        header, placed = placement.header, [placement.placed(pose) for pose in poses]
        frames = self.frames_of(poses, settings)
        self._detections.publish(conversions.detections_message(header, placed, frames))
        if placed:
            self._pose.publish(conversions.pose_stamped(header, placed[0]))
            self._pose_with_covariance.publish(conversions.pose_with_covariance_stamped(header, placed[0]))
            if settings.publish_tf:
                self._tf.sendTransform([conversions.transform_message(header, frame, pose)
                                        for frame, pose in zip(frames, placed, strict=True)]
                                       + self._gripper.transforms(header, frames, placed, settings))
        self._gripper.publish(header, frames, placed, settings)
        if self._markers.get_subscription_count():
            distances = [float(np.linalg.norm(pose.T_cam_obj[:3, 3])) for pose in poses]
            self._markers.publish(self._markers_of.make(header, placed, distances, settings.marker_style,
                                                        settings.marker_lifetime_s))
        if self._overlay.get_subscription_count():
            drawn = self._gripper.draw(draw_poses(image, camera, poses, self._bundle.mesh), camera, poses, settings)
            self._overlay.publish(conversions.rgb_to_image(header, drawn))
