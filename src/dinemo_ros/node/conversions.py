# SPDX-License-Identifier: Apache-2.0
"""Between ROS messages and the package's own types. No decisions here, only conversions."""

from __future__ import annotations

import math
from array import array

import numpy as np

from ..camera.pinhole import Camera
from ..io.image_codec import decode_compressed, decode_image, peek_size
from ..io.picture_header import require_size
from ..io.sample_range import SampleRange
from ..pose import Hypothesis, ObjectPose
from .message_classes import (
    CameraInfo,
    CompressedImage,
    Detection3D,
    Detection3DArray,
    Header,
    Image,
    ObjectHypothesisWithPose,
    Point,
    Pose,
    PoseStamped,
    PoseWithCovariance,
    PoseWithCovarianceStamped,
    Quaternion,
    Time,
    TransformStamped,
    Vector3,
)

#: First entry of a covariance that is not known, as in sensor_msgs/Imu.
_UNKNOWN_COVARIANCE = [-1.0] + [0.0] * 35


def nanoseconds(stamp: Time) -> int:
    """builtin_interfaces/Time as integer nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def image_to_rgb(message: Image | CompressedImage, samples: SampleRange | None = None) -> np.ndarray:
    """RGB uint8 [H, W, 3]; :class:`ImageError` on anything that is not such an image.

    ``samples`` is of the topic: whoever keeps one has all 16-bit images of a stream scaled alike.
    """
    if isinstance(message, CompressedImage):
        return decode_compressed(message.format, message.data, samples)
    return decode_image(message.encoding, message.height, message.width, message.step, message.data,
                        bool(message.is_bigendian), samples)


def stated_size(message: Image | CompressedImage) -> tuple[int, int] | None:
    """(width, height) in pixels before anything is decoded; None of a compressed picture without a header.

    :class:`ImageError` for a size that no picture has.
    """
    if isinstance(message, CompressedImage):
        size = peek_size(message.format, message.data)
    else:
        size = message.width, message.height
    if size is not None:
        require_size(*size)
    return size


def rgb_to_image(header: Header, rgb: np.ndarray) -> Image:
    """sensor_msgs/Image, rgb8, of uint8 [H, W, 3]."""
    # array('B') filled through a memoryview: an ndarray or a list assigned to data takes 100 ms and more.
    data = array("B")
    data.frombytes(np.ascontiguousarray(rgb).data.cast("B"))
    height, width = rgb.shape[:2]
    return Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width, data=data)


def depth_to_image(header: Header, millimetres: np.ndarray) -> Image:
    """sensor_msgs/Image, 16UC1, of uint16 [H, W], 0 where nothing was measured."""
    data = array("B")
    data.frombytes(np.ascontiguousarray(millimetres, dtype="<u2").data.cast("B"))
    height, width = millimetres.shape
    return Image(header=header, height=height, width=width, encoding="16UC1", step=2 * width, data=data)


def camera_to_info(header: Header, camera: Camera) -> CameraInfo:
    """CameraInfo of a camera; P is K, as for a monocular camera."""
    P = np.hstack([camera.K, np.zeros((3, 1))])
    return CameraInfo(header=header, width=camera.width, height=camera.height, k=camera.K.ravel().tolist(),
                      d=list(camera.distortion) or [0.0] * 5, distortion_model=camera.distortion_model or "plumb_bob",
                      r=np.eye(3).ravel().tolist(), p=P.ravel().tolist())


def quaternion_from_rotation(R: np.ndarray) -> tuple[float, float, float, float]:
    """(x, y, z, w) with w >= 0 of a rotation matrix [3, 3], by the largest component (Shepperd 1978)."""
    squares = 0.25 * np.maximum(0.0, 1.0 + np.array([R[0, 0] - R[1, 1] - R[2, 2], R[1, 1] - R[0, 0] - R[2, 2],
                                                     R[2, 2] - R[0, 0] - R[1, 1], R[0, 0] + R[1, 1] + R[2, 2]]))
    largest = int(np.argmax(squares))
    pivot = math.sqrt(squares[largest])
    sums = {(0, 1): R[1, 0] + R[0, 1], (0, 2): R[0, 2] + R[2, 0], (1, 2): R[2, 1] + R[1, 2],
            (0, 3): R[2, 1] - R[1, 2], (1, 3): R[0, 2] - R[2, 0], (2, 3): R[1, 0] - R[0, 1]}
    q = np.array([pivot if i == largest else sums[min(i, largest), max(i, largest)] / (4.0 * pivot)
                  for i in range(4)])
    q *= (-1.0 if q[3] < 0 else 1.0) / np.linalg.norm(q)
    return float(q[0]), float(q[1]), float(q[2]), float(q[3])


def pose_message(T_cam_obj: np.ndarray) -> Pose:
    """geometry_msgs/Pose of a transform [4, 4]."""
    x, y, z = (float(v) for v in T_cam_obj[:3, 3])
    qx, qy, qz, qw = quaternion_from_rotation(T_cam_obj[:3, :3])
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def pose_stamped(header: Header, pose: ObjectPose) -> PoseStamped:
    """The object's pose in the frame and at the time of ``header``, which is the image's."""
    return PoseStamped(header=header, pose=pose_message(pose.T_cam_obj))


def pose_with_covariance_stamped(header: Header, pose: ObjectPose) -> PoseWithCovarianceStamped:
    """:func:`pose_stamped` with what is not known of it."""
    return PoseWithCovarianceStamped(header=header, pose=PoseWithCovariance(
        pose=pose_message(pose.T_cam_obj), covariance=_covariance(pose)))


def _covariance(pose: ObjectPose) -> list[float]:
    """[36] by rows, as geometry_msgs/PoseWithCovariance has it."""
    return np.asarray(pose.covariance, dtype=np.float64).ravel().tolist()


def transform_between(header: Header, child_frame: str, T_parent_child: np.ndarray) -> TransformStamped:
    """``child_frame`` at the transform [4, 4], metres, in the frame and at the time of ``header``."""
    message = TransformStamped(header=header, child_frame_id=child_frame)
    p = pose_message(T_parent_child)
    message.transform.translation = Vector3(x=p.position.x, y=p.position.y, z=p.position.z)
    message.transform.rotation = p.orientation
    return message


def transform_message(header: Header, child_frame: str, pose: ObjectPose) -> TransformStamped:
    """``child_frame`` at the object, in the frame and at the time of ``header``, which is the image's."""
    return transform_between(header, child_frame, pose.T_cam_obj)


def detections_message(header: Header, poses: list[ObjectPose], ids: list[str]) -> Detection3DArray:
    """One Detection3D per object; results[0] is the answer, the following ones its runner-up hypotheses."""
    detections = []
    for pose, identity in zip(poses, ids, strict=True):
        detection = Detection3D(header=header, id=identity)
        detection.bbox.center = pose_message(pose.T_cam_obj)
        detection.bbox.size = Vector3(x=float(pose.size[0]), y=float(pose.size[1]), z=float(pose.size[2]))
        detection.results = [_hypothesis(pose, pose.category, _covariance(pose))]
        detection.results += [_hypothesis(other, pose.category, _UNKNOWN_COVARIANCE) for other in pose.runners_up]
        detections.append(detection)
    return Detection3DArray(header=header, detections=detections)


def _hypothesis(hypothesis: Hypothesis, category: str, covariance: list[float]) -> ObjectHypothesisWithPose:
    message = ObjectHypothesisWithPose()
    message.hypothesis.class_id, message.hypothesis.score = category, float(hypothesis.score)
    message.pose = PoseWithCovariance(pose=pose_message(hypothesis.T_cam_obj), covariance=covariance)
    return message
