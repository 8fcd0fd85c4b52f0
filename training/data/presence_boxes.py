# SPDX-License-Identifier: Apache-2.0
"""Boxes with and without an object, as detectors and careless callers give them, to tell one kind from the other.

With: renders, clean and hidden up to three fifths, and photographs that are known to show one object. Without:
photographs and renders of other categories, anything in pictures of landscapes and walls, the surroundings of rendered
objects, drawn facades, plain colours and noise. A photograph is one object cropped close to its box; half of them are
laid into a picture without the object, so that what lies around tells nothing. Every box is as rough as a detector's,
every object as small as it may be in a robot's picture. What is drawn follows from seed and number alone.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.evaluation.boxes import iou
from dinemo_ros.evaluation.cutouts import DrawnCutOuts
from dinemo_ros.evaluation.occlusion import LEVELS, Occluder
from dinemo_ros.evaluation.sample import mask_box
from dinemo_ros.evaluation.synthetic import SyntheticFrame, read_synthetic
from dinemo_ros.io.picture_read import imread

from .negatives import facade

HELD_OUT_OF = 5  # one photograph of so many is never fitted to
_HFOV_DEG = (30.0, 80.0)
_LEAST_IOU = 0.7  # of a rough box and the object's
_SMALLEST, _LARGEST = 36.0, 260.0  # pixels, longest side of a box
_CANVAS = (480, 640)
_PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
_HIDDEN = (None, LEVELS["L1"], LEVELS["L2"])  # most of an object that is hidden further is no object any more


@dataclass(frozen=True)
class BoxSample:
    """A box to look into.

    Attributes:
        kind: what it shows, for tables. present: whether that is an object of the category.
        image: uint8 [H, W, 3] RGB. camera: of it. box: [4] pixels.
    """

    kind: str
    present: bool
    image: np.ndarray
    camera: Camera
    box: np.ndarray


@dataclass(frozen=True)
class Sources:
    """Where boxes come from.

    Attributes:
        renders, photographs: folders with the object, the second of pictures that it fills.
        other_renders, other_photographs: the same of other categories.
        backgrounds: folders of pictures without the object, searched recursively.
        held_out: of photographs take those that are never fitted to, and none of them otherwise.
    """

    renders: tuple[Path, ...] = ()
    photographs: tuple[Path, ...] = ()
    other_renders: tuple[Path, ...] = ()
    other_photographs: tuple[Path, ...] = ()
    backgrounds: tuple[Path, ...] = ()
    held_out: bool = False


def is_held_out(name: str) -> bool:
    """Whether a photograph of this file name is one in :data:`HELD_OUT_OF` that is never fitted to."""
    return hashlib.sha256(name.encode()).digest()[0] % HELD_OUT_OF == 0


def samples(sources: Sources, with_object: int, without: int, seed: int = 0) -> Iterator[BoxSample]:
    """Boxes with and without the object, each kind that there are sources for as often as the next."""
    drawer = _Drawer(sources)
    for kinds, count in ((drawer.kinds_with, with_object), (drawer.kinds_without, without)):
        for number in range(count):
            kind = list(kinds)[number % len(kinds)]
            rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
            image, box = kinds[kind](rng)
            image, box = _resized(rng, image, box)
            camera = Camera.from_hfov(image.shape[1], image.shape[0], float(rng.uniform(*_HFOV_DEG)))
            yield BoxSample(kind, kinds is drawer.kinds_with, image, camera, box)


Drawn = tuple[np.ndarray, np.ndarray]  # image uint8 [H, W, 3] RGB and box [4] pixels


class _Drawer:
    """Draws one picture and box of a kind."""

    def __init__(self, sources: Sources) -> None:
        self._sources, self._occluder = sources, Occluder(DrawnCutOuts())
        self._backgrounds = [file for folder in sources.backgrounds for file in _pictures(folder, None)]
        self.kinds_with: dict[str, Callable[[np.random.Generator], Drawn]] = {}
        self.kinds_without: dict[str, Callable[[np.random.Generator], Drawn]] = {}
        renders, others = _frames(sources.renders), _frames(sources.other_renders)
        photographs = _photographs(sources.photographs, sources.held_out)
        other_photographs = _photographs(sources.other_photographs, sources.held_out)
        if renders:
            self.kinds_with["render"] = lambda rng: self._render(rng, renders)
        if photographs:
            self.kinds_with["photograph"] = lambda rng: self._photograph(rng, photographs)
        if other_photographs:
            self.kinds_without["other photograph"] = lambda rng: self._photograph(rng, other_photographs)
        if others:
            self.kinds_without["other render"] = lambda rng: self._render(rng, others)
        if renders or others:
            self.kinds_without["beside a render"] = lambda rng: self._beside(rng, [*renders, *others])
        if self._backgrounds:
            self.kinds_without["background"] = self._anywhere
        self.kinds_without["facade"] = lambda rng: anywhere(rng, facade(rng))
        self.kinds_without["plain"] = lambda rng: anywhere(rng, plain(rng))

    def _render(self, rng: np.random.Generator, frames: Sequence[SyntheticFrame]) -> Drawn:
        frame = frames[rng.integers(len(frames))]
        image, mask = _picture(frame.image), imread(frame.mask, cv2.IMREAD_GRAYSCALE)
        level = _HIDDEN[rng.integers(len(_HIDDEN))]
        if level is not None:
            image = self._occluder(image, mask == 255, level, f"{frame.image.name}{rng.integers(1 << 30)}").image
        return image, rough(rng, np.array(mask_box(mask > 0)), image)

    def _photograph(self, rng: np.random.Generator, files: Sequence[Path]) -> Drawn:
        image = _picture(files[rng.integers(len(files))])
        box = np.array([0.0, 0.0, image.shape[1], image.shape[0]])
        if self._backgrounds and rng.random() < 0.5:
            image, box = _laid_into(rng, image, self._background(rng))
        return image, rough(rng, box, image)

    def _beside(self, rng: np.random.Generator, frames: Sequence[SyntheticFrame]) -> Drawn:
        for _ in range(100):
            frame = frames[rng.integers(len(frames))]
            image, mask = _picture(frame.image), imread(frame.mask, cv2.IMREAD_GRAYSCALE)
            image, box = anywhere(rng, image)
            if iou(box, np.array([mask_box(mask > 0)]))[0] == 0.0:
                break
        return image, box

    def _anywhere(self, rng: np.random.Generator) -> Drawn:
        return anywhere(rng, self._background(rng))

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        return _picture(self._backgrounds[rng.integers(len(self._backgrounds))])


def rough(rng: np.random.Generator, box: np.ndarray, image: np.ndarray) -> np.ndarray:
    """[4] pixels: ``box`` [4] as inexact as a detector's, an overlap (IoU) of 0.7 and more with it, inside the
    image [H, W, 3]."""
    limits = np.array([image.shape[1], image.shape[0]] * 2, float)
    for _ in range(50):
        side = np.tile(box[2:] - box[:2], 2)
        found = np.clip(box + rng.uniform(-0.15, 0.15, 4) * side, 0, limits)
        if iou(found, box[None])[0] >= _LEAST_IOU:
            return found
    return box


def plain(rng: np.random.Generator) -> np.ndarray:
    """uint8 [240, 320, 3]: a colour that changes slowly, with noise of one scale, as of sky, floor and wall."""
    height, width = 240, 320
    corners = rng.uniform(0, 255, 3) + rng.normal(0, 25, (2, 2, 3))
    picture = cv2.resize(corners.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    grain = 2 ** int(rng.integers(0, 6))
    noise = rng.normal(0, rng.uniform(0, 40), (height // grain + 1, width // grain + 1, 1)).astype(np.float32)
    picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def anywhere(rng: np.random.Generator, image: np.ndarray) -> Drawn:
    """A random box [4] in pixels of ``image`` [H, W, 3], of any size and of the shapes that objects have."""
    height, width = image.shape[:2]
    shape = np.exp(0.5 * rng.uniform(-1, 1))
    side = np.exp(rng.uniform(np.log(32), np.log(0.95 * min(height, width))))
    sides = np.minimum([side * shape, side / shape], [width, height])
    low = rng.uniform(size=2) * np.maximum([width - sides[0], height - sides[1]], 0.0)
    return image, np.r_[low, low + sides]


def _laid_into(rng: np.random.Generator, image: np.ndarray, around: np.ndarray) -> Drawn:
    """``image`` as a part of another picture, and its box there."""
    canvas = cv2.resize(around, _CANVAS[::-1], interpolation=cv2.INTER_AREA)
    scale = min(rng.uniform(0.15, 0.8) * _CANVAS[0] / image.shape[0], 0.9 * _CANVAS[1] / image.shape[1])
    size = [max(24, round(side * scale)) for side in image.shape[:2]]
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    y, x = (int(rng.integers(0, _CANVAS[k] - size[k] + 1)) for k in range(2))
    canvas[y:y + size[0], x:x + size[1]] = small
    return canvas, np.array([x, y, x + size[1], y + size[0]], float)


def _resized(rng: np.random.Generator, image: np.ndarray, box: np.ndarray) -> Drawn:
    """Picture and box with a longest side of the box as in a robot's pictures; never enlarged."""
    side = np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST)))
    scale = min(1.0, side / np.max(box[2:] - box[:2]))
    size = [max(16, round(length * scale)) for length in image.shape[1::-1]]
    factors = np.array(size) / image.shape[1::-1]
    small = image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small), box * np.tile(factors, 2)


def _photographs(folders: Sequence[Path], held_out: bool) -> list[Path]:
    return [file for folder in folders for file in _pictures(folder, held_out)]


def _frames(folders: Sequence[Path]) -> list[SyntheticFrame]:
    return [frame for folder in folders for frame in read_synthetic(folder)]


def _pictures(folder: Path, held_out: bool | None) -> list[Path]:
    """Files of pictures below ``folder``, in order; with ``held_out`` those that are or are not, see there."""
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in _PICTURES
            and (held_out is None or is_held_out(file.name) == held_out)]


@lru_cache(64)
def _picture(file: Path) -> np.ndarray:
    """uint8 [H, W, 3] RGB; ValueError where it is no picture."""
    image = imread(file)
    if image is None:
        raise ValueError(f"{file}: cannot be read as a picture; take it out of the folder")
    return np.ascontiguousarray(image[..., ::-1])
