# SPDX-License-Identifier: Apache-2.0
"""A small robot round the pose node: a camera, a detector, and somebody who listens to every output."""

from __future__ import annotations

import time
from collections import defaultdict

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2D, Detection2DArray, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import MarkerArray

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.node.answer import PoseAnswer
from dinemo_ros.node.conversions import camera_to_info, nanoseconds, rgb_to_image

_OUTPUTS = {"detections": Detection3DArray, "boxes": Detection2DArray, "pose": PoseStamped,
            "pose_with_covariance": PoseWithCovarianceStamped, "markers": MarkerArray, "overlay": Image,
            "/tf": TFMessage, "/diagnostics": DiagnosticArray}


class Probe(Node):
    """Publishes inputs and collects outputs in ``received[topic]``."""

    _last_ns = 1_000_000_000_000  # of the class: a node that outlives several probes sees time go on

    def __init__(self, namespace: str, compressed: bool = False, outputs=tuple(_OUTPUTS)) -> None:
        super().__init__("probe", namespace=namespace)
        best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)  # as camera drivers do
        self.images = self.create_publisher(CompressedImage if compressed else Image, "image", best_effort)
        self.infos = self.create_publisher(CameraInfo, "camera_info", best_effort)
        self._detector = None
        self.received = defaultdict(list)
        self._asked_ns = 0
        for topic in outputs:
            take = self._take_diagnostics if topic == "/diagnostics" else self.received[topic].append
            self.create_subscription(_OUTPUTS[topic], topic, take, QoSProfile(depth=100))

    def header(self, stamp_ns: int | None = None, frame_id: str = "camera") -> Header:
        """A header with the given stamp, or one 100 ms after the last such."""
        if stamp_ns is None:
            Probe._last_ns = stamp_ns = Probe._last_ns + 100_000_000
        header = Header(frame_id=frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        return header

    def send(self, rgb, camera: Camera, header: Header | None = None) -> Header:
        """CameraInfo and Image."""
        header = header or self.header()
        self.infos.publish(camera_to_info(header, camera))
        self.images.publish(rgb_to_image(header, rgb))
        return header

    def send_boxes(self, header: Header, boxes, class_id: str = "car", score: float = 0.9) -> None:
        """Detection2DArray of (x_min, y_min, x_max, y_max) boxes, with a class and a score of their own after that."""
        self.start_detector()
        message = Detection2DArray(header=header)
        for x_min, y_min, x_max, y_max, *own in boxes:
            detection = Detection2D(header=header)
            detection.bbox.center.position.x = (x_min + x_max) / 2
            detection.bbox.center.position.y = (y_min + y_max) / 2
            detection.bbox.size_x, detection.bbox.size_y = x_max - x_min, y_max - y_min
            result = ObjectHypothesisWithPose()
            result.hypothesis.class_id, result.hypothesis.score = own or (class_id, score)
            detection.results = [result]
            message.detections.append(detection)
        self._detector.publish(message)

    def start_detector(self) -> None:
        if self._detector is None:
            self._detector = self.create_publisher(Detection2DArray, "detections_2d", 10)
            self.wait(lambda: self._detector.get_subscription_count() > 0, "the node to subscribe to detections_2d")
            self.spin(0.3)

    def stop_detector(self) -> None:
        if self._detector is not None:
            self.destroy_publisher(self._detector)
            self._detector = None

    def spin(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=remaining)

    def wait(self, condition, what: str, timeout_s: float = 20.0):
        """Spin until ``condition()`` is true; its value."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
            rclpy.spin_once(self, timeout_sec=0.05)
        return value

    def wait_for_node(self) -> None:
        """Until the active node has subscribed to the images and all its topics are matched."""
        self.wait(lambda: self.images.get_subscription_count() > 0, "the node to subscribe to image", 60.0)
        self.wait(lambda: self.infos.get_subscription_count() > 0 and self.count_publishers("detections") > 0, "topics")
        self.spin(0.5)  # discovery is two-sided; our side has matched

    def answer(self, topic: str, header: Header, timeout_s: float = 20.0):
        """The message of ``topic`` with the stamp of ``header``."""
        wanted = nanoseconds(header.stamp)
        return self.wait(lambda: next((m for m in self.received[topic] if nanoseconds(m.header.stamp) == wanted), None),
                         f"{topic} with stamp {wanted}", timeout_s)

    def answered(self, topic: str, header: Header) -> bool:
        return any(nanoseconds(m.header.stamp) == nanoseconds(header.stamp) for m in self.received[topic])

    def diagnosis(self) -> dict[str, str]:
        """Values of the diagnostics that the node publishes next, with their level and message."""
        name = f"{self.get_namespace().strip('/')}/pose_node: pose estimation".lstrip("/")
        self._asked_ns = time.time_ns()
        del self.received["/diagnostics"][:]
        status = self.wait(lambda: next((s for m in self.received["/diagnostics"] for s in m.status if s.name == name),
                                        None), "diagnostics")
        values = {value.key: value.value for value in status.values}
        return {**values, "level": int.from_bytes(status.level, "little"), "message": status.message}

    def _take_diagnostics(self, message: DiagnosticArray, info: dict) -> None:
        if info["source_timestamp"] >= self._asked_ns:  # what was published before may still be on its way
            self.received["/diagnostics"].append(message)

    def change_state(self, transition: int) -> bool:
        """A lifecycle transition by its id; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self._call(ChangeState, "pose_node/change_state", request).success

    def state(self) -> str:
        """The label of the lifecycle's state. Asked again where no answer comes, since asking changes nothing: a
        service may be seen before it sees who asks, and its answer is then lost."""
        return self._call(GetState, "pose_node/get_state", GetState.Request(), again_s=10.0).current_state.label

    def set_parameter(self, name: str, value):
        """SetParametersResult of the node."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self._call(SetParameters, "pose_node/set_parameters", request).results[0]

    def estimate(self, image, camera) -> PoseAnswer:
        """The answer on demand while images come."""
        client = self.create_client(Trigger, "pose_node/estimate")
        assert client.wait_for_service(30.0), "no service pose_node/estimate"
        future, deadline = client.call_async(Trigger.Request()), time.monotonic() + 30.0
        while not future.done():
            assert time.monotonic() < deadline, "waited 30 s for pose_node/estimate"
            self.send(image, camera)
            self.spin(0.1)
        self.destroy_client(client)
        return PoseAnswer.read(future.result().message)

    def _call(self, kind, name: str, request, again_s: float = 120.0):
        client = self.create_client(kind, name)
        assert client.wait_for_service(30.0), f"no service {name}"
        futures = [client.call_async(request)]
        asked, deadline = time.monotonic(), time.monotonic() + 120.0
        while not any(future.done() for future in futures):
            assert time.monotonic() < deadline, f"waited 120 s for {name}"
            rclpy.spin_once(self, timeout_sec=0.01)
            if time.monotonic() - asked > again_s:
                futures.append(client.call_async(request))
                asked = time.monotonic()
        self.destroy_client(client)
        return next(future.result() for future in futures if future.done())
