# SPDX-License-Identifier: Apache-2.0
"""``pose_node``: images in, 6D poses out. A lifecycle node round :class:`dinemo_ros.estimator.PoseEstimator`.

Subscribes ``image`` (Image or CompressedImage), ``camera_info``, optionally ``detections_2d``; publishes ``/tf``,
``detections``, ``pose``, ``markers``, ``overlay``, ``/diagnostics``. It subscribes only while active. An input that
cannot be used is skipped, said once, counted in the diagnostics; the node stays alive.
"""

from __future__ import annotations

import sys
import time
import traceback
from types import SimpleNamespace

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from ..bundle import find_bundle, load_bundle
from ..camera import Camera
from ..errors import DinemoError
from ..estimator import PoseEstimator
from ..pose import ObjectPose
from ..tracker import PoseTracker, Tracking
from . import conversions, parameters
from .diagnostics import Monitor, array_message, cause_of, what_runs
from .executable import run
from .log_bridge import bridge_logging
from .publishers import Outputs, TransformBroadcaster
from .synchronizer import StampMatcher
from .validation import CameraInfos, RestartError, StampOrder, check_frame_id, check_rois

# REP 2003; one image, because with a deeper queue a busy node works on stale ones.
_NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_RECENT = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
_IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_TRANSPORTS = {"raw": Image, "compressed": CompressedImage}
_WATCH_PERIOD_S = 0.25
_UNMATCHED_TOLERATED = 20


