# SPDX-License-Identifier: Apache-2.0
"""Crops with a pose attached: the one training format of synthetic renders, sequences and pseudo-labelled photographs.

On disk: ``images/<name>.jpg``, optional ``masks/<name>.png`` (255 = object) and ``labels.npz`` (no pickles):
``names`` [N] str, ``K`` [N, 3, 3] px, ``T_cam_obj`` [N, 4, 4] metres, ``size`` [N, 3] metres (length, width, height),
optional ``weight`` [N] trust in the pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.io.array_file import read_arrays
from dinemo_ros.io.files import write_arrays

from .picture_file import write_picture

CROP_SIDE = 288  # pixels of stored crops: the trainer shrinks them, so details survive a random framing


@dataclass
class PosedCrop:
    """One picture held in memory as compressed bytes, so that tens of thousands fit."""

    name: str
    picture: bytes
    mask: bytes | None
    K: np.ndarray          # [3, 3] px
    T_cam_obj: np.ndarray  # [4, 4] m
    size: np.ndarray       # [3] m
    weight: float = 1.0

    def image(self) -> np.ndarray:
        """RGB uint8 [H, W, 3]."""
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(self.picture, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def foreground(self) -> np.ndarray | None:
        """uint8 [H, W], 255 on the object, or None where it is unknown."""
        return None if self.mask is None else cv2.imdecode(np.frombuffer(self.mask, np.uint8), cv2.IMREAD_GRAYSCALE)


def save_picture(folder: Path, name: str, image: np.ndarray, mask: np.ndarray | None = None) -> None:
    """Store one picture [H, W, 3] uint8 RGB and, where known, its mask [H, W] under their place in ``folder``."""
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    write_picture(folder / "images" / f"{name}.jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 93])
    if mask is not None:
        write_picture(folder / "masks" / f"{name}.png", mask)


def save_labels(folder: Path, names: list[str], K: np.ndarray, T_cam_obj: np.ndarray, size: np.ndarray,
                weight: np.ndarray | None = None) -> None:
    """Write ``labels.npz`` of N pictures that are already in ``folder``; atomic, so a kill leaves the old one.

    Args:
        K: [N, 3, 3] intrinsics in pixels. T_cam_obj: [N, 4, 4] object to camera, metres. size: [N, 3] length, width and
            height in metres. weight: [N] of each picture in training; 1 for all by default.
    """
    write_arrays(folder / "labels.npz", names=np.array(names), K=K.astype(np.float64),
                 T_cam_obj=T_cam_obj.astype(np.float64), size=size.astype(np.float64),
                 weight=np.ones(len(names)) if weight is None else weight)


def load_posed_crops(folder: str | Path, limit: int | None = None) -> list[PosedCrop]:
    """Read a folder of posed crops; pictures are kept compressed.

    Raises:
        DatasetError: its ``labels.npz`` is missing or damaged.
    """
    folder = Path(folder)
    path = folder / "labels.npz"
    try:
        data = read_arrays(path, ("names", "K", "T_cam_obj", "size"), ("weight",))
    except DocumentError as error:
        raise DatasetError(f"{path}: {error}; make these pictures again") from error
    weight = data.get("weight", np.ones(len(data["names"])))
    crops = []
    for i, name in enumerate(data["names"][:limit]):
        mask = folder / "masks" / f"{name}.png"
        crops.append(PosedCrop(str(name), (folder / "images" / f"{name}.jpg").read_bytes(),
                               mask.read_bytes() if mask.is_file() else None,
                               data["K"][i], data["T_cam_obj"][i], data["size"][i], float(weight[i])))
    return crops


def square_around(box: Sequence[float], side: int, margin: float) -> np.ndarray:
    """Affine [2, 3] that puts a box into the middle of a square picture.

    Args:
        box: x_min, y_min, x_max, y_max in pixels, as pixel edges. side: of the square in pixels. margin: side of the
            square over the larger side of the box, both after the transform.
    """
    x0, y0, x1, y1 = box
    s = side / (margin * max(x1 - x0, y1 - y0))
    return np.array([[s, 0, 0.5 * (side - 1) - s * (0.5 * (x0 + x1) - 0.5)],
                     [0, s, 0.5 * (side - 1) - s * (0.5 * (y0 + y1) - 0.5)]])
