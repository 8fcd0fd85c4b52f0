# SPDX-License-Identifier: Apache-2.0
"""Why is there no pose? Counts everything that happens to an image and tells it in log and /diagnostics."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..errors import BundleError, CameraError, ImageError, RoiError
from ..estimator import PoseEstimator
from .validation import HeaderError, RestartError

#: How long a rejection keeps the status from being OK, in seconds.
_MEMORY_S = 10.0
_WINDOW = 200  # events over which rates and latencies are taken

_NUMBER = re.compile(r"[\d.]+")

# The first class that fits names the cause.
_CAUSES = ((RestartError, "time_jump"), (HeaderError, "header"), (ImageError, "image"), (CameraError, "camera_info"),
           (RoiError, "roi"), (BundleError, "bundle"))
CAUSES = tuple(name for _, name in _CAUSES) + ("detections", "topic", "internal")


def cause_of(error: Exception) -> str:
    """Short name of what an error is about; counters and throttling go by it."""
    return next((name for kind, name in _CAUSES if isinstance(error, kind)), "internal")


class Rate:
    """Events per second over the last few hundred events, zero again when they stop."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def tick(self, now: float) -> None:
        self._times.append(now)

    def hz(self, now: float) -> float:
        while self._times and now - self._times[0] > _MEMORY_S:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(now - self._times[0], 1e-9)


@dataclass
class _Said:
    """When a warning was logged, and how often it was held back since."""

    time_s: float
    held_back: int = 0


class Monitor:
    """What happened so far. ``logger`` is the node's; times are of the monotonic clock."""

    def __init__(self, logger, name: str) -> None:
        self._logger, self._name = logger, name
        self.hardware_id = ""
        self.received = self.published = self.objects = 0
        self.rejected: Counter[str] = Counter()
        self.last_error = ""
        self._error_time = self._image_time = self._success_time = float("-inf")
        self._started = time.monotonic()
        self._said: dict[str, _Said] = {}
        self._unrecovered = 0
        self._in, self._out = Rate(), Rate()
        self._durations: deque[float] = deque(maxlen=_WINDOW)
        self.stage_ms: dict[str, float] = {}

    def start(self) -> None:
        """The node became active: waiting for images counts from now."""
        self._started = time.monotonic()

    def image_received(self) -> None:
        self.received += 1
        self._image_time = time.monotonic()
        self._in.tick(self._image_time)

    def image_done(self, objects: int, duration_s: float, stage_ms: dict[str, float]) -> None:
        """An image was turned into poses and published."""
        now = time.monotonic()
        self.published += 1
        self.objects += objects
        self._success_time = now
        self._out.tick(now)
        self._durations.append(duration_s)
        self.stage_ms = dict(stage_ms)
        if self._unrecovered:
            self._logger.info(f"images are good again after {self._unrecovered} rejected")
            self._unrecovered = 0

    def reject(self, cause: str, message: str, period_s: float, lost_image: bool = True) -> None:
        """Count a rejection and say so, the same cause at most once in ``period_s`` seconds."""
        self.rejected[cause] += 1
        self._unrecovered += lost_image
        self.last_error, self._error_time = message, time.monotonic()
        self.warn(message, period_s)

    def warn(self, message: str, period_s: float) -> None:
        """Log a warning, at most once in ``period_s`` seconds; messages that differ in numbers only are the same."""
        now, key = time.monotonic(), _NUMBER.sub("#", message)
        said = self._said.get(key)
        if said and now - said.time_s < period_s:
            said.held_back += 1
            return
        again = f" ({said.held_back} more like it since the last time)" if said and said.held_back else ""
        self._said[key] = _Said(now)
        self._logger.warning(message + again)

    def waited_s(self) -> float:
        """Seconds since the last image, or since the node became active."""
        return time.monotonic() - max(self._image_time, self._started)

    def status(self, state: str, stale_after_s: float, image_topic: str,
               running: Mapping[str, str]) -> DiagnosticStatus:
        """The present state of the node as one DiagnosticStatus; ``running``: what computes, see :func:`what_runs`."""
        level, message = self._judge(state, stale_after_s, image_topic)
        values = {"state": state, **running, "images_received": self.received, "images_published": self.published,
                  "objects_published": self.objects, "images_per_second": f"{self._in.hz(time.monotonic()):.1f}",
                  "poses_per_second": f"{self._out.hz(time.monotonic()):.1f}"}
        if self._durations:
            ordered = sorted(self._durations)
            values["image_to_pose_median_ms"] = f"{1e3 * ordered[len(ordered) // 2]:.1f}"
            values["image_to_pose_p95_ms"] = f"{1e3 * ordered[int(0.95 * (len(ordered) - 1))]:.1f}"
        values |= {f"stage_{name}_ms": f"{ms:.1f}" for name, ms in self.stage_ms.items()}
        values |= {f"rejected_{cause}": self.rejected[cause] for cause in CAUSES}
        values["last_error"] = self.last_error
        if self.last_error:
            values["last_error_age_s"] = f"{time.monotonic() - self._error_time:.1f}"
        return DiagnosticStatus(level=level, name=self._name, message=message, hardware_id=self.hardware_id,
                                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])

    def _judge(self, state: str, stale_after_s: float, image_topic: str) -> tuple[bytes, str]:
        if state != "active":
            if self.last_error and self._error_time > self._success_time:
                return DiagnosticStatus.ERROR, f"{state}: {self.last_error}"
            return DiagnosticStatus.WARN, f"{state}: configure and activate the node"
        if self.waited_s() > stale_after_s:
            return DiagnosticStatus.WARN, (f"no image on {image_topic} for {self.waited_s():.0f} s: is the camera "
                                           "running?")
        if time.monotonic() - self._error_time < _MEMORY_S:
            if self._error_time > self._success_time:
                return DiagnosticStatus.ERROR, self.last_error
            return DiagnosticStatus.WARN, self.last_error
        return DiagnosticStatus.OK, "estimating"


def what_runs(estimator: PoseEstimator | None) -> dict[str, str]:
    """What computes just now, and why: it may be another than was asked for, or another than at the start."""
    if estimator is None:
        return {}
    network = estimator.extractor
    return {"backend": network.name, "precision": network.precision, "network_device": network.device,
            "backend_reason": network.reason, "solver_device": estimator.pipeline.device}


def array_message(stamp, status: DiagnosticStatus) -> DiagnosticArray:
    """DiagnosticArray with one status; ``stamp`` is builtin_interfaces/Time."""
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
