# SPDX-License-Identifier: Apache-2.0
"""``dinemo estimate``: poses of the objects in images, one JSON line per image."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from tqdm import tqdm

from ..camera import Camera
from ..errors import DinemoError
from ..overlay import draw_poses
from ..pose import ObjectPose
from ..sources import Frame, open_source
from . import options
from .output import AtomicFile, OutputError, object_entry, output_folder, overlay_name, to_json

_DESCRIPTION = """\
Estimate the 6D pose of every object of the bundle's category in an image, a folder of images, a video or a rosbag2.

One JSON line per image:
  file        its name; NAME:000012 is frame 12 of a video or bag
  stamp_s     seconds
  camera      calibration used: width, height, fx, fy, cx, cy, and where it came from: file, hfov, source (camera_info),
              exif (focal length in the picture) or assumed
  objects     best score first, each with
    category, score (0 to 1), visible (share of the surface explained, 0 to 1)
    probability that the rotation is within 30 degrees of the true one, as measured on renders; null where the bundle
                does not tell
    T_cam_obj   4x4, object frame to camera optical frame, metres (object: x forward, y left, z up, centre of its box)
    azimuth, elevation, theta   degrees, PASCAL3D+: azimuth 0 sees the front, 90 the object's left side; azimuth is
                null where nothing is known about it (a bottle, a cup whose handle is hidden), T_cam_obj then has some
    size        length, width, height in metres
    covariance  6x6 of x, y, z, rotation about x, y, z in the camera frame; metres and radians
    size_covariance 3x3 of the size, square metres
    roi         x_min, y_min, x_max, y_max in pixels
    runner_up   the next best hypothesis (score, T_cam_obj, azimuth, elevation, theta, size), or null
An image that the estimator refuses has "objects": [] and "error"; a file that is no image is named on stderr.
"""

_EXAMPLES = """\
examples:
  dinemo estimate car.jpg --hfov 62 --out overlays
  dinemo estimate frames/ --camera camera_info.yaml --json poses.jsonl
  dinemo estimate drive.mcap --json poses.jsonl
  dinemo estimate car.jpg --roi 120,80,360,240
"""


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("estimate", help="poses of the objects in images, a video or a bag",
                                   description=_DESCRIPTION, epilog=_EXAMPLES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="PATH", help="image, folder of images, video, or rosbag2")
    options.add_estimator_options(parser)
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--camera", metavar="FILE", help="camera_info YAML as camera_calibration writes it (default: "
                        "the camera_info.yaml of the folder, or the CameraInfo of the bag)")
    camera.add_argument("--hfov", type=options.hfov, metavar="DEG", help="horizontal field of view in degrees where "
                        "there is no calibration (default: what the pictures' EXIF data tell, otherwise assumed, and "
                        f"said so: {options.DEFAULT_HFOV_DEG:g})")
    parser.add_argument("--roi", type=options.roi, action="append", metavar="X0,Y0,X1,Y1", help="where to look, in "
                        "pixels; may be given several times (default: the bundle's own proposals)")
    parser.add_argument("--topic", metavar="NAME", help="image topic of a bag (default: the first with a camera_info)")
    parser.add_argument("--json", metavar="FILE", help="write the JSON lines here (default: standard output)")
    parser.add_argument("--out", metavar="DIR", help="write every image with the poses drawn into this folder")
    parser.set_defaults(run=run)


@dataclass
class _Tally:
    """What has happened so far."""

    images: int = 0
    objects: int = 0
    failed: int = 0
    said: set[str] = field(default_factory=set)

    def say(self, sentence: str) -> None:
        """Tell the user, once."""
        if sentence not in self.said:
            self.said.add(sentence)
            tqdm.write(sentence, file=sys.stderr)


def run(arguments: argparse.Namespace) -> int:
    source = open_source(arguments.path, topic=arguments.topic)
    cameras = _CameraChoice(arguments)
    folder = output_folder(arguments.out) if arguments.out else None
    estimator = options.make_estimator(arguments)
    tally = _Tally()
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(AtomicFile(arguments.json)) if arguments.json else sys.stdout
        for frame in tqdm(source, total=len(source) or None, unit="image", file=sys.stderr, disable=None):
            camera, origin = cameras.of(frame, tally)
            entry = {"file": frame.name, "stamp_s": frame.stamp_s, "camera": _camera_entry(camera, origin),
                     "objects": []}
            try:
                poses = estimator.estimate(frame.image_rgb, camera, rois=arguments.roi)
                entry["objects"] = [object_entry(pose) for pose in poses]
                tally.objects += len(poses)
                if folder is not None:
                    _write_overlay(folder, frame, camera, poses, estimator.bundle.mesh)
            except OutputError:
                raise
            except DinemoError as error:
                entry["error"] = str(error)
                tally.failed += 1
                tally.say(f"{frame.name}: {error}")
            tally.images += 1
            lines.write(to_json(entry) + "\n")
    return _summary(tally, source, estimator.bundle.card.category)


class _CameraChoice:
    """Which calibration an image gets: --camera, else --hfov, else the source's own, else the stated default."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._file = Camera.from_yaml(arguments.camera) if arguments.camera else None
        self._hfov = arguments.hfov

    def of(self, frame: Frame, tally: _Tally) -> tuple[Camera, str]:
        """The camera and where it came from: "file", "hfov", "source", "exif" or "assumed"."""
        height, width = frame.image_rgb.shape[:2]
        if self._file is not None:
            return self._file, "file"
        if self._hfov is not None:
            return Camera.from_hfov(width, height, self._hfov), "hfov"
        if frame.camera is not None and frame.calibrated:
            return frame.camera, "source"
        if frame.camera is not None:
            tally.say("no calibration: the field of view comes from the focal length in the pictures (EXIF), distances "
                      "scale with it and are wrong where a picture was cropped; give --camera FILE or --hfov DEG")
            return frame.camera, "exif"
        tally.say(f"no calibration: a horizontal field of view of {options.DEFAULT_HFOV_DEG:g} degrees is assumed, "
                  "distances scale with it; give --camera FILE or --hfov DEG")
        return Camera.from_hfov(width, height, options.DEFAULT_HFOV_DEG), "assumed"


def _camera_entry(camera: Camera, origin: str) -> dict:
    return {"width": camera.width, "height": camera.height, "fx": camera.K[0, 0], "fy": camera.K[1, 1],
            "cx": camera.K[0, 2], "cy": camera.K[1, 2], "from": origin}


def _write_overlay(folder: Path, frame: Frame, camera: Camera, poses: list[ObjectPose], mesh) -> None:
    path = folder / overlay_name(frame.name)
    picture = cv2.cvtColor(draw_poses(frame.image_rgb, camera, poses, mesh), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(path.suffix, picture)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _summary(tally: _Tally, source, category: str) -> int:
    for sentence in [*source.notes, *(f"skipped {line}" for line in source.skipped)]:
        tally.say(sentence)
    line = f"{tally.images} images, {tally.objects} {category} poses"
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
