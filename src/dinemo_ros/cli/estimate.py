# SPDX-License-Identifier: Apache-2.0
"""``dinemo estimate``: poses of the objects in images, one JSON line per image."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tqdm import tqdm

from ..camera.camera_file import file_and_entry
from ..camera.pinhole import Camera
from ..defaults import DEFAULT_HFOV_DEG
from ..detection.labelled_box import LabelledBox
from ..drawing.grasps import draw_grasps
from ..drawing.overlay import draw_poses
from ..drawing.rerun_file import RerunFile, require_rerun, rerun_file
from ..errors import DatasetError, DinemoError
from ..io.files import readable
from ..io.overlay_file import is_overlay, write_overlay
from ..io.quoting import one_line, shown
from ..io.sources import Frame, Source, open_source
from ..io.sources.bag import BagSource
from ..model.bundle import Bundle
from ..model.grasps import grasp_frames
from ..multi_estimator import MultiPoseEstimator
from ..pose import ObjectPose, Roi
from ..process.input_guard import identity, input_files
from . import options
from .camera_choice import CameraChoice
from .depth_choice import DepthChoice, add_depth_options
from .estimate_bag import BagOutput, require_bag
from .output import (
    STANDARD_OUTPUT,
    OutputError,
    check_outputs,
    object_entry,
    output_folder,
    overlay_name,
    result_file,
    to_json,
)
from .support_options import add_support_options, support_plane

if TYPE_CHECKING:
    from .options import Commands

_DESCRIPTION = """\
Estimate the 6D pose of every object of the bundle's category in an image, a folder of images, a video or a rosbag2.

One JSON line per image:
  file        its name; NAME:000012 is frame 12 of a video or bag
  stamp_s     seconds
  camera      calibration used: width, height, fx, fy, cx, cy, and where it came from: file, hfov, source (camera_info),
              exif (focal length in the picture) or assumed
  objects     best score first, each with
    category, score (0 to 1), visible (share of the surface explained, 0 to 1)
    probability that the rotation is within 30 degrees of the true one, as measured on renders, of an object that is of
                this category (whether it is, score tells); null where the bundle does not tell
    presence    probability that there is an object of this category in the box at all, as measured on renders and
                photographs; null where the bundle does not tell. Below the bundle's floor a given box has no object
    T_cam_obj   4x4, object frame to camera optical frame, metres (object: x forward, y left, z up, centre of its box)
    azimuth, elevation, theta   degrees, PASCAL3D+: azimuth 0 sees the front, 90 the object's left side; azimuth is
                null where nothing is known about it (a bottle, a cup whose handle is hidden), T_cam_obj then has some
    size        length, width, height in metres
    covariance  6x6 of x, y, z, rotation about x, y, z in the camera frame; metres and radians
    size_covariance 3x3 of the size, square metres
    roi         x_min, y_min, x_max, y_max in pixels
    source      what the distance is known from: rgb (the size that the category usually has), support, depth, or
                support+depth
    observations   what was known beside the picture, [] of nothing: name (support, depth), used (whether the pose
                agrees with it and rests on it), reason (why not, or ""), residual_m (metres between it and the pose
                without it, or null)
    runner_up   the next best hypothesis (score, T_cam_obj, azimuth, elevation, theta, size), or null
With --depth a line of a picture without usable depth has depth_error, which says why; its poses are of the rest.
Every line has "objects". [] alone says that the image was searched and nothing was found; with "error" beside it
nothing was searched, and the sentence says why. A file that is no image has no line, so no list: stderr names it.
Bytes of a file name that are no UTF-8 are written as \\xNN, and file_bytes holds the whole name in hexadecimal.

