# SPDX-License-Identifier: Apache-2.0
"""The one schema of all node parameters.

From it come the declared descriptors, the checks, the table in the documentation (``python -m
dinemo_ros.node.parameters``) and the test that keeps ``config/*.yaml`` complete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from ..cuda.devices import DEVICES
from ..errors import DinemoError
from ..features.protocol import BACKENDS, PRECISION_CHOICES
from ..gates import Gating
from ..io.quoting import quoted

#: When a parameter may change: never after the start, only while unconfigured, or at any time. Whoever is on the graph
#: can set what is not fixed, so whatever names a file or folder is (docs/security_graph.md).
START, CONFIGURE, LIVE = "start", "configure", "live"

#: Characters of a text: of a name, and of a path.
LONGEST_NAME, LONGEST_PATH = 256, 4096
#: Entries of a list.
LONGEST_LIST = 100
#: The default of a list of texts: neither rclpy nor YAML has a type for an empty one. Empty entries are left out.
NO_ENTRIES = [""]


class ParameterError(DinemoError):
    """A parameter with a value that cannot be; the message names it."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default gives the type.

    Attributes:
        bounds: (lowest, highest) allowed number, or None.
        choices: allowed strings; empty allows any.
        or_zero: 0, which switches it off, is allowed besides the bounds.
        changes: START (read-only), CONFIGURE or LIVE.
        is_path: names a file or folder, which is read or written. Other texts are printable and short.
        power: what whoever may set it can bring about besides the obvious, for docs/security_graph.md.
    """

    name: str
    default: bool | int | float | str | list[str]
    description: str
    unit: str = ""
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    changes: str = LIVE
    or_zero: bool = False
    is_path: bool = False
    power: str = ""

    @property
    def range_text(self) -> str:
        if self.choices:
            return ", ".join(self.choices)
        return f"{'0 or ' * self.or_zero}{self.bounds[0]:g} to {self.bounds[1]:g}" if self.bounds else ""

    @property
    def limit_text(self) -> str:
        if self.range_text or not isinstance(self.default, (str, list)):
            return self.range_text or "true, false"
        of_each = f"{LONGEST_PATH} characters" if self.is_path else f"{LONGEST_NAME} printable characters"
        return f"{LONGEST_LIST} entries of {of_each}" if isinstance(self.default, list) else of_each

    def descriptor(self) -> ParameterDescriptor:
        """As rclpy declares it: description with unit, range, and what else is allowed or fixed in words."""
        when = {START: "Fixed at start.", CONFIGURE: "Can be set only before the node is configured.", LIVE: ""}
        lowest = 0 if self.or_zero or not self.bounds else self.bounds[0]  # a descriptor has room for one range only
        descriptor = ParameterDescriptor(
            name=self.name,
            description=f"{self.description}{f' [{self.unit}]' if self.unit else ''}",
            additional_constraints=" ".join(filter(None, [
                f"One of: {self.range_text}." if self.choices or self.or_zero else "", when[self.changes]])),
            read_only=self.changes == START)
        if self.bounds and isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(lowest),
                                                                  to_value=float(self.bounds[1]))]
        elif self.bounds:
            descriptor.integer_range = [IntegerRange(from_value=int(lowest), to_value=int(self.bounds[1]))]
        return descriptor

    def check(self, value: str | bool | float | Sequence[str] | None) -> str:
        """Why ``value`` is not allowed, or an empty string. Types and plain ranges are rclpy's business."""
        if value is None or (isinstance(value, Sequence) and not isinstance(value, str)):  # None: [] of a YAML file
            if value and len(value) > LONGEST_LIST:
                return f"parameter '{self.name}' has {len(value)} entries; at most {LONGEST_LIST} are allowed"
            return next(filter(None, map(self.check, value or [])), "")
        if self.choices and value not in self.choices:
            return f"parameter '{self.name}' is {quoted(value)}; allowed: {self.range_text}"
        longest = LONGEST_PATH if self.is_path else LONGEST_NAME
        if isinstance(value, str) and len(value) > longest:
            return f"parameter '{self.name}' has {len(value)} characters; at most {longest} are allowed"
        if isinstance(value, str) and not (self.is_path or value.isprintable()):
            return f"parameter '{self.name}' is {quoted(value)}; allowed are characters that can be printed"
        bounds = self.bounds if self.or_zero else None
        if bounds and not isinstance(value, str) and value != 0 and not bounds[0] <= value <= bounds[1]:
            return f"parameter '{self.name}' is {value:g}; allowed: {self.range_text}{' ' * bool(self.unit)}{self.unit}"
        return ""


