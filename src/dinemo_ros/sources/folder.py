# SPDX-License-Identifier: Apache-2.0
"""A folder of images, or a single one, as a source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..camera import Camera
from ..errors import DatasetError, ImageError
from ..image_codec import decode_compressed
from ..overlay_file import is_overlay
from .exif import camera_from_exif
from .frame import Frame, Source

CAMERA_FILE = "camera_info.yaml"
DEFAULT_FPS = 10.0
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".avif")
_GIF = "a GIF is not read; take the pictures that it was made from, or convert it: ffmpeg -i FILE frame_%03d.png"
# Files that belong beside images and need no word; anything else that is no image is named.
_SIDECARS = (".yaml", ".yml", ".json", ".jsonl", ".md", ".part")


class FolderSource(Source):
    """Images of one folder (sub-folders left out) in natural order; a file that cannot be read is skipped and named.

    Pictures with poses drawn into them (:mod:`dinemo_ros.overlay_file`) are left out and counted in ``notes``.
    Without a ``camera_info.yaml`` in the folder each picture's own EXIF data tells its camera, where it has any.

    Raises:
        DatasetError: the folder cannot be read or holds nothing that could be an image.
        CameraError: its ``camera_info.yaml`` is not one.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        super().__init__(f"images of {path}" if path.is_dir() else f"image {path}")
        self._period = 1.0 / (fps or DEFAULT_FPS)
        self._chosen_by_us = path.is_dir()
        try:
            folder, files = (path, sorted(path.iterdir(), key=_natural)) if path.is_dir() else (path.parent, [path])
        except OSError as error:
            raise DatasetError(f"{path}: folder cannot be read ({error.strerror})") from error
        self._files = [f for f in files if _worth_a_look(f)] if path.is_dir() else files
        if not any(f.suffix.lower() in IMAGE_SUFFIXES for f in self._files):
            gif = f"; {_GIF}" if any(f.suffix.lower() == ".gif" for f in self._files) else ""
            raise DatasetError(f"{path}: no image here; known are {', '.join(IMAGE_SUFFIXES)}, a video, or a "
                               f"rosbag2{gif}")
        camera_file = folder / CAMERA_FILE
        self._camera = Camera.from_yaml(camera_file) if camera_file.is_file() else None

    def __len__(self) -> int:
        return len(self._files)

    def _frames(self) -> Iterator[Frame]:
        index = drawn = 0
        for file in self._files:
            if file.suffix.lower() not in IMAGE_SUFFIXES:
                self.skipped.append(f"{file.name}: {_GIF if file.suffix.lower() == '.gif' else 'not an image file'}")
                continue
            if self._chosen_by_us and is_overlay(file):
                drawn += 1
                continue
            try:
                image = read_image(file)
            except ImageError as error:
                self.skipped.append(str(error))
                continue
            camera = self._camera or camera_from_exif(file, image.shape[1], image.shape[0])
            yield Frame(index * self._period, image, camera, file.name, calibrated=self._camera is not None)
            index += 1
        note = f"left out: {drawn} pictures that have poses drawn into them; name one of them alone to have it read"
        if drawn and note not in self.notes:
            self.notes.append(note)


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images of ``folder`` in natural order by their name without suffix; of two with one name the first."""
    files = sorted((path for path in folder.iterdir() if _worth_a_look(path)), key=_natural) if folder.is_dir() else []
    found: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.stem, path)
    return found


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an image file; ImageError names the file and what is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path.name}: cannot be read ({error.strerror})") from error
    try:
        return decode_compressed(path.suffix, data)
    except ImageError as error:
        raise ImageError(f"{path.name}: {error}") from error


def _worth_a_look(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in _SIDECARS


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key with numbers by value: 2.png before 10.png."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", path.name)]
