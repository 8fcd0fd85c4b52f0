# SPDX-License-Identifier: Apache-2.0
"""The field of view that a camera wrote into its picture: better than assuming one, worse than a calibration."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

from ...camera.pinhole import Camera

# Focal lengths "in 35 mm film" compare diagonals (CIPA DCG-001), that of a 36 x 24 mm frame.
_DIAGONAL_MM = math.hypot(36.0, 24.0)
_EXIF_DIRECTORY, _FOCAL_LENGTH_IN_35MM_FILM = 0x8769, 0xA405  # tags of EXIF 2.32
_POSSIBLE_DEG = (1.0, 150.0)  # horizontally


def camera_from_exif(path: Path, width: int, height: int) -> Camera | None:
    """Camera of a picture file whose image, turned upright, has ``width`` x ``height`` pixels.

    None if it tells nothing. Right for pictures as the camera made them, resized ones too; a cropped one shows less
    than it says. The axis is assumed in the middle, distortion is not known.
    """
    focal_mm = _focal_length_in_35mm_film(path)
    if not focal_mm:  # 0 stands for unknown
        return None
    focal = focal_mm / _DIAGONAL_MM * math.hypot(width, height)
    hfov_deg = math.degrees(2 * math.atan(0.5 * width / focal))
    return Camera.from_hfov(width, height, hfov_deg) if _POSSIBLE_DEG[0] <= hfov_deg <= _POSSIBLE_DEG[1] else None


def _focal_length_in_35mm_film(path: Path) -> float | None:
    try:
        from PIL import Image

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of damages
            with Image.open(path) as picture:  # which reads the head of the file, no pixels
                return float(picture.getexif().get_ifd(_EXIF_DIRECTORY)[_FOCAL_LENGTH_IN_35MM_FILM])
    except Exception:  # no Pillow, no EXIF, no such tag, a damaged one, a kind Pillow does not know: it was only a hint
        return None
