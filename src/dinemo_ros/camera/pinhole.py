# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera with lens distortion, as ROS describes it (``sensor_msgs/CameraInfo``).

Pixel convention: integer coordinates are pixel centres, as in OpenCV and in CameraInfo, so the image covers
[-0.5, width - 0.5]. It is converted only where another convention enters (ROIs from detectors are edges).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import CameraError, RoiError
from ..geometry import pinhole_matrix
from ..io.quoting import shown_path
from .camera_file import read_camera_file
from .distortion import read_distortion
from .intrinsics import check_centre_of_file, check_lens, check_matrix
from .lens import Lens, lens_of

_OTHER_SHAPE = 0.02  # of the ratio of the sides; a size rounded to even pixels differs by less


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one image.

    Attributes:
        width, height: pixels.
        K: [3, 3] pixels.
        distortion_model: plumb_bob, rational_polynomial or equidistant, "" for none; given under any name that
            :func:`dinemo_ros.camera.distortion.read_distortion` knows.
        distortion: coefficients in OpenCV's order.
        notes: sentences for the user: what was understood other than written, what part of the image has no ray.
        sees_all: every pixel of the image has a viewing ray.
    """

    width: int
    height: int
    K: np.ndarray
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    sees_all: bool = field(default=True, init=False, compare=False)

    def __post_init__(self) -> None:
        K = np.asarray(self.K, dtype=np.float64)
        object.__setattr__(self, "K", K)
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"camera image size is {self.width}x{self.height}; both must be positive: fill width "
                              "and height of the camera_info")
        check_matrix(K, self.width, self.height)
        model, distortion, notes = read_distortion(self.distortion_model, self.distortion)
        object.__setattr__(self, "distortion_model", model)
        object.__setattr__(self, "distortion", distortion)
        if distortion:
            sees_all, more = check_lens(model, distortion, *self._focal.tolist(), *self._centre.tolist(), self.width,
                                        self.height)
            object.__setattr__(self, "sees_all", sees_all)
            notes += more
        object.__setattr__(self, "notes", tuple(dict.fromkeys((*self.notes, *notes))))

    @classmethod
    def from_hfov(cls, width: int, height: int, hfov_deg: float) -> Camera:
        """Distortion-free camera with the given horizontal field of view in degrees, centre in the middle.

        Raises:
            CameraError: the field of view is not from 1 to 170 degrees.
        """
        if not 1.0 <= hfov_deg <= 170.0:
            raise CameraError(f"horizontal field of view is {hfov_deg:g} degrees; allowed are 1 to 170")
        focal = 0.5 * width / math.tan(math.radians(hfov_deg) / 2)
        return cls(width, height, pinhole_matrix(focal, (width - 1) / 2, (height - 1) / 2))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Camera:
        """Read a calibration of ROS (``camera_calibration``), OpenCV or Kalibr, see
        :mod:`dinemo_ros.camera.camera_file`.

        Raises:
            CameraError: names the file and what is wrong with it.
        """
        read = read_camera_file(path)
        try:
            camera = cls(read.width, read.height, read.K, read.distortion_model, read.distortion, read.notes)
            check_centre_of_file(camera.K, camera.width, camera.height)
        except CameraError as error:
            raise CameraError(f"{shown_path(path)}: {error}") from error
        return camera

    @property
    def hfov_deg(self) -> float:
        """Horizontal field of view in degrees, lens distortion left out."""
        return math.degrees(2 * math.atan(0.5 * self.width / self.K[0, 0]))

    def require_size(self, width: int, height: int) -> None:
        """Raise :class:`CameraError` unless this calibration belongs to an image of that size."""
        if (self.width, self.height) != (width, height):
            raise CameraError(f"camera_info is for {self.width}x{self.height}, the image is {width}x{height}: publish "
                              "the camera_info of this stream, or scale it with the image")

    def scaled(self, width: int, height: int) -> Camera:
        """The same camera after its image was resized to width x height."""
        sx, sy = width / self.width, height / self.height
        # Pixel centres at integers: the corner -0.5 is the fixed point of a resize.
        S = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])
        return replace(self, width=width, height=height, K=S @ self.K)

    def resized(self, width: int, height: int) -> Camera:
        """As :meth:`scaled`; :class:`CameraError` where the image has another shape: it was cut, where is not known."""
        if abs(math.log(width * self.height / (height * self.width))) > _OTHER_SHAPE:
            raise CameraError(f"the calibration is of {self.width}x{self.height} and the image is {width}x{height}, of "
                              "another shape, so it was cut from the sensor elsewhere: give the calibration of this "
                              "image size")
        return self.scaled(width, height)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Viewing rays [N, 3] with z = 1, camera optical frame, of pixels [N, 2].

        Raises:
            RoiError: a pixel lies beyond the lens, see :meth:`seen_rays`.
        """
        rays, seen = self.seen_rays(pixels)
        if not seen.all():
            raise beyond_the_lens(np.asarray(pixels, dtype=np.float64).reshape(-1, 2)[~seen][0])
        return rays

    def seen_rays(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Viewing rays [N, 3] as of :meth:`rays`, and which of the pixels have one: bool [N].

        Those have none that lie where the lens model turns back, or more than 89 degrees off the axis.
        """
        normalised = (np.asarray(pixels, dtype=np.float64).reshape(-1, 2) - self._centre) / self._focal
        seen = np.ones(len(normalised), bool)
        if self.distortion:
            normalised, seen = self._lens.undistort(normalised)
        return np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1), seen

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels [N, 2] of points [N, 3] in metres, camera optical frame, z > 0.

        What the lens model does not reach comes out farther out than what it does.
        """
        points = np.asarray(points, dtype=np.float64)
        normalised = points[:, :2] / points[:, 2:]
        if self.distortion:
            normalised = self._lens.distort(normalised)
        return normalised * self._focal + self._centre

    @property
    def _focal(self) -> np.ndarray:
        return self.K.diagonal()[:2]

    @property
    def _centre(self) -> np.ndarray:
        return self.K[:2, 2]

    @property
    def _lens(self) -> Lens:
        return lens_of(self.distortion_model, self.distortion)


def beyond_the_lens(pixel: np.ndarray) -> RoiError:
    """The error of a pixel [2] (x, y) that has no viewing ray."""
    return RoiError(f"pixel ({pixel[0]:.1f}, {pixel[1]:.1f}) lies beyond what the lens shows: the calibration's "
                    "distortion model has no viewing ray there; look nearer to the middle of the image, or calibrate "
                    "with views that reach its corners")
