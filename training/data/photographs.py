# SPDX-License-Identifier: Apache-2.0
"""Unlabelled photographs, prepared once: square padded crops, cached and resumable.

    python -m dinemo_training.data.photographs --images DIR --out runs/car/photos [--find-object]

By default the object is taken to fill its photograph, as in detector crops and fine-grained collections; with
``--find-object`` a saliency mask finds it, and a photograph without one dominant object is left out and counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.camera.crop import BORDER_GREY
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.detection.onnx_detector import load_detector
from dinemo_ros.detection.regions import overlap
from dinemo_ros.errors import BundleError, ImageError
from dinemo_ros.geometry import pinhole_matrix
from dinemo_ros.io.files import write_file
from dinemo_ros.io.overlay_file import is_overlay
from dinemo_ros.io.picture_read import imread
from dinemo_ros.io.sources.folder import read_image
from dinemo_ros.pose import Roi
from dinemo_ros.process.console import command_main

from ..run.arguments import parsed
from .foreground import SaliencyMask, mask_box
from .posed_crops import CROP_SIDE, save_picture, square_around

PHOTO_MARGIN = 1.25  # the object fills 1 / margin of the prepared crop
_MIN_AREA = 0.15   # of the picture: anything smaller is not what the photograph is about
_LEAST_SIDE = 16  # pixels
_DETECTED = 0.4    # score of a box that is believed
_SAME = 0.5        # overlap of boxes of one object
_LEAST_FOUND = 48  # pixels along the larger side of what the detector found
_EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
Finder = Callable[[np.ndarray], tuple[Roi, np.ndarray | None] | None]  # box and mask; None: no photograph to learn from
_LENGTHS_AWAY = 4.0  # photographs tell nothing of their lens: the object is taken to be this many lengths away


@dataclass(frozen=True)
class Photo:
    """A prepared photograph: image uint8 [S, S, 3] RGB; box (x_min, y_min, x_max, y_max) of the object, pixel edges.

    mask: uint8 [S, S], 255 on the object, or None where it was not searched for.
    """

    image: np.ndarray
    box: Roi
    mask: np.ndarray | None = None

    def mirrored(self) -> Photo:
        """The mirror image."""
        side, (x0, y0, x1, y1) = self.image.shape[1], self.box
        return Photo(np.ascontiguousarray(self.image[:, ::-1]), (side - x1, y0, side - x0, y1),
                     None if self.mask is None else np.ascontiguousarray(self.mask[:, ::-1]))

    def box_mask(self) -> np.ndarray:
        """uint8 [S, S], 255 inside the box."""
        mask = np.zeros(self.image.shape[:2], np.uint8)
        x0, y0, x1, y1 = np.round(self.box).astype(int)
        mask[max(y0, 0) : y1, max(x0, 0) : x1] = 255
        return mask


def photo_camera(side: int = CROP_SIDE) -> Camera:
    """The assumed camera of a prepared photograph."""
    focal = side / PHOTO_MARGIN * _LENGTHS_AWAY
    return Camera(side, side, pinhole_matrix(focal, (side - 1) / 2, (side - 1) / 2))


def crop_photo(image: np.ndarray, mask: np.ndarray | None = None, box: Roi | None = None) -> Photo:
    """A picture [H, W, 3] uint8 RGB as a prepared photograph, around its box, its mask [H, W], or else as a whole."""
    if box is None:
        box = (0.0, 0.0, float(image.shape[1]), float(image.shape[0])) if mask is None else mask_box(mask)
    A = square_around(box, CROP_SIDE, PHOTO_MARGIN)
    crop = cv2.warpAffine(image, A, (CROP_SIDE, CROP_SIDE), flags=cv2.INTER_AREA, borderValue=BORDER_GREY)
    if mask is not None:
        mask = cv2.warpAffine(mask, A, (CROP_SIDE, CROP_SIDE), flags=cv2.INTER_AREA)
    corners = (A @ np.array([[box[0] - 0.5, box[2] - 0.5], [box[1] - 0.5, box[3] - 0.5], [1, 1]]) + 0.5).T.ravel()
    return Photo(crop, tuple(float(v) for v in corners), mask)


def load_photo(folder: Path, name: str) -> Photo:
    """One photograph that :func:`prepare` wrote to ``folder``.

    Raises:
        FileNotFoundError: there is none of this name.
    """
    image = imread(folder / "images" / f"{name}.jpg")
    if image is None:
        raise FileNotFoundError(f"{folder}: no photograph {name}; prepare it with python -m "
                                "dinemo_training.data.photographs")
    file = folder / "masks" / f"{name}.png"
    mask = imread(file, cv2.IMREAD_GRAYSCALE) if file.is_file() else None
    box = None if mask is None else mask_box(np.where(mask > 127, 255, 0).astype(np.uint8))
    return Photo(np.ascontiguousarray(image[..., ::-1]), box or _recorded_box(folder, name), mask)


def _recorded_box(folder: Path, name: str) -> tuple[float, float, float, float]:
    record = _read_record(folder / "prepared.json").get(name)
    if not isinstance(record, list):
        raise ValueError(f"{folder}: where the object is in {name} is not recorded; prepare it again with "
                         "python -m dinemo_training.data.photographs")
    return tuple(record)


def by_detector(labels: Sequence[str]) -> Finder:
    """Finds the one object by the box detector that ships: a photograph with several, or none, is left out.

    Raises:
        BundleError: no detector is installed, or it knows none of ``labels``.
    """
    detector = load_detector()
    if not set(labels) & set(detector.labels):
        raise BundleError(f"the detector {detector.name} knows none of {', '.join(labels) or 'no labels'}; "
                          "find_object: detector needs labels of the detector in card.detector of the recipe")

    def find(image: np.ndarray) -> tuple[Roi, None] | None:
        boxes = [np.array(d.box) for d in detector(image) if d.label in labels and d.score >= _DETECTED]
        apart = [b for b in boxes[1:] if overlap(b, boxes[0]) < _SAME]
        return None if not boxes or apart or not _large(boxes[0], image.shape) else (tuple(map(float, boxes[0])), None)

    return find


def by_saliency() -> Finder:
    """Finds the one dominant object by a saliency mask."""
    saliency = SaliencyMask()

    def find(image: np.ndarray) -> tuple[Roi, np.ndarray] | None:
        mask = saliency(image)
        return None if (mask > 0).mean() < _MIN_AREA else (mask_box(mask), mask)

    return find


def _large(box: Roi, shape: Sequence[int]) -> bool:
    """Whether ``box`` is what a picture of ``shape`` [height, width] is about, in enough pixels."""
    width, height = box[2] - box[0], box[3] - box[1]
    return width * height >= _MIN_AREA * shape[0] * shape[1] and max(width, height) >= _LEAST_FOUND


def prepare(images: Path, out: Path, find: Finder | None = None, limit: int | None = None) -> list[str]:
    """Write ``out/images``, perhaps ``out/masks``, and ``out/prepared.json``; returns the kept names.

    find: :func:`by_saliency` or :func:`by_detector`; None takes every photograph as a whole.

    The record holds the object's box per name in pixels, null for a photograph that was left out.

    Raises:
        FileNotFoundError: the folder ``images`` holds no photographs.
    """
    files = sorted(p for p in images.iterdir() if p.suffix.lower() in _EXTENSIONS and not is_overlay(p))[:limit]
    if not files:
        raise FileNotFoundError(f"{images}: no photographs ({', '.join(sorted(_EXTENSIONS))})")
    out.mkdir(parents=True, exist_ok=True)
    record = out / "prepared.json"
    done: dict[str, list[float] | None] = json.loads(record.read_text()) if record.is_file() else {}
    for count, path in enumerate(tqdm(files, desc="photographs", mininterval=5)):
        if path.stem in done and (done[path.stem] is not True or (out / "masks" / f"{path.stem}.png").is_file()):
            continue  # True: from before boxes were recorded; a mask tells the box as well
        done[path.stem] = _prepare_one(path, out, find)
        if count % 100 == 99:
            _write(record, done)
    _write(record, done)
    kept = [p.stem for p in files if done[p.stem]]
    print(f"{images}: {len(kept)} of {len(files)} photographs kept")
    return kept


def _prepare_one(path: Path, out: Path, find: Finder | None) -> Roi | None:
    """Box of the object in the prepared crop, None for a photograph that is left out."""
    try:
        image = read_image(path)
    except ImageError as error:
        print(f"{path.parent}: {error}, left out")
        return None
    if min(image.shape[:2]) < _LEAST_SIDE:
        print(f"{path}: {image.shape[1]}x{image.shape[0]} pixels are too few to learn from, left out")
        return None
    found = (None, None) if find is None else find(image)
    if found is None:
        return None
    box, mask = found
    photo = crop_photo(image, mask, box)
    save_picture(out, path.stem, photo.image, photo.mask)
    return photo.box


@lru_cache(maxsize=4)
def _read_record(path: Path) -> dict:
    return json.loads(path.read_text()) if path.is_file() else {}


def _write(path: Path, data: dict) -> None:
    write_file(path, json.dumps(data))
    _read_record.cache_clear()


def main() -> None:
    """The command ``python -m dinemo_training.data.photographs``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--find-object", action="store_true", help="the object does not fill the photograph: find it")
    parser.add_argument("--limit", type=int)
    args = parsed(parser)
    prepare(args.images, args.out, by_saliency() if args.find_object else None, args.limit)


if __name__ == "__main__":
    command_main(main)