POSE_NODE = (
    Parameter("autostart", True, "Configure and activate at start; false leaves both to a lifecycle manager.",
              changes=START),
    Parameter("enabled_at_start", True, "Work on images while active; false rests, with its memory free, until service "
              "'enable' or 'estimate' is called.", changes=START),
    Parameter("category", "car", "Category whose shipped bundle is used when 'bundle' is empty.", changes=CONFIGURE,
              power="loads another of the installed bundles, and nothing else"),
    Parameter("bundle", "", "Folder of the model bundle; empty takes the one shipped for 'category'.", changes=START,
              is_path=True, power="reads that folder, runs its networks"),
    Parameter("categories", NO_ENTRIES, "Categories that are looked for in one node, each with its bundle; empty takes "
              "'category' alone.", changes=CONFIGURE, power="loads others of the installed bundles, and nothing else"),
    Parameter("bundles", NO_ENTRIES, "Folders of more model bundles; where 'categories' names their category they take "
              "the place of the shipped ones, else that category is looked for as well.", changes=START, is_path=True,
              power="reads those folders, runs their networks"),
    Parameter("backend", "auto", "What runs the network; auto takes the fastest that works.",
              choices=BACKENDS, changes=CONFIGURE, power="may build an engine, minutes of work, in engine_cache"),
    Parameter("precision", "auto", "What the network computes in; auto takes fp16 or bf16 on a GPU, where they are "
              "right, int8 on a CPU that is fast in it, where the bundle brings it, else fp32. What cannot be had here "
              "becomes fp32.", choices=PRECISION_CHOICES, changes=CONFIGURE,
              power="may build an engine, as backend"),
    Parameter("device", "auto", "What the solver runs on; auto takes a GPU where torch and Triton can use one.",
              choices=DEVICES, changes=CONFIGURE, power="takes memory of a GPU at the next configure"),
    Parameter("engine_cache", "", "Folder for engines; empty takes dinemo_ros in the user's cache folder.",
              changes=START, is_path=True, power="writes engines into that folder, loads what lies in it"),
    Parameter("threads", 2, "CPU threads: of the network, and for several objects at a time.", bounds=(1, 256),
              changes=CONFIGURE, power="takes that many threads at the next configure"),
    Parameter("image_transport", "auto", "Type of the topic 'image': raw (Image), compressed (CompressedImage); auto "
              "asks the publisher.", choices=("auto", "raw", "compressed"), changes=CONFIGURE,
              power="no more images"),
    Parameter("image_reliability", "auto", "How 'image' is subscribed to: best_effort, reliable, or auto, which is "
              "best effort until images are seen to be lost and their publisher offers reliable.",
              choices=("auto", "best_effort", "reliable"), power="no more images, or images that are late"),
    Parameter("image_is_rectified", False, "The images are rectified already: use P of the camera_info and no lens "
              "distortion.", power="wrong poses"),
    Parameter("default_hfov_deg", 0.0, "Horizontal field of view assumed until a camera_info arrives; 0 waits for it.",
              unit="deg", bounds=(1.0, 170.0), or_zero=True, power="wrong distances while there is no camera_info"),
    Parameter("rois", "auto", "Where to look: detections (boxes of 'detections_2d'), detector (boxes of the node's "
              "own), proposals (found by the model itself), auto (detections while somebody publishes them, else the "
              "detector where it knows the category, else proposals).",
              choices=("auto", "detections", "detector", "proposals"), power="a search of the whole image, or none"),
    Parameter("detector", "", "Folder of the node's own box detector (detector.yaml); empty takes the one that ships.",
              changes=START, is_path=True, power="reads a network and runs it"),
    Parameter("detector_budget_ms", 0.0, "How long the detector may take for an image: more is looked at while there "
              "is time; 0 takes as much as its card says.", unit="ms", bounds=(0.0, 10_000.0), changes=CONFIGURE,
              power="work per image"),
    Parameter("detections_class_id", "", "Use only 2-D detections whose best hypothesis has this class_id; empty uses "
              "all.", power="a class that never comes: no poses"),
    Parameter("class_map", NO_ENTRIES, "Which class_id of the 2-D detections, or class of the node's own detector, is "
              "which category, entries 'ID=category' like '41=cup', besides the category's own name and the labels in "
              "its bundle's card; with an entry, or with several categories, other classes are left out, counted and "
              "named.", changes=CONFIGURE, power="classes that never come: no poses"),
    Parameter("detections_min_score", 0.0, "Use only 2-D detections with at least this score.", bounds=(0.0, 1.0),
              power="1 uses none"),
    Parameter("detections_max_age_s", 2.0, "An image waits this long for its boxes: longer than the detector takes.",
              unit="s", bounds=(0.05, 60.0), power="memory, within detections_buffer_mb; or no poses"),
    Parameter("detections_buffer_mb", 128, "Memory for the images that wait; the oldest go first. A 720p image takes "
              "2.8 MB, so that 128 MB hold 1.5 s of them at 30 Hz.", unit="MB", bounds=(1, 4096), power="memory"),
    Parameter("min_score", 0.0, "Report only poses with at least this score, besides the bundle's own threshold.",
              bounds=(0.0, 1.0), power="1 reports nothing"),
    Parameter("presence_floor", -1.0, "Drop a pose in a box where the probability that there is an object is below "
              "this: 0 drops none, -1 takes what each bundle was calibrated to.", bounds=(-1.0, 1.0), changes=CONFIGURE,
              power="0 reports poses of nothing, 1 reports nothing"),
    Parameter("max_objects", 10, "Look at no more than this many boxes of a detector, the most certain ones over all "
              "categories, and report at most this many objects per image, best first.", bounds=(1, 100),
              power="work per image"),
    Parameter("tracking", False, "Follow objects from image to image: stable ids instead of ranks in the TF child "
              "frames, and a search only where it is needed."),
    Parameter("track_search_every", 10, "Images between two whole searches per track, and between two looks for new "
              "objects without a detector.", bounds=(1, 1000)),
    Parameter("track_max_age_s", 1.0, "A track that was not seen for this long ends.", unit="s", bounds=(0.05, 60.0)),
    Parameter("track_smoothing", 0.0, "0 reports poses as measured; towards 1 more and more as predicted.",
              bounds=(0.0, 0.95)),
    Parameter("gate_distance_m", 0.0, "Hold back a pose that moved farther than this from one image to the next, until "
              "'gate_confirm' images in a row show it there; after missed images, as many times farther. 0 is off.",
              unit="m", bounds=(0.001, 100.0), or_zero=True, power="holds poses back"),
    Parameter("gate_angle_deg", 0.0, "The same for a pose that turned by more than this, turns of the category's "
              "symmetry apart. 0 is off.", unit="deg", bounds=(0.1, 180.0), or_zero=True, power="holds poses back"),
    Parameter("gate_confirm", 3, "Images in a row, the first included, after which a jump is believed.",
              bounds=(1, 100), power="holds poses back"),
    Parameter("stable_frames", 0, "Publish an object only while so many images in a row agree on its pose. 0 is off.",
              bounds=(0, 100), power="what moves is held back"),
    Parameter("stable_distance_m", 0.02, "How near poses that agree have to be.", unit="m", bounds=(0.0001, 100.0),
              power="holds poses back"),
    Parameter("stable_angle_deg", 10.0, "How little poses that agree may be turned.", unit="deg", bounds=(0.1, 180.0),
              power="holds poses back"),
    Parameter("estimate_frames", 5, "Images that service 'estimate' takes.", bounds=(1, 100)),
    Parameter("estimate_min_frames", 3, "Images at least that have to come, and in which an object has to be seen "
              "alike, for service 'estimate' to answer with it; more than 'estimate_frames' means all.",
              bounds=(1, 100), power="1 answers with what one image shows"),
    Parameter("estimate_timeout_s", 5.0, "After this long service 'estimate' answers with the images that came.",
              unit="s", bounds=(0.1, 60.0)),
    Parameter("target_frame", "", "Publish everything in this frame, at the image's stamp, by TF; empty takes the "
              "images' own frame. Without the transform an image is not answered, and it is told.",
              power="poses in another frame, or none; the node listens to TF"),
    Parameter("transform_timeout_s", 0.1, "Wait this long for a transform that is not there yet.", unit="s",
              bounds=(0.0, 2.0), power="an image waits that long"),
    Parameter("support_frame", "", "Frame whose x-y plane the objects stand on, z up, by TF: a table's, base_link for "
              "the ground; empty knows no such frame. Without the transform an image is not answered, and it is told.",
              power="wrong distances, or no poses; the node listens to TF"),
    Parameter("camera_height_m", 0.0, "Height of the camera above the level plane that the objects stand on, for a "
              "camera without TF; 0 does not know it. 'support_frame' comes first.", unit="m", bounds=(0.01, 1000.0),
              or_zero=True, power="wrong distances"),
    Parameter("camera_pitch_deg", 0.0, "By how much the camera looks down from level, with 'camera_height_m'; 90 "
              "looks straight down.", unit="deg", bounds=(-90.0, 90.0), power="wrong distances"),
    Parameter("support_tilt_sigma_deg", 1.0, "Standard deviation of the plane's normal of 'support_frame' and "
              "'camera_height_m', the tilt of what stands on it included.", unit="deg", bounds=(0.01, 45.0),
              power="distances less or more exact than they are said to be"),
    Parameter("support_offset_sigma_m", 0.003, "Standard deviation of that plane at the object's foot along its "
              "normal.", unit="m", bounds=(0.0001, 1.0), power="as support_tilt_sigma_deg"),
    Parameter("support_from_depth", False, "Look for the plane that objects stand on in the depth image, where no "
              "other parameter tells it.", power="work per image"),
    Parameter("use_depth", "auto", "Depth images of 'depth/image': auto (while somebody publishes them, without one "
              "where none comes in time), always (an image without one is not answered, and it is told), never.",
              choices=("auto", "always", "never"), power="less exact distances, or no poses"),
    Parameter("depth_max_age_s", 0.05, "A depth image of another stamp than the image's is used up to this far from "
              "it.", unit="s", bounds=(0.0, 10.0), power="depth of another moment"),
    Parameter("depth_timeout_s", 0.1, "Wait this long for the depth image of an image's stamp.", unit="s",
              bounds=(0.0, 2.0), power="an image waits that long"),
    Parameter("child_frame_prefix", "", "Put before the TF child frames '<category>_<rank>', with tracking "
              "'<category>_<id>'; empty takes the node's namespace and a slash, '/' nothing.",
              power="the names of frames in TF"),
    Parameter("publish_tf", True, "Publish one TF frame per object.", power="no more TF"),
    Parameter("publish_grasps", False, "With publish_tf, also publish the grasps that the bundle's card has for an "
              "object, as frames '<object frame>/<grasp>' and '<object frame>/<grasp>/pregrasp' below it; a grasp that "
              "needs the turn of the object only while that is known.", power="frames in TF"),
    Parameter("publish_collision_objects", False, "Publish every object as a moveit_msgs/CollisionObject on "
              "'collision_object'; needs the package moveit_msgs.", changes=CONFIGURE,
              power="obstacles in MoveIt's planning scene at the next configure, or none"),
    Parameter("collision_object_lifetime_s", 2.0, "A collision object that was not seen for this long is removed; 0 "
              "keeps it until the node is deactivated.", unit="s", bounds=(0.0, 3600.0),
              power="obstacles that are gone stay, or leave early"),
    Parameter("marker_style", "mesh", "How 'markers' shows an object.", choices=("mesh", "box")),
    Parameter("marker_lifetime_s", 1.0, "A marker disappears after this time without a new one; 0 keeps it.",
              unit="s", bounds=(0.0, 3600.0)),
    Parameter("overlay_refused", False, "Show in 'overlay' the boxes that led to no pose as well, each with the "
              "reason."),
    Parameter("time_jump_s", 1.0, "An image older than its predecessor by more than this is a restart (bag loop, "
              "simulation reset): state is dropped and work goes on. By less: it is out of order and skipped.",
              unit="s", bounds=(0.0, 3600.0)),
    Parameter("warn_period_s", 5.0, "The same warning at most once in this time.", unit="s", bounds=(0.0, 3600.0),
              power="0: a line in the log for every image that is refused"),
    Parameter("diagnostics_period_s", 1.0, "Time between two messages on /diagnostics.", unit="s",
              bounds=(0.1, 60.0), changes=START),
    Parameter("stale_after_s", 3.0, "Without an image for this long, diagnostics and log say so.", unit="s",
              bounds=(0.1, 3600.0)),
)

