# SPDX-License-Identifier: Apache-2.0
"""Which depth image a picture of ``dinemo estimate`` gets, and by which calibration it is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..camera.pinhole import Camera
from ..errors import CameraError, DatasetError, ImageError, SceneError
from ..io.quoting import shown, shown_path
from ..io.sources import Frame, Source
from ..io.sources.bag import BagSource
from ..io.sources.depth_bag import TOLERANCE_S, BagDepth
from ..io.sources.depth_folder import FolderDepth
from ..io.sources.depth_source import DepthSource, FoundDepth
from ..io.sources.folder import FolderSource
from ..scene.depth_image import DepthImage


def add_depth_options(parser: argparse.ArgumentParser) -> None:
    """Where depth is: read by :class:`DepthChoice`."""
    parser.add_argument("--depth", metavar="DIR|TOPIC", help="depth images of the same moments: of pictures the folder "
                        "with NAME_depth.png or NAME.png for the picture NAME or NAME_color (16-bit PNG or TIFF in "
                        "millimetres, 32-bit float TIFF in metres; 0: nothing measured), or a file for one picture; of "
                        f"a bag the topic (16UC1, 32FC1, also as PNG), matched within {1e3 * TOLERANCE_S:g} ms")
    parser.add_argument("--depth-camera", metavar="FILE", help="calibration of the depth images, of the kinds that "
                        "--camera takes (default: the CameraInfo beside the topic, else that of the pictures, scaled "
                        "to the size of the depth images, which are then aligned to them)")


class DepthChoice:
    """The depth images that ``--depth`` names; a picture without a usable one is told and looked at without it.

    Args:
        given, camera: of the options --depth and --depth-camera, None where they were not given.
        source, path: of the pictures.
        say: how the user is told what was assumed; it may be told the same sentence again.

    Raises:
        DatasetError: there is nothing of that name, or the source is of a kind that has no depth. CameraError: of the
            calibration.
    """

    def __init__(self, given: str | None, camera: str | None, source: Source, path: Path,
                 say: Callable[[str], None]) -> None:
        if camera is not None and given is None:
            raise DatasetError("--depth-camera is the calibration of --depth; give that as well, or leave it out")
        self._say = say
        self._camera = Camera.from_yaml(camera) if camera else None
        self._source = None if given is None else _opened(given, source, path)
        self._missed, self.used = False, 0
        for note in (*(self._camera.notes if self._camera else ()), *(self._source.notes if self._source else ())):
            say(f"--depth: {note}")

    def of(self, frame: Frame, camera: Camera) -> tuple[DepthImage | None, str]:
        """The depth image of a picture that ``camera`` took, or None and, where one was asked for, why."""
        if self._source is None:
            return None, ""
        try:
            found = self._source.of(frame)
            depth = None if found is None else self._image(found, camera)
        except (CameraError, ImageError, SceneError) as error:
            self._say(f"{shown(frame.name)}: --depth: {error}; the picture is looked at without depth")
            return None, str(error)
        if depth is None:
            if not self._missed:  # once: every line of the JSON says so as well
                self._say(f"{shown(frame.name)} has no depth image and is looked at without one, as may be others")
            self._missed = True
            return None, "there is no depth image of this picture"
        self.used += 1
        return depth, ""

    def close(self) -> None:
        """Let go of the bag."""
        if self._source is not None:
            self._source.close()

    def _image(self, found: FoundDepth, camera: Camera) -> DepthImage:
        if found.note:
            self._say(f"--depth: {found.note}")
        height, width = found.stored.shape
        own = self._camera or found.camera
        if own is None:  # of the same optics, perhaps with fewer pixels
            if found.T_cam_depth is not None:
                raise SceneError(f"{found.name} is of a camera of its own, whose calibration is not known; give it by "
                                 "--depth-camera FILE")
            own = _resized(camera, width, height, found.name)
        depth = DepthImage.from_array(found.stored, own, found.T_cam_depth)
        if depth.note:
            self._say(f"--depth: {depth.note}")
        return depth


def _resized(camera: Camera, width: int, height: int, name: str) -> Camera:
    if (camera.width, camera.height) == (width, height):
        return camera
    try:
        return camera.resized(width, height)
    except CameraError as error:
        raise SceneError(f"{name} is {width}x{height} pixels and the picture {camera.width}x{camera.height}, of "
                         "another shape; give the calibration of the depth images by --depth-camera FILE") from error


def _opened(given: str, source: Source, path: Path) -> DepthSource:
    if isinstance(source, BagSource):
        return BagDepth(path, given)
    if not isinstance(source, FolderSource):
        raise DatasetError(f"--depth goes with pictures and bags, and {source.description} is neither; leave it out")
    if not given:
        raise DatasetError("--depth is empty; give the folder of the depth pictures")
    depth = FolderDepth(Path(given), source.files)
    source.leave_out(depth.files)
    if not len(source):
        raise DatasetError(f"{shown_path(path)}: every picture in it is a depth picture of another one; give the "
                           "folder of the colour pictures")
    return depth
