# SPDX-License-Identifier: Apache-2.0
"""Turntable sequences: one object per frame, its azimuth known, perhaps its elevation and its box.

Layout: ``DIR/SEQUENCE/*.jpg`` and ``DIR/azimuth.json`` with
``{"SEQUENCE": {"azimuth_deg": {"000.jpg": 88.1, ...}, "elevation_deg": ..., "box": ...}, ...}``, an example in
docs/evaluation.md. There is no calibration, so a field of view is assumed; azimuth within 30 degrees hardly depends on
it. Masks of the object, where somebody has them, lie elsewhere as ``MASKS/SEQUENCE/000.png``
(``dinemo_training.data.turntable_masks`` makes them): the occlusion levels read them, and ``--rois mask``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError
from ..io.picture_read import imread
from ..io.quoting import shown
from ..io.sources.folder import images_by_stem, read_image
from ..pose import Roi
from .sample import LabelledSample, Sample, mask_box
from .truth import AzimuthTruth, Truth
from .turntable_annotations import ANNOTATIONS, read_annotations
from .view_truth import ViewTruth

REGIONS = ("box", "mask", "frame", "auto")


@dataclass(frozen=True)
class TurntableFrame:
    """One annotated picture: its sequence, file, azimuth and, where known, elevation in degrees and box (pixel edges)
    of the object."""

    sequence: str
    path: Path
    azimuth_deg: float
    elevation_deg: float | None = None
    box: Roi | None = None


def read_turntables(directory: Path, only: Iterable[str] | None = None) -> list[TurntableFrame]:
    """Annotated frames of every sub-folder of ``directory`` that ``azimuth.json`` knows.

    Args:
        only: names of sequences to keep, None keeps all.

    Raises:
        DatasetError: no such folder, no or broken annotations, an annotated file that is missing, nothing left.
    """
    annotations = read_annotations(directory / ANNOTATIONS)
    names = [name for name in annotations if (directory / name).is_dir()]
    if not names:
        raise DatasetError(f"{directory}: no sub-folder has an entry in {ANNOTATIONS} (it knows "
                           f"{shown(', '.join(annotations)) or 'no sequence'})")
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise DatasetError(f"{directory}: no sequence {', '.join(unknown)}; there are {', '.join(names)}")
    names = [name for name in names if only is None or name in set(only)]
    frames = [TurntableFrame(name, directory / name / file, known.azimuth_deg, known.elevation_deg, known.box)
              for name in names for file, known in annotations[name].items()]
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
    annotations = read_annotations(directory / ANNOTATIONS)
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


def region_source(frames: Sequence[TurntableFrame], wanted: str | None = None, masks: Path | None = None) -> str:
    """One of :data:`REGIONS`: the one that is ``wanted``; with None "box" where the frames have boxes, else "frame".

    masks: the folder of masks, where there is one.

    Raises:
        DatasetError: only some frames have a box, or none and they are wanted; the boxes of masks that are not given.
    """
    if wanted == "mask":
        if masks is None:
            raise DatasetError("--rois mask takes the box of each frame's mask; give their folder by --masks, or say "
                               "--rois box, frame or auto")
        return wanted
    without = [frame for frame in frames if frame.box is None]
    if wanted in ("frame", "auto") or wanted is None and len(without) == len(frames):
        return wanted or "frame"
    if without:
        raise DatasetError(f"{without[0].sequence}/{without[0].path.name}: has no box in {ANNOTATIONS} ({len(without)} "
                           f"of {len(frames)} frames have none); add them, or say --rois frame or auto")
    return "box"


def knows_views(frames: Iterable[TurntableFrame]) -> bool:
    """Whether the annotations tell more than azimuths, so that frames are compared by
    :class:`~dinemo_ros.evaluation.view_truth.ViewTruth`."""
    return any(frame.box is not None or frame.elevation_deg is not None for frame in frames)


def with_elevation(frames: Iterable[TurntableFrame], elevation_deg: float | None) -> list[TurntableFrame]:
    """``frames`` with this elevation where the annotations give none."""
    return [frame if frame.elevation_deg is not None else replace(frame, elevation_deg=elevation_deg)
            for frame in frames]


def view_truths(frames: Iterable[TurntableFrame]) -> dict[tuple[str, str], ViewTruth]:
    """What is known about each frame, by sequence and name of the file."""
    return {(frame.sequence, frame.path.name): ViewTruth(frame.azimuth_deg, frame.elevation_deg) for frame in frames}


def turntable_entries(frames: Sequence[TurntableFrame], hfov_deg: float, rois: str | None = None,
                      masks: Path | None = None, views: bool = False) -> list[LabelledSample]:
    """What :func:`~dinemo_ros.evaluation.runner.evaluate` takes.

    Args:
        hfov_deg: assumed horizontal field of view, degrees.
        rois: see :func:`region_source`; ``"auto"`` leaves finding the object to the estimator.
        masks: folder of masks, see above.
        views: compare elevation and steadiness as well, as where the annotations tell more than azimuths.

    Raises:
        DatasetError: a mask or a box is missing.
    """
    rois, views = region_source(frames, rois, masks), views or knows_views(frames)

    def mask_of(frame: TurntableFrame) -> Path:
        return masks / frame.sequence / f"{frame.path.stem}.png"

    def load(frame: TurntableFrame) -> Sample:
        image = read_image(frame.path)
        height, width = image.shape[:2]
        mask = None if masks is None else read_mask(mask_of(frame), (height, width))
        truth: Truth = (ViewTruth(frame.azimuth_deg, frame.elevation_deg) if views
                        else AzimuthTruth(frame.azimuth_deg))
        whole = (0.0, 0.0, float(width), float(height))
        masked = (mask is not None and mask_box(mask)) or whole  # an empty mask says nothing of where to look
        region = {"box": frame.box, "mask": masked, "frame": whole, "auto": None}[rois]
        return Sample(image, Camera.from_hfov(width, height, hfov_deg), region, mask, truth, frame.box)

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
