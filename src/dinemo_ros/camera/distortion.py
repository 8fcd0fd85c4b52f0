# SPDX-License-Identifier: Apache-2.0
"""What drivers and calibration tools call their lens models, brought to the three that are computed with.

``plumb_bob`` (4 or 5 coefficients), ``rational_polynomial`` (8, or 12 with a thin prism, or 14 with a tilted sensor)
and ``equidistant`` (4), each in OpenCV's order: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 tau_x tau_y, and k1 k2 k3 k4.
The names are those of REP 104, the formulas Brown's (1971) as OpenCV extends them and Kannala and Brandt's (2006).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from ..errors import CameraError
from ..io.quoting import quoted

PLUMB_BOB, RATIONAL, EQUIDISTANT, NONE = "plumb_bob", "rational_polynomial", "equidistant", ""

# Names as they are compared: small letters and digits only.
_POLYNOMIAL = ("plumbbob", "radtan", "radtan5", "radtan8", "radialtangential", "pinholeradtan", "pinholeradtan5",
               "pinholeradtan8", "brown", "brownconrady", "modifiedbrownconrady", "inversebrownconrady",
               "rationalpolynomial", "rational", "rationaltangential", "thinprism", "rationalthinprism", "tilted",
               "opencv", "fullopencv", "opencvpinhole")
_FISHEYE = ("equidistant", "equi", "fisheye", "kannalabrandt", "kannalabrandt4", "kb4", "pinholeequi",
            "pinholeequidistant", "fisheyeequidistant", "opencvfisheye")
_WITHOUT = ("", "none", "pinhole", "perspective", "nodistortion", "undistorted", "rectified")
_OTHERS = ("doublesphere", "ds", "eucm", "ucm", "omni", "omnidirectional", "mei", "fov", "atan", "ftheta", "ocam",
           "ocamcalib", "scaramuzza", "fisheyepolynomial", "thinprismfisheye", "fisheye62", "fisheye624", "division",
           "stereographic", "equisolid", "orthographic", "spherical", "cylindrical", "equirectangular")
_POLYNOMIAL_LENGTHS, _FISHEYE_LENGTHS = (4, 5, 8, 12, 14), (4,)


def read_distortion(name: str, coefficients: Iterable[float]) -> tuple[str, tuple[float, ...], tuple[str, ...]]:
    """The model as it is computed with, its coefficients, and what was understood other than written, in sentences.

    Coefficients that are all zero are no lens, but for ``equidistant``, where they are an ideal fisheye.

    Args:
        coefficients: in the order that the module tells, of normalised coordinates (no unit) or, with
            ``equidistant``, of angles in radians.

    Raises:
        CameraError: a model that is not known, or coefficients that are not finite or of another number.
    """
    values = tuple(float(value) for value in coefficients)
    key = re.sub(r"[^a-z0-9]", "", str(name).lower()).removeprefix("rs2").removeprefix("distortion")
    name = quoted(str(name))
    if key in _OTHERS:
        raise CameraError(f"distortion model {name} is not supported; known: {_known()}: rectify the images and take "
                          "their calibration, or calibrate anew with one of these models")
    if not np.isfinite(values).all():
        raise _wrong_number(name, key, values)
    if key in _FISHEYE:
        return _fisheye(name, key, values)
    if not any(values):
        unknown = key not in _POLYNOMIAL and key not in _WITHOUT
        return NONE, (), (f"distortion model {name} is not known; its coefficients are all zero, so no lens is "
                          "taken",) * unknown
    if key not in _POLYNOMIAL and key not in _WITHOUT:
        raise CameraError(f"unknown distortion model {name}; known: {_known()}")
    return _polynomial(name, key, values)


def _fisheye(name: str, key: str, values: tuple[float, ...]) -> tuple[str, tuple[float, ...], tuple[str, ...]]:
    if not values:
        return NONE, (), (f"distortion model {name} comes without coefficients, so no lens is taken; an ideal "
                          "fisheye has four zeros",)
    values = _cut(name, key, values, _FISHEYE_LENGTHS)
    said = (f"distortion model {name} with zeros only is taken as an ideal fisheye (pixels in proportion to angles); "
            "a camera without lens is plumb_bob with zeros",)
    return EQUIDISTANT, values, said * (not any(values))


def _polynomial(name: str, key: str, values: tuple[float, ...]) -> tuple[str, tuple[float, ...], tuple[str, ...]]:
    values = _cut(name, key, values, _POLYNOMIAL_LENGTHS)
    if key == "plumbbob" or key in _WITHOUT:  # more than five of which the others are zero: Orbbec's cameras
        used = next(n for n in _POLYNOMIAL_LENGTHS if len(values) == n or (n >= 5 and not any(values[n:])))
        values = values[:used]
    model = PLUMB_BOB if len(values) <= 5 else RATIONAL
    if key in _WITHOUT:
        return model, values, (f"distortion model {name} is none and its {len(values)} coefficients are not zero: "
                               f"they are taken as those of {model}, in OpenCV's order",)
    if key == "plumbbob" and model == RATIONAL:
        return model, values, (f"distortion model {name} has {len(values)} coefficients: they are taken as those of "
                               f"{model}, in OpenCV's order",)
    if key in ("modifiedbrownconrady", "inversebrownconrady"):
        return model, values, (f"distortion model {name} is taken as {model}: they differ by less than a tenth of a "
                               "pixel in a lens as cameras have them",)
    return model, values, ()


def _cut(name: str, key: str, values: tuple[float, ...], allowed: tuple[int, ...]) -> tuple[float, ...]:
    """Without zeros behind the last coefficient that the model has."""
    if len(values) in allowed:
        return values
    length = max((n for n in allowed if n < len(values)), default=None)
    if length is None or any(values[length:]):
        raise _wrong_number(name, key, values)
    return values[:length]


def _wrong_number(name: str, key: str, values: tuple[float, ...]) -> CameraError:
    allowed = (0, *_FISHEYE_LENGTHS) if key in _FISHEYE else (0, 8, 12, 14) if key.startswith("rational") else (0, 4, 5)
    more = "" if key in _FISHEYE or key.startswith("rational") else " (or 8, 12 or 14 of OpenCV's)"
    return CameraError(f"distortion model {name} takes {allowed} finite coefficients{more}, got {list(values)[:16]}")


def _known() -> str:
    return ", ".join(sorted((PLUMB_BOB, RATIONAL, EQUIDISTANT))) + " (also called fisheye)"
