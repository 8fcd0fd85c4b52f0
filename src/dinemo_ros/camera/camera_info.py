# SPDX-License-Identifier: Apache-2.0
"""``sensor_msgs/CameraInfo`` to a camera, free of ROS: the node and the reader of bags take the same fields alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import CameraError
from .pinhole import Camera

#: Coefficients of a lens that are looked at; the largest model has 14.
MOST_COEFFICIENTS = 100
_EMPTY_P = "P of the camera_info is empty: K is taken for the rectified images"


class RegionOfInterest(Protocol):
    """What is read of a ``sensor_msgs/RegionOfInterest``: pixels; width and height 0 are the whole image."""

    x_offset: int
    y_offset: int
    height: int
    width: int


class CameraInfo(Protocol):
    """What is read of a ``sensor_msgs/CameraInfo``: pixels; k [9], p [12] row by row, d in the order of the model."""

    height: int
    width: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    p: Sequence[float]
    binning_x: int
    binning_y: int
    roi: RegionOfInterest


def camera_from_info(info: CameraInfo, rectified: bool = False) -> Camera:
    """Camera of a CameraInfo; binning and region of interest applied. :class:`CameraError` if it is none.

    Args:
        info: anything with the fields of the message.
        rectified: the image is rectified: take P, which is then the camera matrix, and no distortion. Where P was not
            filled in, K.
    """
    if len(info.d) > MOST_COEFFICIENTS:
        raise CameraError(f"the lens of the camera_info has {len(info.d)} coefficients, no model has more than 14: "
                          "publish those of the calibration")
    K, model, distortion = np.array(info.k, dtype=np.float64).reshape(3, 3), info.distortion_model, info.d
    notes: tuple[str, ...] = ()
    if rectified:
        P = np.array(info.p, dtype=np.float64).reshape(3, 4)[:, :3].copy()
        K, notes = (P, ()) if P.any() else (K, (_EMPTY_P,))
        model, distortion = "", ()
    width = info.roi.width or info.width
    height = info.roi.height or info.height
    bin_x, bin_y = max(info.binning_x, 1), max(info.binning_y, 1)
    K[0, 2] = (K[0, 2] - info.roi.x_offset + 0.5) / bin_x - 0.5  # pixel centres at integers
    K[1, 2] = (K[1, 2] - info.roi.y_offset + 0.5) / bin_y - 0.5
    K[0, 0], K[0, 1], K[1, 1] = K[0, 0] / bin_x, K[0, 1] / bin_x, K[1, 1] / bin_y
    return Camera(width // bin_x, height // bin_y, K, model, tuple(distortion), notes)

