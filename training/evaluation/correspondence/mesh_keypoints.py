# SPDX-License-Identifier: Apache-2.0
"""Named key points on CAD meshes, with "left" and "right" as the object's own sides.

Beside ``NAME.obj`` lies ``NAME.keypoints.json``, {name: [x, y, z]} in the mesh's coordinates (z up, front along -y).
Who named them looked at the model from somewhere: on cars of this kind the wheels are called by the side on which a
viewer in front sees them, the trunk by the side that a viewer behind sees. A measure of left and right needs one rule,
so every name is read by where its point lies, and the files are not trusted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.io.document import read_json
from dinemo_ros.io.quoting import quoted, shown_path

OBJECT_FROM_FILE = np.array([[0, -1.0, 0], [1.0, 0, 0], [0, 0, 1.0]])  # x forward, y left, z up; a turn about z
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])")
_MIDDLE = 0.02  # units of the mesh: nearer to the plane of symmetry a point is on no side
_ALONG = 0.15   # the same for front and back: nearer to the middle neither is meant


@dataclass(frozen=True)
class MeshKeypoints:
    """Of one mesh.

    Attributes:
        name: of the file. points: name -> [3] in the object's axes, in the mesh's units and about the mesh's origin.
        renamed: names that had the other side in the file. dropped: sentences about names that mean nothing certain.
    """

    name: str
    points: dict[str, np.ndarray]
    renamed: tuple[str, ...]
    dropped: tuple[str, ...]


def read_keypoints(path: Path) -> MeshKeypoints:
    """The key points of a file with their own sides.

    Raises:
        DatasetError: it is no such file.
    """
    try:
        document = read_json(path)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{shown_path(path)}: must be a mapping of names to points [x, y, z]")
    points: dict[str, np.ndarray] = {}
    renamed, dropped, twice = [], [], set()
    for name, value in document.items():
        try:
            point = OBJECT_FROM_FILE @ np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            point = np.full(3, np.nan)
        if point.shape != (3,) or not np.isfinite(point).all():
            raise DatasetError(f"{shown_path(path)}: {quoted(name)} must be a point of three finite numbers")
        own = own_side(name, point)
        if own is None:
            dropped.append(f"{name} of {path.name} lies on no side")
            continue
        if own in points:
            twice.add(own)
        if own != name:
            renamed.append(name)
        points[own] = point
    for name in sorted(twice):
        dropped.append(f"{name} of {path.name} is the side of two points")
        points.pop(name)
    return MeshKeypoints(path.name.partition(".")[0], points, tuple(renamed), tuple(dropped))


def own_side(name: str, point: np.ndarray) -> str | None:
    """``name`` with the side on which ``point`` [3] (object axes, any unit) lies; None where it lies on none.

    A name without a side is left as it is.
    """
    if not _SIDE.search(name.replace("_", " ")):
        return name
    if abs(point[1]) < _MIDDLE:
        return None
    side = "left" if point[1] > 0 else "right"
    return _SIDE.sub(side, name.replace("_", " ")).replace(" ", "_")


def consistent(meshes: list[MeshKeypoints]) -> tuple[list[MeshKeypoints], list[str]]:
    """The meshes without the names that stand for different places on them, and sentences about those.

    A name is one place if its points, where they are plainly before or behind the middle, all are so on every mesh.
    """
    told, wrong = [], set()
    for name in sorted({name for mesh in meshes for name in mesh.points}):
        along = [mesh.points[name][0] for mesh in meshes if name in mesh.points]
        if min(along) < -_ALONG and max(along) > _ALONG:
            wrong.add(name)
            told.append(f"{name} is before the middle on some meshes and behind it on others")
    kept = [MeshKeypoints(mesh.name, {k: v for k, v in mesh.points.items() if k not in wrong}, mesh.renamed,
                          mesh.dropped) for mesh in meshes]
    return kept, [*(sentence for mesh in meshes for sentence in mesh.dropped), *told]
