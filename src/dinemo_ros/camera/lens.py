# SPDX-License-Identifier: Apache-2.0
"""Lens distortion and its inverse, in normalised coordinates: x / z and y / z of the optical frame.

Every polynomial turns back somewhere: beyond, two directions are seen at one place and none at others. Up to there it
can be inverted, which is done until the point comes out where it was; what lies farther out has no direction.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from .distortion import EQUIDISTANT

_WIDEST = math.radians(89.0)  # off the axis; a ray is given with z = 1
_NODES = 2048  # of the table of the radial part, which only has to start the iteration
_STEPS = 20
_EXACT, _FOUND = 1e-12, 1e-8  # normalised; a pixel is 1e-2 to 1e-4
_ORIGIN, _IDENTITY = np.zeros(3), np.eye(3)


@functools.lru_cache(maxsize=64)
def lens_of(model: str, coefficients: tuple[float, ...]) -> Lens:
    """The lens of a model as :func:`dinemo_ros.camera.distortion.read_distortion` names it.

    coefficients: at least one, as for :func:`dinemo_ros.camera.distortion.read_distortion`. The last lenses are kept.
    """
    return Lens(model, coefficients)


class Lens:
    """One lens.

    Attributes:
        is_fisheye: radii grow with the angle, not with its tangent.
        limit: radius of undistorted coordinates up to which the radial part grows; 0 where it never does.
    """

    def __init__(self, model: str, coefficients: tuple[float, ...]) -> None:
        self.is_fisheye = model == EQUIDISTANT
        self._coefficients = np.array(coefficients, dtype=np.float64)
        self._angles = _WIDEST * np.linspace(0.0, 1.0, _NODES) ** 2  # closer together in the middle: telephoto lenses
        with np.errstate(all="ignore"):  # powers of a nonsensical coefficient overflow: not finite, no growth
            self._seen = self._radial(self._angles)
            grows = np.append(np.diff(self._seen) > 0, False) & np.isfinite(self._seen)
        last = int(np.argmin(grows))
        self._angles, self._seen = self._angles[:last + 1], self._seen[:last + 1]
        self._tangents = np.tan(self._angles)
        self.limit = float(self._tangents[-1])

    def distort(self, points: np.ndarray) -> np.ndarray:
        """Where the lens shows ``points`` [N, 2]; beyond the limit it goes on outwards, as without a lens.

        There the polynomial would lead back into the image. Both are normalised coordinates: x / z and y / z, so that a
        length of 1 is one focal length.

        Brown (1971) with OpenCV's rational, thin prism and tilted terms; for a fisheye Kannala and Brandt (2006).
        """
        radius = np.sqrt(np.einsum("ij,ij->i", points, points))
        far = radius > self.limit
        if not far.any():
            return self._forward(points)
        inside = points.copy()
        inside[far] *= (self.limit / radius[far])[:, None]
        return self._forward(inside) + (points - inside)

    def undistort(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The points [N, 2] that the lens shows at ``seen`` [N, 2], and of which of them it shows any: bool [N].

        Both are normalised coordinates, as for :meth:`distort`; rows that the lens does not show hold no meaning.
        """
        if not len(seen):
            return seen.copy(), np.zeros(0, bool)
        radius = np.sqrt(np.einsum("ij,ij->i", seen, seen))
        if self.is_fisheye:
            return self._undistort_fisheye(seen, radius)
        start = np.interp(radius, self._seen, self._tangents)
        with np.errstate(all="ignore"):  # see above
            return self._newton(seen, seen * (start / np.maximum(radius, 1e-300))[:, None])

    def _radial(self, angles: np.ndarray) -> np.ndarray:
        """Distorted radius at ``angles`` from the axis."""
        if self.is_fisheye:
            squares = angles ** 2
            k1, k2, k3, k4 = self._coefficients
            return angles * (1 + squares * (k1 + squares * (k2 + squares * (k3 + squares * k4))))
        tangents = np.tan(angles)
        squares = tangents ** 2
        k = np.zeros(8)
        k[:min(len(self._coefficients), 8)] = self._coefficients[:8]
        below = 1 + squares * (k[5] + squares * (k[6] + squares * k[7]))
        return tangents * (1 + squares * (k[0] + squares * (k[1] + squares * k[4]))) / below  # falls behind a pole

    def _forward(self, points: np.ndarray) -> np.ndarray:
        if not len(points):
            return points.copy()
        if self.is_fisheye:
            radius = np.sqrt(np.einsum("ij,ij->i", points, points))
            factor = self._radial(np.arctan(radius)) / np.maximum(radius, 1e-300)
            return points * np.where(radius > 0, factor, 1.0)[:, None]
        return self._polynomial(points)[0]

    def _polynomial(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distorted points [N, 2] and their derivatives [N, 2, 2] by the points."""
        rays = np.ones((len(points), 1, 3))
        rays[:, 0, :2] = points
        seen, by_all = cv2.projectPoints(rays, _ORIGIN, _ORIGIN, _IDENTITY, self._coefficients)
        return seen.reshape(-1, 2), by_all[:, 3:5].reshape(-1, 2, 2)  # columns 3 and 4: a shift along x and y, at z = 1

    def _newton(self, seen: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(_STEPS):
            shown, J = self._polynomial(points)
            off = seen - shown
            determinant = J[:, 0, 0] * J[:, 1, 1] - J[:, 0, 1] * J[:, 1, 0]
            if np.abs(off).max() < _EXACT:
                break
            scale = 1.0 / np.where(np.abs(determinant) > 1e-12, determinant, np.inf)
            step = np.stack([J[:, 1, 1] * off[:, 0] - J[:, 0, 1] * off[:, 1],
                             J[:, 0, 0] * off[:, 1] - J[:, 1, 0] * off[:, 0]], axis=1)
            points = points + step * scale[:, None]
            radius = np.sqrt(np.einsum("ij,ij->i", points, points))
            points *= np.minimum(1.0, self.limit / np.maximum(radius, 1e-300))[:, None]
        return points, (np.abs(off).max(axis=1) < _FOUND) & (determinant > 0)

    def _undistort_fisheye(self, seen: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k1, k2, k3, k4 = self._coefficients
        angle = np.interp(radius, self._seen, self._angles)
        for _ in range(_STEPS):
            off = radius - self._radial(angle)
            if np.abs(off).max() < _EXACT:
                break
            squares = angle ** 2
            slope = 1 + squares * (3 * k1 + squares * (5 * k2 + squares * (7 * k3 + squares * 9 * k4)))
            angle = np.clip(angle + off / np.where(slope > 1e-9, slope, np.inf), 0.0, self._angles[-1])
        factor = np.where(radius > 0, np.tan(angle) / np.maximum(radius, 1e-300), 1.0)
        return seen * factor[:, None], np.abs(off) < _FOUND
