# SPDX-License-Identifier: Apache-2.0
"""Calibrations as they lie on disks: of ROS, of OpenCV, of Kalibr.

ROS      what ``camera_calibration`` writes and ``camera_info_manager`` reads; also a printed CameraInfo message
OpenCV   ``FileStorage`` as YAML, XML or JSON: camera_matrix, distortion_coefficients, image_width, image_height
Kalibr   ``camchain.yaml``: cam0 is taken, ``camchain.yaml:cam1`` names another
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import numpy as np

from ..errors import CameraError, DocumentError
from ..io.document import read_texts
from ..io.quoting import quoted, shown, shown_path

_ENTRY = re.compile(r"(?P<file>.+):(?P<entry>cam\d{1,4})")
_KALIBR = re.compile(r"cam\d{1,4}")
_KNOWN = ("known are the files of ROS (image_width, image_height, camera_matrix.data [9], distortion_model, "
          "distortion_coefficients.data), of OpenCV, and Kalibr's camchain")
# Keys as they are compared: small letters and digits only.
_WIDTHS, _HEIGHTS, _SIZES = ("imagewidth", "width"), ("imageheight", "height"), ("imagesize", "resolution", "size")
_MATRICES = ("cameramatrix", "k", "intrinsicmatrix", "mtx")
_COEFFICIENTS = ("distortioncoefficients", "distcoeffs", "distcoeff", "distortioncoeffs", "d", "dist")
_MODELS = ("distortionmodel", "cameramodel")  # older files of camera_calibration have the latter
_MOST_NUMBERS = 64
_MOST_NAMED = 8  # cameras of a camchain


@dataclass(frozen=True)
class CameraFile:
    """What a file says; nothing of it is checked but that it is there and in numbers.

    Attributes:
        K: [3, 3]; notes: what the user should know about what was read.
    """

    width: int
    height: int
    K: np.ndarray
    distortion_model: str
    distortion: tuple[float, ...]
    notes: tuple[str, ...] = ()


def read_camera_file(path: str | os.PathLike) -> CameraFile:
    """Read a calibration; :class:`CameraError` names the file and what is wrong with it.

    path: of a file; of a Kalibr camchain perhaps with the camera behind it, ``camchain.yaml:cam1``.
    """
    file, entry = file_and_entry(path)
    try:
        return _interpret(read_texts(file), entry)
    except DocumentError as error:
        raise CameraError(f"{shown_path(path)}: {error}; give a camera_info YAML as camera_calibration writes it"
                          ) from error
    except CameraError as error:
        raise CameraError(f"{shown_path(path)}: {error}") from error


def file_and_entry(path: str | os.PathLike) -> tuple[str, str | None]:
    """The file itself, and the camera that is named behind it, if one is."""
    name = os.fspath(path)
    match = _ENTRY.fullmatch(name)
    return (match["file"], match["entry"]) if match and not os.path.exists(name) else (name, None)


def _interpret(document: object, entry: str | None) -> CameraFile:
    if not isinstance(document, dict):
        raise CameraError(f"not a camera_info YAML (no names and values in it); {_KNOWN}")
    cameras = sorted((key for key, value in document.items() if _KALIBR.fullmatch(key) and isinstance(value, dict)),
                     key=lambda key: int(key[3:]))
    if cameras:
        return _kalibr(document, cameras, entry)
    if entry:
        raise CameraError(f"there is no {entry} in it; it is no camchain of Kalibr's")
    return _matrix_file({_compared(key): value for key, value in document.items()})


def _kalibr(document: dict, cameras: list[str], entry: str | None) -> CameraFile:
    chosen = entry or cameras[0]
    if chosen not in cameras:
        raise CameraError(f"there is no {chosen} in it; it has {_listed(cameras)}")
    fields = document[chosen]
    model = _word(fields.get("camera_model"))
    if model != "pinhole":
        raise CameraError(f"camera model {quoted(model)} of {chosen} is not supported; Kalibr's pinhole is, with "
                          "radtan, equidistant or none: calibrate anew with pinhole-radtan or pinhole-equi")
    fx, fy, cx, cy = _numbers(fields.get("intrinsics"), f"{chosen}.intrinsics", 4)
    width, height = _numbers(fields.get("resolution"), f"{chosen}.resolution", 2)
    notes = ()
    if not entry and len(cameras) > 1:
        notes = (f"the camchain has {_listed(cameras)}; {chosen} is taken, FILE:{cameras[1]} takes another",)
    distortion = _numbers(fields.get("distortion_coeffs"), f"{chosen}.distortion_coeffs")
    return CameraFile(_whole(width, "width"), _whole(height, "height"),
                      np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), _word(fields.get("distortion_model")),
                      distortion, notes)


def _matrix_file(fields: dict) -> CameraFile:
    """Files that hold the matrix K; keys as they are compared."""
    matrix = _first(fields, _MATRICES)
    if matrix is None:
        raise CameraError(f"not a camera_info YAML: no camera_matrix in it; {_KNOWN}")
    size = _first(fields, _SIZES)
    if size is not None:
        width, height = _numbers(size, "image size", 2)
    else:
        width, height = (_numbers([_first(fields, keys)], keys[0], 1)[0] if _first(fields, keys) is not None else None
                         for keys in (_WIDTHS, _HEIGHTS))
    if width is None or height is None:
        raise CameraError("the size of the image is missing: add image_width and image_height, in pixels")
    _refuse_cut(fields)
    distortion = _numbers(_first(fields, _COEFFICIENTS), "distortion_coefficients")
    K = np.reshape(_numbers(matrix, "camera_matrix", 9), (3, 3))
    return CameraFile(_whole(width, "width"), _whole(height, "height"), K, _model(fields), distortion)


def _model(fields: dict) -> str:
    """Name of the lens model; OpenCV's files have none, their coefficients have one order."""
    name = _first(fields, _MODELS)
    if name is not None:
        return _word(name)
    is_fisheye = _word(fields.get("fisheyemodel")).lower() in ("1", "true", "1.", "yes")
    return "fisheye" if is_fisheye else "opencv"


