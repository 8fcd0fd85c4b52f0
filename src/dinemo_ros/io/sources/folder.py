# SPDX-License-Identifier: Apache-2.0
"""A folder of images, or a single one, as a source."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator
from pathlib import Path

from ...camera.pinhole import Camera
from ...errors import CameraError, DatasetError, ImageError
from ..content import Kind
from ..overlay_file import is_overlay
from ..quoting import shown, shown_path
from ..sample_range import SampleRange
from .exif import camera_from_exif
from .frame import Frame, Source
from .picture import IMAGE_SUFFIXES, content_of_file, read_image

__all__ = ["CAMERA_FILE", "IMAGE_SUFFIXES", "FolderSource", "images_by_stem", "read_image"]

CAMERA_FILE = "camera_info.yaml"
TRUTH_FILE = "ground_truth.json"  # of the demo sequence: poses by picture
DEFAULT_FPS = 10.0
# Files that belong beside images and need no word; anything else that is no image is named.
_SIDECARS = (".yaml", ".yml", ".json", ".jsonl", ".md", ".part")
_NAMED = 3  # kinds of things that are named where a folder holds no image


class FolderSource(Source):
    """Images of one folder (sub-folders left out) in natural order; a file that cannot be read is skipped and named.

    What a file is, its content says, not its name. Pictures with poses drawn into them
    (:mod:`dinemo_ros.io.overlay_file`) are left out and counted in ``notes``. Without a ``camera_info.yaml`` in the
    folder each picture's own EXIF data tells its camera, where it has any.

    Raises:
        DatasetError: the folder cannot be read or holds nothing that could be an image.
        CameraError: its ``camera_info.yaml`` is not one; with ``camera_given`` a note says so instead.
    """

    def __init__(self, path: Path, fps: float | None = None, camera_given: bool = False) -> None:
        super().__init__(f"{'images of' if path.is_dir() else 'image'} {shown_path(path)}")
        self._period = 1.0 / (fps or DEFAULT_FPS)
        self._chosen_by_us = path.is_dir()
        try:
            folder, files = (path, sorted(path.iterdir(), key=_natural)) if path.is_dir() else (path.parent, [path])
        except OSError as error:
            raise DatasetError(f"{shown_path(path)}: folder cannot be read ({error.strerror})") from error
        self._files = [f for f in files if _worth_a_look(f)] if path.is_dir() else files
        # A look into every file costs, so the first that is called an image will do, and only then is looked.
        if not any(f.suffix.lower() in IMAGE_SUFFIXES for f in self._files) and all(map(_no_picture, self._files)):
            raise DatasetError(f"{shown_path(path)}: no image here{_what_is_there(self._files)}; known are "
                               f"{', '.join(IMAGE_SUFFIXES)}, a video, or a rosbag2")
        try:
            self._camera = Camera.from_yaml(folder / CAMERA_FILE) if (folder / CAMERA_FILE).is_file() else None
        except CameraError as error:
            if not camera_given:
                raise
            self._camera = None
            self.note(f"{error}; it is left out, for another camera was given")

    def __len__(self) -> int:
        return len(self._files)

    @property
    def files(self) -> list[Path]:
        """What is looked at, in order."""
        return list(self._files)

    def leave_out(self, files: Collection[Path]) -> None:
        """These are no pictures to look at, whatever they are called."""
        self._files = [file for file in self._files if file not in files]

    def _frames(self) -> Generator[Frame, None, None]:
        index = drawn = 0
        samples = SampleRange()
        for file in self._files:
            if self._chosen_by_us and is_overlay(file):
                drawn += 1
                continue
            try:
                reason = _no_picture(file)
                if reason:
                    raise ImageError(f"{shown(file.name)}: {reason}")
                image = read_image(file, samples, self.required_camera(self._camera))
            except ImageError as error:
                self.skipped.append(str(error))
                continue
            camera = self._camera or camera_from_exif(file, image.shape[1], image.shape[0])
            yield Frame(index * self._period, image, camera, file.name, calibrated=self._camera is not None)
            index += 1
        if samples.note:
            self.note(f"{self.description}: {samples.note}")
        if drawn:
            self.note(f"left out: {drawn} pictures that have poses drawn into them; name one of them alone to have it "
                      "read")


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images of ``folder`` in natural order by their name without suffix; of two with one name the first."""
    files = sorted((path for path in folder.iterdir() if _worth_a_look(path)), key=_natural) if folder.is_dir() else []
    found: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.stem, path)
    return found


def _no_picture(path: Path) -> str:
    """Why the file is not one to decode, in words; "" for one that is worth the try."""
    try:
        found = content_of_file(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if found is None:
        return "" if path.suffix.lower() in IMAGE_SUFFIXES else "not an image file"
    return "" if found.kind is Kind.PICTURE else f"not an image file but {found}"


def _what_is_there(files: list[Path]) -> str:
    reasons = list(dict.fromkeys(_no_picture(file) for file in files))
    named = [reason.removeprefix("not an image file but ") for reason in reasons if " but " in reason]
    return f"; here is {'; '.join(named[:_NAMED])}" if named else ""


def _worth_a_look(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in _SIDECARS


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key with numbers by value: 2.png before 10.png."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", path.name)]
