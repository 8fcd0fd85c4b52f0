# SPDX-License-Identifier: Apache-2.0
"""The topics ``depth/image`` and ``depth/camera_info``: subscribed while they are used, one depth image per image."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ..camera.pinhole import Camera
from ..errors import DinemoError, ImageError, SceneError
from ..io.depth_codec import compressed_depth_size, decode_compressed_depth, decode_depth
from ..io.picture_header import require_size
from ..io.quoting import quoted, shown
from ..scene.depth_image import DepthImage
from .conversions import nanoseconds
from .depth_buffer import DepthBuffer
from .info_subscription import InfoSubscription
from .transforms import bare
from .validation import CameraInfos

TOPIC, INFO_TOPIC = "depth/image", "depth/camera_info"
# Two, because the image's callback may hold the interpreter; what is needed is kept by the buffer.
_NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
# What drivers call the depth that was brought onto the colour camera's pixels, whatever frame they write into it.
_ALIGNED = re.compile(r"(?<!mis)aligned|(?<!un)registered")
Lookup = Callable[[str, str, int], np.ndarray]  # target, source, stamp: T_target_source


class DepthError(DinemoError):
    """No depth image for an image that must have one."""


class DepthInput:
    """Depth images and their camera, while somebody wants them.

    Attributes:
        elsewhere: a depth image of another frame has come, so TF is needed.
    """

    def __init__(self, node: Node, group: CallbackGroup, refuse: Callable[[str, str], None]) -> None:
        """``refuse`` is told topic and sentence of what is not read."""
        self._node, self._group, self._refuse = node, group, refuse
        self._buffer, self._infos = DepthBuffer(), CameraInfos()
        self._images = None
        self._info: InfoSubscription | None = None
        self._subscribed: tuple[type, str] | None = None
        self.elsewhere = False

    @property
    def in_use(self) -> bool:
        """Whether depth images are subscribed to."""
        return self._subscribed is not None

    def clear(self) -> None:
        """Forget the depth images that are kept, as after a jump of time."""
        self._buffer.clear()

    def close(self) -> None:
        """End the subscriptions and forget everything."""
        if self._images:
            self._node.destroy_subscription(self._images)
        if self._info:
            self._info.close()
        self._images = self._info = self._subscribed = None
        self._buffer, self._infos, self.elsewhere = DepthBuffer(), CameraInfos(), False

    def follow(self, use: str) -> str:
        """Adapt to parameter ``use_depth`` and to what is published; what stands in the way, or an empty string."""
        wanted, problem = (None, "") if use == "never" else self._wanted()
        if wanted != self._subscribed:
            self.close()
        if wanted and not self._subscribed:
            kind, topic = wanted
            self._info = InfoSubscription(self._node, INFO_TOPIC, self._group, self._on_info, self._refuse)
            self._images = self._node.create_subscription(kind, topic, self._on_image, _NEWEST,
                                                          callback_group=self._group)
            self._subscribed = wanted
        elif self._info:
            self._info.follow()
        return problem

    def _wanted(self) -> tuple[tuple[type, str] | None, str]:
        """Type and topic to subscribe to, None while nobody publishes; and what is wrong with what is published."""
        topic = self._node.resolve_topic_name(TOPIC)
        here, beside = self._types(topic), f"{topic}/compressedDepth"
        if _RAW in here:
            return (Image, topic), ""
        if _COMPRESSED in here:
            return (CompressedImage, topic), ""
        if _COMPRESSED in self._types(beside):
            return (CompressedImage, beside), ""
        if here:
            return None, (f"it carries {', '.join(shown(name, 80) for name in sorted(here)[:3])} and no depth image: "
                          "remap depth/image to an Image (16UC1, 32FC1) or a CompressedImage")
        return None, ""

    def _types(self, topic: str) -> set[str]:
        return {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}

    def _on_info(self, message: CameraInfo) -> None:
        self._infos.add(message)

    def _on_image(self, message: Image | CompressedImage) -> None:
        problem = self._buffer.add(message)
        if problem:
            self._refuse(TOPIC, problem)

    def of_image(self, header: Header, camera: Camera, settings: SimpleNamespace, lookup: Lookup) -> DepthImage | None:
        """The depth image of the time of ``header``, which is the colour image's; None where none has come.

        Args:
            camera: of the colour image. lookup: asks TF.

        Raises:
            ImageError, CameraError, SceneError, TransformError: it came and cannot be used.
        """
        message = self._buffer.wait_for(nanoseconds(header.stamp), round(settings.depth_max_age_s * 1e9),
                                        settings.depth_timeout_s, self._node.context.ok)
        if message is None:
            return None
        width, height = _stated_size(message)
        aligned = self._is_aligned(header, message)
        own = self._camera(message, width, height, camera if aligned else None, settings)
        T_cam_depth = None if aligned else lookup(header.frame_id, message.header.frame_id,
                                                  nanoseconds(header.stamp))
        return DepthImage.from_array(_decoded(message), own, T_cam_depth)

    def _is_aligned(self, header: Header, message: Image | CompressedImage) -> bool:
        """Whether one pixel of the depth image belongs to one ray of the colour image's."""
        frame = bare(message.header.frame_id)
        aligned = frame in ("", bare(header.frame_id)) or (
            self._subscribed is not None and _ALIGNED.search(self._subscribed[1].lower()) is not None)
        self.elsewhere |= not aligned
        return aligned

    def _camera(self, message: Image | CompressedImage, width: int, height: int, colour: Camera | None,
                settings: SimpleNamespace) -> Camera:
        """Of the depth image; ``colour`` is the camera that it is aligned to, if it is."""
        if len(self._infos):
            rectified = settings.image_is_rectified and colour is not None
            return self._infos.camera(nanoseconds(message.header.stamp), width, height, rectified)
        if colour is not None and (width, height) == (colour.width, colour.height):
            return colour
        raise SceneError(f"no {INFO_TOPIC} has arrived, and the depth image ({width}x{height}, frame "
                         f"{quoted(message.header.frame_id)}) is not of the colour image's size and frame: publish it "
                         "beside the depth images, or align them to the colour image")


def _stated_size(message: Image | CompressedImage) -> tuple[int, int]:
    """(width, height) in pixels before anything is decoded; :class:`ImageError` for a size that no picture has."""
    size = (message.width, message.height) if isinstance(message, Image) else compressed_depth_size(message.data)
    if size is None:
        raise ImageError("the compressed depth image is no PNG: set the transport's format to png, or publish it raw")
    require_size(*size)
    return size


def _decoded(message: Image | CompressedImage) -> np.ndarray:
    """uint16 or float32 [H, W]; :class:`ImageError` on anything that is no depth image."""
    if isinstance(message, CompressedImage):
        return decode_compressed_depth(message.format, message.data)
    return decode_depth(message.encoding, message.height, message.width, message.step, message.data,
                        bool(message.is_bigendian))
