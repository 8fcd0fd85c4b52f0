# SPDX-License-Identifier: Apache-2.0
"""Images to work on, wherever they lie: a picture, a folder of pictures, a video, a rosbag2."""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .bag import BagSource, is_bag
from .folder import FolderSource
from .frame import Frame, Source
from .video import VIDEO_SUFFIXES, VideoSource

__all__ = ["Frame", "Source", "open_source"]


def open_source(path: str | Path, fps: float | None = None, topic: str | None = None) -> Source:
    """Open ``path`` as the source it is.

    Args:
        path: an image file, a folder of images (natural order; a ``camera_info.yaml`` in it is used,
            otherwise the pictures' EXIF data), a video, or a
            rosbag2 (its folder, or one ``.mcap`` or ``.db3`` file).
        fps: frames per second of the stamps; None takes the video's own, and 10 for images. A bag keeps its stamps.
        topic: image topic of a bag; None takes the first colour image topic, one with a camera_info if there is one.

    Raises:
        DatasetError: nothing there, no image in it, or a bag that cannot be read.
        CameraError: a ``camera_info.yaml`` that is not one.
    """
    path = Path(path)
    if fps is not None and not 0.0 < fps <= 1000.0:
        raise DatasetError(f"fps is {fps:g}; allowed are numbers above 0 up to 1000")
    if not path.exists():
        raise DatasetError(f"{path}: no such file or folder; give an image, a folder of images, a video or a rosbag2")
    if is_bag(path):
        return BagSource(path, topic)
    if path.is_dir() or path.suffix.lower() not in VIDEO_SUFFIXES:
        return FolderSource(path, fps)
    return VideoSource(path, fps)
