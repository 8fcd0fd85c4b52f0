# SPDX-License-Identifier: Apache-2.0
"""Is this matrix one of a camera? Slips that would give poses without a word, and why each is refused."""

from __future__ import annotations

import numpy as np

from .errors import CameraError

# Shares of the shorter side and of the focal length. 0.04: a field of view of 170 degrees, the widest that is allowed,
# has 0.044. 2: everything in the picture would be seen more than 63 degrees off the axis; a part that was cut out of
# a larger image may well lie outside of its own centre.
_LEAST_FOCAL, _FARTHEST_CENTRE, _MOST_SKEW = 0.04, 2.0, 0.01


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


def check_centre_of_file(K: np.ndarray, width: int, height: int) -> None:
    """Raise :class:`CameraError` where the centre is farther outside than the image is large: a file is of a whole
    image, other than what a CameraInfo is of."""
    if _outside(K[0, 2], width) > width or _outside(K[1, 2], height) > height:
        raise CameraError(_far(K[0, 2], K[1, 2], width, height))


def _outside(centre: float, size: int) -> float:
    return max(-centre, centre - size, 0.0)


def _far(cx: float, cy: float, width: int, height: int) -> str:
    return (f"the centre of projection cx={cx:g}, cy={cy:g} is far outside of the image of {width}x{height}: it lies "
            "near its middle; give the calibration of this image size")


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)
