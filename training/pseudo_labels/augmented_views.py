# SPDX-License-Identifier: Apache-2.0
"""Test-time augmentation: a right pose is found in all slightly changed views of a photograph, a flip in some only."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dinemo_ros.camera.crop import BORDER_GREY
from dinemo_ros.geometry import mirror_rotation, so3_exp

from ..data.photographs import Photo

# In-plane turn in degrees, size, brightness, blur in pixels; fixed, so that a label does not depend on chance.
_CHANGES = ((0.0, 1.0, 1.0, 0.0), (-5.0, 0.88, 1.25, 1.0), (5.0, 1.0, 0.75, 0.0), (3.0, 0.94, 1.0, 2.0),
            (-3.0, 0.97, 0.6, 0.0))
MOST = len(_CHANGES)


@dataclass(frozen=True)
class View:
    """A changed photograph. turn: [3, 3] that brings a rotation found in it back to the photograph; mirrored: bool."""

    photo: Photo
    turn: np.ndarray
    mirrored: bool

    def back(self, R: np.ndarray) -> np.ndarray:
        """Rotation [3, 3] found in this view, as the photograph itself shows it."""
        return self.turn @ (mirror_rotation(R) if self.mirrored else R)


def augmented_views(photo: Photo, count: int) -> list[View]:
    """``count`` versions, the photograph itself first, each followed by its mirror image.

    Raises:
        ValueError: ``count`` is not 1 to ``MOST``.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"{count} augmented views; allowed: 1 to {MOST}")
    found = []
    for degrees, scale, gain, blur in _CHANGES[:count]:
        changed = photo if (degrees, scale, gain, blur) == _CHANGES[0] else _change(photo, degrees, scale, gain, blur)
        turn = so3_exp([0.0, 0.0, np.deg2rad(degrees)])
        found += [View(changed, turn, False), View(changed.mirrored(), turn, True)]
    return found


def _change(photo: Photo, degrees: float, scale: float, gain: float, blur: float) -> Photo:
    S = photo.image.shape[0]
    A = cv2.getRotationMatrix2D(((S - 1) / 2, (S - 1) / 2), degrees, scale)  # counter-clockwise on the screen
    image = cv2.warpAffine(photo.image, A, (S, S), flags=cv2.INTER_AREA, borderValue=BORDER_GREY)
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    image = np.clip(image.astype(np.float32) * gain, 0, 255).astype(np.uint8)
    mask = None if photo.mask is None else cv2.warpAffine(photo.mask, A, (S, S), flags=cv2.INTER_AREA)
    return Photo(image, _box(photo, A), mask)


def _box(photo: Photo, A: np.ndarray) -> tuple[float, float, float, float]:
    """The object's box, scaled about its middle, which the turn moves; the object's outline turns hardly at all."""
    x0, y0, x1, y1 = photo.box
    scale = float(np.sqrt(np.linalg.det(A[:, :2])))
    cx, cy = A @ [0.5 * (x0 + x1) - 0.5, 0.5 * (y0 + y1) - 0.5, 1.0] + 0.5
    w, h = 0.5 * scale * (x1 - x0), 0.5 * scale * (y1 - y0)
    return cx - w, cy - h, cx + w, cy + h
