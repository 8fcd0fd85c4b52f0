# SPDX-License-Identifier: Apache-2.0
"""``pose_node``: images in, 6D poses out. A lifecycle node round :class:`dinemo_ros.estimator.PoseEstimator`.

Subscribes ``image`` (Image or CompressedImage), ``camera_info``, optionally ``detections_2d``, ``depth/image`` and TF;
publishes ``/tf``, ``detections``, ``pose``, ``pose_with_covariance``, ``boxes``, ``markers``, ``overlay``,
``/diagnostics``. It subscribes only while active. An input that cannot be used is skipped, said once, counted in the
diagnostics; the node stays alive. Services: ``~/estimate``, ``~/enable``, ``~/reset``.
"""

from __future__ import annotations

import threading
import time
import traceback
from types import SimpleNamespace

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from ..camera.pinhole import Camera
from ..errors import CameraError, DinemoError, told
from ..estimator import PoseEstimator
from ..io.quoting import quoted
from ..io.sample_range import SampleRange
from ..pose import ObjectPose
from ..process.fastdds_profile import prefer_small_segment
from . import conversions, parameters
from .boxes import Choice, choose_boxes
from .categories import Categories
from .category import bundles_of
from .depth_input import TOPIC as DEPTH_TOPIC
from .depth_input import DepthError
from .diagnostics import Monitor, array_message, cause_of
from .ending import GRACE_S, leave
from .executable import run
from .hooks import Hooks
from .inputs import Inputs
from .log_bridge import bridge_logging
from .memory import give_back, share_heaps, trim
from .node_log import NodeLog
from .on_demand import OnDemand
from .own_detector import as_mapped, own_detector
from .publishers import Outputs, Picture, TransformBroadcaster
from .scene_inputs import Scene, SceneInputs
from .services import FIRST_TRANSITION_STATE, BoundedParameterService, only_possible
from .sim_clock import AGAIN_S, SimClock
from .switch import RESTING, Switch
from .synchronizer import StampMatcher
from .tally import why_empty
from .validation import CameraInfos, RestartError, StampOrder, check_frame_id, strange_camera_frame, strange_frame

_WATCH_PERIOD_S = 0.25
_ONCE = float("inf")
_TRIM_PERIOD_S = 5.0
# Of the executor: one each for a transition, for the images, for a request on demand, for the switch; the others answer
# meanwhile.
_THREADS = 5
# What an error is about that is not the image.
_TOPIC_OF = {CameraError: "camera_info", DepthError: DEPTH_TOPIC}