def _refuse_cut(fields: dict) -> None:
    """A printed CameraInfo may be of a part of the sensor, averaged: its K is then not that of the images."""
    given = fields.get("roi")
    region = given if isinstance(given, dict) else {}
    numbers = [fields.get("binningx"), fields.get("binningy"), region.get("x_offset"), region.get("y_offset")]
    sides = [(region.get("width"), _first(fields, _WIDTHS)), (region.get("height"), _first(fields, _HEIGHTS))]
    if (any(_number(text, "binning") > limit for text, limit in zip(numbers, (1, 1, 0, 0), strict=True) if text)
            or any(_number(part, "roi") not in (0, _number(whole, "size")) for part, whole in sides if part)):
        raise CameraError("it is of a region of interest or with binning, which a file is not read with: give a "
                          "calibration of the images as they are")


def _listed(cameras: list[str]) -> str:
    return ", ".join(cameras[:_MOST_NAMED]) + ", ..." * (len(cameras) > _MOST_NAMED)


def _first(fields: dict, keys: tuple[str, ...]) -> object:
    return next((fields[key] for key in keys if fields.get(key) is not None), None)


def _compared(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _word(value: object) -> str:
    return shown(value) if isinstance(value, str) else ""


def _numbers(value: object, name: str, count: int | None = None) -> tuple[float, ...]:
    """Numbers of a list, of rows of them, or of a matrix with its ``data``; none of nothing."""
    if isinstance(value, dict):
        value = value.get("data")
    value = value.split() if isinstance(value, str) else [] if value is None else value  # texts: XML
    if not isinstance(value, list):
        raise CameraError(f"{name} holds no numbers; {_KNOWN}")
    flat = [item for row in value[:_MOST_NUMBERS] for item in (row[:_MOST_NUMBERS] if isinstance(row, list) else [row])]
    if len(flat) > _MOST_NUMBERS or (count is not None and len(flat) != count):
        raise CameraError(f"{name} has {len(flat)} numbers"
                          + (f" and must have {count}" if count is not None else ""))
    return tuple(_number(item, name) for item in flat)


def _number(value: object, name: str) -> float:
    try:
        text = value.lower() if isinstance(value, str) else ""
        return float(text.replace(".nan", "nan").replace(".inf", "inf"))
    except ValueError as error:
        found = quoted(value, 40) if isinstance(value, str) else "a list or names"
        raise CameraError(f"{name} holds {found}, which is no number") from error


def _whole(value: float, name: str) -> int:
    if value != value or not 0 <= value <= 1_000_000 or value != int(value):
        raise CameraError(f"the {name} of the image is {value:g}; it counts pixels")
    return int(value)
