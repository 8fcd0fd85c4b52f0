# SPDX-License-Identifier: Apache-2.0
"""What the node knows of an image beside its pixels: depth, the plane under the objects, the frame of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header

from ..camera.pinhole import Camera
from ..errors import CameraError, ImageError, SceneError
from ..io.quoting import quoted
from ..pose import Roi
from ..scene.depth_image import DepthImage
from ..scene.support_plane import SupportPlane
from .conversions import nanoseconds
from .depth_input import TOPIC, DepthError, DepthInput
from .diagnostics import Monitor
from .placement import Placement
from .support import plane_in_depth, told_plane
from .tally import Tally
from .transform_listener import listen
from .transforms import TransformError, Transforms, bare, lookup_within


@dataclass(frozen=True)
class Scene:
    """Of one image; None is what nobody knows."""

    placement: Placement
    support: SupportPlane | None = None
    depth: DepthImage | None = None


@dataclass
class SceneInputs:
    """TF and depth, subscribed to while a parameter or a depth image needs them.

    Their callbacks have groups of their own: the image's callback waits for what they bring.
    """

    node: Node
    monitor: Monitor
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._tf_group, depth_group = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self._groups = self._tf_group, depth_group  # a node remembers its groups weakly
        self._transforms: Transforms | None = None
        self._depth = DepthInput(self.node, depth_group, self._refuse)
        self._warn_period_s = 5.0

    def close(self) -> None:
        """End all subscriptions and forget what came; the counts stay."""
        self._depth.close()
        if self._transforms:
            self._transforms.close()
        self._transforms = None

    def clear(self) -> None:
        """Forget what is of a time that ended, as after a jump of time."""
        self._depth.clear()
        if self._transforms:
            self._transforms.clear()

    def follow(self, settings: SimpleNamespace) -> None:
        """Adapt to the parameters and to what is published now."""
        self._warn_period_s = settings.warn_period_s
        problem = self._depth.follow(settings.use_depth)
        if problem:
            self._refuse(TOPIC, problem)
        needed = bool(settings.target_frame or settings.support_frame or self._depth.elsewhere)
        if needed and self._transforms is None:
            self._transforms = listen(self.node, self._tf_group, self._refuse)
        elif not needed and self._transforms is not None:
            self._transforms.close()
            self._transforms = None

    def of_image(self, header: Header, camera: Camera, rois: Sequence[Roi] | None, settings: SimpleNamespace) -> Scene:
        """What is known of the image with ``header``, ``camera`` and the boxes ``rois`` in its pixels.

        Raises:
            TransformError, DepthError, SceneError: what a parameter asks for is not there or cannot be; a pose without
                it would be another than was asked for.
        """
        placement = self._placement(header, settings)
        depth = self._depth_image(header, camera, settings)
        T_cam_support = None
        if settings.support_frame:
            T_cam_support = self._lookup(header.frame_id, settings.support_frame, nanoseconds(header.stamp),
                                         settings.transform_timeout_s)
        support = told_plane(settings, T_cam_support)
        if support is None and settings.support_from_depth:
            support = self._plane_in_depth(depth, rois, camera)
        return Scene(placement, support, depth)

    def _placement(self, header: Header, settings: SimpleNamespace) -> Placement:
        target = bare(settings.target_frame)
        if target in ("", bare(header.frame_id)):
            return Placement(header)
        T = self._lookup(target, header.frame_id, nanoseconds(header.stamp), settings.transform_timeout_s)
        return Placement(Header(stamp=header.stamp, frame_id=target), T)

    def _lookup(self, target: str, source: str, stamp_ns: int, timeout_s: float) -> np.ndarray:
        if self._transforms is None:  # the parameter was set, or the first depth image came, a moment ago
            raise TransformError(f"TF is not listened to yet, frame {quoted(bare(target))} is not known",
                                 may_come=False)
        return lookup_within(self._transforms, target, source, stamp_ns, timeout_s, self.node.context.ok)

    def _depth_image(self, header: Header, camera: Camera, settings: SimpleNamespace) -> DepthImage | None:
        """The depth image of this image. A pose can do without, unless ``use_depth`` is always: then DepthError."""
        must = settings.use_depth == "always"
        if not self._depth.in_use:
            if must:
                raise DepthError("nobody publishes it, and use_depth is 'always': start the depth camera, or remap "
                                 "depth/image")
            return None
        try:
            depth = self._depth.of_image(header, camera, settings, lambda target, source, stamp_ns: self._lookup(
                target, source, stamp_ns, settings.transform_timeout_s))
        except (ImageError, CameraError, SceneError, TransformError) as error:
            if must:
                raise DepthError(f"{error}; use_depth is 'always'") from error
            self._refuse(TOPIC, f"{error}; this image is worked on without depth")
            depth = None
        else:
            self.tally.depth(depth is not None)
            self._tell_about(depth, must, settings)
        return depth

    def _tell_about(self, depth: DepthImage | None, must: bool, settings: SimpleNamespace) -> None:
        if depth is None:
            sentence = (f"none came within {settings.depth_timeout_s:g} s for an image, of its time or up to "
                        f"{settings.depth_max_age_s:g} s beside it (parameters depth_timeout_s, depth_max_age_s)")
            if must:
                raise DepthError(f"{sentence}; use_depth is 'always'")
            self._note("depth", f"{sentence}; it is worked on without depth")
        elif depth.note:
            self._note("depth_unit", depth.note)

    def _plane_in_depth(self, depth: DepthImage | None, rois: Sequence[Roi] | None,
                        camera: Camera) -> SupportPlane | None:
        if depth is None or rois == []:
            return None
        plane = plane_in_depth(depth, rois, camera)
        if plane is None:
            self._note("support", "no plane that objects stand on was found in the depth image (parameter "
                       "support_from_depth); this image is worked on without")
        return plane

    def _refuse(self, topic: str, sentence: str) -> None:
        """Of what is not read or not used; the image is answered all the same."""
        cause = "depth" if topic.startswith("depth/") else "transform"
        self.monitor.reject(cause, f"{self.node.resolve_topic_name(topic)}: {sentence}", self._warn_period_s,
                            lost_image=False)

    def _note(self, cause: str, sentence: str) -> None:
        self.monitor.note(cause, f"{self.node.resolve_topic_name(TOPIC)}: {sentence}", self._warn_period_s)