IMAGE_SOURCE = (
    Parameter("path", "", "Folder of images, video file, or rosbag2 (folder or .mcap/.db3).", changes=START,
              is_path=True, power="reads files and publishes the pictures in them"),
    Parameter("topic", "", "Image topic of a bag; empty takes the best one that holds no depth: with a camera_info, in "
              "colour, first by name.", changes=START),
    Parameter("rate_hz", 0.0, "Images per second; 0 keeps the source's own timing (folders: 10).", unit="Hz",
              bounds=(0.0, 1000.0), changes=START),
    Parameter("loop", False, "Start again at the end instead of ending.", changes=START),
    Parameter("frame_id", "camera_optical_frame", "Frame of the images, an optical frame (x right, y down, z "
              "forward).", changes=START),
    Parameter("camera_file", "", "Calibration of ROS, OpenCV or Kalibr (camchain.yaml:cam1); empty takes the source's "
              "own camera.", changes=START, is_path=True, power="reads that file; errors tell of it"),
    Parameter("hfov_deg", 0.0, "Horizontal field of view in the place of any other camera but camera_file; 0 takes "
              "the source's own, else the pictures' EXIF data, else assumes 25 as the commands do, and says so.",
              unit="deg", bounds=(1.0, 170.0), or_zero=True, changes=START),
    Parameter("stamps", "auto", "Stamp of an image: clock (now), source (recorded time), auto (source for bags, clock "
              "otherwise).", choices=("auto", "clock", "source"), changes=START),
    Parameter("compressed", False, "Publish CompressedImage (JPEG) instead of Image.", changes=START),
    Parameter("wait_for_subscriber", True, "Start when somebody subscribes to 'image'.", changes=START),
    Parameter("lockstep", False, "Publish an image only when the one before was answered on 'detections', or 2 s have "
              "passed: every image is used, however slow the machine.", changes=START),
)

