# SPDX-License-Identifier: Apache-2.0
r"""How well one turn of a few pictures teaches an object: the other frames of a denser turn, put on new backgrounds.

    python -m dinemo_training.evaluation.one_object split TURNTABLES --sequence NAME --step 45 --out WORK \
        --backgrounds PHOTOGRAPHS
    dinemo train --category NAME --shape hull --sequences WORK/teach --size 0.12x0.09x0.10 --run RUN
    python -m dinemo_training.evaluation.one_object nearest --pool RUN/turn --find WORK/find --out nearest.json
    dinemo eval turntable WORK/find --bundle RUN/out --baseline --rival "nearest picture=nearest.json"

``split`` copies every STEP-th degree of a turntable to ``teach``, and cuts the object out of all the others and pastes
it, smaller or larger, somewhere on a part of a photograph: ``find``. Both have an ``azimuth.json``. ``nearest`` gives
each of these the azimuth of the picture that it looks most like to an untrained network: all that one can do without a
shape. It is told the object's box.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from dinemo_ros.camera.crop import BORDER_GREY
from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.turntable import TurntableFrame, read_turntables
from dinemo_ros.geometry import allocentric, viewpoint_from_rotation
from dinemo_ros.io.files import write_file
from dinemo_ros.io.picture_read import imread
from dinemo_ros.io.sources.folder import IMAGE_SUFFIXES, read_image
from dinemo_ros.process.console import command_main

from ..data.augmentation import replace_background
from ..data.foreground import SaliencyMask, mask_box
from ..data.negatives import facade
from ..data.picture_file import write_picture
from ..data.plain_background import ObjectMask
from ..data.posed_crops import load_posed_crops, square_around
from ..models.teachers import CnnTeacher, Teacher
from ..run.arguments import parsed

SIDE = (480, 360)             # width and height of the pictures to find the object in
_LONGEST = (60.0, 240.0)      # pixels of the object's larger side in them, by the logarithm
_LIGHT = (0.75, 1.25)         # factor on its brightness
_CROP, _MARGIN = 224, 1.15    # of the pictures that are compared with each other


@dataclass(frozen=True)
class Pasted:
    """A picture [H, W, 3] RGB with the object, and its box as pixel edges."""

    image: np.ndarray
    box: tuple[float, float, float, float]


def is_taught(azimuth_deg: float, step_deg: float) -> bool:
    """Whether a frame teaches: its azimuth is a multiple of the step, within a twentieth of a degree."""
    return abs((azimuth_deg + step_deg / 2) % step_deg - step_deg / 2) < 0.05


def paste(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, background: np.ndarray) -> Pasted:
    """The object of a picture somewhere on a background.

    Args:
        image: [H, W, 3] uint8 RGB. mask: [H, W] uint8, 255 on the object. background: [h, w, 3]; the result has its
            size.
    """
    height, width = background.shape[:2]
    x0, y0, x1, y1 = mask_box(mask)
    longest = np.exp(rng.uniform(*np.log(_LONGEST)))
    scale = longest / max(x1 - x0, y1 - y0)
    w, h = scale * (x1 - x0), scale * (y1 - y0)
    left, top = rng.uniform(2, width - w - 2), rng.uniform(2, height - h - 2)
    A = np.array([[scale, 0, left - scale * x0 + 0.5 * (scale - 1)], [0, scale, top - scale * y0 + 0.5 * (scale - 1)]])
    if scale < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    light = np.clip(image.astype(np.float32) * rng.uniform(*_LIGHT), 0, 255).astype(np.uint8)
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8))  # without the rim, where the old background shines through
    warped = cv2.warpAffine(light, A, (width, height), flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(inside, A, (width, height), flags=cv2.INTER_LINEAR)
    return Pasted(replace_background(warped, alpha, background), (left, top, left + w, top + h))


def backgrounds(folder: Path | None) -> list[Path]:
    """Photographs of a folder; an empty list without one: then backgrounds are drawn.

    Raises:
        DatasetError: it holds none.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES) if folder else []
    if folder and not files:
        raise DatasetError(f"{folder}: no picture to put the object on")
    return files


def _background(rng: np.random.Generator, files: list[Path]) -> np.ndarray:
    """[h, w, 3] of a photograph, or drawn."""
    image = imread(files[rng.integers(len(files))])[..., ::-1] if files else facade(rng)
    height, width = image.shape[:2]
    scale = max(SIDE[0] / width, SIDE[1] / height) * rng.uniform(1.0, 1.6)
    image = cv2.resize(image, (int(np.ceil(width * scale)), int(np.ceil(height * scale))))
    x, y = (int(rng.integers(0, large - small + 1)) for large, small in zip(image.shape[1::-1], SIDE, strict=True))
    return np.ascontiguousarray(image[y:y + SIDE[1], x:x + SIDE[0]])


