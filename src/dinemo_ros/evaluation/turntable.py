# SPDX-License-Identifier: Apache-2.0
"""Turntable sequences: one object per frame, its azimuth known, nothing else.

Layout: ``DIR/SEQUENCE/*.jpg`` and ``DIR/azimuth.json`` with
``{"SEQUENCE": {"azimuth_deg": {"000.jpg": 88.1, ...}}, ...}``, an example in docs/evaluation.md. There is no
calibration, so a field of view is assumed; azimuth within 30 degrees hardly depends on it. Masks of the object, where
somebody has them, lie elsewhere as ``MASKS/SEQUENCE/000.png`` (``dinemo_training.data.turntable_masks`` makes them):
nothing but the occlusion levels reads them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError, DocumentError
from ..io.bounded_file import is_name
from ..io.document import read_json
from ..io.picture_read import imread
from ..io.quoting import quoted, shown, shown_path
from ..io.sources.folder import images_by_stem, read_image
from ..model.symmetry import Symmetry
from .sample import LabelledSample, Sample
from .truth import AzimuthTruth

ANNOTATIONS = "azimuth.json"
_LAYOUT = 'expected {SEQUENCE: {"azimuth_deg": {FILE: degrees}}}'


@dataclass(frozen=True)
class TurntableFrame:
    """One annotated picture: its sequence, file and azimuth in degrees."""

    sequence: str
    path: Path
    azimuth_deg: float


def read_turntables(directory: Path, only: Iterable[str] | None = None) -> list[TurntableFrame]:
    """Annotated frames of every sub-folder of ``directory`` that ``azimuth.json`` knows.

    Args:
        only: names of sequences to keep, None keeps all.

    Raises:
        DatasetError: no such folder, no or broken annotations, an annotated file that is missing, nothing left.
    """
    annotations = _read_annotations(directory / ANNOTATIONS)
    names = [name for name in annotations if (directory / name).is_dir()]
    if not names:
        raise DatasetError(f"{directory}: no sub-folder has an entry in {ANNOTATIONS} (it knows "
                           f"{shown(', '.join(annotations)) or 'no sequence'})")
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise DatasetError(f"{directory}: no sequence {', '.join(unknown)}; there are {', '.join(names)}")
    names = [name for name in names if only is None or name in set(only)]
    frames = [TurntableFrame(name, directory / name / file, float(angle))
              for name in names for file, angle in annotations[name].items()]
    missing = [frame.path for frame in frames if not frame.path.is_file()]
    if missing:
        raise DatasetError(f"{directory}: {len(missing)} frames of {ANNOTATIONS} are missing, the first is "
                           f"{missing[0]}")
    return frames


def left_out(directory: Path) -> list[str]:
    """Sentences about what :func:`read_turntables` leaves out: entries without a folder, pictures without an entry.

    Raises:
        DatasetError: no or broken annotations.
    """
    annotations = _read_annotations(directory / ANNOTATIONS)
    told = [f"{name}: has an entry in {ANNOTATIONS} and no folder" for name in annotations
            if not (directory / name).is_dir()]
    for folder in sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")):
        pictures = {path.name for path in images_by_stem(folder).values()}
        unknown = pictures - annotations.get(folder.name, {}).keys()
        if unknown and folder.name in annotations:
            told.append(f"{folder.name}: {len(unknown)} of {len(pictures)} pictures have no azimuth in {ANNOTATIONS}")
        elif unknown:
            told.append(f"{folder.name}: has {len(pictures)} pictures and no entry in {ANNOTATIONS}")
    return told


def require_azimuth(category: str, symmetry: Symmetry) -> None:
    """DatasetError for a category that has no azimuth: the only truth of a turntable would be met by any answer."""
    if symmetry.continuous:
        raise DatasetError(f"a {category} looks the same from all around (symmetry order 0 in model.yaml), and a "
                           "turntable knows nothing but the azimuth, so every answer would be right: use dinemo eval "
                           "synthetic")


def _read_annotations(path: Path) -> dict[str, dict[str, float]]:
    """Sequence -> file -> azimuth in degrees."""
    try:
        document = read_json(path)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}; {_LAYOUT}") from error
    try:
        angles = {name: dict(entry["azimuth_deg"]) for name, entry in document.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{shown_path(path)}: cannot be read (it has another layout); {_LAYOUT}") from error
    for name, files in angles.items():
        for part in (name, *files):
            if not is_name(part):
                raise DatasetError(f"{shown_path(path)}: {quoted(part)} is no name of a file or folder; {_LAYOUT}")
        wrong = [file for file, angle in files.items()
                 if isinstance(angle, bool) or not isinstance(angle, (int, float)) or not math.isfinite(angle)]
        if wrong or not files:
            raise DatasetError(f"{path}: sequence {quoted(name)} "
                               + (f"has no finite azimuth for {shown(wrong[0])}" if wrong else "has no frames"))
    return angles


def turntable_entries(frames: Sequence[TurntableFrame], hfov_deg: float, rois: str = "frame",
                      masks: Path | None = None) -> list[LabelledSample]:
    """What :func:`~dinemo_ros.evaluation.runner.evaluate` takes.

    Args:
        hfov_deg: assumed horizontal field of view, degrees.
        rois: ``"frame"`` gives the whole picture as region of interest, ``"auto"`` leaves it to the estimator.
        masks: folder of masks, see above.

    Raises:
        DatasetError: a mask is missing.
    """
    def mask_of(frame: TurntableFrame) -> Path:
        return masks / frame.sequence / f"{frame.path.stem}.png"

    def load(frame: TurntableFrame) -> Sample:
        image = read_image(frame.path)
        height, width = image.shape[:2]
        mask = None if masks is None else read_mask(mask_of(frame), (height, width))
        return Sample(image, Camera.from_hfov(width, height, hfov_deg),
                      (0.0, 0.0, float(width), float(height)) if rois == "frame" else None, mask,
                      AzimuthTruth(frame.azimuth_deg))

    lacking = [path for path in map(mask_of, frames) if not path.is_file()] if masks is not None else []
    if lacking:
        raise DatasetError(f"{lacking[0]}: no such mask; give a folder with SEQUENCE/FRAME.png for every frame "
                           f"({len(lacking)} of {len(frames)} are missing)")
    return [LabelledSample(frame.sequence, frame.path.name, partial(load, frame)) for frame in frames]


def read_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Mask bool [H, W] of a PNG, true where it is brighter than half; shape: (H, W) pixels of its picture.

    Raises:
        DatasetError: no picture, or of another size.
    """
    mask = imread(path, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DatasetError(f"{path}: cannot be read as an image")
    if mask.shape != shape:
        raise DatasetError(f"{path}: is {mask.shape[1]}x{mask.shape[0]} pixels, its picture {shape[1]}x{shape[0]}")
    return mask > 127
