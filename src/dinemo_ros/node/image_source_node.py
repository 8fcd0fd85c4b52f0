# SPDX-License-Identifier: Apache-2.0
"""``image_source_node``: plays a folder, a video or a rosbag2 as ``image`` + ``camera_info``, like a camera driver."""

from __future__ import annotations

import math
import time
from contextlib import closing

import cv2
from builtin_interfaces.msg import Time
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from ..camera.pinhole import Camera
from ..defaults import DEFAULT_HFOV_DEG
from ..errors import CameraError
from ..io.sources import Frame, open_source
from ..io.sources.bag import BagSource
from . import conversions, parameters
from .ending import leave
from .executable import run
from .limited import limited
from .node_log import NodeLog
from .services import BoundedParameterService
from .sim_clock import AGAIN_S, SimClock
from .throttle import Throttle

_WAIT_S = 0.05
_ANSWER_S = 2.0  # how long lockstep waits for an image that is not answered
_REFUSED_PERIOD_S = 5.0  # between two warnings of answers that are not read
_MATCH_S = 0.5  # discovery is two-sided: we know the subscriber before it knows us
_NAMED = 20  # skipped images that are named one by one
_LINGER_S = 0.5  # the last image must leave shared memory before the publisher goes


class ImageSourceNode(Node):
    """See the module; parameters are in :data:`dinemo_ros.node.parameters.IMAGE_SOURCE`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("image_source_node", start_parameter_services=False, **kwargs)
        parameters.declare(self, parameters.IMAGE_SOURCE)
        self._parameter_services = BoundedParameterService(self, fixed=("use_sim_time",))
        settings = self._settings = parameters.read(self, parameters.IMAGE_SOURCE)
        if not settings.path:
            raise parameters.ParameterError("parameter 'path' is empty: give a folder, a video or a rosbag2")
        self._source = open_source(settings.path, fps=settings.rate_hz or None, topic=settings.topic or None,
                                   camera_given=bool(settings.camera_file or settings.hfov_deg))
        self._camera = Camera.from_yaml(settings.camera_file) if settings.camera_file else None
        self._recorded_stamps = settings.stamps == "source" or (
            settings.stamps == "auto" and isinstance(self._source, BagSource))
        # Reliable serves subscribers of either kind; those that ask for best effort get it as such.
        self._images = self.create_publisher(CompressedImage if settings.compressed else Image, "image",
                                             QoSProfile(depth=5))
        self._infos = self.create_publisher(CameraInfo, "camera_info", QoSProfile(depth=10))
        self._answered_ns = -1
        if settings.lockstep:
            self.create_subscription(Detection3DArray, "detections", limited(
                Detection3DArray, "detections", self._on_answer, self._refuse_answer), QoSProfile(depth=10), raw=True)
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)
        self._said_hfov = False
        self._source_notes: set[str] = set()  # that were told
        self._log, self._throttle = NodeLog(self.get_logger()), Throttle()
        SimClock(self, lambda sentence: self._warn("clock", sentence, AGAIN_S))
        self.published = 0

    def play(self) -> None:
        """Publish every frame at its time, once or for ever."""
        self._log.info(f"playing {self._source.description}")
        self._tell_notes()
        while not self._ready():
            self._spin_once(_WAIT_S)
        self._wait_until(time.monotonic() + _MATCH_S)
        while True:
            self._play_once()
            self._tell_notes()
            self._tell_skipped()
            if not self._settings.loop:
                break
        self._wait_until(time.monotonic() + _LINGER_S)
        self._log.info(f"done: {self.published} images published, {len(self._source.skipped)} skipped")

    def _tell_notes(self) -> None:
        """What the source has to say of itself, each sentence once."""
        for sentence in self._source.notes:
            if sentence not in self._source_notes:
                self._source_notes.add(sentence)
                self._log.info(sentence)

    def _tell_skipped(self) -> None:
        skipped = self._source.skipped
        for sentence in skipped[:_NAMED]:
            self._log.warning(f"skipped: {sentence}")
        if len(skipped) > _NAMED:
            self._log.warning(f"skipped: {len(skipped) - _NAMED} more")

    def _ready(self) -> bool:
        seen = self._images.get_subscription_count() > 0 or not self._settings.wait_for_subscriber
        return seen and (not self._settings.lockstep or self.count_publishers("detections") > 0)

    def _refuse_answer(self, topic: str, sentence: str) -> None:
        self._warn("answer", f"{self.resolve_topic_name(topic)}: {sentence}", _REFUSED_PERIOD_S)

    def _warn(self, cause: str, sentence: str, period_s: float) -> None:
        line = self._throttle.let_through(cause, sentence, period_s, time.monotonic())
        if line is not None:
            self._log.warning(line)

    def _on_answer(self, message: Detection3DArray) -> None:
        self._answered_ns = conversions.nanoseconds(message.header.stamp)

    def _play_once(self) -> None:
        start, first_stamp = None, 0.0
        with closing(iter(self._source)) as frames:  # its file, before the interpreter ends
            for index, frame in enumerate(frames):
                if start is None:
                    start, first_stamp = time.monotonic(), frame.stamp_s
                rate = self._settings.rate_hz
                self._wait_until(start + (index / rate if rate else frame.stamp_s - first_stamp))
                self._publish(frame)

    def _wait_until(self, due: float) -> None:
        while (remaining := due - time.monotonic()) > 0:
            self._spin_once(remaining)

    def _spin_once(self, timeout_s: float) -> None:
        self._spinner.spin_once(timeout_s)
        if not self.context.ok():
            raise ExternalShutdownException

    def _publish(self, frame: Frame) -> None:
        header = Header(frame_id=frame.frame_id or self._settings.frame_id, stamp=self._stamp(frame))
        # The camera first: who gets the image has it already.
        self._infos.publish(conversions.camera_to_info(header, self._camera_of(frame)))
        if self._settings.compressed:
            data = cv2.imencode(".jpg", cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
            self._images.publish(CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=data))
        else:
            self._images.publish(conversions.rgb_to_image(header, frame.image_rgb))
        self.published += 1
        if self._settings.lockstep:
            sent, deadline = conversions.nanoseconds(header.stamp), time.monotonic() + _ANSWER_S
            while self._answered_ns != sent and (remaining := deadline - time.monotonic()) > 0:
                self._spin_once(remaining)

    def _stamp(self, frame: Frame) -> Time:
        if not self._recorded_stamps:
            return self.get_clock().now().to_msg()
        nanoseconds = round(frame.stamp_s * 1e9)
        return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)

    def _camera_of(self, frame: Frame) -> Camera:
        """The camera of the file, of a given field of view, of the source, or an assumed one; a file is scaled.

        Raises:
            CameraError: the file is of another shape, or the source's own calibration cannot be used.
        """
        height, width = frame.image_rgb.shape[:2]
        if self._camera:
            return self._told(self._camera.resized(width, height))
        if self._settings.hfov_deg:
            return Camera.from_hfov(width, height, self._settings.hfov_deg)
        if frame.camera and frame.calibrated:
            return self._told(frame.camera)
        if frame.camera_error:
            raise CameraError(f"{self._source.description}: {frame.camera_error}; set the parameter camera_file or "
                              "hfov_deg instead")
        camera = frame.camera or Camera.from_hfov(width, height, DEFAULT_HFOV_DEG)
        if not self._said_hfov:
            self._said_hfov = True
            origin = "taken from its pictures' EXIF data" if frame.camera else "assumed"
            self._log.warning(f"{self._source.description} has no camera: a horizontal field of view of "
                                      f"{camera.hfov_deg:.3g} deg is {origin}; distances depend on it (parameters "
                                      "hfov_deg, camera_file)")
        return camera

    def _told(self, camera: Camera) -> Camera:
        for note in camera.notes:
            self._warn("camera", f"calibration: {note}", math.inf)
        return camera


def main(args: list[str] | None = None) -> int:
    """Play until the end, SIGINT or SIGTERM; 0, or 1 if there is nothing to play."""
    return run("image_source_node", ImageSourceNode, ImageSourceNode.play, args)


if __name__ == "__main__":
    leave(main())
