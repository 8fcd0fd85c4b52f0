# SPDX-License-Identifier: Apache-2.0
"""KITTI object annotations in our frames (Geiger, Lenz, Urtasun, CVPR 2012; readme of the object devkit).

KITTI's label frame is the rectified frame of camera 0: x right, y down, z forward. ``location`` is the middle of the
bottom face, ``rotation_y`` turns about y, and at 0 the object looks along x. The picture is that of camera 2, whose
centre lies beside camera 0: ``P2 = K [I | b]`` with ``b = K^-1 P2[:, 3]``, so a point p of the label frame is p + b
in the optical frame of the picture.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError, DocumentError
from ..geometry import se3
from ..io.bounded_file import read_bounded
from ..io.quoting import quoted, shown
from ..io.sources.folder import IMAGE_SUFFIXES, images_by_stem

# Our object axes (x forward, y left, z up) in KITTI's (x forward, y down, z left).
_KITTI_FROM_OBJECT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
# Type, truncated, occluded, alpha, box (4), dimensions (3), location (3), rotation_y.
_LABEL_FIELDS = 15
_MOST_REASONS = 8  # in one sentence
_LARGEST = 1 << 20  # bytes of a file; KITTI's have a few hundred


@dataclass(frozen=True)
class KittiObject:
    """One annotated object.

    Attributes:
        kind: "Car", "Van", ..., "DontCare".
        truncation: 0 to 1 (-1 for DontCare).
        occlusion: 0 visible, 1 partly, 2 largely, 3 unknown (-1 for DontCare).
        roi: [4] pixel edges (x_min, y_min, x_max, y_max).
        size: [3] metres, length, width, height (object x, y, z).
        T_cam_obj: [4, 4] metres, object frame (centre of the box) to the optical frame of camera 2.
    """

    kind: str
    truncation: float
    occlusion: int
    roi: np.ndarray
    size: np.ndarray
    T_cam_obj: np.ndarray

    @property
    def height_px(self) -> float:
        return float(self.roi[3] - self.roi[1])

    @property
    def why_not_easy(self) -> str | None:
        """What keeps it out of KITTI's easy cars: truncation < 0.15, occlusion <= 1, height >= 40 pixels."""
        if self.kind != "Car":
            return f"of the type {shown(self.kind, 40)}"
        if self.truncation >= 0.15:
            return "with a truncation of 0.15 or more"
        if self.occlusion > 1:
            return "with an occlusion above 1"
        return "less than 40 pixels high" if self.height_px < 40.0 else None

    @property
    def is_easy_car(self) -> bool:
        return self.why_not_easy is None


@dataclass(frozen=True)
class KittiFrame:
    """One picture with what is known about it."""

    image: Path
    P2: np.ndarray
    objects: tuple[KittiObject, ...]

    def camera(self, width: int, height: int) -> Camera:
        """Intrinsics of the (rectified, so undistorted) picture of the given size."""
        return Camera(width, height, self.P2[:, :3] / self.P2[2, 2])


def read_kitti(directory: Path) -> list[KittiFrame]:
    """Frames of ``directory`` with ``image_2``, ``calib`` and ``label_2``, in order of their number.

    Raises:
        DatasetError: a folder or a file is missing or has another layout, or no label is an easy car; the sentence
            names file and line.
    """
    for name in ("image_2", "calib", "label_2"):
        if not (directory / name).is_dir():
            raise DatasetError(f"{directory}: no folder {name}; expected image_2/*.png, calib/*.txt and label_2/*.txt")
    images = images_by_stem(directory / "image_2")
    if not images:
        raise DatasetError(f"{directory / 'image_2'}: no image; known are {', '.join(IMAGE_SUFFIXES)}")
    frames = []
    for stem, image in images.items():
        P2 = read_projection(directory / "calib" / f"{stem}.txt")
        frames.append(KittiFrame(image, P2, read_labels(directory / "label_2" / f"{stem}.txt", P2)))
    _require_easy_car(directory / "label_2", frames)
    return frames


def _require_easy_car(labels: Path, frames: list[KittiFrame]) -> None:
    """DatasetError with the reasons where nothing could be evaluated."""
    reasons = Counter(o.why_not_easy for frame in frames for o in frame.objects)
    if None in reasons:
        return
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(_MOST_REASONS))
    raise DatasetError(f"{labels}: none of the {reasons.total()} objects of {len(frames)} pictures is an easy car "
                       "(type Car, truncation < 0.15, occlusion <= 1, at least 40 pixels high), and only these "
                       "are evaluated" + (f": {told}" if told else ""))