SCENE = (
    Parameter("scene", "cups", "Name of a scene that ships with the package, config/demo_scene_NAME.", changes=START,
              power="reads files of that folder and publishes the pictures in them"),
    Parameter("rate_hz", 5.0, "Images per second at most, while it plays on after the table.", unit="Hz",
              bounds=(0.1, 100.0), changes=START),
    Parameter("loop", False, "Play on after the table, with plane and depth, instead of ending.", changes=START),
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
                    str: "a string", list: "a list of strings"}[type(parameter.default)]
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


def entries(values: Sequence[str] | None) -> list[str]:
    """The entries of a list that are not empty; none of [] in a YAML file, which has no type."""
    return [value for value in values or [] if value]


def gating(settings: SimpleNamespace) -> Gating:
    """The gates as the parameters of the pose node have them; a track's memory is theirs."""
    return Gating(settings.gate_distance_m, math.radians(settings.gate_angle_deg), settings.gate_confirm,
                  settings.stable_frames, settings.stable_distance_m, math.radians(settings.stable_angle_deg),
                  settings.track_max_age_s)


def markdown_table(schema: Sequence[Parameter]) -> str:
    """The documentation's table."""
    rows = ["| parameter | default | unit | range | changes | meaning |", "|---|---|---|---|---|---|"]
    for p in schema:
        default = str(p.default).lower() if isinstance(p.default, bool) else repr(p.default).replace("'", '"')
        rows.append(f"| `{p.name}` | `{default}` | {p.unit} | {p.range_text} | {p.changes} | {p.description} |")
    return "\n".join(rows)


#: Who may set a parameter while the node runs.
_WHO = {START: "nobody", CONFIGURE: "anybody, before configure", LIVE: "anybody, at any time"}


def graph_table(schema: Sequence[Parameter]) -> str:
    """The table of docs/security_graph.md: who may change what, within which limits, and what that can do."""
    rows = ["| parameter | who may change it at run time | limit | what it can bring about |", "|---|---|---|---|"]
    rows += [f"| `{p.name}` | {_WHO[p.changes]} | {p.limit_text} | {p.power} |" for p in schema]
    return "\n".join(rows)


def main() -> None:
    """Print the tables of the documentation, in Markdown."""
    for title, schema in (("pose_node", POSE_NODE), ("image_source_node", IMAGE_SOURCE), ("scene_node", SCENE)):
        print(f"### {title}\n\n{markdown_table(schema)}\n")
        print(f"### {title}: what others on the graph may change\n\n{graph_table(schema)}\n")


if __name__ == "__main__":
    main()