class PoseNode(LifecycleNodeMixin, Node):
    """See the module; parameters are in :data:`dinemo_ros.node.parameters.POSE_NODE`.

    Transitions, images and everything else run side by side, for an executor with several threads: services and
    diagnostics answer while a bundle is loaded or an image is worked on. ``_work`` keeps transitions and images apart.
    """

    def __init__(self, **kwargs: object) -> None:
        Node.__init__(self, "pose_node", start_parameter_services=False, **kwargs)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        parameters.declare(self, parameters.POSE_NODE, lambda: self.state)
        self._parameter_services = BoundedParameterService(self)
        self._log = NodeLog(self.get_logger())
        self._monitor = Monitor(self._log, f"{self.get_fully_qualified_name().lstrip('/')}: pose estimation")
        changes = self._service_change_state
        changes.callback = only_possible(changes.callback, self._state_machine, self._refuse_transition)
        bridge_logging(self._log, self._tell_progress)
        self._work, self._image_group = threading.RLock(), MutuallyExclusiveCallbackGroup()
        self._broadcaster = TransformBroadcaster(self)
        self._categories: Categories | None = None  # while configured
        self._outputs: Outputs | None = None
        self._active = False
        self._inputs: Inputs | None = None  # while active and not at rest
        self._scene_inputs = SceneInputs(self, self._monitor)
        self._watch_timer = None
        self._camera_infos, self._order = CameraInfos(), StampOrder()
        self._matcher, self._samples = StampMatcher(), SampleRange()
        self._ever_wanted = False  # whether a detector has ever had a box of the class and score that is looked for
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Of the steady clock, as every timer here: with simulated time and no /clock somebody must say what is wrong.
        self._steady, self._trimmed_s = Clock(clock_type=ClockType.STEADY_TIME), time.monotonic()
        self.create_timer(self._settings().diagnostics_period_s, self._publish_diagnostics,
                          callback_group=MutuallyExclusiveCallbackGroup(), clock=self._steady)
        SimClock(self, lambda sentence: self._monitor.note("clock", sentence, AGAIN_S))
        hooks = Hooks(self._work, lambda: self.state, self._settings, self._adapt, self._forget,
                      lambda: self._categories.symmetries, self._publish_estimate, self._image_topic, self._sentence)
        self._switch = Switch(self, hooks, self._settings().enabled_at_start)
        self._on_demand = OnDemand(self, hooks, self._monitor)

    @property
    def state(self) -> str:
        """Label of the lifecycle's state, also in the middle of a transition."""
        return self._state_machine.current_state[1]

    def _settings(self) -> SimpleNamespace:
        return parameters.read(self, parameters.POSE_NODE)

    def _topic(self, name: str) -> str:
        return self.resolve_topic_name(name)

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle and make the publishers; FAILURE, told in diagnostics and log, where that cannot be done."""
        with self._work:
            try:
                loaded = self._load(self._settings())
                self._adapt()  # where it is disabled: what cannot be loaded is told now, and the rest let go of
            except Exception as error:  # rclpy keeps what a transition raises to itself: the node would be silent
                self._release()
                if self.context.ok():  # otherwise a signal took it away
                    self._monitor.fail(cause_of(error), f"cannot configure: {self._sentence(error)}")
                return TransitionCallbackReturn.FAILURE
            finally:
                self._monitor.progress = ""
            give_back()
            self._monitor.recovered()
            self._monitor.hardware_id = str(loaded)
            self._log.info(f"configured: {loaded} from {', '.join(str(b.path) for b in loaded.bundles.values())}")
            for bundle in loaded.bundles.values():
                self._log.info(f"weights of {bundle.card.category} {bundle.card.version}: "
                               f"{bundle.card.weights_license.told()}")
            return super().on_configure(state)

    def _load(self, settings: SimpleNamespace) -> Categories:
        self._say_progress("loading the bundle; the first start on a machine also compiles the solver")
        self._categories = categories = Categories(bundles_of(settings), settings.class_map or ())
        self._wake()
        self._outputs = Outputs(self, categories.bundles, self._broadcaster)
        return categories

    def _wake(self) -> None:
        settings, categories = self._settings(), self._categories
        detector = own_detector(settings, list(categories.bundles.values()), categories.class_map)
        labels = detector.labels if detector else ()
        categories.wake(lambda bundle: PoseEstimator(
            as_mapped(bundle, labels, categories.class_map), threads=settings.threads, backend=settings.backend,
            precision=settings.precision, engine_cache=settings.engine_cache, device=settings.device,
            progress=self._say_progress, detector=detector))

    def _say_progress(self, text: str) -> None:
        if self.context.ok():
            self._tell_progress(text)
            self._log.info(text)

    def _tell_progress(self, text: str) -> None:
        """What the configuration is at; the diagnostics say it."""
        if self.state == "configuring":
            self._monitor.progress = text

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, with nothing left of an earlier stream of images."""
        with self._work:
            result = super().on_activate(state)
            self._camera_infos, self._order = CameraInfos(), StampOrder()
            self._matcher, self._samples = StampMatcher(), SampleRange()
            self._ever_wanted, self._active = False, True
            self._categories.forget()
            self._adapt()
            self._log.info(f"active: images from {self._topic('image')}, camera from {self._topic('camera_info')}"
                           + f"; {RESTING}" * (not self._switch.enabled))
            return result

    def _open_inputs(self) -> None:
        self._inputs = Inputs(self, self._image_group, self._on_image, self._on_camera_info, self._on_detections,
                              self._refuse_message)
        self._watch_timer = self.create_timer(_WATCH_PERIOD_S, self._watch_inputs, clock=self._steady,
                                              callback_group=self._image_group)
        self._monitor.start()
        self._watch_inputs()

    def _refuse_transition(self, sentence: str) -> None:
        self._monitor.warn("transition", sentence, self._settings().warn_period_s)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the subscriptions, after the image that is worked on."""
        with self._work:
            self._stop("deactivated")
            return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model and of the publishers."""
        with self._work:
            result = super().on_cleanup(state)
            self._release()
            return result

    def settle(self, most_s: float) -> None:
        """Wait until no transition is under way, at most ``most_s`` seconds."""
        deadline = time.monotonic() + most_s
        while self._state_machine.current_state[0] >= FIRST_TRANSITION_STATE and time.monotonic() < deadline:
            time.sleep(0.01)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the subscriptions and let go of everything, from whatever state."""
        with self._work:
            result = super().on_shutdown(state)
            self._stop("shut down")
            self._release()
            return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition failed on a bug: back to unconfigured, which leaves nothing behind."""
        with self._work:
            self._stop("reset after an error")
            self._release()
            if self.context.ok():
                self._monitor.fail("internal", f"a transition from {state.label} failed, the node is unconfigured now; "
                                   "please report it")
            return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        if self._outputs:
            self._outputs.destroy()
        self._outputs = self._categories = None
        give_back()

    def _stop(self, how: str) -> None:
        """Of an active node: no more images."""
        self._active = False
        self._on_demand.end(f"the node was {how} while it was answering: activate it and ask again")
        self._close_inputs()
        if self._outputs:
            self._outputs.clear()

    def _close_inputs(self) -> None:
        if self._inputs:
            self._inputs.close()
            self._inputs = None
        self._scene_inputs.close()
        if self._watch_timer:
            self.destroy_timer(self._watch_timer)
            self._watch_timer = None

    # Work and rest

    def _adapt(self) -> None:
        """Load the model and subscribe, or let go of both, as switch, requests and state want it now."""
        with self._work:
            awake = self._switch.enabled or self._on_demand.asked
            self._monitor.resting = "" if awake else RESTING
            if not awake:
                self._close_inputs()
                self._matcher.clear()
                if self._categories and self._categories.awake:
                    self._categories.rest()
                    give_back()
                return
            if self._categories and not self._categories.awake:
                self._wake()
                give_back()
            if self._active and self._inputs is None:
                self._open_inputs()

    def _forget(self) -> int:
        self._order = StampOrder()
        self._matcher.clear()
        return self._categories.forget() if self._categories else 0

    def _publish_estimate(self, header: Header, poses: list[ObjectPose], settings: SimpleNamespace) -> list[str]:
        with self._work:
            if self._outputs is None:  # cleaned up meanwhile
                return Outputs.frames_of(poses, settings)
            return self._outputs.publish_estimate(header, poses, settings)

    def _image_topic(self) -> str:
        return inputs.image_topic if (inputs := self._inputs) else self._topic("image")

    # Inputs

    def _watch_inputs(self) -> None:
        """Follow what is published; say so when nothing comes."""
        with self._work:
            if self._inputs is None:
                return
            settings = self._settings()
            self._scene_inputs.follow(settings)
            self._matcher.limit(settings.detections_max_age_s, settings.detections_buffer_mb)
            problem = self._inputs.follow(settings, self._uses_detections(settings))
            self._note("image", "lost", self._inputs.losses(), settings.warn_period_s)
            if problem:
                self._monitor.reject("topic", problem, settings.warn_period_s, lost_image=False)
            if self._monitor.waited_s() > settings.stale_after_s:
                topic = self._inputs.image_topic
                publishers = self.count_publishers(topic)
                self._monitor.warn("silence", f"{topic}: no image for {self._monitor.waited_s():.0f} s "
                                   f"({publishers} publisher{'s' * (publishers != 1)}), so no pose: is the camera "
                                   "running, is the topic remapped?", settings.warn_period_s)
            elif self._matcher.waited_s() > settings.stale_after_s:
                self._reject_waiting(settings)

    def _reject_waiting(self, settings: SimpleNamespace) -> None:
        """Images come and the detections that they wait for do not."""
        topic, matcher = self._topic("detections_2d"), self._matcher
        why = matcher.problem() or (
            f"{matcher.waiting} images have waited up to {matcher.waited_s():.0f} s for their boxes "
            f"({self.count_publishers(topic)} publishers, {matcher.heard} messages with other stamps), so no pose: a "
            "detector must answer with the image's header, also where it sees nothing; rois:=proposals does without")
        self._monitor.reject("detections", f"{topic}: {why}", settings.warn_period_s, lost_image=False)

    def _uses_detections(self, settings: SimpleNamespace) -> bool:
        return settings.rois == "detections" or (
            settings.rois == "auto" and self.count_publishers(self._topic("detections_2d")) > 0)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_infos.add(message)

    def _refuse_message(self, topic: str, sentence: str) -> None:
        """Of a camera_info or of detections that are not even read."""
        cause = "camera_info" if topic == "camera_info" else "detections"
        self._monitor.reject(cause, f"{self._topic(topic)}: {sentence}", self._settings().warn_period_s,
                             lost_image=False)

    def _on_image(self, message: Image | CompressedImage) -> None:
        with self._work:
            if self._inputs:  # otherwise it was on its way when the node was deactivated
                self._take_image(message, self._settings())

    def _take_image(self, message: Image | CompressedImage, settings: SimpleNamespace) -> None:
        self._monitor.image_received()
        stamp = conversions.nanoseconds(message.header.stamp)
        try:
            self._order.check(stamp, settings.time_jump_s)
        except RestartError as error:
            self._matcher.clear()
            self._scene_inputs.clear()
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
        with self._work:
            settings = self._settings()
            if not self._inputs or not self._uses_detections(settings):
                return
            pair = self._matcher.add_detections(conversions.nanoseconds(message.header.stamp), message)
            if pair:
                self._process(*pair, settings)
            elif problem := self._matcher.problem():
                self._monitor.reject("detections", f"{self._topic('detections_2d')}: {problem}",
                                     settings.warn_period_s, lost_image=False)

    # Work

    def _process(self, message: Image | CompressedImage, detections: Detection2DArray | None,
                 settings: SimpleNamespace) -> None:
        """Estimate and publish one image, or say why not."""
        started = time.monotonic()
        try:
            check_frame_id(message.header)
            image, camera = self._picture(message, settings)
            boxes = None if detections is None else self._boxes(detections, camera, settings)
            scene = self._scene_inputs.of_image(message.header, camera, boxes and boxes.rois, settings)
            poses = self._estimate(image, camera, boxes, scene, settings)
            self._on_demand.take(scene.placement.header, [scene.placement.placed(pose) for pose in poses])
            if self._switch.enabled:  # otherwise the image is for a request only
                poses = self._gated(poses, conversions.nanoseconds(message.header.stamp), settings)
                left_out = self._categories.beyond + (boxes.refused if boxes else [])
                picture = Picture(message.header, image, camera, self._categories.looked, left_out)
                self._outputs.publish(scene.placement, picture, poses, settings)
        except Exception as error:  # a robot's node must outlive a bug
            if not self.context.ok():
                return None  # a signal took it away in the middle of something
            source = next((topic for kind, topic in _TOPIC_OF.items() if isinstance(error, kind)), "image")
            return self._reject(source, self._sentence(error), "no pose for this image", settings)
        self._monitor.image_done(len(poses), time.monotonic() - started, self._categories.timings)
        return self._note_oddities(message.header, settings)

    def _note_oddities(self, header: Header, settings: SimpleNamespace) -> None:
        """What is strange about an image that was used all the same."""
        frame, infos = header.frame_id, self._camera_infos
        self._note("image", "stamp", self._order.strange(), settings.warn_period_s)
        self._note("image", "frame", strange_frame(frame), _ONCE)
        self._note("camera_info", "camera_frame", strange_camera_frame(frame, infos.frame_id), settings.warn_period_s)
        self._note("camera_info", "lens", " ".join(infos.notes), settings.warn_period_s)
        if infos.silent_s() > settings.stale_after_s:
            if self._inputs.latched or infos.once:  # as its publisher wants it
                how = "once" if infos.once else "latched"
                self._monitor.inform("camera_info", f"{self._topic('camera_info')}: came {how} and is used for all "
                                     "images", _ONCE)
            else:
                self._note("camera_info", "camera_info", f"none for {infos.silent_s():.0f} s while images come: the "
                           "last one is used on", settings.warn_period_s)

    def _note(self, topic: str, cause: str, sentence: str, period_s: float) -> None:
        if sentence:
            self._monitor.note(cause, f"{self._topic(topic)}: {sentence}", period_s)

    def _picture(self, message: Image | CompressedImage, settings: SimpleNamespace) -> tuple[np.ndarray, Camera]:
        """RGB uint8 [H, W, 3] and its camera. A picture that no camera fits is not decoded: it costs what its message
        does, whatever size it says it is of."""
        size = conversions.stated_size(message)
        camera = None if size is None else self._camera(message, *size, settings)
        image = conversions.image_to_rgb(message, self._samples)
        height, width = image.shape[:2]
        if camera is None or (camera.width, camera.height) != (width, height):  # the header told nothing, or another
            camera = self._camera(message, width, height, settings)
        return image, camera

    def _camera(self, message: Image | CompressedImage, width: int, height: int, settings: SimpleNamespace) -> Camera:
        if not len(self._camera_infos) and settings.default_hfov_deg > 0:
            self._monitor.warn("camera_info", f"{self._topic('camera_info')}: none has arrived, a horizontal field "
                               f"of view of {settings.default_hfov_deg:g} deg is assumed (parameter default_hfov_deg)",
                               60.0)
            return Camera.from_hfov(width, height, settings.default_hfov_deg)
        stamp = conversions.nanoseconds(message.header.stamp)
        return self._camera_infos.camera(stamp, width, height, settings.image_is_rectified)

    def _boxes(self, detections: Detection2DArray, camera: Camera, settings: SimpleNamespace) -> Choice:
        choice = choose_boxes(detections, camera.width, camera.height, settings.detections_class_id,
                              settings.detections_min_score, settings.max_objects, camera,
                              self._categories.class_map, settings.overlay_refused)
        topic, period = self._topic("detections_2d"), settings.warn_period_s
        if choice.bad:
            more = f" (and {len(choice.bad) - 1} more)" * (len(choice.bad) > 1)
            self._monitor.reject("roi", f"{topic}: {choice.bad[0]}; this box is skipped{more}", period, False,
                                 len(choice.bad))
        self._ever_wanted |= bool(choice.passed)
        for reason, sentence in choice.sentences.items():
            self._monitor.leave_out(reason, choice.left_out[reason], f"{topic}: {sentence}")
            if reason == "class" and self._ever_wanted:  # a detector of many classes: nothing to worry about
                self._monitor.inform(f"boxes_{reason}", f"{topic}: {sentence}", _ONCE)
            else:
                self._note("detections_2d", f"boxes_{reason}", sentence, period)
        for cause, sentence in choice.notes.items():
            self._note("detections_2d", f"boxes_{cause}", sentence, period)
        return choice

    def _estimate(self, image: np.ndarray, camera: Camera, boxes: Choice | None, scene: Scene,
                  settings: SimpleNamespace) -> list[ObjectPose]:
        found = self._categories.find(image, camera, boxes and boxes.boxes, scene, settings)
        beyond = len(self._categories.beyond)
        if beyond:
            why = (f"{settings.max_objects} objects are tracked already (parameter max_objects)" if settings.tracking
                   else f"only the best {settings.max_objects} are looked at (parameter max_objects)")
            self._monitor.leave_out("limit", beyond, f"{beyond} box{'es' * (beyond != 1)} left out: {why}")
        poses = [pose for pose in found if pose.score >= settings.min_score][:settings.max_objects]
        self._categories.refuse([pose for pose in found if pose.score < settings.min_score],
                                f"score below min_score {settings.min_score:g}")
        self._scene_inputs.tally.answered(poses, why_empty(found, boxes and boxes.rois, settings.min_score))
        return poses

    def _gated(self, poses: list[ObjectPose], stamp_ns: int, settings: SimpleNamespace) -> list[ObjectPose]:
        """Those of ``poses`` that the gates let through."""
        passed, held_back = self._categories.gated(poses, 1e-9 * stamp_ns, settings)
        self._monitor.hold_back(held_back)
        return passed

    # Reports

    def _sentence(self, error: Exception) -> DinemoError:
        """An error of ours as it is; of a bug its kind and place, with the trace in the log and counted as internal."""
        if isinstance(error, DinemoError):
            return error
        self._log.debug("".join(traceback.format_exception(error)))
        where = traceback.extract_tb(error.__traceback__)[-1]
        return DinemoError(f"unexpected {type(error).__name__} in {where.name} ({where.filename}:{where.lineno}): "
                           f"{quoted(str(error), 200)}; please report it")

    def _reject(self, topic: str, error: Exception, consequence: str, settings: SimpleNamespace,
                lost_image: bool = True) -> None:
        message = f"{self._topic(topic)}: {error}{f'; {consequence}' if consequence else ''}"
        self._monitor.reject(cause_of(error), message, settings.warn_period_s, lost_image)

    def _publish_diagnostics(self) -> None:
        if time.monotonic() - self._trimmed_s > _TRIM_PERIOD_S:
            trim()
            self._trimmed_s = time.monotonic()
        categories = self._categories  # a transition may take it away meanwhile
        running = {"enabled": str(self._switch.enabled).lower(), **(categories.runs() if categories else {}),
                   **self._scene_inputs.tally.values()}
        status = self._monitor.status(self.state, self._settings().stale_after_s, self._image_topic(), running)
        self._diagnostics.publish(array_message(self.get_clock().now().to_msg(), status))

    def start_up(self) -> None:
        """Configure and activate, as a lifecycle manager would."""
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except Exception:
            if self.context.ok():
                raise

    def end(self) -> None:
        """After the last callback: tell the network that the node is gone, unless something is still at work in it."""
        if self._work.acquire(timeout=GRACE_S / 2):
            self.destroy_node()


def _spin(node: PoseNode) -> None:
    executor = MultiThreadedExecutor(_THREADS)
    executor.add_node(node)
    if node.get_parameter("autostart").value:
        threading.Thread(target=node.start_up, name="dinemo_autostart", daemon=True).start()
    while node.context.ok():
        try:
            executor.spin()
        except ExternalShutdownException:
            raise
        except Exception as error:  # what rclpy raises on a request or a message must not end the node
            if node.context.ok():
                NodeLog(node.get_logger()).error(f"a request is refused: {told(error)}")
                time.sleep(0.1)  # whatever it is, it must not fill the log


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 if a parameter is impossible."""
    share_heaps()
    prefer_small_segment()
    return run("pose_node", PoseNode, _spin, args)


if __name__ == "__main__":
    leave(main())
