# SPDX-License-Identifier: Apache-2.0
"""``sensor_msgs/CameraInfo`` to a camera, free of ROS: the node and the reader of bags take the same fields alike."""

from __future__ import annotations

import numpy as np

from .camera import Camera


def camera_from_info(info, rectified: bool = False) -> Camera:
    """Camera of a CameraInfo; binning and region of interest applied. :class:`CameraError` if it is none.

    Args:
        info: anything with the fields of the message.
        rectified: the image is rectified: take P, which is then the camera matrix, and no distortion.
    """
    if rectified:
        K, model, distortion = np.array(info.p, dtype=np.float64).reshape(3, 4)[:, :3].copy(), "", ()
    else:
        K, model, distortion = np.array(info.k, dtype=np.float64).reshape(3, 3).copy(), info.distortion_model, info.d
    distortion = tuple(float(v) for v in distortion)
    if not any(distortion):  # an all-zero lens model is none; NaN counts as true and is refused by Camera
        model, distortion = "", ()
    width = info.roi.width or info.width
    height = info.roi.height or info.height
    bin_x, bin_y = max(info.binning_x, 1), max(info.binning_y, 1)
    K[0, 2] = (K[0, 2] - info.roi.x_offset + 0.5) / bin_x - 0.5  # pixel centres at integers
    K[1, 2] = (K[1, 2] - info.roi.y_offset + 0.5) / bin_y - 0.5
    K[0, 0], K[0, 1], K[1, 1] = K[0, 0] / bin_x, K[0, 1] / bin_x, K[1, 1] / bin_y
    return Camera(width // bin_x, height // bin_y, K, model, distortion)
