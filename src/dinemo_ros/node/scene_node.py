# SPDX-License-Identifier: Apache-2.0
"""``scene_node``: plays a scene with truth to a pose node, as a robot with a depth camera over a table would, and says
what RGB alone, the table's plane, depth and both come to.

It gives the pose node the boxes of the object, TF of the camera over the table, and depth; before each round it sets
the node's parameters ``support_frame``, ``use_depth`` and what goes with them. Answers are asked for in the table's
frame, which stays where it is while the camera moves.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D, Detection2D, Detection2DArray, Detection3DArray

from ..errors import DinemoError
from ..evaluation.demo_scene import SceneView, read_demo_scene, scene_folder
from ..io.quoting import one_line
from . import conversions, parameters
from .demo_listener import transform
from .ending import leave
from .executable import run
from .limited import limited
from .node_log import NodeLog
from .publishers import TransformBroadcaster
from .scene_table import GIVEN, SceneTable
from .services import BoundedParameterService

TABLE, CAMERA = "table", "camera_optical_frame"
_WAIT_S = 0.05
_MATCH_S = 0.5  # discovery is two-sided: we know the subscriber before it knows us
_BESIDE_S = 1.0  # that the pose node waits for depth and TF of a picture, on a machine that is busy
_ANSWER_S = 4.0  # for one answer; a picture that is lost is sent again
_TRIES = 3
_GRAPH_S = 20.0  # for services and subscriptions of a node that runs
_FRESH = 2  # diagnostics after the last answer: the first may have been on its way
_DIAGNOSTICS_S = 4.0
_COUNT = re.compile(r"[0-9]{1,9}")  # Python refuses longer ones with an error
_SOURCE_KEYS = {f"poses_from_{given.replace('+', '_')}": given for given in GIVEN}


class SceneNode(Node):
    """See the module; parameters are in :data:`dinemo_ros.node.parameters.SCENE`.

    Attributes:
        table: what the answers came to.
        diagnosis: the pose node's last word about itself.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__("scene_node", start_parameter_services=False, **kwargs)
        parameters.declare(self, parameters.SCENE)
        self._parameter_services = BoundedParameterService(self, fixed=("use_sim_time",))
        self._settings = parameters.read(self, parameters.SCENE)
        self.scene = read_demo_scene(scene_folder(self._settings.scene))
        self.table, self.diagnosis = SceneTable(), ""
        self._log = NodeLog(self.get_logger())
        self._images = self.create_publisher(Image, "image", QoSProfile(depth=5))
        self._infos = self.create_publisher(CameraInfo, "camera_info", QoSProfile(depth=10))
        self._depths = self.create_publisher(Image, "depth/image", QoSProfile(depth=5))
        self._depth_infos = self.create_publisher(CameraInfo, "depth/camera_info", QoSProfile(depth=10))
        self._boxes = self.create_publisher(Detection2DArray, "detections_2d", QoSProfile(depth=10))
        self._tf = TransformBroadcaster(self)
        self._pose_parameters = self.create_client(SetParameters, "pose_node/set_parameters")
        self.create_subscription(Detection3DArray, "detections", limited(
            Detection3DArray, "detections", self._on_detections, self._refuse), QoSProfile(depth=10), raw=True)
        self.create_subscription(DiagnosticArray, "/diagnostics", limited(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, self._refuse), QoSProfile(depth=10), raw=True)
        self._reporter = f"{self.get_namespace().strip('/')}/pose_node: pose estimation".lstrip("/")
        self._asked_ns = -1  # what comes with another stamp is nobody's answer, and not kept
        self._answer: Detection3DArray | None = None
        self._counts: dict[str, int] = {}
        self._heard = 0  # messages of the pose node's diagnostics
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)
        self._watch: Callable[[], None] = lambda: None

    def play(self, watch: Callable[[], None] = lambda: None) -> None:
        """Play all rounds, print the table, and go on with both where the parameter ``loop`` says so.

        ``watch`` is called again and again, and may raise.

        Raises:
            DinemoError: the pose node does not take what it is given.
        """
        self._watch = watch
        self._log.info(f"scene {self._settings.scene}: {len(self.scene.views)} pictures of a {self.scene.category}; "
                       "waiting for the pose node")
        while not (self._images.get_subscription_count() and self._pose_parameters.service_is_ready()):
            self._spin_once(_WAIT_S)
        for given in GIVEN:
            self._round(given)
        print(f"\n{self.table.text()}\n", flush=True)
        if self._settings.loop:
            self._log.info("playing on with plane and depth: ask the pose node now")
        while self._settings.loop:
            for view in self.scene.views:
                due = time.monotonic() + 1.0 / self._settings.rate_hz
                self._ask(view, tries=1)
                self._spin_for(due - time.monotonic())

    def _round(self, given: str) -> None:
        """All pictures with what ``given`` names."""
        self._give(given)
        before = dict(self._counts)
        for view in self.scene.views:
            answer = self._ask(view, _TRIES)
            T = None if answer is None or not answer.detections else transform(answer.detections[0].bbox.center)
            print(self.table.add(given, view.name, T, view.T_table_cam @ view.T_cam_obj, answer is not None),
                  flush=True)
        heard, deadline = self._heard, time.monotonic() + _DIAGNOSTICS_S
        while self._heard < heard + _FRESH and time.monotonic() < deadline:
            self._spin_once(_WAIT_S)
        came = {source: self._counts.get(key, 0) - before.get(key, 0) for key, source in _SOURCE_KEYS.items()}
        self.table.answers[given].sources.update({source: count for source, count in came.items() if count > 0})

    def _give(self, given: str) -> None:
        """Set the pose node's parameters for a round, and wait until it listens to what it then needs."""
        plane, depth = "support" in given, "depth" in given
        values = {"rois": "detections", "target_frame": TABLE, "support_frame": TABLE if plane else "",
                  "use_depth": "always" if depth else "never", "depth_timeout_s": _BESIDE_S,
                  "transform_timeout_s": _BESIDE_S}
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()
                                                    for name, value in values.items()])
        future = self._pose_parameters.call_async(request)
        self._until(future.done, "the pose node does not answer to set_parameters")
        refused = [result.reason for result in future.result().results if not result.successful]
        if refused:
            raise DinemoError(f"the pose node refuses a parameter that the scene sets: {one_line(refused[0])}")
        self._until(lambda: bool(self._depths.get_subscription_count()) == depth
                    and self._boxes.get_subscription_count() > 0,
                    "the pose node does not subscribe to the scene's depth/image and detections_2d")
        self._spin_for(_MATCH_S)

    def _ask(self, view: SceneView, tries: int) -> Detection3DArray | None:
        """The answer to a picture; None where none comes."""
        for _ in range(tries):
            self._answer, deadline = None, time.monotonic() + _ANSWER_S
            self._publish(view)
            while self._answer is None and time.monotonic() < deadline:
                self._spin_once(_WAIT_S)
            if self._answer is not None:
                return self._answer
        return None

    def _publish(self, view: SceneView) -> None:
        """Send a picture after all that belongs to it, and wait for the answer of that stamp from now on."""
        header = Header(frame_id=CAMERA, stamp=self.get_clock().now().to_msg())
        self._asked_ns = conversions.nanoseconds(header.stamp)
        info = conversions.camera_to_info(header, view.camera)
        self._tf.sendTransform([conversions.transform_between(Header(frame_id=TABLE, stamp=header.stamp), CAMERA,
                                                              view.T_table_cam)])
        self._infos.publish(info)
        self._depth_infos.publish(info)
        self._depths.publish(conversions.depth_to_image(header, view.depth))
        self._boxes.publish(Detection2DArray(header=header, detections=[box_message(header, np.array(view.roi))]))
        self._images.publish(conversions.rgb_to_image(header, view.image))

    def _on_detections(self, message: Detection3DArray) -> None:
        if message.header.frame_id == TABLE and conversions.nanoseconds(message.header.stamp) == self._asked_ns:
            self._answer = message

    def _refuse(self, topic: str, sentence: str) -> None:
        self._log.warning(f"{self.resolve_topic_name(topic)}: {sentence}")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._reporter:
                self.diagnosis, self._heard = one_line(status.message), self._heard + 1
                self._counts = {value.key: int(value.value) for value in status.values
                                if value.key in _SOURCE_KEYS and _COUNT.fullmatch(value.value)}

    def _until(self, condition: Callable[[], bool], problem: str) -> None:
        deadline = time.monotonic() + _GRAPH_S
        while not condition():
            if time.monotonic() > deadline:
                raise DinemoError(f"{problem} within {_GRAPH_S:g} s; it says: {self.diagnosis or 'nothing'}")
            self._spin_once(_WAIT_S)

    def _spin_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            self._spin_once(min(remaining, _WAIT_S))

    def _spin_once(self, timeout_s: float) -> None:
        self._watch()
        self._spinner.spin_once(timeout_s)
        if not self.context.ok():
            raise ExternalShutdownException


def box_message(header: Header, roi: np.ndarray) -> Detection2D:
    """A detector's box, without a score, of pixel edges [4] (x_min, y_min, x_max, y_max)."""
    box = BoundingBox2D(size_x=float(roi[2] - roi[0]), size_y=float(roi[3] - roi[1]))
    box.center.position.x, box.center.position.y = (float(middle) for middle in 0.5 * (roi[:2] + roi[2:]))
    return Detection2D(header=header, bbox=box)


def main(args: list[str] | None = None) -> int:
    """Play until the end, SIGINT or SIGTERM; 0, or 1 where there is nothing to play or nobody to play it to."""
    return run("scene_node", SceneNode, SceneNode.play, args)


if __name__ == "__main__":
    leave(main())
