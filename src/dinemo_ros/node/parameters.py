# SPDX-License-Identifier: Apache-2.0
"""The one schema of all node parameters.

From it come the declared descriptors, the checks, the table in the documentation (``python -m
dinemo_ros.node.parameters``) and the test that keeps ``config/*.yaml`` complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from ..cuda.devices import DEVICES
from ..errors import DinemoError
from ..features.protocol import BACKENDS, PRECISION_CHOICES
from ..quoting import quoted
from .validation import LONGEST_FRAME, is_frame

#: When a parameter may change: never after the start, only while unconfigured, or at any time.
START, CONFIGURE, LIVE = "start", "configure", "live"


class ParameterError(DinemoError):
    """A parameter with a value that cannot be; the message names it."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default gives the type.

    Attributes:
        bounds: (lowest, highest) allowed number, or None.
        choices: allowed strings; empty allows any.
        or_zero: 0, which switches it off, is allowed besides the bounds.
        is_frame: a TF frame's name, or the beginning of one.
        changes: START (read-only), CONFIGURE or LIVE.
    """

    name: str
    default: bool | int | float | str
    description: str
    unit: str = ""
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    changes: str = LIVE
    or_zero: bool = False
    is_frame: bool = False

    @property
    def range_text(self) -> str:
        if self.choices:
            return ", ".join(self.choices)
        return f"{'0 or ' * self.or_zero}{self.bounds[0]:g} to {self.bounds[1]:g}" if self.bounds else ""

    def descriptor(self) -> ParameterDescriptor:
        when = {START: "Fixed at start.", CONFIGURE: "Can be set only before the node is configured.", LIVE: ""}
        lowest = 0 if self.or_zero or not self.bounds else self.bounds[0]  # a descriptor has room for one range only
        descriptor = ParameterDescriptor(
            name=self.name,
            description=f"{self.description}{f' [{self.unit}]' if self.unit else ''}",
            additional_constraints=" ".join(filter(None, [
                (self.choices or self.or_zero) and f"One of: {self.range_text}.", when[self.changes]])),
            read_only=self.changes == START)
        if self.bounds and isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(lowest),
                                                                  to_value=float(self.bounds[1]))]
        elif self.bounds:
            descriptor.integer_range = [IntegerRange(from_value=int(lowest), to_value=int(self.bounds[1]))]
        return descriptor

    def check(self, value) -> str:
        """Why ``value`` is not allowed, or an empty string. Types and plain ranges are rclpy's business."""
        if self.choices and value not in self.choices:
            return f"parameter '{self.name}' is {quoted(value)}; allowed: {self.range_text}"
        if self.is_frame and not is_frame(value):
            return (f"parameter '{self.name}' is {quoted(value)}, of {len(value)} characters; allowed: up to "
                    f"{LONGEST_FRAME}, all of them printable")
        if self.or_zero and value != 0 and not self.bounds[0] <= value <= self.bounds[1]:
            return f"parameter '{self.name}' is {value:g}; allowed: {self.range_text}{' ' * bool(self.unit)}{self.unit}"
        return ""


