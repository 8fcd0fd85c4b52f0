# SPDX-License-Identifier: Apache-2.0
"""A depth image and where it was taken from: metres along the optical axis, zero where nothing was measured.

As REP 118 has it: 16-bit integers are millimetres, 32-bit floats metres, holes are 0, NaN or infinite. Sensors and
converters get the unit wrong by a factor of 1000; that is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..camera.crop import CropCamera
from ..camera.pinhole import Camera
from ..errors import SceneError

FARTHEST = 100.0  # metres; no depth camera of a robot sees that far: such numbers are millimetres
NEAREST = 0.02  # metres; below it a 16-bit image in "millimetres" holds metres
_SAMPLES = 3  # pixels looked up along each side of a cell
_HIDDEN = 1.05  # times as far as the nearest point in the same part of a cell
_FEWEST_PIXELS = 16  # measured ones from which the unit can be told


@dataclass(frozen=True)
class DepthImage:
    """Depth of what a camera sees.

    Attributes:
        metres: float32 [H, W] along the optical axis of ``camera``, 0 where nothing was measured.
        camera: of the depth image.
        T_cam_depth: [4, 4] metres, frame of the depth camera to that of the camera whose picture is looked at; None for
            an image that is aligned to it: one pixel of it belongs to one ray of the other.
        note: what was strange about it and has been mended, or an empty string.
    """

    metres: np.ndarray
    camera: Camera
    T_cam_depth: np.ndarray | None = None
    note: str = ""

    @classmethod
    def from_array(cls, depth: np.ndarray, camera: Camera, T_cam_depth: np.ndarray | None = None) -> DepthImage:
        """From uint16 millimetres or float metres [H, W]; floats that can only be millimetres are divided by 1000.

        Args:
            depth: holes are 0, NaN or infinite. camera: of this image, of its size.
            T_cam_depth: see the class.

        Raises:
            SceneError: no such array or transform; not of the camera's size; 16-bit numbers that cannot be
                millimetres.
        """
        depth = np.asarray(depth)
        if depth.ndim != 2 or depth.dtype not in (np.uint16, np.float32, np.float64):
            raise SceneError(f"the depth image is {depth.dtype} {list(depth.shape)}; it must be uint16 (millimetres) "
                             "or float32 (metres) [height, width]")
        if depth.shape != (camera.height, camera.width):
            raise SceneError(f"the depth image is {depth.shape[1]}x{depth.shape[0]} pixels and its camera "
                             f"{camera.width}x{camera.height}; give the calibration of the depth image")
        if T_cam_depth is not None and not (np.shape(T_cam_depth) == (4, 4) and np.isfinite(T_cam_depth).all()):
            raise SceneError("the depth camera's place is no transform; T_cam_depth must be finite numbers [4, 4], "
                             "metres, from the frame of the depth camera to that of the camera")
        metres, note = depth.astype(np.float32), ""
        metres[~np.isfinite(metres) | (metres < 0.0)] = 0.0
        known = metres[metres > 0.0]
        middle = float(np.median(known)) if len(known) >= _FEWEST_PIXELS else None
        if depth.dtype == np.uint16:
            if middle is not None and middle < 1000.0 * NEAREST:
                raise SceneError(f"the 16-bit depth image has a median of {middle:g}, which is no distance in "
                                 "millimetres: by a factor of 1000 wrong? 16 bits must hold millimetres, 32-bit floats "
                                 "metres")
            metres *= np.float32(1e-3)
        elif middle is not None and middle > FARTHEST:
            metres *= np.float32(1e-3)
            note = (f"the depth image in 32-bit floats has a median of {middle:g}, which is no distance in metres: it "
                    "is taken for millimetres, a factor of 1000")
        return cls(metres, camera, T_cam_depth, note)

    def in_crop(self, crop: CropCamera, stride: int) -> np.ndarray:
        """[h, w] metres along the crop camera's axis in each of its feature cells, 0 where nothing was measured.

        Args:
            crop: virtual camera at the place of the one whose picture is looked at.
            stride: crop pixels along a cell.

        A cell has the median of what was measured in it: what stands before or behind has no say unless it fills half.
        """
        cells = crop.size // stride
        if self.T_cam_depth is not None:
            return self._registered(crop, stride, self.T_cam_depth)
        at = (np.arange(cells * _SAMPLES) + 0.5) * stride / _SAMPLES - 0.5
        x, y = np.meshgrid(at, at)
        rays = np.stack([(x - crop.centre) / crop.focal, (y - crop.centre) / crop.focal, np.ones_like(x)], axis=-1)
        rays = rays.reshape(-1, 3) @ crop.R_cam_crop.T
        ahead = rays[:, 2] > 1e-3
        pixels = np.full((len(rays), 2), -1.0)
        pixels[ahead] = self.camera.project(rays[ahead])
        j, i = np.round(pixels).astype(int).T
        height, width = self.metres.shape
        inside = ahead & (i >= 0) & (j >= 0) & (i < height) & (j < width)
        z = np.zeros(len(rays), np.float32)
        z[inside] = self.metres[i[inside], j[inside]]
        # Depth along the camera's axis to depth along the crop's: a point is its ray times one number.
        z[inside] /= rays[inside, 2].astype(np.float32)
        blocks = z.reshape(cells, _SAMPLES, cells, _SAMPLES).transpose(0, 2, 1, 3)
        return _cell_medians(blocks.reshape(cells, cells, -1))

    def _registered(self, crop: CropCamera, stride: int, T_cam_depth: np.ndarray) -> np.ndarray:
        """:meth:`in_crop` of an image that another camera took: its points are projected into the crop.

        That camera sees past what stands before this one: points much farther than the nearest one in the same part of
        a cell are hidden here. A cell has the median of the rest, however few: its pixels may be far apart.
        """
        cells = crop.size // stride
        fine = cells * _SAMPLES
        points = self.points @ T_cam_depth[:3, :3].T + T_cam_depth[:3, 3]
        points = points @ crop.R_cam_crop
        points = points[points[:, 2] > NEAREST]
        x = (crop.focal * points[:, 0] / points[:, 2] + crop.centre + 0.5) * _SAMPLES / stride
        y = (crop.focal * points[:, 1] / points[:, 2] + crop.centre + 0.5) * _SAMPLES / stride
        inside = (x >= 0) & (y >= 0) & (x < fine) & (y < fine)
        i, j, z = y[inside].astype(int), x[inside].astype(int), points[inside, 2]
        nearest = np.full((fine, fine), np.inf)
        np.minimum.at(nearest, (i, j), z)
        shown = z < _HIDDEN * nearest[i, j]
        cell, z = (i[shown] // _SAMPLES) * cells + j[shown] // _SAMPLES, z[shown]
        order = np.lexsort((z, cell))
        cell, z = cell[order], z[order]
        first = np.searchsorted(cell, np.arange(cells * cells + 1))
        count = np.diff(first)
        result = np.zeros(cells * cells)
        measured = count > 0
        result[measured] = z[first[:-1][measured] + count[measured] // 2]
        return result.reshape(cells, cells)

    @cached_property  # every crop of a picture asks
    def points(self) -> np.ndarray:
        """[N, 3] metres, depth camera's frame: everything that was measured."""
        return self.points_of(*np.nonzero(self.metres > 0.0))

    def points_of(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """[M, 3] metres, depth camera's frame: those of the pixels at ``rows``, ``columns`` [N] that were measured."""
        z = self.metres[rows, columns]
        known = z > 0.0
        rays, seen = self.camera.seen_rays(np.stack([columns[known], rows[known]], axis=1).astype(np.float64))
        rays = rays[seen]
        return rays / rays[:, 2:] * z[known][seen, None]


def _cell_medians(z: np.ndarray) -> np.ndarray:
    """[h, w] medians of those of the numbers [h, w, n] that are above zero, 0 where fewer than half are."""
    ordered = np.sort(np.where(z > 0.0, z, np.inf), axis=-1)
    count = np.isfinite(ordered).sum(-1)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[..., None] // 2, -1)[..., 0]
    return np.where(2 * count >= z.shape[-1], middle, 0.0)
