# SPDX-License-Identifier: Apache-2.0
"""Crops as virtual cameras.

A region of interest is looked at by a virtual pinhole camera with square pixels whose optical axis passes through
the middle of the region. What the network sees is then free of lens distortion, independent of where in the image
the object stands, and a pose in that camera becomes a pose in the real one by one known rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ..errors import RoiError
from ..geometry import pinhole_matrix, ray_rotation
from .pinhole import Camera, beyond_the_lens

BORDER_GREY = (114, 114, 114)  # what lies outside the image; the training crops are padded with the same
_EDGE_STEPS = 14  # halvings of a ROI's half side on the way to the edge of what the lens shows
_GRID_STEP = 16  # pixels between the crop pixels whose ray is traced exactly when the lens distorts


@dataclass(frozen=True)
class CropCamera:
    """A virtual camera, size x size pixels, principal point in the middle of the picture.

    Attributes:
        size: pixels per side.
        focal: pixels.
        R_cam_crop: [3, 3] crop camera frame to real camera optical frame (same centre).
        box: [4] the ROI as (x_min, y_min, x_max, y_max) in crop pixels, pixel centres at integers.
        open_sides: which of these four sides touch the image border, where the object may go on unseen.
    """

    size: int
    focal: float
    R_cam_crop: np.ndarray
    box: np.ndarray
    open_sides: tuple[bool, bool, bool, bool]

    @property
    def centre(self) -> float:
        """Principal point, pixels, the same in x and y."""
        return 0.5 * (self.size - 1)

    @property
    def K(self) -> np.ndarray:
        return pinhole_matrix(self.focal, self.centre, self.centre)


def check_roi(roi: ArrayLike, width: int, height: int) -> np.ndarray:
    """The ROI as float64 [4] clipped to the image.

    Raises:
        RoiError: not four finite numbers, not x_min < x_max and y_min < y_max, or less than one pixel inside.
    """
    try:
        box = np.asarray(roi, dtype=np.float64)
    except (TypeError, ValueError):
        box = np.empty(0)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise RoiError(f"ROI must be four finite numbers (x_min, y_min, x_max, y_max), got {roi!r}")
    if box[0] >= box[2] or box[1] >= box[3]:
        raise RoiError(f"ROI {box.tolist()} is empty: it needs x_min < x_max and y_min < y_max in pixels")
    clipped = np.clip(box, 0, [width, height, width, height])
    if np.min(clipped[2:] - clipped[:2]) < 1.0:
        raise RoiError(f"ROI {box.tolist()} lies outside the {width}x{height} image")
    return clipped


def crop_camera(camera: Camera, roi: np.ndarray, size: int, margin: float) -> CropCamera:
    """Virtual camera for a region of interest, which is cut where the lens ends.

    Args:
        roi: [4] x_min, y_min, x_max, y_max in pixels as edges: 0 is the left edge of the first column.
        size: side of the crop, pixels.
        margin: factor by which the crop's side is longer than the region's.

    Raises:
        RoiError: not even the region's middle has a viewing ray.
    """
    x_min, y_min, x_max, y_max = np.asarray(roi, dtype=np.float64) - 0.5  # edges to pixel-centre coordinates
    x, y = 0.5 * (x_min + x_max), 0.5 * (y_min + y_max)
    rays, seen = _rays_of(camera, np.array([[x, y], [x_min, y], [x_max, y], [x, y_min], [x, y_max]]))
    R_cam_crop = ray_rotation(rays[0])
    sides = rays[1:] @ R_cam_crop  # the middles of the four sides seen from the crop camera
    sides = sides[:, :2] / np.maximum(sides[:, 2:], 0.05)  # a side can hardly be 90 degrees off the centre
    left, right, top, bottom = sides[0, 0], sides[1, 0], sides[2, 1], sides[3, 1]
    focal = 0.5 * size / (margin * max(-left, right, -top, bottom, 1e-6))
    box = focal * np.array([left, top, right, bottom]) + 0.5 * (size - 1)
    touch = 1.5  # pixels; detectors clip boxes to the image, not always to the last digit
    at_border = (x_min <= touch, y_min <= touch, x_max >= camera.width - touch, y_max >= camera.height - touch)
    open_x_min, open_y_min, open_x_max, open_y_max = (
        bool(border or not seen[k]) for border, k in zip(at_border, (1, 3, 2, 4), strict=True))
    return CropCamera(size, float(focal), R_cam_crop, box,
                      (open_x_min, open_y_min, open_x_max, open_y_max))


def lens_shows(camera: Camera, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """bool [N]: which boxes [4] (pixel edges) have a middle that the lens shows, so that one can look there."""
    if camera.sees_all or not len(boxes):
        return np.ones(len(boxes), bool)
    corners = np.asarray(boxes, dtype=np.float64)
    return camera.seen_rays(0.5 * (corners[:, :2] + corners[:, 2:]) - 0.5)[1]


def check_seen(camera: Camera, boxes: Sequence[np.ndarray]) -> None:
    """Refuse boxes that cannot be looked at.

    Args:
        boxes: [4] each, x_min, y_min, x_max, y_max in pixels.

    Raises:
        RoiError: the lens shows nothing at the middle of one of them.
    """
    shown = lens_shows(camera, boxes)
    if not shown.all():
        box = np.asarray(boxes[int(np.argmin(shown))], dtype=np.float64)
        raise RoiError(f"ROI {box.round(1).tolist()} cannot be looked at: "
                       f"{beyond_the_lens(0.5 * (box[:2] + box[2:]) - 0.5)}")


def _rays_of(camera: Camera, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays [5, 3] of the middle and the sides of a ROI, and which pixels have one: for others the ray nearest to them
    on the way from the middle."""
    rays, seen = camera.seen_rays(pixels)
    if not seen[0]:
        raise beyond_the_lens(pixels[0])
    share = np.where(seen, 1.0, 0.0)[:, None]
    for step in 0.5 ** np.arange(1, _EDGE_STEPS if not seen.all() else 1):
        further, shown = camera.seen_rays(pixels[0] + np.minimum(share + step, 1.0) * (pixels - pixels[0]))
        shown &= ~seen
        share[shown] += step
        rays[shown] = further[shown]
    rays[(~seen) & (share[:, 0] == 0.0)] = rays[0]
    return rays, seen


