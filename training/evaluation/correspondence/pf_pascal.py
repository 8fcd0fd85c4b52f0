# SPDX-License-Identifier: Apache-2.0
"""Reader of PF-PASCAL (Ham et al., TPAMI 2018) by the lists of pairs that SCNet and NCNet published for it.

The data set itself was never at hand here: the reader was written from descriptions of the layout and tried on files of
its kind that tests make, which is why it checks what it reads.

    DIR/test_pairs_pf_pascal.csv     source_image,target_image,class,XA,YA,XB,YB with a header; XA ... "x1;x2;..."
    DIR/PF-dataset-PASCAL/JPEGImages/NAME.jpg, named by the list from DIR on
Classes are numbers from 1 in the order of PASCAL VOC. The list has no boxes: alpha is a share of the longer side of the
picture, as 3DCorrEnhance has it. Its splits by viewpoint (same, different) are lists of the same kind: name one with
``--list``. SCNet's own figures take pictures stretched to 224 x 224 first, which changes them.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import numpy as np

from dinemo_ros.errors import DatasetError
from dinemo_ros.io.quoting import shown, shown_path

from .keypoint_pairs import KeypointPair

LIST = "test_pairs_pf_pascal.csv"
CATEGORIES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
              "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")
_COLUMNS = ("source_image", "target_image", "class", "XA", "YA", "XB", "YB")
_LARGEST = 16 << 20  # bytes of a list


def read_pf_pascal(folder: Path, listed: str = LIST, limit: int | None = None) -> list[KeypointPair]:
    """The pairs of a list in its order; points [N, 2] in pixels as the list has them.

    Raises:
        DatasetError: the list is missing or a line of it is not what the layout says; the message names it.
    """
    path = folder / listed
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise DatasetError(f"{shown_path(path)}: there is no such list of pairs; give the folder that holds "
                           f"PF-dataset-PASCAL and {LIST}, or another list with --list")
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        if not set(_COLUMNS) <= set(rows.fieldnames or ()):
            raise DatasetError(f"{shown_path(path)}: its first line must name {', '.join(_COLUMNS)}")
        pairs = []
        for number, row in enumerate(rows, start=2):
            if limit is not None and len(pairs) >= limit:
                break
            pairs.append(_pair(folder, row, f"{shown_path(path)}, line {number}"))
    if not pairs:
        raise DatasetError(f"{shown_path(path)}: lists no pair")
    return pairs


def _pair(folder: Path, row: dict, where: str) -> KeypointPair:
    source, target = _points(row, "A", where), _points(row, "B", where)
    if source.shape != target.shape:
        raise DatasetError(f"{where}: {len(source)} points in A and {len(target)} in B; they must be the same points")
    files = [_file(folder, row[key], where) for key in ("source_image", "target_image")]
    return KeypointPair(where.rpartition(" ")[2], _category(row["class"], where), files[0], files[1], source, target)


def _points(row: dict, which: str, where: str) -> np.ndarray:
    """Pixels [N, 2]."""
    try:
        values = [[float(text) for text in (row[axis + which] or "").split(";") if text.strip()] for axis in "XY"]
    except ValueError:
        values = [[], [0.0]]
    if not values[0] or len(values[0]) != len(values[1]) or not np.isfinite(values).all():
        raise DatasetError(f"{where}: X{which} and Y{which} must be as many finite numbers each, with ; between them")
    return np.array(values).T


def _category(text: str | None, where: str) -> str:
    try:
        number = int(float(text or ""))
    except (ValueError, OverflowError):
        number = 0
    if not 1 <= number <= len(CATEGORIES):
        raise DatasetError(f"{where}: class is {shown(repr(text), 40)}; allowed: 1 to {len(CATEGORIES)}")
    return CATEGORIES[number - 1]


def _file(folder: Path, text: str | None, where: str) -> Path:
    """A file below the folder and nowhere else."""
    name = PurePosixPath(text or "")
    if not name.name or name.is_absolute() or ".." in name.parts or not str(name).isprintable():
        raise DatasetError(f"{where}: {shown(repr(text), 80)} is no picture below the folder of the list")
    return folder / name
