# SPDX-License-Identifier: Apache-2.0
"""Images to work on, wherever they lie: a picture, a folder of pictures, a video, a rosbag2."""

from __future__ import annotations

import stat
from pathlib import Path

from ...errors import DatasetError
from ..content import JPEG, Content, Kind
from ..quoting import shown, shown_path
from .bag import BagSource
from .bag_reader import BAG_SUFFIXES, is_bag_folder
from .folder import FolderSource
from .frame import Frame, Source
from .picture import IMAGE_SUFFIXES, content_of_file
from .video import VIDEO_SUFFIXES, VideoSource

__all__ = ["Frame", "Source", "open_source"]

_MOTION_JPEG = (".mjpg", ".mjpeg")  # one JPEG behind the other; the first bytes are those of a picture


def open_source(path: str | Path, fps: float | None = None, topic: str | None = None,
                camera_given: bool = False) -> Source:
    """Open ``path`` as the source it is; of a file, its content says so and not its name.

    Args:
        path: an image file, a folder of images (natural order; a ``camera_info.yaml`` in it is used,
            otherwise the pictures' EXIF data), a video, or a
            rosbag2 (its folder, or one ``.mcap`` or ``.db3`` file).
        fps: frames per second of the stamps; None takes the video's own stamps, and 10 for images. A bag keeps its
            stamps.
        topic: image topic of a bag; None takes the best of those that hold no depth, see :mod:`.bag_topics`.
        camera_given: the caller has a camera, which goes before that of the source.

    Raises:
        DatasetError: nothing there, no image in it, something else that is named, or a bag that cannot be read.
        CameraError: a ``camera_info.yaml`` that is not one, and no ``camera_given``.
    """
    path = Path(path)
    if fps is not None and not 0.0 < fps <= 1000.0:
        raise DatasetError(f"fps is {fps:g}; allowed are numbers above 0 up to 1000")
    if _is_folder(path):
        return BagSource(path, topic) if is_bag_folder(path) else FolderSource(path, fps, camera_given)
    try:
        found = content_of_file(path)
    except OSError as error:
        raise DatasetError(f"{shown_path(path)}: cannot be read ({error.strerror})") from error
    if found is not None and found.kind is Kind.NONE:
        raise DatasetError(f"{shown_path(path)}: {_expected(path)}; it is {found}")
    source = _source_of_file(path, found, fps, topic, camera_given)
    suffix = path.suffix.lower()
    if found is not None and suffix in _other_suffixes(source):
        source.note(f"{shown(path.name)} is {found.name}, other than its name says")
    return source


def _expected(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "cannot be opened as a video"
    return "cannot be read as a rosbag2" if suffix in BAG_SUFFIXES else "no image, no video and no rosbag2"


def _is_folder(path: Path) -> bool:
    """False for an ordinary file; what is neither, and what is not there, is an error."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DatasetError(f"{shown_path(path)}: no such file or folder; give an image, a folder of images, a video or "
                           "a rosbag2") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{shown_path(path)}: cannot be opened ({getattr(error, 'strerror', error)})") from error
    if stat.S_ISDIR(mode):
        return True
    if not stat.S_ISREG(mode):
        camera = "; a camera is read by its ROS driver and pose_node" if stat.S_ISCHR(mode) else ""
        raise DatasetError(f"{shown_path(path)}: a device, pipe or socket; write it to a file first{camera}")
    return False


def _source_of_file(path: Path, found: Content | None, fps: float | None, topic: str | None,
                    camera_given: bool) -> Source:
    suffix = path.suffix.lower()
    if found is None:  # by its name: damaged, or of a kind that only the decoder knows
        kind = Kind.BAG if suffix in BAG_SUFFIXES else Kind.VIDEO if suffix in VIDEO_SUFFIXES else Kind.PICTURE
    else:
        kind = Kind.VIDEO if found == JPEG and suffix in _MOTION_JPEG else found.kind
    if kind is Kind.BAG:
        return BagSource(path, topic)
    return VideoSource(path, fps) if kind is Kind.VIDEO else FolderSource(path, fps, camera_given)


def _other_suffixes(source: Source) -> tuple[str, ...]:
    """Those of the kinds that it is not."""
    if isinstance(source, FolderSource):
        return (*VIDEO_SUFFIXES, *BAG_SUFFIXES)
    return (*IMAGE_SUFFIXES, *(VIDEO_SUFFIXES if isinstance(source, BagSource) else BAG_SUFFIXES))
