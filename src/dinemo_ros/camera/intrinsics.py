# SPDX-License-Identifier: Apache-2.0
"""Is this matrix one of a camera? Slips that would give poses without a word, and why each is refused."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from ..errors import CameraError
from .lens import lens_of

# Shares of the shorter side and of the focal length. 0.04: a field of view of 170 degrees, the widest that is allowed,
# has 0.044. 2: everything in the picture would be seen more than 63 degrees off the axis; a part that was cut out of
# a larger image may well lie outside of its own centre.
_LEAST_FOCAL, _FARTHEST_CENTRE, _MOST_SKEW = 0.04, 2.0, 0.01

_LOOKED_AT = (17, 13)  # places in the image, its corners among them, where the lens is tried
# Share of the image that must have a viewing ray. A fisheye's circle may leave most of a wide image black.
_LEAST_SEEN, _LEAST_SEEN_FISHEYE = 0.5, 0.2
# How much farther out a lens may show a thing than a pinhole (a fisheye: than in proportion to the angle). Real ones
# stretch their corners by a few percent; a rectilinear lens described as a fisheye has 1.65 at 60 degrees.
_MOST_STRETCHED, _MOST_STRETCHED_FISHEYE = 1.5, 2.0


def check_matrix(K: np.ndarray, width: int, height: int) -> None:
    """Raise :class:`CameraError` unless ``K`` [3, 3] can be the camera matrix of an image of width x height pixels."""
    if K.shape != (3, 3) or not np.isfinite(K).all():
        raise CameraError(f"camera matrix K must be 3x3 finite numbers, got {K.tolist()}: calibrate the camera")
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    if fx <= 0 or fy <= 0:
        raise CameraError(f"focal lengths must be positive, got fx={fx:g}, fy={fy:g}: the camera_info is uncalibrated; "
                          "run camera_calibration or set a field of view")
    if not np.allclose(K[2], [0, 0, 1]):
        raise CameraError(f"the last row of the camera matrix K is {_numbers(K[2])} and must be 0, 0, 1: write K row "
                          "by row (this one may be transposed), scaled so that its last number is 1")
    if min(fx, fy) < _LEAST_FOCAL * min(width, height):
        raise CameraError(f"focal lengths of fx={fx:g}, fy={fy:g} pixels are too short for an image of "
                          f"{width}x{height}: K is in pixels; multiply normalised values by width and height")
    if max(abs(K[0, 1]), abs(K[1, 0])) > _MOST_SKEW * fx:
        raise CameraError(f"camera matrix K has a skew ({_numbers(K[:2, :2].ravel())}), which pixels do not have: "
                          "calibrate without it")
    if _outside(cx, width) > _FARTHEST_CENTRE * fx or _outside(cy, height) > _FARTHEST_CENTRE * fy:
        raise CameraError(_far(cx, cy, width, height))


@functools.lru_cache(maxsize=64)
def check_lens(model: str, distortion: tuple[float, ...], fx: float, fy: float, cx: float, cy: float, width: int,
               height: int) -> tuple[bool, tuple[str, ...]]:
    """Whether a lens gives every pixel of an image of width x height a viewing ray, and sentences about those without.

    Args:
        model, distortion: as from :func:`dinemo_ros.camera.distortion.read_distortion`.
        fx, fy, cx, cy: of the camera matrix, pixels.

    Raises:
        CameraError: the coefficients are no lens's: they fold the image, or stretch it as no lens does.
    """
    lens = lens_of(model, distortion)
    x, y = np.meshgrid(*(np.linspace(-0.5, size - 0.5, n) for size, n in zip((width, height), _LOOKED_AT, strict=True)))
    shown = np.stack([(x.ravel() - cx) / fx, (y.ravel() - cy) / fy], axis=1)
    points, seen = lens.undistort(shown)
    share = float(np.average(seen, weights=_areas()))
    if share < (_LEAST_SEEN_FISHEYE if lens.is_fisheye else _LEAST_SEEN):
        raise CameraError(f"distortion coefficients {_numbers(distortion)} fold the image: the polynomial turns back, "
                          f"and {1 - share:.0%} of {width}x{height} pixels have no viewing ray: calibrate anew, with "
                          "views that reach the image's corners")
    off, shown_off = (np.linalg.norm(values[seen], axis=1) for values in (points, shown))
    off = np.arctan(off) if lens.is_fisheye else off
    most = float(np.max(shown_off / np.maximum(off, 1e-3)))
    if most > (_MOST_STRETCHED_FISHEYE if lens.is_fisheye else _MOST_STRETCHED):
        raise CameraError(f"distortion coefficients {_numbers(distortion)} stretch the image's border {most:.1f} "
                          f"times, which no lens does with fx={fx:g}, fy={fy:g} at {width}x{height}: calibrate anew, "
                          "or give the coefficients in OpenCV's order")
    if seen.all() or lens.is_fisheye:  # a fisheye has black corners
        return bool(seen.all()), ()
    return False, (f"the distortion model turns back inside the image: {max(1 - share, 0.01):.0%} of it, at the "
                   "border, has no viewing ray, and boxes there are refused; calibrate with views that reach the "
                   "corners",)


def check_centre_of_file(K: np.ndarray, width: int, height: int) -> None:
    """Refuse a principal point that lies farther outside than the image is large.

    A file is of a whole image, other than a CameraInfo, whose region of interest may lie anywhere in it.

    Args:
        K: [3, 3] camera matrix in pixels. width, height: pixels.

    Raises:
        CameraError: it does; the message says where it lies.
    """
    if _outside(K[0, 2], width) > width or _outside(K[1, 2], height) > height:
        raise CameraError(_far(K[0, 2], K[1, 2], width, height))


def _areas() -> np.ndarray:
    """Of the places where the lens is tried: those on the border stand for half as much, corners for a quarter."""
    x, y = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)).clip(max=2) for n in _LOOKED_AT)
    return np.outer(y, x).ravel()


def _outside(centre: float, size: int) -> float:
    return max(-centre, centre - size, 0.0)


def _far(cx: float, cy: float, width: int, height: int) -> str:
    return (f"the centre of projection cx={cx:g}, cy={cy:g} is far outside of the image of {width}x{height}: it lies "
            "near its middle; give the calibration of this image size")


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
