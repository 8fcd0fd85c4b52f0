# SPDX-License-Identifier: Apache-2.0
"""Listens to the pose node as a robot's program would: prints each pose, keeps the overlay pictures, sums up."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Pose
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection3DArray

from ..errors import DatasetError, DinemoError, DocumentError, ImageError, OutputError
from ..evaluation.checked import mapping, motion
from ..geometry import rotation_angle, se3
from ..io.document import read_json
from ..io.files import own_place
from ..io.image_codec import decode_image
from ..io.overlay_file import is_overlay, write_overlay
from ..io.quoting import one_line, quoted, shown, shown_path
from ..io.sources import open_source
from ..io.sources.folder import TRUTH_FILE
from ..pose import Hypothesis
from . import conversions
from .limited import limited
from .transform_history import rotation_from_quaternion

_QUIET_S = 1.5  # after the source has ended, this long without a message is the end


@dataclass(frozen=True)
class Error:
    """What a pose is off by."""

    rotation_deg: float
    translation_m: float
    distance_m: float  # of the true object, to judge translation_m by


def transform(pose: Pose) -> np.ndarray:
    """[4, 4] of a geometry_msgs/Pose, metres."""
    q, p = pose.orientation, pose.position
    return se3(rotation_from_quaternion(q.x, q.y, q.z, q.w), np.array([p.x, p.y, p.z]))


def read_truth(folder: Path) -> dict[str, np.ndarray]:
    """T_cam_obj [4, 4], metres, by file name from ``ground_truth.json``; empty where there is none.

    Raises:
        DatasetError: the file is something else.
    """
    file = folder / TRUTH_FILE
    if not file.is_file():
        return {}
    try:
        frames = mapping(mapping(read_json(file), "the document", ["frames"])["frames"], "frames")
        return {name: motion(mapping(frame, quoted(name), ["T_cam_obj"])["T_cam_obj"], quoted(name))
                for name, frame in frames.items()}
    except (DocumentError, DatasetError) as error:
        raise DatasetError(f"{shown_path(file)}: not a ground truth file ({error}); expected frames.NAME.T_cam_obj "
                           "[4][4]") from error


def picture_name(name: str) -> str:
    """JPEG for the overlay of a frame, one for each: ``1.jpg``, ``1.png.jpg``, ``drive.mp4_000012.jpg``."""
    plain = name.replace(":", "_")
    return plain if plain.endswith(".jpg") else f"{plain}.jpg"


def _refuse(topic: str, sentence: str) -> None:
    print(f"{topic}: {one_line(sentence)}", flush=True)


class FrameNames:
    """Finds the name of a frame by its stamp, by reading the same source along."""

    def __init__(self, path: Path) -> None:
        self._frames = iter(open_source(path, camera_given=True))  # of a broken calibration the image source tells
        self._known: dict[int, str] = {}

    def __getitem__(self, stamp_ns: int) -> str:
        while stamp_ns not in self._known:
            frame = next(self._frames, None)
            if frame is None:
                return f"{stamp_ns * 1e-9:.3f}"
            self._known[round(frame.stamp_s * 1e9)] = frame.name
        return self._known[stamp_ns]


class DemoListener(Node):
    """Subscribes ``detections``, ``overlay`` and ``/diagnostics``."""

    def __init__(self, path: Path, out: Path) -> None:
        super().__init__("demo_listener")
        self._names, self._truth, self._out = FrameNames(path), read_truth(path), out
        self._errors: list[Error] = []
        self._answers = self._poses = self._pictures = 0
        self._state = self._diagnosis = self._latency = ""
        self._last = time.monotonic()
        own_place(out).mkdir(parents=True, exist_ok=True)
        self.create_subscription(Detection3DArray, "detections", limited(
            Detection3DArray, "detections", self._on_detections, _refuse), QoSProfile(depth=50), raw=True)
        self.create_subscription(Image, "overlay", self._on_overlay, QoSProfile(depth=10))
        self.create_subscription(DiagnosticArray, "/diagnostics", limited(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, _refuse), QoSProfile(depth=10), raw=True)

    def wait_until_ready(self, pose_node: subprocess.Popen, timeout_s: float) -> None:
        """Spin until the pose node is active and its topics are there.

        Raises:
            DinemoError: it ended, cannot be configured, or took longer than ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while self._state != "active" or not self.count_publishers("detections"):
            rclpy.spin_once(self, timeout_sec=0.1)
            if pose_node.poll() is not None or time.monotonic() > deadline or "cannot configure" in self._diagnosis:
                raise DinemoError(f"the pose node did not start: {self._diagnosis or 'see its output above'}")

    def listen(self, pose_node: subprocess.Popen, source: subprocess.Popen) -> None:
        """Spin until the source has ended and all is answered."""
        self._last = time.monotonic()
        while pose_node.poll() is None and (source.poll() is None or time.monotonic() - self._last < _QUIET_S):
            if source.poll() is None:
                self._last = time.monotonic()
            rclpy.spin_once(self, timeout_sec=0.1)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith("pose estimation"):
                values = {value.key: value.value for value in status.values}
                self._state, self._diagnosis = values.get("state", ""), one_line(status.message)
                self._latency = shown(values.get("image_to_pose_median_ms", self._latency), 20)

    def _on_overlay(self, message: Image) -> None:
        self._last = time.monotonic()
        try:
            rgb = decode_image(message.encoding, message.height, message.width, message.step, message.data)
        except ImageError as error:  # of somebody else on the graph
            _refuse("overlay", str(error))
            return
        name = picture_name(self._names[conversions.nanoseconds(message.header.stamp)])
        place = self._out / name
        if place.exists() and not is_overlay(place):
            raise OutputError(f"--out: {shown_path(place)} is there and was not drawn by the demo; give another folder")
        write_overlay(place, rgb)
        self._pictures += 1

    def _on_detections(self, message: Detection3DArray) -> None:
        self._last = time.monotonic()
        name = self._names[conversions.nanoseconds(message.header.stamp)]
        self._answers += 1
        if not message.detections:
            print(f"{shown(name)}: no object", flush=True)
        for rank, detection in enumerate(message.detections):
            if not detection.results:
                _refuse("detections", f"{quoted(detection.id)} has no hypothesis: it is not of a pose node")
                continue
            self._poses += 1
            T, size = transform(detection.bbox.center), detection.bbox.size
            x, y, z = T[:3, 3]
            best = detection.results[0].hypothesis
            azimuth, elevation, _ = Hypothesis(T, best.score, np.array([size.x, size.y, size.z])).viewpoint()
            line = (f"{shown(name)}: {shown(detection.id)} score {best.score:.2f}  x {x:+.2f} y {y:+.2f} z {z:.2f} m  "
                    f"azimuth {math.degrees(azimuth):5.1f} elevation {math.degrees(elevation):+5.1f} deg  "
                    f"size {size.x:.2f} {size.y:.2f} {size.z:.2f} m")
            if rank == 0 and name in self._truth:
                line += self._error_text(T, self._truth[name])
            print(line, flush=True)

    def _error_text(self, T: np.ndarray, truth: np.ndarray) -> str:
        error = Error(math.degrees(rotation_angle(T[:3, :3], truth[:3, :3])),
                      float(np.linalg.norm(T[:3, 3] - truth[:3, 3])), max(float(np.linalg.norm(truth[:3, 3])), 1e-9))
        self._errors.append(error)
        return (f"  | error {error.rotation_deg:.1f} deg, {100 * error.translation_m:.0f} cm "
                f"({100 * error.translation_m / error.distance_m:.0f} % of the distance)")

    def summary(self) -> bool:
        """Print what came out; whether any pose did."""
        print(f"\n{self._answers} images answered, {self._poses} poses, {self._pictures} overlay pictures in "
              f"{self._out}/; image to pose {self._latency or '?'} ms (median)")
        if self._errors:
            rotations = [error.rotation_deg for error in self._errors]
            print(f"against the truth of {len(self._truth)} images: median rotation error "
                  f"{statistics.median(rotations):.1f} deg, within 10 deg {sum(r <= 10 for r in rotations)}, within 30 "
                  f"deg {sum(r <= 30 for r in rotations)}; median translation error "
                  f"{100 * statistics.median(e.translation_m for e in self._errors):.0f} cm, "
                  f"{100 * statistics.median(e.translation_m / e.distance_m for e in self._errors):.0f} % of the "
                  "distance")
        if not self._poses:
            nothing = "no object was found in any image" if self._answers else "no image was answered"
            print(f"no pose came out: {nothing}; the pose node says: {self._diagnosis or 'nothing'}")
        return self._poses > 0
