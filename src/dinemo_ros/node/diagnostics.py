# SPDX-License-Identifier: Apache-2.0
"""Why is there no pose? Counts everything that happens to an image and tells it in log and /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..detection.class_map import ClassMapError
from ..errors import BundleError, CameraError, ImageError, RoiError, SceneError
from ..gates import HELD_BACK
from ..io.quoting import one_line
from .boxes import REASONS
from .depth_input import DepthError
from .node_log import NodeLog
from .throttle import Throttle
from .transforms import TransformError
from .validation import HeaderError, RestartError

#: How long a rejection keeps the status from being OK, in seconds.
_MEMORY_S = 10.0
_WINDOW = 200  # events over which rates and latencies are taken

# The first class that fits names the cause.
_CAUSES = ((RestartError, "time_jump"), (HeaderError, "header"), (ImageError, "image"), (CameraError, "camera_info"),
           (RoiError, "roi"), (BundleError, "bundle"), (TransformError, "transform"), (DepthError, "depth"),
           (SceneError, "support"), (ClassMapError, "detections"))
CAUSES = tuple(name for _, name in _CAUSES) + ("topic", "internal")

# What to do in a state that gives no poses by itself.
_ADVICE = {"unconfigured": "configure and activate the node", "inactive": "activate the node",
           "finalized": "shut down for good; start the node again to go on"}


def cause_of(error: Exception) -> str:
    """Short name of what an error is about; counters and throttling go by it."""
    return next((name for kind, name in _CAUSES if isinstance(error, kind)), "internal")


class Rate:
    """Events per second over the last few hundred events, zero again when they stop."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def tick(self, now: float) -> None:
        """An event at ``now``, seconds."""
        self._times.append(now)

    def hz(self, now: float) -> float:
        """Events per second (Hz) as of ``now``, seconds; 0 with fewer than two in memory."""
        while self._times and now - self._times[0] > _MEMORY_S:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(now - self._times[0], 1e-9)