def read_projection(path: Path) -> np.ndarray:
    """P2 [3, 4] of a calib file: label frame to pixels of camera 2.

    Raises:
        DatasetError: no such line, or it is no camera.
    """
    for line in _lines(path):
        name, _, values = line.partition(":")
        if name.strip() == "P2":
            try:
                P2 = np.array([float(v) for v in values.split()]).reshape(3, 4)
            except ValueError as error:
                raise DatasetError(f"{path}: P2 must be 12 numbers, got {quoted(values.strip())}") from error
            if not np.isfinite(P2).all() or P2[0, 0] <= 0 or P2[1, 1] <= 0 or P2[2, 2] <= 0:
                raise DatasetError(f"{path}: P2 is no camera: {P2.tolist()}")
            return P2
    raise DatasetError(f"{path}: has no line 'P2: ...'")


def read_labels(path: Path, P2: np.ndarray) -> tuple[KittiObject, ...]:
    """Objects of a label file, in metres, moved into the optical frame of the camera with projection ``P2`` [3, 4].

    Raises:
        DatasetError: a line is no label; the sentence has its number.
    """
    offset = np.linalg.solve(P2[:, :3], P2[:, 3])
    objects = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            objects.append(_object(*_fields(line), offset))
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: {shown(error, 400)}") from error
    return tuple(objects)


def _fields(line: str) -> tuple[str, list[float]]:
    """Type and numbers of a label; ValueError says what is wrong with them.

    What is measured against is looked at closely, that is the easy cars. Other objects only need a box: KITTI itself
    has -1 and -1000 where it does not know more.
    """
    kind, *rest = line.split()
    values = [float(v) for v in rest]
    if len(values) < _LABEL_FIELDS - 1:
        raise ValueError(f"has {len(values) + 1} fields, a KITTI label has {_LABEL_FIELDS}")
    if not np.isfinite(values).all():
        raise ValueError("holds a number that is not finite; correct it or take the line out")
    x_min, y_min, x_max, y_max = values[3:7]
    if kind != "DontCare" and not (x_min < x_max and y_min < y_max):
        raise ValueError(f"the box {values[3:7]} is empty; fields 5 to 8 are x_min, y_min, x_max, y_max in pixels")
    return kind, values


def _object(kind: str, values: list[float], offset: np.ndarray) -> KittiObject:
    truncation, occlusion, _alpha, *box = values[:7]
    height, width, length = values[7:10]
    bottom, rotation_y = np.array(values[10:13]), values[13]
    cos, sin = np.cos(rotation_y), np.sin(rotation_y)
    R_y = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    centre = bottom + [0.0, -height / 2, 0.0] + offset
    found = KittiObject(
        kind, truncation, int(occlusion),
        roi=np.array(box) + 0.5,  # labels count pixel centres as integers, a ROI has pixel edges
        size=np.array([length, width, height]),
        T_cam_obj=se3(R_y @ _KITTI_FROM_OBJECT, centre),
    )
    if found.is_easy_car:
        _require_possible(found, rotation_y)
    return found


def _require_possible(car: KittiObject, rotation_y: float) -> None:
    """ValueError unless something of this size can stand where it is said to."""
    if np.min(car.size) <= 0:
        raise ValueError(f"dimensions {car.size[::-1].tolist()} must be positive; fields 9 to 11 are height, width, "
                         "length in metres")
    if car.T_cam_obj[2, 3] <= 0:
        raise ValueError(f"location z leaves the car {-car.T_cam_obj[2, 3]:.3g} m behind the camera; fields 12 to 14 "
                         "are x (right), y (down), z (forward) in metres")
    if abs(rotation_y) > 2 * np.pi:
        raise ValueError(f"rotation_y is {rotation_y:g}; field 15 is in radians, -pi to pi")


def _lines(path: Path) -> list[str]:
    try:
        return read_bounded(path, _LARGEST).decode("utf-8-sig").splitlines()  # Windows may begin with a BOM
    except DocumentError as error:
        raise DatasetError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: cannot be read (byte {error.start} is no UTF-8)") from error
