# SPDX-License-Identifier: Apache-2.0
"""One-shot pose in the layout of OnePose and OnePose-LowTexture (Sun et al., CVPR 2022; He et al., NeurIPS 2022).

One sequence of an object teaches, its others are measured. The data sets themselves were never at hand here: the
reader was written from descriptions of the layout and tried on an object that tests render, which is why it checks what
it reads.

    DIR/OBJECT/SEQUENCE/color/0.png ...   pictures; intrin_ba/0.txt: K 3 x 3, pixels; poses_ba/0.txt: 4 x 4, object to
                                          camera (x right, y down, z forward), metres
    DIR/OBJECT/sfm/images.txt, points3D.txt   of the first sequence by name: a COLMAP model as text (COLMAP's own
                                          model_converter --output_type TXT makes it of the published binary one)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.bootstrap import by_frames
from dinemo_ros.io.quoting import quoted, shown_path

EVERY = 10  # which frames of a query sequence are measured, as the papers do
WITHIN = (1, 3, 5)  # centimetres and degrees
_LARGEST_MODEL = 256 << 20  # bytes of a text of COLMAP


@dataclass(frozen=True)
class Posed:
    """A picture file with K [3, 3] pixels and T_cam_obj [4, 4] metres."""

    picture: Path
    K: np.ndarray
    T_cam_obj: np.ndarray


@dataclass(frozen=True)
class Observed:
    """Of a reference picture: where points of the object are seen, pixels [N, 2], and where they are, [N, 3] metres."""

    picture: Path
    pixels: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class OneShotObject:
    """An object: what one sequence shows of it, and the frames of the others that are asked for."""

    name: str
    references: tuple[Observed, ...]
    queries: tuple[Posed, ...]


def read_objects(folder: Path, only: Sequence[str] = (), limit: int | None = None) -> list[OneShotObject]:
    """The objects of a folder by name.

    Args:
        only: names of objects, all where empty. limit: only the first so many.

    Raises:
        DatasetError: there are none, or a file is missing or not what the layout says.
    """
    if not folder.is_dir():
        raise DatasetError(f"{shown_path(folder)}: there is no such folder")
    found = [entry for entry in sorted(folder.iterdir())
             if (entry / "sfm").is_dir() and (not only or entry.name in only)]
    if not found:
        raise DatasetError(f"{shown_path(folder)}: holds no object with a folder sfm of COLMAP's images.txt and "
                           "points3D.txt")
    return [_object(entry) for entry in found[:limit]]


def _object(folder: Path) -> OneShotObject:
    sequences = sorted(entry for entry in folder.iterdir() if (entry / "color").is_dir())
    if len(sequences) < 2:
        raise DatasetError(f"{shown_path(folder)}: has {len(sequences)} sequences with a folder color; one teaches, "
                           "at least one more is measured")
    queries = [_posed(sequence, path) for sequence in sequences[1:] for path in _pictures(sequence)[::EVERY]]
    return OneShotObject(folder.name, tuple(_references(folder / "sfm", sequences[0])), tuple(queries))


def _pictures(sequence: Path) -> list[Path]:
    """The pictures in the order of their numbers."""
    found = [path for path in (sequence / "color").iterdir() if path.suffix in (".png", ".jpg") and path.stem.isdigit()]
    return sorted(found, key=lambda path: int(path.stem))


def _posed(sequence: Path, picture: Path) -> Posed:
    return Posed(picture, _matrix(sequence / "intrin_ba" / f"{picture.stem}.txt", 3),
                 _matrix(sequence / "poses_ba" / f"{picture.stem}.txt", 4))


def _matrix(path: Path, side: int) -> np.ndarray:
    try:
        values = np.array([float(text) for text in path.read_text()[:4000].split()])
    except (OSError, ValueError) as error:
        raise DatasetError(f"{shown_path(path)}: cannot be read as a matrix; fetch the data set again") from error
    if values.size != side * side or not np.isfinite(values).all():
        raise DatasetError(f"{shown_path(path)}: must hold {side} x {side} finite numbers")
    return values.reshape(side, side)


def _references(model: Path, sequence: Path) -> list[Observed]:
    """What the model saw in the pictures of the sequence."""
    points = {int(row[0]): row[1:4] for row in _rows(model / "points3D.txt")}
    lines = _rows(model / "images.txt", pairs=True)
    found = []
    for head, body in zip(lines[::2], lines[1::2], strict=False):
        name = Path(head[-1]).name if head else ""
        picture = sequence / "color" / name
        if not name or not picture.is_file() or len(body) % 3:
            raise DatasetError(f"{shown_path(model / 'images.txt')}: {quoted(name)} is no picture of "
                               f"{shown_path(sequence)}, or has no triples x y POINT3D_ID; give the model of the first "
                               "sequence")
        seen = [(body[k], body[k + 1], points[int(body[k + 2])]) for k in range(0, len(body), 3)
                if int(body[k + 2]) in points]
        if seen:
            pixels = np.array([[float(x), float(y)] for x, y, _ in seen]) - 0.5  # COLMAP's middle of a pixel is 0.5
            found.append(Observed(picture, pixels, np.array([[float(v) for v in point] for *_, point in seen])))
    if not found:
        raise DatasetError(f"{shown_path(model)}: its pictures show no point of points3D.txt")
    return found


def _rows(path: Path, pairs: bool = False) -> list[list[str]]:
    """Words of the lines of a text of COLMAP, without comments; ``pairs``: every second line is numbers, or empty."""
    if not path.is_file() or path.stat().st_size > _LARGEST_MODEL:
        raise DatasetError(f"{shown_path(path)}: there is no such file; colmap model_converter --output_type TXT makes "
                           "it")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#") and (pairs or line.strip())]
    try:
        for row in rows if not pairs else []:
            int(row[0]), [float(value) for value in row[1:4]]
        for row in rows[1::2] if pairs else []:
            [int(value) if k % 3 == 2 else float(value) for k, value in enumerate(row)]
    except (ValueError, IndexError) as error:
        raise DatasetError(f"{shown_path(path)}: is no text of COLMAP ({error})") from error
    return rows


def pose_error(found: np.ndarray | None, truth: np.ndarray) -> tuple[float, float]:
    """Degrees and centimetres between poses [4, 4] (metres); infinite where none was found."""
    if found is None:
        return float("inf"), float("inf")
    cosine = (np.trace(found[:3, :3].T @ truth[:3, :3]) - 1) / 2
    return (float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
            100 * float(np.linalg.norm(found[:3, 3] - truth[:3, 3])))


def one_shot_rows(errors: dict[str, list[tuple[float, float]]]) -> list[dict]:
    """A row for each object and their mean: share of frames within 1 cm and 1 degree, 3 and 3, 5 and 5.

    Args:
        errors: name of the object -> degrees and centimetres of each of its frames.
    """
    rows = []
    for name, pairs in errors.items():
        worst = np.array(pairs).max(axis=1)  # within k cm and k degrees
        row = {"object": name, "frames": len(worst), "missing": float(np.isinf(worst).mean())}
        rows.append(row | {f"within_{k}cm_{k}deg": float(np.mean(worst < k)) for k in WITHIN})
    if len(rows) > 1:
        mean: dict = {"object": "mean of objects", "frames": sum(row["frames"] for row in rows)}
        for key in rows[0].keys() - {"object", "frames"}:
            values = np.array([row[key] for row in rows])
            mean |= {key: float(values.mean()), f"{key}_interval": by_frames(values)}
        rows.append(mean)
    return rows