class Monitor:
    """What happened so far. ``logger`` is the node's; times are of the monotonic clock. For several threads."""

    def __init__(self, logger: NodeLog, name: str) -> None:
        self._logger, self._name, self._lock = logger, name, threading.RLock()
        self.hardware_id = ""
        self.received = self.published = self.objects = 0
        self.rejected: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.held_back: Counter[str] = Counter()
        self._held: deque[tuple[float, Counter[str]]] = deque(maxlen=_WINDOW)
        self.last_error = self.last_left_out = self.resting = ""
        self._error_time = self._image_time = self._success_time = float("-inf")
        self._started = self._calm_since = time.monotonic()
        self._throttle = Throttle()
        self._notes: dict[str, tuple[str, float]] = {}  # cause: what is strange just now, and when it was seen last
        self._unrecovered = 0
        self._in, self._out = Rate(), Rate()
        self._durations: deque[float] = deque(maxlen=_WINDOW)
        self.stage_ms: dict[str, float] = {}
        self.progress = ""  # of a transition that takes its time

    def start(self) -> None:
        """The node became active: waiting for images counts from now."""
        with self._lock:
            self._started = self._calm_since = time.monotonic()
            self._notes.clear()

    def recovered(self) -> None:
        """What failed before does not matter any more."""
        self._calm_since = time.monotonic()

    def image_received(self) -> None:
        """An image came, whatever becomes of it."""
        with self._lock:
            self.received += 1
            self._image_time = time.monotonic()
            self._in.tick(self._image_time)

    def image_done(self, objects: int, duration_s: float, stage_ms: dict[str, float]) -> None:
        """An image was turned into poses and published."""
        with self._lock:
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

    def reject(self, cause: str, message: str, period_s: float, lost_image: bool = True, count: int = 1) -> None:
        """Count rejections and say so, those of a kind at most once in ``period_s`` seconds."""
        with self._lock:
            self.rejected[cause] += count
            self._unrecovered += lost_image
            self.last_error, self._error_time = one_line(message), time.monotonic()
            self.warn(cause, message, period_s)

    def fail(self, cause: str, message: str) -> None:
        """Count what kept the node from its next state, and say it as an error."""
        with self._lock:
            self.rejected[cause] += 1
            self.last_error, self._error_time = one_line(message), time.monotonic()
            self._logger.error(self.last_error)

    def leave_out(self, reason: str, count: int, sentence: str) -> None:
        """Count boxes that are not looked at; the sentence stands in the diagnostics."""
        with self._lock:
            self.left_out[reason] += count
            self.last_left_out = one_line(sentence)

    def hold_back(self, reasons: Counter[str]) -> None:
        """Count the poses of an image that the gates hold back."""
        if reasons:
            with self._lock:
                self.held_back += reasons
                self._held.append((time.monotonic(), reasons))

    def error_since(self, since_s: float) -> str:
        """The last rejection if it came after ``since_s`` of the monotonic clock, or an empty string."""
        with self._lock:
            return self.last_error if self._error_time >= since_s else ""

    def note(self, cause: str, message: str, period_s: float) -> None:
        """Something is strange and poses are published all the same: a warning in the log and in the diagnostics."""
        with self._lock:
            self._notes[cause] = one_line(message), time.monotonic()
        line = self._let_through(cause, message, period_s)
        if line is not None:
            self._logger.warning(line)

    def warn(self, cause: str, message: str, period_s: float) -> None:
        """Log a warning, one of a kind at most once in ``period_s`` seconds; see :class:`Throttle`."""
        line = self._let_through(cause, message, period_s)
        if line is not None:
            self._logger.warning(line)

    def inform(self, cause: str, message: str, period_s: float) -> None:
        """A note that is no reason to worry, in the log only."""
        line = self._let_through(cause, message, period_s)
        if line is not None:
            self._logger.info(line)

    def _let_through(self, cause: str, message: str, period_s: float) -> str | None:
        with self._lock:
            return self._throttle.let_through(cause, one_line(message), period_s, time.monotonic())

    def waited_s(self) -> float:
        """Seconds since the last image, or since the node became active."""
        return time.monotonic() - max(self._image_time, self._started)

    def status(self, state: str, stale_after_s: float, image_topic: str,
               running: Mapping[str, object]) -> DiagnosticStatus:
        """The present state of the node as one DiagnosticStatus.

        running: what computes, and what came of it.
        """
        with self._lock:
            level, message = self._level_and_message(state, stale_after_s, image_topic)
            values = {"state": state, **running, **self._values()}
        return DiagnosticStatus(level=level, name=self._name, message=one_line(message),
                                hardware_id=one_line(self.hardware_id),
                                values=[KeyValue(key=key, value=one_line(str(value))) for key, value in values.items()])

    def _values(self) -> dict[str, object]:
        now = time.monotonic()
        values = {"images_received": self.received, "images_published": self.published,
                  "objects_published": self.objects, "images_per_second": f"{self._in.hz(now):.1f}",
                  "poses_per_second": f"{self._out.hz(now):.1f}"}
        if self._durations:
            ordered = sorted(self._durations)
            values["image_to_pose_median_ms"] = f"{1e3 * ordered[len(ordered) // 2]:.1f}"
            values["image_to_pose_p95_ms"] = f"{1e3 * ordered[int(0.95 * (len(ordered) - 1))]:.1f}"
        values |= {f"stage_{name}_ms": f"{ms:.1f}" for name, ms in self.stage_ms.items()}
        values |= {f"rejected_{cause}": self.rejected[cause] for cause in CAUSES}
        values |= {f"boxes_left_out_{reason}": self.left_out[reason] for reason in REASONS}
        values["last_left_out"] = self.last_left_out
        values |= {f"held_back_{reason}": self.held_back[reason] for reason in HELD_BACK}
        values |= {f"note_{cause}": message for cause, message in self._standing_notes(now).items()}
        values["last_error"] = self.last_error
        if self.last_error:
            values["last_error_age_s"] = f"{now - self._error_time:.1f}"
        return values

    def _held_back_lately(self, now: float) -> str:
        """For the message: "; held back: unstable 3, outlier 1" """
        lately: Counter[str] = sum((reasons for seen, reasons in self._held if now - seen < _MEMORY_S), Counter())
        told = ", ".join(f"{reason} {lately[reason]}" for reason in HELD_BACK if lately[reason])
        return f"; held back: {told}" if told else ""

    def _standing_notes(self, now: float) -> dict[str, str]:
        return {cause: message for cause, (message, seen) in self._notes.items() if now - seen < _MEMORY_S}

    def _level_and_message(self, state: str, stale_after_s: float, image_topic: str) -> tuple[bytes, str]:
        now = time.monotonic()
        if state != "active":
            if state not in _ADVICE:  # in a transition
                return DiagnosticStatus.WARN, f"{state}: {self.progress}" if self.progress else state
            if self._error_time > max(self._success_time, self._calm_since) and state != "finalized":
                return DiagnosticStatus.ERROR, f"{state}: {self.last_error}"
            return DiagnosticStatus.WARN, f"{state}: {_ADVICE[state]}"
        if self.resting:
            return DiagnosticStatus.OK, self.resting
        if self.waited_s() > stale_after_s:
            missing = f"no image on {image_topic} for {self.waited_s():.0f} s: is the camera running?"
            return DiagnosticStatus.WARN, "; ".join([missing, *self._standing_notes(now).values()])
        if self._error_time > max(now - _MEMORY_S, self._calm_since):
            if self._error_time > self._success_time:
                return DiagnosticStatus.ERROR, self.last_error
            return DiagnosticStatus.WARN, self.last_error
        if notes := self._standing_notes(now):
            return DiagnosticStatus.WARN, "estimating, but " + "; ".join(notes.values())
        return DiagnosticStatus.OK, f"estimating{self._held_back_lately(now)}"


def array_message(stamp: Time, status: DiagnosticStatus) -> DiagnosticArray:
    """DiagnosticArray with one status; ``stamp`` is builtin_interfaces/Time."""
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
