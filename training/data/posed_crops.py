# SPDX-License-Identifier: Apache-2.0
"""Crops with a pose attached: the one training format of synthetic renders, sequences and pseudo-labelled photographs.

On disk: ``images/<name>.jpg``, optional ``masks/<name>.png`` (255 = object) and ``labels.npz`` (no pickles):
``names`` [N] str, ``K`` [N, 3, 3] px, ``T_cam_obj`` [N, 4, 4] metres, ``size`` [N, 3] metres (length, width, height),
optional ``weight`` [N] trust in the pose, optional ``shape`` [N, K] standard deviations of the modes of shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError, ImageError
from dinemo_ros.io.array_file import read_arrays
from dinemo_ros.io.bounded_file import is_name, read_bounded
from dinemo_ros.io.files import write_arrays
from dinemo_ros.io.picture_guard import guarded
from dinemo_ros.io.quoting import quoted, shown, shown_path

from .picture_file import write_picture

_LARGEST = 8 << 20  # bytes of a picture; the stored ones take some tens of thousands
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
    shape: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [K], nothing for the mean shape

    def image(self) -> np.ndarray:
        """RGB uint8 [H, W, 3]; DatasetError where it is no picture, or one that would fill the memory."""
        return cv2.cvtColor(_decoded(self.picture, cv2.IMREAD_COLOR, self.name), cv2.COLOR_BGR2RGB)

    def foreground(self) -> np.ndarray | None:
        """uint8 [H, W], 255 on the object, or None where it is unknown; DatasetError as for :meth:`image`."""
        return None if self.mask is None else _decoded(self.mask, cv2.IMREAD_GRAYSCALE, self.name)


def _decoded(data: bytes, flags: int, name: str) -> np.ndarray:
    """Pixels of a picture, whose header is looked at first."""
    try:
        whole, header = guarded(data)
        pixels = None if header is None else cv2.imdecode(np.frombuffer(whole, np.uint8), flags)
    except (ImageError, cv2.error) as error:
        raise DatasetError(f"the picture {shown(name)} of posed crops cannot be decoded ({shown(error, 200)}); make "
                           "these pictures again") from error
    if pixels is None:
        raise DatasetError(f"the picture {shown(name)} of posed crops is no picture; make these pictures again")
    return pixels


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
        DatasetError: its ``labels.npz`` is missing or damaged, or a picture is.
    """
    folder = Path(folder)
    path = folder / "labels.npz"
    try:
        data = read_arrays(path, ("names", "K", "T_cam_obj", "size"), ("weight", "shape"))
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}; make these pictures again") from error
    data.setdefault("weight", np.ones(len(data["names"])))
    data.setdefault("shape", np.zeros((len(data["names"]), 0)))
    lengths = {name: np.shape(array)[:1] for name, array in data.items()}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"{shown_path(path)}: has arrays of different lengths ({lengths}); make these pictures "
                           "again")
    crops = []
    for i, name in enumerate(map(str, data["names"][:limit])):
        if not is_name(f"{name}.jpg"):
            raise DatasetError(f"{shown_path(path)}: {quoted(name)} is no name of a picture; make these pictures again")
        mask = folder / "masks" / f"{name}.png"
        crops.append(PosedCrop(name, _content(folder / "images" / f"{name}.jpg"),
                               _content(mask) if mask.is_file() else None,
                               data["K"][i], data["T_cam_obj"][i], data["size"][i], float(data["weight"][i]),
                               data["shape"][i].astype(np.float64)))
    return crops


def _content(path: Path) -> bytes:
    try:
        return read_bounded(path, _LARGEST)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}; make these pictures again") from error


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