class PoseNode(LifecycleNode):
    """See the module; parameters are in :data:`dinemo_ros.node.parameters.POSE_NODE`."""

    def __init__(self, **kwargs) -> None:
        super().__init__("pose_node", **kwargs)
        self._state = "unconfigured"
        parameters.declare(self, parameters.POSE_NODE, is_configured=lambda: self._state in ("inactive", "active"))
        bridge_logging(self.get_logger())
        self._monitor = Monitor(self.get_logger(), f"{self.get_fully_qualified_name().lstrip('/')}: pose estimation")
        self._broadcaster = TransformBroadcaster(self)
        self._estimator: PoseEstimator | None = None
        self._tracker: PoseTracker | None = None  # while tracking
        self._outputs: Outputs | None = None
        self._inputs: list = []
        self._image_input, self._watch_timer = None, None
        self._camera_infos, self._order, self._matcher = CameraInfos(), StampOrder(), StampMatcher()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(self._settings().diagnostics_period_s, self._publish_diagnostics)

    def _settings(self) -> SimpleNamespace:
        return parameters.read(self, parameters.POSE_NODE)

    def _topic(self, name: str) -> str:
        return self.resolve_topic_name(name)

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        settings = self._settings()
        self.get_logger().info("loading the bundle; the first start on a machine also compiles the solver")
        try:
            bundle = load_bundle(settings.bundle or find_bundle(settings.category))
            self._estimator = PoseEstimator(bundle, threads=settings.threads, backend=settings.backend,
                                            precision=settings.precision, engine_cache=settings.engine_cache,
                                            device=settings.device, say=self.get_logger().info)
            self._outputs = Outputs(self, bundle, self._broadcaster)
        except Exception as error:  # rclpy keeps what a transition raises to itself: the node would be dead and silent
            self._release()
            reason = self._sentence(error)
            self.get_logger().error(f"cannot configure: {reason}")
            self._monitor.reject(cause_of(reason), f"cannot configure: {reason}", 0.0, lost_image=False)
            return TransitionCallbackReturn.FAILURE
        self._monitor.hardware_id = f"{bundle.card.category} {bundle.card.version}"
        self._state = "inactive"
        self.get_logger().info(f"configured: {bundle.card.category} {bundle.card.version} from {bundle.path}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._camera_infos, self._order, self._matcher = CameraInfos(), StampOrder(), StampMatcher()
        self._inputs = [
            self.create_subscription(CameraInfo, "camera_info", self._camera_infos.add, _RECENT),
            self.create_subscription(Detection2DArray, "detections_2d", self._on_detections, _RECENT),
        ]
        self._watch_timer = self.create_timer(_WATCH_PERIOD_S, self._watch_inputs)
        self._monitor.start()
        self._state = "active"
        self._watch_inputs()
        self.get_logger().info(f"active: images from {self._topic('image')}, camera from {self._topic('camera_info')}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close_inputs()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_cleanup(state)
        self._release()
        self._state = "unconfigured"
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_shutdown(state)
        self._close_inputs()
        self._release()
        self._state = "finalized"
        return result

    def _release(self) -> None:
        if self._outputs:
            self._outputs.destroy()
        self._outputs = self._estimator = self._tracker = None

    def _close_inputs(self) -> None:
        for subscription in filter(None, [*self._inputs, self._image_input]):
            self.destroy_subscription(subscription)
        self._inputs, self._image_input = [], None
        if self._watch_timer:
            self.destroy_timer(self._watch_timer)
            self._watch_timer = None

    # Inputs

    def _watch_inputs(self) -> None:
        """Subscribe to ``image`` with the type it is published with; say so when nothing comes."""
        settings, topic = self._settings(), self._topic("image")
        wanted = _TRANSPORTS.get(settings.image_transport) or self._published_type(topic, settings)
        if wanted and (self._image_input is None or self._image_input.msg_type is not wanted):
            if self._image_input:
                self.destroy_subscription(self._image_input)
            self._image_input = self.create_subscription(wanted, "image", self._on_image, _NEWEST)
            self.get_logger().info(f"subscribed to {topic} ({wanted.__name__})")
        if self._monitor.waited_s() > settings.stale_after_s:
            publishers = self.count_publishers(topic)
            self._monitor.warn(f"{topic}: no image for {self._monitor.waited_s():.0f} s "
                               f"({publishers} publisher{'s' * (publishers != 1)}), so no pose: is the camera running, "
                               "is the topic remapped?", settings.warn_period_s)
        elif self._matcher.waited_s() > settings.stale_after_s:
            self._reject_waiting(settings)

    def _reject_waiting(self, settings: SimpleNamespace) -> None:
        """Images come and the detections that they wait for do not."""
        topic, matcher = self._topic("detections_2d"), self._matcher
        self._monitor.reject("detections", f"{topic}: {matcher.waiting} images have waited up to "
                             f"{matcher.waited_s():.0f} s for their boxes ({self.count_publishers(topic)} publishers, "
                             f"{matcher.heard} messages with other stamps), so no pose: a detector must answer every "
                             "image with the image's header, without boxes where it sees nothing; rois:=proposals does "
                             "without", settings.warn_period_s, lost_image=False)

    def _published_type(self, topic: str, settings: SimpleNamespace) -> type | None:
        names = {info.topic_type for info in self.get_publishers_info_by_topic(topic)}
        if names and not names & set(_IMAGE_TYPES):
            self._monitor.reject("topic", f"{topic} carries {', '.join(sorted(names))}, so no pose: remap 'image' to "
                                 "an Image or CompressedImage", settings.warn_period_s, lost_image=False)
        return next((kind for name, kind in _IMAGE_TYPES.items() if name in names), None)

    def _uses_detections(self, settings: SimpleNamespace) -> bool:
        return settings.rois == "detections" or (
            settings.rois == "auto" and self.count_publishers(self._topic("detections_2d")) > 0)

    def _on_image(self, message: Image | CompressedImage) -> None:
        settings = self._settings()
        self._monitor.image_received()
        stamp = conversions.nanoseconds(message.header.stamp)
        try:
            self._order.check(stamp, settings.time_jump_s)
        except RestartError as error:
            self._matcher.clear()
            self._reject("image", error, "", settings, lost_image=False)
        except DinemoError as error:
            return self._reject("image", error, "this image is skipped", settings)
        if not self._uses_detections(settings):
            self._matcher.clear()
            return self._process(message, None, settings)
        pair = self._matcher.add_image(stamp, message)
        if pair:
            self._process(*pair, settings)

    def _on_detections(self, message: Detection2DArray) -> None:
        settings = self._settings()
        if not self._uses_detections(settings):
            return
        pair = self._matcher.add_detections(conversions.nanoseconds(message.header.stamp), message)
        if pair:
            self._process(*pair, settings)
        elif self._matcher.unmatched > _UNMATCHED_TOLERATED:
            self._monitor.reject("detections", f"{self._topic('detections_2d')}: the stamps of the last "
                                 f"{self._matcher.unmatched} messages match no image, so no pose: the detector must "
                                 "copy the image's header", settings.warn_period_s, lost_image=False)

    # Work

    def _process(self, message: Image | CompressedImage, detections: Detection2DArray | None,
                 settings: SimpleNamespace) -> None:
        """Estimate and publish one image, or say why not."""
        started, source = time.monotonic(), "image"
        try:
            check_frame_id(message.header)
            image = conversions.image_to_rgb(message)
            source = "camera_info"
            camera = self._camera(message, image, settings)
            source = "image"
            rois = None if detections is None else self._rois(detections, camera, settings)
            poses = self._estimate(image, camera, rois, conversions.nanoseconds(message.header.stamp), settings)
            self._outputs.publish(message.header, image, camera, poses, settings)
        except Exception as error:  # a robot's node must outlive a bug
            return self._reject(source, self._sentence(error), "no pose for this image", settings)
        timings = (self._tracker or self._estimator).timings
        self._monitor.image_done(len(poses), time.monotonic() - started, timings)

    def _camera(self, message, image: np.ndarray, settings: SimpleNamespace) -> Camera:
        height, width = image.shape[:2]
        if not len(self._camera_infos) and settings.default_hfov_deg > 0:
            self._monitor.warn(f"{self._topic('camera_info')}: none has arrived, a horizontal field of view of "
                               f"{settings.default_hfov_deg:g} deg is assumed (parameter default_hfov_deg)", 60.0)
            return Camera.from_hfov(width, height, settings.default_hfov_deg)
        stamp = conversions.nanoseconds(message.header.stamp)
        return self._camera_infos.camera(stamp, width, height, settings.image_is_rectified)

    def _rois(self, detections: Detection2DArray, camera: Camera, settings: SimpleNamespace) -> list:
        boxes = conversions.detections_to_rois(detections, settings.detections_class_id,
                                               settings.detections_min_score)
        good, bad = check_rois(boxes, camera.width, camera.height, camera)
        for error in bad:
            self._reject("detections_2d", error, "this box is skipped", settings, lost_image=False)
        return good

    def _estimate(self, image: np.ndarray, camera: Camera, rois: list | None, stamp_ns: int,
                  settings: SimpleNamespace) -> list[ObjectPose]:
        if settings.tracking:
            if self._tracker is None:
                self._tracker = PoseTracker(self._estimator)
            self._tracker.settings = Tracking(search_every=settings.track_search_every,
                                              max_age_s=settings.track_max_age_s, smoothing=settings.track_smoothing)
            poses = self._tracker.update(image, camera, 1e-9 * stamp_ns, rois)
        else:
            self._tracker = None
            if rois is not None and not rois:
                return []
            poses = self._estimator.estimate(image, camera, rois)
        return [pose for pose in poses if pose.score >= settings.min_score][:settings.max_objects]

    # Reports

    def _sentence(self, error: Exception) -> DinemoError:
        """An error of ours as it is; of a bug its kind and place, with the trace in the log and counted as internal."""
        if isinstance(error, DinemoError):
            return error
        self.get_logger().debug("".join(traceback.format_exception(error)))
        where = traceback.extract_tb(error.__traceback__)[-1]
        return DinemoError(f"unexpected {type(error).__name__} in {where.name} ({where.filename}:{where.lineno}): "
                           f"{error}; please report it")

    def _reject(self, topic: str, error: Exception, consequence: str, settings: SimpleNamespace,
                lost_image: bool = True) -> None:
        message = f"{self._topic(topic)}: {error}{f'; {consequence}' if consequence else ''}"
        self._monitor.reject(cause_of(error), message, settings.warn_period_s, lost_image)

    def _publish_diagnostics(self) -> None:
        status = self._monitor.status(self._state, self._settings().stale_after_s, self._topic("image"),
                                      what_runs(self._estimator))
        self._diagnostics.publish(array_message(self.get_clock().now().to_msg(), status))


def _spin() -> None:
    node = PoseNode()
    if node.get_parameter("autostart").value and node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
    if rclpy.ok():  # Ctrl-C while the bundle was loading: an executor for a dead context prints a trace of its own
        rclpy.spin(node)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 if a parameter is impossible."""
    return run("pose_node", _spin, args)


if __name__ == "__main__":
    sys.exit(main())