POSE_NODE = (
    Parameter("autostart", True, "Configure and activate at start; false leaves both to a lifecycle manager.",
              changes=START),
    Parameter("category", "car", "Category whose shipped bundle is used when 'bundle' is empty.", changes=CONFIGURE),
    Parameter("bundle", "", "Folder of the model bundle; empty takes the one shipped for 'category'.",
              changes=CONFIGURE),
    Parameter("backend", "auto", "What runs the network; auto takes the fastest that works.",
              choices=BACKENDS, changes=CONFIGURE),
    Parameter("precision", "auto", "What the network computes in; auto takes fp16 or bf16 on a GPU, where they are "
              "right, int8 on a CPU that is fast in it, where the bundle brings it, else fp32. What cannot be had here "
              "becomes fp32.", choices=PRECISION_CHOICES,
              changes=CONFIGURE),
    Parameter("device", "auto", "What the solver runs on; auto takes a GPU where torch and Triton can use one.",
              choices=DEVICES, changes=CONFIGURE),
    Parameter("engine_cache", "", "Folder for engines; empty takes dinemo_ros in the user's cache folder.",
              changes=CONFIGURE),
    Parameter("threads", 2, "CPU threads: of the network, and for several objects at a time.", bounds=(1, 256),
              changes=CONFIGURE),
    Parameter("image_transport", "auto", "Type of the topic 'image': raw (Image), compressed (CompressedImage); auto "
              "asks the publisher.", choices=("auto", "raw", "compressed"), changes=CONFIGURE),
    Parameter("image_is_rectified", False, "The images are rectified already: use P of the camera_info and no lens "
              "distortion."),
    Parameter("default_hfov_deg", 0.0, "Horizontal field of view assumed until a camera_info arrives; 0 waits for it.",
              unit="deg", bounds=(1.0, 170.0), or_zero=True),
    Parameter("rois", "auto", "Where to look: detections (boxes of 'detections_2d'), proposals (found by the model "
              "itself), auto (detections while somebody publishes them).",
              choices=("auto", "detections", "proposals")),
    Parameter("detections_class_id", "", "Use only 2-D detections whose best hypothesis has this class_id; empty uses "
              "all."),
    Parameter("detections_min_score", 0.0, "Use only 2-D detections with at least this score.", bounds=(0.0, 1.0)),
    Parameter("min_score", 0.0, "Report only poses with at least this score, besides the bundle's own threshold.",
              bounds=(0.0, 1.0)),
    Parameter("max_objects", 10, "Look at no more than this many boxes of a detector, the most certain ones, and "
              "report at most this many objects per image, best first.", bounds=(1, 100)),
    Parameter("tracking", False, "Follow objects from image to image: stable ids instead of ranks in the TF child "
              "frames, and a search only where it is needed."),
    Parameter("track_search_every", 10, "Images between two whole searches per track, and between two looks for new "
              "objects without a detector.", bounds=(1, 1000)),
    Parameter("track_max_age_s", 1.0, "A track that was not seen for this long ends.", unit="s", bounds=(0.05, 60.0)),
    Parameter("track_smoothing", 0.0, "0 reports poses as measured; towards 1 more and more as predicted.",
              bounds=(0.0, 0.95)),
    Parameter("child_frame_prefix", "", "Put before the TF child frames '<category>_<rank>', with tracking "
              "'<category>_<id>'.", is_frame=True),
    Parameter("publish_tf", True, "Publish one TF frame per object."),
    Parameter("marker_style", "mesh", "How 'markers' shows an object.", choices=("mesh", "box")),
    Parameter("marker_lifetime_s", 1.0, "A marker disappears after this time without a new one; 0 keeps it.",
              unit="s", bounds=(0.0, 3600.0)),
    Parameter("time_jump_s", 1.0, "An image older than its predecessor by more than this is a restart (bag loop, "
              "simulation reset): state is dropped and work goes on. By less: it is out of order and skipped.",
              unit="s", bounds=(0.0, 3600.0)),
    Parameter("warn_period_s", 5.0, "The same warning at most once in this time.", unit="s", bounds=(0.0, 3600.0)),
    Parameter("diagnostics_period_s", 1.0, "Time between two messages on /diagnostics.", unit="s",
              bounds=(0.1, 60.0), changes=START),
    Parameter("stale_after_s", 3.0, "Without an image for this long, diagnostics and log say so.", unit="s",
              bounds=(0.1, 3600.0)),
)