Lines are written as they are found: ended early, --json FILE leaves those that are finished in FILE.part. A link, pipe
or device is written through, never replaced. Drawn pictures are marked as such and left out when their folder is read.
Exit code 0: something was found, 1: nothing was, or the input is bad (stderr says what), 2: wrong usage.
"""

_EXAMPLES = """\
examples:
  dinemo estimate car.jpg --hfov 62 --out overlays
  dinemo estimate frames/ --camera camera_info.yaml --json poses.jsonl
  dinemo estimate drive.mcap --json poses.jsonl --out-bag drive_poses.mcap
  dinemo estimate frames/ --rerun poses.rrd
  dinemo estimate car.jpg --roi 120,80,360,240
  dinemo estimate mug.png --bundle cup --camera-height 0.62 --camera-pitch 30
  dinemo estimate frames/ --bundle cup --depth depth/
  dinemo estimate table.mcap --bundle cup --depth /camera/aligned_depth_to_color/image_raw
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo estimate``."""
    parser = subparsers.add_parser("estimate", help="poses of the objects in images, a video or a bag",
                                   description=_DESCRIPTION, epilog=_EXAMPLES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="PATH", help="image, folder of images, video, or rosbag2")
    options.add_estimator_options(parser)
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--camera", metavar="FILE", help="calibration: of ROS (camera_info YAML), OpenCV, or Kalibr "
                        "(camchain.yaml, camchain.yaml:cam1) (default: the camera_info.yaml of the folder, or the "
                        "CameraInfo of the bag)")
    camera.add_argument("--hfov", type=options.hfov, metavar="DEG", help="horizontal field of view in degrees, in "
                        "place of any calibration (default: the calibration, else what the pictures' EXIF data tell, "
                        f"else {DEFAULT_HFOV_DEG:g} is assumed, and said so)")
    parser.add_argument("--roi", type=options.roi, action="append", metavar="X0,Y0,X1,Y1", help="where to look, in "
                        "pixels; may be given several times (default: what --detector says)")
    parser.add_argument("--topic", metavar="NAME", help="image topic of a bag (default: of those that hold "
                        "no depth one with a camera_info, in colour, the first by name)")
    add_support_options(parser)
    add_depth_options(parser)
    parser.add_argument("--json", metavar="FILE", default=STANDARD_OUTPUT, help="write the JSON lines here (default: "
                        "-, standard output)")
    parser.add_argument("--out", metavar="DIR", help="write every image with the poses drawn into this folder")
    parser.add_argument("--out-bag", metavar="FILE", help="of a bag: write its images, CameraInfo and TF into this "
                        ".mcap file, and beside them poses, TF, markers and boxes as pose_node publishes them")
    parser.add_argument("--rerun", metavar="FILE", help="write pictures, camera and objects into this .rrd file for "
                        "the Rerun viewer; needs rerun-sdk (extra 'rerun')")
    parser.add_argument("--draw-grasps", action="store_true", help="with --out, draw the grasps of the bundle's card "
                        "as well, those that are valid for the pose")
    parser.set_defaults(run=run, needs_output=False)


@dataclass
class _Tally:
    """What has happened so far."""

    images: int = 0
    objects: int = 0
    failed: int = 0
    depth: str = ""
    said: set[str] = field(default_factory=set)

    def say(self, sentence: str) -> None:
        """Tell the user, once."""
        if sentence not in self.said:
            self.said.add(sentence)
            tqdm.write(one_line(sentence, 6000), file=sys.stderr)


def run(arguments: argparse.Namespace) -> int:
    """Poses of every image; returns 0 if there is any, else 1.

    Raises:
        DinemoError: an input or output is no good, told before the work where it can be known then.
    """
    source = open_source(arguments.path, topic=arguments.topic,
                         camera_given=bool(arguments.camera or arguments.hfov))
    if arguments.topic and not isinstance(source, BagSource):
        raise DatasetError(f"--topic chooses an image topic of a bag, and {source.description} is none; leave it out")
    tally = _Tally()
    cameras = CameraChoice(arguments.camera, arguments.hfov, tally.say)
    source.required_camera = cameras.required
    support = support_plane(arguments)
    overlays = _check_outputs(arguments, source)
    with contextlib.ExitStack() as stack:
        depths = DepthChoice(arguments.depth, arguments.depth_camera, source, Path(arguments.path), tally.say)
        stack.callback(depths.close)
        estimator = options.make_estimator(arguments)
        finder = MultiPoseEstimator([estimator])
        lines = stack.enter_context(result_file(arguments.json))
        outputs = _open_outputs(arguments, source, overlays, estimator.bundle, stack)
        for frame in tqdm(source, total=len(source) or None, unit="image", file=sys.stderr, disable=None):
            camera, origin = cameras.of(frame)
            entry = {"file": frame.name, "stamp_s": frame.stamp_s, "camera": _camera_entry(camera, origin),
                     "objects": []}
            poses, looked = None, ()
            try:
                depth, why = depths.of(frame, camera)
                entry |= {"depth_error": why} if why else {}
                poses, looked = _found(finder, frame.image_rgb, camera, arguments.roi,
                                       {"support": support, "depth": depth})
                entry["objects"] = [object_entry(pose) for pose in poses]
                tally.objects += len(poses)
            except DinemoError as error:
                entry["error"] = str(error)
                tally.failed += 1
                tally.say(f"{shown(frame.name)}: {error}")
            for output in outputs:
                output.write(frame, camera, poses, looked)
            tally.images += 1
            lines.write(to_json(entry) + "\n")
        for output in outputs:
            output.finish()
    if arguments.depth is not None:
        tally.depth = f"{depths.used} with depth"
    return _summary(tally, source, estimator.bundle.card.category)


def _found(finder: MultiPoseEstimator, image: np.ndarray, camera: Camera, rois: Sequence[Roi] | None,
           known: dict) -> tuple[list[ObjectPose], Sequence[LabelledBox]]:
    """Poses, best first, and the boxes that were looked at, as ``pose_node`` does it; of given boxes all are."""
    (category, estimator), = finder.estimators.items()
    if rois is not None:
        return estimator.estimate(image, camera, rois, **known), [LabelledBox(roi, category) for roi in rois]
    return finder.estimate(image, camera, **known), finder.looked


class _Output(Protocol):
    """What an image and its poses go to beside the JSON lines."""

    def write(self, frame: Frame, camera: Camera, poses: list[ObjectPose] | None,
              looked: Sequence[LabelledBox]) -> None:
        """The answer to an image, best first, and the boxes that were looked at; None of one that was not answered."""
        ...

    def finish(self) -> None:
        """After the last image."""
        ...


def _open_outputs(arguments: argparse.Namespace, source: Source, overlays: _Overlays | None, bundle: Bundle,
                  stack: contextlib.ExitStack) -> list[_Output]:
    outputs: list[_Output] = []
    if overlays is not None:
        outputs.append(_Drawings(overlays, bundle, arguments.draw_grasps))
    if arguments.out_bag is not None and isinstance(source, BagSource):
        outputs.append(BagOutput(arguments.out_bag, source, bundle, stack))
    if arguments.rerun is not None:
        outputs.append(_Recording(stack.enter_context(rerun_file("--rerun", arguments.rerun,
                                                                 {bundle.card.category: bundle.mesh}))))
    return outputs


class _Recording:
    """Every picture with its poses in a file for Rerun."""

    def __init__(self, file: RerunFile) -> None:
        self._file = file

    def write(self, frame: Frame, camera: Camera, poses: list[ObjectPose] | None,
              looked: Sequence[LabelledBox]) -> None:
        """See :class:`_Output`."""
        if poses is not None:
            self._file.write(frame.stamp_s, frame.image_rgb, camera, poses)

    def finish(self) -> None:
        """See :class:`_Output`."""


class _Drawings:
    """Every answered picture with its poses, and with their grasps where they are asked for."""

    def __init__(self, overlays: _Overlays, bundle: Bundle, grasps: bool) -> None:
        self._overlays, self._bundle, self._grasps = overlays, bundle, grasps

    def write(self, frame: Frame, camera: Camera, poses: list[ObjectPose] | None,
              looked: Sequence[LabelledBox]) -> None:
        """See :class:`_Output`."""
        if poses is None:
            return
        drawn = draw_poses(frame.image_rgb, camera, poses, self._bundle.mesh)
        for pose in poses if self._grasps else ():
            drawn = draw_grasps(drawn, camera, pose.T_cam_obj, grasp_frames(self._bundle.card, pose))
        self._overlays.write(frame.name, drawn)

    def finish(self) -> None:
        """See :class:`_Output`."""


def _check_outputs(arguments: argparse.Namespace, source: Source) -> _Overlays | None:
    """Before the work: whatever cannot be written, or is read as well, is refused."""
    path = Path(arguments.path)
    beside = [path.parent / name for name in ("camera_info.yaml", "metadata.yaml")]
    camera = arguments.camera and file_and_entry(arguments.camera)[0]
    depth = [] if isinstance(source, BagSource) else [arguments.depth]  # of a bag a topic
    depth_camera = arguments.depth_camera and file_and_entry(arguments.depth_camera)[0]
    inputs = [path, *beside, camera, *depth, depth_camera, options.bundle_folder(arguments.bundle),
              options.detector_folder(arguments)]
    require_bag(arguments.out_bag, source)
    require_rerun("--rerun", arguments.rerun)
    check_outputs({"--json": arguments.json, "--out-bag": arguments.out_bag, "--rerun": arguments.rerun}, inputs)
    return _Overlays(arguments.out, inputs, arguments.json) if arguments.out is not None else None


class _Overlays:
    """The folder of drawn pictures."""

    def __init__(self, folder: str, inputs: list, json: str) -> None:
        self._folder = output_folder(folder)
        self._json = None if json == STANDARD_OUTPUT else Path(json).resolve()
        files = list(input_files(inputs))
        self._inputs = {found for file in files if (found := identity(file)) is not None}
        for file in files:  # now and not after hours
            self._path(file.name)

    def write(self, name: str, picture: np.ndarray) -> None:
        """The picture [H, W, 3] of the image called ``name``; OutputError where it would replace another file."""
        write_overlay(self._path(name), picture)

    def _path(self, name: str) -> Path:
        path = self._folder / overlay_name(name)
        found = identity(path)
        if found is not None and not is_overlay(path):
            why = "which is read by this command" if found in self._inputs else "which dinemo has not drawn"
            raise OutputError(f"--out: the picture of {readable(name)} would replace {readable(str(path))}, {why}: "
                              "give another folder")
        if self._json and path.resolve() == self._json:
            raise OutputError(f"--out: the picture of {readable(name)} would replace what --json writes; give another "
                              "name or folder")
        return path


def _camera_entry(camera: Camera, origin: str) -> dict:
    return {"width": camera.width, "height": camera.height, "fx": camera.K[0, 0], "fy": camera.K[1, 1],
            "cx": camera.K[0, 2], "cy": camera.K[1, 2], "from": origin}


def _summary(tally: _Tally, source: Source, category: str) -> int:
    for sentence in [*source.notes, *(f"skipped {line}" for line in source.skipped)]:
        tally.say(sentence)
    line = f"{tally.images} images{f' ({tally.depth})' if tally.depth else ''}, {tally.objects} {category} poses"
    if tally.failed:
        line += f", {tally.failed} images without an answer"
    if source.skipped:
        line += f", {len(source.skipped)} skipped"
    print(line, file=sys.stderr)
    if tally.objects == 0:
        reason = "no image could be used" if tally.images == tally.failed else f"no {category} was found"
        print(f"error: {source.description}: {reason}", file=sys.stderr)
        return 1
    return 0
