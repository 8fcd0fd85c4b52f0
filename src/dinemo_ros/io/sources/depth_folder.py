# SPDX-License-Identifier: Apache-2.0
"""A folder of depth pictures beside, or among, the pictures that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

from ...errors import DatasetError
from ..depth_file import DEPTH_SUFFIXES, read_depth_file
from ..quoting import shown_path
from .depth_source import DepthSource, FoundDepth
from .frame import Frame

_MARK = "_depth"  # NAME_depth.png, as many data sets have it, beside NAME.png or NAME_color.png
_PICTURE_MARKS = ("_color", "_colour", "_rgb")


class FolderDepth(DepthSource):
    """``NAME_depth.png`` or ``NAME.png`` (``.tif``, ``.tiff``) for the picture ``NAME`` or ``NAME_color``.

    Args:
        path: the folder, or the one depth picture of the one picture that is looked at.
        pictures: all files that are looked at.

    Raises:
        DatasetError: it is not there, or has no depth picture for any of them.
    """

    def __init__(self, path: Path, pictures: list[Path]) -> None:
        super().__init__()
        if path.is_dir():
            self._by_stem = _files(path)
            # Among the pictures only the mark tells: a.png may be another photograph than a.jpg.
            self._marked = any(file.parent.resolve() == path.resolve() for file in pictures)
            self._files = {file.name: depth for file in pictures if (depth := self._for(file)) is not None}
        elif len(pictures) == 1 and path.exists():
            self._files = {pictures[0].name: path}
        else:
            raise DatasetError(f"{shown_path(path)}: no such folder of depth pictures; give the folder, or the file "
                               "that belongs to a single picture")
        if not self._files:
            raise DatasetError(f"{shown_path(path)}: has no depth picture for any of the {len(pictures)} pictures; "
                               f"NAME_depth or NAME with {', '.join(DEPTH_SUFFIXES)} belongs to the picture NAME or "
                               "NAME_color")

    @property
    def files(self) -> set[Path]:
        """All depth pictures that belong to a picture."""
        return set(self._files.values())

    def of(self, frame: Frame) -> FoundDepth | None:
        """See :class:`DepthSource`."""
        path = self._files.get(frame.name)
        return None if path is None else FoundDepth(read_depth_file(path), path.name)

    def _for(self, picture: Path) -> Path | None:
        known = (self._by_stem.get(stem) for stem in _stems(picture) if stem.endswith(_MARK) or not self._marked)
        return next((path for path in known if path is not None), None)


def _files(folder: Path) -> dict[str, Path]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in DEPTH_SUFFIXES and path.is_file())
    except OSError as error:
        raise DatasetError(f"{shown_path(folder)}: folder cannot be read ({error.strerror})") from error
    found: dict[str, Path] = {}
    for path in files:
        found.setdefault(path.stem, path)
    return found


def _stems(picture: PurePath) -> Iterator[str]:
    """What its depth may be called, the surest first; a depth picture itself has none."""
    stem = picture.stem
    if stem.endswith(_MARK):
        return
    bare = next((stem.removesuffix(mark) for mark in _PICTURE_MARKS if stem.endswith(mark)), None)
    yield stem + _MARK
    if bare is not None:
        yield bare + _MARK
    yield stem
    if bare is not None:
        yield bare