def split(frames: list[TurntableFrame], step_deg: float, out: Path, files: list[Path], seed: int) -> tuple[int, int]:
    """Write both halves of a turn; returns how many frames teach and how many are to be found.

    Args:
        frames: of one sequence. files: photographs, see :func:`backgrounds`.

    Raises:
        DatasetError: no frame, or every one, is a multiple of the step.
    """
    taught = [frame for frame in frames if is_taught(frame.azimuth_deg, step_deg)]
    rest = [frame for frame in frames if not is_taught(frame.azimuth_deg, step_deg)]
    if not taught or not rest:
        raise DatasetError(f"{frames[0].sequence}: {len(taught)} of {len(frames)} azimuths are multiples of "
                           f"{step_deg:g} degrees; some must be, and some not")
    name, mask_of = frames[0].sequence, ObjectMask(SaliencyMask())
    teach, find = out / "teach", out / "find"
    for frame in taught:
        (teach / name).mkdir(parents=True, exist_ok=True)
        write_file(teach / name / frame.path.name, frame.path.read_bytes())
    _write_table(teach, name, {frame.path.name: frame.azimuth_deg for frame in taught}, {})
    boxes = {}
    (find / name).mkdir(parents=True, exist_ok=True)
    for frame in tqdm(rest, unit="frame"):
        digest = hashlib.sha256(f"{seed} {name} {frame.path.name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        image = np.ascontiguousarray(read_image(frame.path))
        pasted = paste(rng, image, mask_of(image), _background(rng, files))
        write_picture(find / name / f"{frame.path.stem}.png", np.ascontiguousarray(pasted.image[..., ::-1]))
        boxes[f"{frame.path.stem}.png"] = [round(float(edge), 1) for edge in pasted.box]
    _write_table(find, name, {f"{frame.path.stem}.png": frame.azimuth_deg for frame in rest}, boxes)
    return len(taught), len(rest)


def _write_table(folder: Path, name: str, azimuths: dict, boxes: dict) -> None:
    entry = {"azimuth_deg": azimuths} | ({"box": boxes} if boxes else {})
    write_file(folder / "azimuth.json", json.dumps({name: entry}, indent=1))


def nearest(pool: Path, frames: list[TurntableFrame], teacher: Teacher) -> dict:
    """Answers of the nearest picture of a pool of posed crops, as ``dinemo eval turntable --rival`` reads them.

    Both are looked at in the object's box. What counts is the mean cosine over the cells of the pool's object.
    """
    crops = load_posed_crops(pool)
    angles = np.rad2deg([viewpoint_from_rotation(allocentric(crop.T_cam_obj)) for crop in crops])
    masks = [crop.foreground() for crop in crops]
    maps = _features([_boxed(crop.image(), mask_box(mask)) for crop, mask in zip(crops, masks, strict=True)], teacher)
    weights = torch.from_numpy(np.stack([_boxed(mask, mask_box(mask), 0) for mask in masks]))[:, None].float() / 255
    weights = F.interpolate(weights, size=maps.shape[-2:], mode="area")
    weights = weights / weights.sum((1, 2, 3), keepdim=True)
    answers: dict = {}
    for frame in tqdm(frames, unit="frame"):
        asked = _features([_boxed(np.ascontiguousarray(read_image(frame.path)), frame.box)], teacher)
        scores = ((maps * asked).sum(1, keepdim=True) * weights).sum((1, 2, 3))
        azimuth, elevation, theta = angles[int(scores.argmax())]
        answers.setdefault(frame.sequence, {})[frame.path.name] = {
            "azimuth_deg": round(float(azimuth), 2), "elevation_deg": round(float(elevation), 2),
            "theta_deg": round(float(theta), 2)}
    return answers


def _boxed(image: np.ndarray, box: tuple, border: tuple | int = BORDER_GREY) -> np.ndarray:
    A = square_around(box, _CROP, _MARGIN)
    return cv2.warpAffine(image, A, (_CROP, _CROP), flags=cv2.INTER_AREA, borderValue=border)


def _features(images: list[np.ndarray], teacher: Teacher) -> torch.Tensor:
    """[N, C, h, w], unit norm per cell."""
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return F.normalize(torch.cat([teacher(batch) for batch in x.split(16)]), dim=1)


def _split_command(args: argparse.Namespace) -> None:
    frames = read_turntables(args.turntables, [args.sequence])
    taught, rest = split(frames, args.step, args.out, backgrounds(args.backgrounds), args.seed)
    print(f"{args.out}: {taught} frames teach, {rest} are to be found")


def _nearest_command(args: argparse.Namespace) -> None:
    frames = read_turntables(args.find)
    if any(frame.box is None for frame in frames):
        raise DatasetError(f"{args.find}: some frames have no box in azimuth.json")
    write_file(args.out, json.dumps(nearest(args.pool, frames, CnnTeacher()), indent=1))


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.one_object``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("split", help="frames that teach, and the others on new backgrounds")
    making.add_argument("turntables", type=Path, metavar="TURNTABLES", help="folder with azimuth.json")
    making.add_argument("--sequence", required=True, metavar="NAME")
    making.add_argument("--step", type=float, default=45.0, metavar="DEG", help="between frames that teach (default: "
                        "%(default)g)")
    making.add_argument("--backgrounds", type=Path, metavar="DIR", help="photographs (default: drawn ones)")
    making.add_argument("--seed", type=int, default=0)
    making.add_argument("--out", type=Path, required=True, metavar="WORK")
    making.set_defaults(run=_split_command)
    near = commands.add_parser("nearest", help="the answers of the nearest picture")
    near.add_argument("--pool", type=Path, required=True, metavar="DIR", help="posed crops: RUN/turn (the pictures), "
                      "RUN/sequences (and those drawn between them)")
    near.add_argument("--find", type=Path, required=True, metavar="WORK/find")
    near.add_argument("--out", type=Path, required=True, metavar="FILE")
    near.set_defaults(run=_nearest_command)
    args = parsed(parser)
    args.run(args)


if __name__ == "__main__":
    command_main(main)
