# SPDX-License-Identifier: Apache-2.0
"""Photographs whose pose is known, to measure pseudo-labels on. Nothing of them is used but the error."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.evaluation.metrics import azimuth_error_deg
from dinemo_ros.evaluation.turntable import read_turntables
from dinemo_ros.geometry import allocentric, rotation_angle, viewpoint_from_rotation
from dinemo_ros.io.picture_read import imread

from ...data.foreground import SaliencyMask, mask_box
from ...data.label_store import read_labels
from ...data.photographs import PHOTO_MARGIN, Photo, crop_photo, load_photo
from ...data.picture_file import write_picture
from ...data.posed_crops import PosedCrop, load_posed_crops, square_around
from ...pseudo_labels.mirror_check import Candidate
from ...pseudo_labels.template_bank import instance_name


@dataclass(frozen=True)
class Example:
    """A photograph with what is known of its pose.

    Attributes:
        group: set that it belongs to. photo: as prepared for labelling, or None where no object was found.
        azimuth_deg: PASCAL3D+ convention. rotation: [3, 3] object to camera along the ray, if more is known.
        crop, to_photo: the posed crop it was cut from and the affine [2, 3] from its pixels to the photograph's.
    """

    group: str
    name: str
    photo: Photo | None
    azimuth_deg: float
    rotation: np.ndarray | None = None
    crop: PosedCrop | None = None
    to_photo: np.ndarray | None = None

    def showing(self, photo: Photo) -> Example:
        """The same example in another state of the photograph, an occluded one for instance."""
        return replace(self, photo=photo)

    def error_deg(self, candidate: Candidate) -> float:
        """Geodesic rotation error where the rotation is known, else the error of the azimuth."""
        R = candidate.rotation
        if self.rotation is not None:
            return float(np.rad2deg(rotation_angle(R, self.rotation)))
        return azimuth_error_deg(float(np.rad2deg(viewpoint_from_rotation(R)[0])), self.azimuth_deg)


def turntable_examples(turntable: Path, names: list[str], every: int, cache: Path) -> list[Example]:
    """Every n-th frame of turntables with known azimuth; the object is found by saliency."""
    masks, examples = _Masks(cache / "masks"), []
    frames = [f for name in names for f in list(read_turntables(turntable, [name]))[::every]]
    for frame in tqdm(frames, desc="turntables", mininterval=5):
        image = np.ascontiguousarray(imread(frame.path)[..., ::-1])
        mask = masks(image)
        photo = crop_photo(image, mask) if mask.any() else None
        examples.append(Example(frame.sequence, frame.path.stem, photo, frame.azimuth_deg))
    return examples


def posed_examples(folder: Path, count: int, group: str = "synthetic", names: list[str] | None = None
                   ) -> list[Example]:
    """Up to ``count`` evenly chosen renders with exact pose, cut out by their own mask; ``names``: of these objects."""
    crops, examples = load_posed_crops(folder), []
    if names:
        crops = [crop for crop in crops if instance_name(crop.name) in names]
    for crop in crops[:: max(1, len(crops) // count)][:count]:
        mask = np.where(crop.foreground() > 127, 255, 0).astype(np.uint8)
        if not mask.any():
            continue
        photo = crop_photo(crop.image(), mask)
        R = allocentric(crop.T_cam_obj)
        examples.append(Example(group, crop.name, photo, float(np.rad2deg(viewpoint_from_rotation(R)[0])), R, crop,
                                _to_photo(mask, photo)))
    return examples


def labelled_examples(photos: Path, labels: Path, count: int, min_margin: float) -> list[Example]:
    """Photographs with a trusted render-and-compare label (:mod:`dinemo_training.pseudo_labels.labelling`).

    Those poses are no truth: what is measured on them is agreement.

    Args:
        count: how many, evenly chosen. min_margin: least difference of a label's score to that of the next orientation.
    """
    sure = {name: label for name, label in read_labels(labels).items() if label and label.margin >= min_margin}
    names = sorted(sure)[:: max(1, len(sure) // count)][:count]
    rotations = [allocentric(sure[name].T_cam_obj) for name in names]
    return [Example("photographs", name, load_photo(photos, name), float(np.rad2deg(viewpoint_from_rotation(R)[0])), R)
            for name, R in zip(names, rotations, strict=True)]


def _to_photo(mask: np.ndarray, photo: Photo) -> np.ndarray:
    return square_around(mask_box(mask), photo.image.shape[0], PHOTO_MARGIN)


class _Masks:
    """Saliency masks, kept on disk by the content of the picture."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.saliency = folder, None
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        path = self.folder / f"{hashlib.sha256(image.tobytes()).hexdigest()[:24]}.png"
        if not path.is_file():
            self.saliency = self.saliency or SaliencyMask()
            write_picture(path, self.saliency(image))
        return imread(path, cv2.IMREAD_GRAYSCALE)
