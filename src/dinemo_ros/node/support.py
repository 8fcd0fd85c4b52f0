# SPDX-License-Identifier: Apache-2.0
"""The plane that the objects stand on, from whichever parameter tells it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from ..camera.pinhole import Camera
from ..pose import Roi
from ..scene.depth_image import DepthImage
from ..scene.plane_from_depth import find_support
from ..scene.support_plane import SupportPlane

_MOST_BOXES = 3  # that a plane is looked for round, the detector's most certain ones


def told_plane(settings: SimpleNamespace, T_cam_support: np.ndarray | None) -> SupportPlane | None:
    """The plane of ``support_frame``, whose T_cam_support [4, 4] is given, else of ``camera_height_m``; None without.

    Raises:
        SceneError: the frame's z points into the support, or the camera is below it.
    """
    sigmas = {"normal_sigma": math.radians(settings.support_tilt_sigma_deg),
              "offset_sigma": settings.support_offset_sigma_m}
    if T_cam_support is not None:
        return SupportPlane.from_frame(T_cam_support, **sigmas)
    if settings.camera_height_m > 0.0:
        return SupportPlane.from_camera_height(settings.camera_height_m, math.radians(settings.camera_pitch_deg),
                                               **sigmas)
    return None


def plane_in_depth(depth: DepthImage, rois: Sequence[Roi] | None, camera: Camera) -> SupportPlane | None:
    """The plane round the first of ``rois`` that has one, without boxes of the whole picture; None where none is found.

    camera: of the colour image, whose pixels the boxes are in.
    """
    whole = (0.0, 0.0, float(camera.width), float(camera.height))
    boxes = [whole] if rois is None else list(rois)[:_MOST_BOXES]
    return next((plane for box in boxes if (plane := find_support(depth, np.array(box), camera)) is not None), None)
