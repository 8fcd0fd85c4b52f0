# SPDX-License-Identifier: Apache-2.0
"""Reader of SPair-71k (Min et al., arXiv 1908.10543), by its published layout.

The data set itself was never at hand here: the reader was written from descriptions of the layout and tried on the
pairs that :mod:`.rendered_pairs` writes in it, which is why it checks what it reads and says what it misses.

    DIR/Layout/large/test.txt                     a line "000001-SOURCE-TARGET:CATEGORY" per pair
    DIR/PairAnnotation/test/000001-SOURCE-TARGET:CATEGORY.json
    DIR/JPEGImages/CATEGORY/SOURCE.jpg
Of an annotation src_imname, trg_imname, category, src_kps, trg_kps [[x, y], ...] and trg_bndbox [x1, y1, x2, y2] are
read, pixels; and src_object, trg_object, no keys of SPair's, which rendered pairs have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.io.document import Document, read_json
from dinemo_ros.io.quoting import quoted, shown_path

from .keypoint_pairs import KeypointPair

_LARGEST_LAYOUT = 64 << 20  # bytes


def read_spair(folder: Path, subset: str = "test", layout: str = "large",
               categories: Sequence[str] = (), limit: int | None = None) -> list[KeypointPair]:
    """The pairs of a subset in the order of its list.

    Args:
        categories: only these; all where empty. limit: only the first so many of them.

    Raises:
        DatasetError: a file is missing or is not what the layout says; the message names it.
    """
    listed = folder / "Layout" / layout / f"{subset}.txt"
    if not listed.is_file() or listed.stat().st_size > _LARGEST_LAYOUT:
        raise DatasetError(f"{shown_path(listed)}: there is no such list of pairs; give the folder SPair-71k, which "
                           "holds Layout, PairAnnotation and JPEGImages")
    names = [line.strip() for line in listed.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    chosen = [name for name in names if not categories or name.rpartition(":")[2] in categories][:limit]
    if not chosen:
        raise DatasetError(f"{shown_path(listed)}: lists no pair of {', '.join(categories) or 'anything'}; the "
                           f"categories are {', '.join(sorted({name.rpartition(':')[2] for name in names})) or 'none'}")
    return [_pair(folder, subset, name) for name in chosen]


def _pair(folder: Path, subset: str, name: str) -> KeypointPair:
    path = folder / "PairAnnotation" / subset / f"{name}.json"
    if not _is_name(name):
        raise DatasetError(f"{quoted(name)} is no name of a pair; give lines like 000001-SOURCE-TARGET:CATEGORY")
    try:
        entry = read_json(path)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}; fetch the data set again") from error
    source, target = _points(entry, "src_kps", path), _points(entry, "trg_kps", path)
    if len(source) != len(target):
        raise DatasetError(f"{shown_path(path)}: src_kps has {len(source)} points and trg_kps {len(target)}; they "
                           "must be the same points")
    box = _numbers(entry, "trg_bndbox", path, (4,))
    if not (box[2:] > box[:2]).all():
        raise DatasetError(f"{shown_path(path)}: trg_bndbox is empty; x1 < x2 and y1 < y2 are wanted")
    category = _text(entry, "category", path)
    pictures = folder / "JPEGImages" / category
    objects = None
    if "src_object" in entry and "trg_object" in entry:
        objects = (_text(entry, "src_object", path), _text(entry, "trg_object", path))
    return KeypointPair(name, category, pictures / _text(entry, "src_imname", path),
                        pictures / _text(entry, "trg_imname", path), source, target,
                        (float(box[0]), float(box[1]), float(box[2]), float(box[3])), objects)


def _points(entry: Document, key: str, path: Path) -> np.ndarray:
    return _numbers(entry, key, path, (-1, 2))


def _numbers(entry: Document, key: str, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Finite numbers of the key as an array of ``shape``, in which -1 stands for any length but 0."""
    try:
        values = np.array(entry[key], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        values = np.empty(0)
    right = values.ndim == len(shape) and all(want in (-1, have)
                                              for want, have in zip(shape, values.shape, strict=True))
    if not right or not values.size or not np.isfinite(values).all():
        raise DatasetError(f"{shown_path(path)}: {key} must be {'points [x, y]' if len(shape) == 2 else '4 numbers'}, "
                           "finite pixels; fetch the data set again")
    return values


def _text(entry: Document, key: str, path: Path) -> str:
    """A text that names a file or folder and no way to another one."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not _is_name(value):
        raise DatasetError(f"{shown_path(path)}: {key} must be a plain name; fetch the data set again")
    return value


def _is_name(text: str) -> bool:
    """Of a file or folder, without a way to another one."""
    return text.isprintable() and 0 < len(text) < 200 and text not in (".", "..") and not set(text) & set("/\\")