def warp_crop(image: np.ndarray, camera: Camera, crop: CropCamera, out: np.ndarray) -> None:
    """Fill ``out`` uint8 [S, S, 3] with what ``crop`` sees of ``image`` uint8 [H, W, 3]."""
    shrink = shrink_of(camera, crop)
    nodes = _node_pixels(camera, crop) if shrink > 1 or camera.distortion else None
    first = np.zeros(2)
    if shrink > 1 and nodes is not None:
        image, first = _shrunk(image, shrink, nodes.min(axis=(0, 1)), nodes.max(axis=(0, 1)))
    # Pixel u of the image is pixel (u - first + 0.5) / shrink - 0.5 of the part that was shrunk.
    shift = (0.5 - first) / shrink - 0.5
    if camera.distortion and nodes is not None:
        x, y = (_between_nodes(nodes[:, :, axis] / shrink + shift[axis], crop.size) for axis in (0, 1))
        cv2.remap(image, x, y, cv2.INTER_LINEAR, out, cv2.BORDER_CONSTANT, BORDER_GREY)
        return
    to_source = np.array([[1 / shrink, 0, shift[0]], [0, 1 / shrink, shift[1]], [0, 0, 1]])
    H = to_source @ camera.K @ crop.R_cam_crop @ np.linalg.inv(crop.K)
    cv2.warpPerspective(image, H, (crop.size, crop.size), out, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                        cv2.BORDER_CONSTANT, BORDER_GREY)


def shrink_of(camera: Camera, crop: CropCamera) -> int:
    """By how much an image is averaged before it is sampled; never more than one of its sides has pixels."""
    return max(1, min(int(_footprint(camera, crop)), camera.width, camera.height))


def _footprint(camera: Camera, crop: CropCamera) -> float:
    """Image pixels per crop pixel in the middle of the crop."""
    centre = crop.centre + np.array([[0, 0], [1, 0], [0, 1.0]])
    rays = np.column_stack([(centre - crop.centre) / crop.focal, np.ones(3)]) @ crop.R_cam_crop.T
    pixels = camera.project(rays)
    return float(np.linalg.norm(pixels[1:] - pixels[0], axis=1).min())


def _node_pixels(camera: Camera, crop: CropCamera) -> np.ndarray:
    """[n, n, 2] image pixels that every 16th crop pixel sees, from the first one to just beyond the last."""
    at = (np.arange(crop.size // _GRID_STEP + 1) * _GRID_STEP - crop.centre) / crop.focal
    x, y = np.meshgrid(at, at)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) @ crop.R_cam_crop.T
    rays[:, 2] = np.maximum(rays[:, 2], 1e-3)
    return camera.project(rays).reshape(*x.shape, 2)


def _shrunk(image: np.ndarray, n: int, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies between the pixels ``low`` and ``high`` [2], averaged over n x n pixels, and its first pixel [2].

    Sampling a large ROI bilinearly would alias.
    """
    blocks = np.array([image.shape[1], image.shape[0]]) // n
    first = np.clip(np.floor(low / n) - 1, 0, blocks - 1).astype(int)  # a block more than seen, for the interpolation
    last = np.clip(np.ceil(high / n) + 1, first + 1, blocks).astype(int)
    (left, top), (right, bottom) = first * n, last * n
    part = cv2.resize(image[top:bottom, left:right], (last - first).tolist(), interpolation=cv2.INTER_AREA)
    return part, (first * n).astype(float)


def _between_nodes(values: np.ndarray, size: int) -> np.ndarray:
    """[size, size] float32: values [n, n] at every 16th pixel, bilinear between (lens distortion is smooth)."""
    W = np.maximum(0.0, 1.0 - np.abs(np.arange(size)[:, None] / _GRID_STEP - np.arange(len(values))))
    return (W @ values @ W.T).astype(np.float32)
