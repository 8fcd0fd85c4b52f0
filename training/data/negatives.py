# SPDX-License-Identifier: Apache-2.0
"""Pictures without the object, so that clutter features learn what houses, windows and boxes look like.

    python -m dinemo_training.data.negatives --out runs/car/negatives --count 1500 [--photographs DIR]

Half are procedural facades (rows of dark panes, doors, poles and signs in perspective: what a car's windows are most
easily taken for), half are windows of photographs that show no object of the category. Stored as posed crops of weight
zero with an empty mask, so that the trainer needs no special case.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.io.picture_read import imread
from dinemo_ros.process.console import command_main

from ..run.arguments import parsed
from .posed_crops import CROP_SIDE, save_labels, save_picture

_BIG = 2 * CROP_SIDE


def facade(rng: np.random.Generator) -> np.ndarray:
    """A random scene of rectangles in perspective, RGB uint8 [CROP_SIDE, CROP_SIDE, 3]."""
    picture = _gradient(rng)
    for _ in range(rng.integers(1, 5)):
        wall = _wall(rng)
        corners = np.array([[0, 0], [_BIG, 0], [_BIG, _BIG], [0, _BIG]], np.float32)
        centre, half = rng.uniform(0, _BIG, 2), rng.uniform(0.12, 0.8, 2) * _BIG
        target = centre + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half * rng.uniform(0.6, 1.2, (4, 1))
        M = cv2.getPerspectiveTransform(corners, target.astype(np.float32))
        mask = cv2.warpPerspective(np.full((_BIG, _BIG), 255, np.uint8), M, (_BIG, _BIG))
        picture = np.where(mask[..., None] > 127, cv2.warpPerspective(wall, M, (_BIG, _BIG)), picture)
    for _ in range(rng.integers(0, 5)):  # poles, wires, edges of kerbs
        a, b = rng.uniform(0, _BIG, 2), rng.uniform(0, _BIG, 2)
        if rng.random() < 0.5:
            b[0] = a[0]
        ends = a.astype(int).tolist(), b.astype(int).tolist()
        cv2.line(picture, *ends, _colour(rng), int(rng.integers(1, 14)), cv2.LINE_AA)
    noise = rng.normal(0, rng.uniform(0, 10), picture.shape)
    picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return cv2.resize(picture, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA)


def _wall(rng: np.random.Generator) -> np.ndarray:
    """A grid of panes, wheels or panels on a plain wall."""
    wall = np.empty((_BIG, _BIG, 3), np.uint8)
    wall[:] = _colour(rng)
    rows, columns = rng.integers(1, 9, 2)
    pane, frame = _colour(rng, dark=rng.random() < 0.6), _colour(rng)
    height, width = _BIG / rows, _BIG / columns
    inset_y, inset_x = rng.uniform(0.08, 0.38, 2)
    round_panes = rng.random() < 0.2
    for r in range(rows):
        for c in range(columns):
            if rng.random() < 0.08:
                continue
            x0, x1 = int((c + inset_x) * width), int((c + 1 - inset_x) * width)
            y0, y1 = int((r + inset_y) * height), int((r + 1 - inset_y) * height)
            shade = tuple(int(np.clip(v * rng.uniform(0.7, 1.3), 0, 255)) for v in pane)
            if round_panes:
                radius = max(2, min(x1 - x0, y1 - y0) // 2)
                cv2.circle(wall, ((x0 + x1) // 2, (y0 + y1) // 2), radius, shade, -1, cv2.LINE_AA)
            else:
                cv2.rectangle(wall, (x0, y0), (x1, y1), shade, -1)
                cv2.rectangle(wall, (x0, y0), (x1, y1), frame, int(rng.integers(1, 8)))
    return wall


def _gradient(rng: np.random.Generator) -> np.ndarray:
    top, bottom = np.array(_colour(rng), float), np.array(_colour(rng), float)
    ramp = np.linspace(0, 1, _BIG)[:, None, None]
    picture = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (_BIG, _BIG, 3)).astype(np.uint8).copy()
    horizon = int(rng.uniform(0.3, 0.9) * _BIG)
    picture[horizon:] = _colour(rng)
    return picture


def _colour(rng: np.random.Generator, dark: bool = False) -> tuple[int, int, int]:
    """Mostly greyish, as built things are."""
    base, tint = rng.uniform(0, 90 if dark else 255), rng.normal(0, 25 if rng.random() < 0.7 else 80, 3)
    return tuple(int(v) for v in np.clip(base + tint, 0, 255))


def photo_window(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A random square of a photograph, RGB uint8 [CROP_SIDE, CROP_SIDE, 3]."""
    side = int(rng.uniform(0.25, 1.0) * min(image.shape[:2]))
    y, x = rng.integers(0, image.shape[0] - side + 1), rng.integers(0, image.shape[1] - side + 1)
    return cv2.resize(image[y : y + side, x : x + side], (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA)


def write_negatives(out: Path, count: int, photographs: Path | None, seed: int = 0) -> None:
    """Write ``count`` pictures; ``photographs`` is a folder of pictures without the object, searched recursively."""
    rng = np.random.default_rng(seed)
    found = photographs.rglob("*") if photographs else ()
    files = sorted(p for p in found if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    empty = np.zeros((CROP_SIDE, CROP_SIDE), np.uint8)
    names = [f"negative_{k:05d}" for k in range(count)]
    for name in tqdm(names, desc="negatives", mininterval=5):
        image = imread(files[rng.integers(len(files))]) if files and rng.random() < 0.5 else None
        picture = facade(rng) if image is None else photo_window(rng, np.ascontiguousarray(image[..., ::-1]))
        save_picture(out, name, picture, empty)
    # A nominal pose in the middle: it only decides the framing, its weight of zero keeps it out of the loss.
    K = np.array([[4.0 * CROP_SIDE, 0, CROP_SIDE / 2], [0, 4.0 * CROP_SIDE, CROP_SIDE / 2], [0, 0, 1]])
    T = se3(rotation_from_viewpoint(np.pi / 2, 0.0, 0.0), [0, 0, 18.0])
    save_labels(out, names, np.repeat(K[None], count, 0), np.repeat(T[None], count, 0),
                np.tile([4.25, 1.75, 1.5], (count, 1)), np.zeros(count))


def main() -> None:
    """The command ``python -m dinemo_training.data.negatives``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--photographs", type=Path, help="folder of photographs without the object")
    parser.add_argument("--seed", type=int, default=0)
    args = parsed(parser)
    write_negatives(args.out, args.count, args.photographs, args.seed)


if __name__ == "__main__":
    command_main(main)