IMAGE_SOURCE = (
    Parameter("path", "", "Folder of images, video file, or rosbag2 (folder or .mcap/.db3).", changes=START),
    Parameter("topic", "", "Image topic of a bag; empty takes the best one that holds no depth: with a camera_info, in "
              "colour, first by name.", changes=START),
    Parameter("rate_hz", 0.0, "Images per second; 0 keeps the source's own timing (folders: 10).", unit="Hz",
              bounds=(0.0, 1000.0), changes=START),
    Parameter("loop", False, "Start again at the end instead of ending.", changes=START),
    Parameter("frame_id", "camera_optical_frame", "Frame of the images, an optical frame (x right, y down, z "
              "forward).", changes=START, is_frame=True),
    Parameter("camera_file", "", "Calibration of ROS, OpenCV or Kalibr (camchain.yaml:cam1); empty takes the source's "
              "own camera.", changes=START),
    Parameter("hfov_deg", 0.0, "Horizontal field of view where no camera is known; 0 takes the pictures' EXIF "
              "data or assumes 60, and says so.", unit="deg", bounds=(1.0, 170.0), or_zero=True, changes=START),
    Parameter("stamps", "auto", "Stamp of an image: clock (now), source (recorded time), auto (source for bags, clock "
              "otherwise).", choices=("auto", "clock", "source"), changes=START),
    Parameter("compressed", False, "Publish CompressedImage (JPEG) instead of Image.", changes=START),
    Parameter("wait_for_subscriber", True, "Start when somebody subscribes to 'image'.", changes=START),
    Parameter("lockstep", False, "Publish an image only when the one before was answered on 'detections', or 2 s have "
              "passed: every image is used, however slow the machine.", changes=START),
)


def declare(node: Node, schema: Sequence[Parameter], state: Callable[[], str] = lambda: "unconfigured") -> None:
    """Declare every parameter of ``schema`` on ``node`` and refuse values outside it from then on.

    Unless ``state()`` is unconfigured, new values of CONFIGURE parameters are refused too: they would read as if in
    effect.

    Raises:
        ParameterError: an override from YAML, launch or command line has the wrong type or value.
    """
    for parameter in schema:
        try:
            value = node.declare_parameter(parameter.name, parameter.default, parameter.descriptor()).value
        except InvalidParameterTypeException as error:
            kind = {bool: "true or false", int: "an integer", float: "a number with a decimal point, like 2.0",
                    str: "a string"}[type(parameter.default)]
            raise ParameterError(f"parameter '{parameter.name}' must be {kind} ({error})") from error
        except InvalidParameterValueException as error:
            raise ParameterError(f"parameter '{parameter.name}' must be {parameter.range_text} ({error})") from error
        problem = parameter.check(value)
        if problem:
            raise ParameterError(problem)
    known = {parameter.name: parameter for parameter in schema}

    def check(changes) -> SetParametersResult:
        changes = [change for change in changes if change.name in known]
        problems = [known[change.name].check(change.value) for change in changes]
        if (now := state()) != "unconfigured":
            problems += [_too_late(change.name, now) for change in changes if known[change.name].changes == CONFIGURE
                         and change.value != node.get_parameter(change.name).value]
        problem = next(filter(None, problems), "")
        return SetParametersResult(successful=not problem, reason=problem)

    node.add_on_set_parameters_callback(check)


def _too_late(name: str, state: str) -> str:
    return (f"parameter '{name}' takes effect when the node is configured, and it is {state}: deactivate and clean it "
            "up first (ros2 lifecycle set NODE deactivate, then cleanup), set it, then configure and activate")


def read(node: Node, schema: Sequence[Parameter]) -> SimpleNamespace:
    """The present values, one attribute per parameter."""
    return SimpleNamespace(**{parameter.name: node.get_parameter(parameter.name).value for parameter in schema})


def markdown_table(schema: Sequence[Parameter]) -> str:
    """The documentation's table."""
    rows = ["| parameter | default | unit | range | changes | meaning |", "|---|---|---|---|---|---|"]
    for p in schema:
        default = str(p.default).lower() if isinstance(p.default, bool) else repr(p.default).replace("'", '"')
        rows.append(f"| `{p.name}` | `{default}` | {p.unit} | {p.range_text} | {p.changes} | {p.description} |")
    return "\n".join(rows)


def main() -> None:
    for title, schema in (("pose_node", POSE_NODE), ("image_source_node", IMAGE_SOURCE)):
        print(f"### {title}\n\n{markdown_table(schema)}\n")


if __name__ == "__main__":
    main()
