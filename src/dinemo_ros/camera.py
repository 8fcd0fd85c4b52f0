# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera with lens distortion, as ROS describes it (``sensor_msgs/CameraInfo``).

Pixel convention: integer coordinates are pixel centres, as in OpenCV and in CameraInfo, so the image covers
[-0.5, width - 0.5]. It is converted only where another convention enters (ROIs from detectors are edges).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from .errors import CameraError
from .intrinsics import check_centre_of_file, check_matrix

# How many coefficients each ROS distortion model may carry.
_DISTORTION_LENGTHS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (0, 4), "": (0,)}


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one image.

    Attributes:
        width, height: pixels.
        K: [3, 3] pixels.
        distortion_model: a name of ``sensor_msgs/distortion_models`` or "" for none.
        distortion: coefficients in OpenCV's order.
    """

    width: int
    height: int
    K: np.ndarray
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        K = np.asarray(self.K, dtype=np.float64)
        object.__setattr__(self, "K", K)
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"camera image size is {self.width}x{self.height}; both must be positive: fill width "
                              "and height of the camera_info")
        check_matrix(K, self.width, self.height)
        allowed = _DISTORTION_LENGTHS.get(self.distortion_model)
        if allowed is None:
            raise CameraError(f"unknown distortion model {self.distortion_model!r}; known: "
                              f"{', '.join(sorted(m for m in _DISTORTION_LENGTHS if m))}")
        if len(self.distortion) not in allowed or not np.isfinite(self.distortion).all():
            raise CameraError(f"distortion model {self.distortion_model!r} takes {allowed} finite coefficients, "
                              f"got {list(self.distortion)}")

    @classmethod
    def from_hfov(cls, width: int, height: int, hfov_deg: float) -> Camera:
        """Distortion-free camera with the given horizontal field of view in degrees, centre in the middle."""
        if not 1.0 <= hfov_deg <= 170.0:
            raise CameraError(f"horizontal field of view is {hfov_deg:g} degrees; allowed are 1 to 170")
        focal = 0.5 * width / math.tan(math.radians(hfov_deg) / 2)
        return cls(width, height, np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]]))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Camera:
        """Read the YAML that ``camera_calibration`` writes and ``camera_info_manager`` reads."""
        path = Path(path)
        try:
            camera = cls._from_mapping(yaml.safe_load(path.read_text(encoding="utf-8-sig")))
            check_centre_of_file(camera.K, camera.width, camera.height)
            return camera
        except CameraError as error:
            raise CameraError(f"{path}: {error}") from error
        except OSError as error:
            raise CameraError(f"{path}: cannot be read ({error.strerror}); give a camera_info YAML as "
                              "camera_calibration writes it") from error
        except yaml.YAMLError as error:
            raise CameraError(f"{path}: is no YAML ({_where(error)}); see what camera_calibration writes") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CameraError(f"{path}: not a camera_info YAML ({error!r}); expected image_width, image_height, "
                              "camera_matrix.data [9], distortion_model, distortion_coefficients.data") from error

    @classmethod
    def _from_mapping(cls, data: dict) -> Camera:
        distortion = (data.get("distortion_coefficients") or {}).get("data") or []
        model = data.get("distortion_model", "plumb_bob" if distortion else "")
        return cls(int(data["image_width"]), int(data["image_height"]),
                   np.array(data["camera_matrix"]["data"], dtype=np.float64).reshape(3, 3), model,
                   _without_zeros(distortion))

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

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Viewing rays [N, 3] with z = 1, camera optical frame, of pixels [N, 2]."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        if not self.distortion:
            normalised = (pixels[:, 0] - self.K[:2, 2]) / np.diag(self.K)[:2]
        elif self.distortion_model == "equidistant":
            normalised = cv2.fisheye.undistortPoints(pixels, self.K, np.array(self.distortion))[:, 0]
        else:
            normalised = cv2.undistortPoints(pixels, self.K, np.array(self.distortion))[:, 0]
        return np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels [N, 2] of points [N, 3] in metres, camera optical frame, z > 0."""
        points = np.asarray(points, dtype=np.float64)
        if not self.distortion:
            return points[:, :2] / points[:, 2:] * np.diag(self.K)[:2] + self.K[:2, 2]
        points, zero = points.reshape(-1, 1, 3), np.zeros(3)
        if self.distortion_model == "equidistant":
            return cv2.fisheye.projectPoints(points, zero, zero, self.K, np.array(self.distortion))[0][:, 0]
        return cv2.projectPoints(points, zero, zero, self.K, np.array(self.distortion))[0][:, 0]


def _where(error: yaml.YAMLError) -> str:
    """Line and problem; the error itself goes over several lines."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark and problem else " ".join(str(error).split())


def _without_zeros(distortion) -> tuple[float, ...]:
    """An all-zero lens model is no lens model; dropping it keeps the fast path."""
    values = tuple(float(v) for v in distortion)
    return values if any(values) else ()
