# SPDX-License-Identifier: Apache-2.0
"""Rotations, rigid motions and viewpoints.

Conventions (pinned by ``tests/unit/test_convention_geometry.py``, told in CONVENTIONS.md):
lengths in metres, angles in radians; camera frame optical (x right, y down, z forward, REP 103);
object frame x forward, y left, z up, origin at the centre of the category box;
``T_a_b`` maps points of frame b into frame a.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

# PASCAL3D+ CAD axes expressed in the object frame: x_c = y_obj, y_c = -x_obj, z_c = z_obj.
_CAD_FROM_OBJECT = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
# PASCAL3D+ looks along -z with y up; the optical frame looks along +z with y down.
_OPTICAL_FROM_GL = np.diag([1.0, -1.0, -1.0])
HALF_TURN = np.diag([-1.0, -1.0, 1.0])  # about z: front for back
Angle = TypeVar("Angle", float, np.ndarray)


def skew(v: np.ndarray) -> np.ndarray:
    """Cross-product matrix [3, 3] of ``v`` [3], of any unit: ``skew(v) @ w == np.cross(v, w)``."""
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def so3_exp(omega: np.ndarray) -> np.ndarray:
    """Rotation matrix [3, 3] of the rotation vector ``omega`` [3] (Rodrigues' formula)."""
    omega = np.asarray(omega, dtype=np.float64)
    angle = float(np.linalg.norm(omega))
    K = skew(omega)
    if angle < 1e-8:  # second-order Taylor: sin(a)/a and (1-cos a)/a^2 lose all digits here
        return np.eye(3) + K + 0.5 * K @ K
    return np.eye(3) + math.sin(angle) / angle * K + (1.0 - math.cos(angle)) / angle**2 * K @ K


def so3_log(R: np.ndarray) -> np.ndarray:
    """Rotation vector [3] of the rotation matrix ``R`` [3, 3]; its norm lies in [0, pi]."""
    R = np.asarray(R, dtype=np.float64)
    axis_sin = 0.5 * np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    sin, cos = float(np.linalg.norm(axis_sin)), 0.5 * (float(np.trace(R)) - 1.0)
    angle = math.atan2(sin, cos)
    if sin > 1e-7:
        return axis_sin * (angle / sin)
    if cos > 0.0:
        return axis_sin
    # Half turn: the axis is the dominant column of R + I, its sign does not matter.
    outer = 0.5 * (R + np.eye(3))
    column = int(np.argmax(np.diag(outer)))
    axis = outer[:, column] / math.sqrt(max(outer[column, column], 1e-12))
    return axis / np.linalg.norm(axis) * angle


def se3(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Homogeneous transform [4, 4] from a rotation [3, 3] and a translation [3] in metres."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def rotation_angle(R_a: np.ndarray, R_b: np.ndarray) -> float:
    """Geodesic angle in radians between two rotations [3, 3], the error of PASCAL3D+ benchmarks.

    Equals ``norm(logm(R_a.T @ R_b), 'fro') / sqrt(2)`` as NeMo (arXiv 2101.12378) and NOVUM compute it; here
    by the chord between them, ``norm(R_a - R_b, 'fro') = sqrt(8) sin(angle / 2)``.
    """
    chord = np.linalg.norm(np.asarray(R_a, np.float64) - np.asarray(R_b, np.float64))
    return 2.0 * math.asin(min(float(chord) / math.sqrt(8.0), 1.0))


def _rot_x(a: float) -> np.ndarray:
    c, s = math.cos(a), math.sin(a)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def turn(angle: float) -> np.ndarray:
    """Rotation [3, 3] by ``angle`` radians about z."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def wrapped(angle: Angle) -> Angle:
    """``angle`` in radians, a number or an array, brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def pinhole_matrix(focal: float, x: float, y: float) -> np.ndarray:
    """Camera matrix [3, 3] of square pixels: ``focal`` length and principal point (``x``, ``y``), all in pixels."""
    return np.array([[focal, 0, x], [0, focal, y], [0, 0, 1.0]])


def rotation_from_viewpoint(azimuth: float, elevation: float, theta: float) -> np.ndarray:
    """Object-to-camera rotation [3, 3] of a camera that looks straight at the object.

    PASCAL3D+ (Xiang et al., WACV 2014) angles in radians: azimuth 0 sees the front and pi/2 the object's left side,
    elevation is positive above the object, theta turns the picture about the viewing ray. The PASCAL3D+ camera model
    is ``R = Rz(theta) Rx(elevation - pi/2) Rz(-azimuth)`` in an OpenGL camera and CAD axes.
    """
    R_gl_cad = turn(theta) @ _rot_x(elevation - math.pi / 2) @ turn(-azimuth)
    return _OPTICAL_FROM_GL @ R_gl_cad @ _CAD_FROM_OBJECT


def viewpoint_from_rotation(R: np.ndarray) -> tuple[float, float, float]:
    """Azimuth in [0, 2 pi), elevation in [-pi/2, pi/2] and theta, all radians, of the rotation ``R`` [3, 3].

    Inverse of :func:`rotation_from_viewpoint`. Straight from above or below, azimuth and theta are one angle: theta.
    """
    R_gl_cad = _OPTICAL_FROM_GL.T @ np.asarray(R) @ _CAD_FROM_OBJECT.T
    # Last row of Rx(e - pi/2) Rz(-a) is (cos e sin a, -cos e cos a, sin e): the direction to the camera.
    sin_a, neg_cos_a, sin_e = R_gl_cad[2]
    elevation = math.asin(float(np.clip(sin_e, -1.0, 1.0)))
    if math.hypot(sin_a, neg_cos_a) < 1e-9:  # straight from above or below: azimuth and theta are one angle
        return 0.0, elevation, math.atan2(R_gl_cad[1, 0], R_gl_cad[0, 0])
    azimuth = math.atan2(sin_a, -neg_cos_a) % (2.0 * math.pi)
    # Column z of the matrix is (-sin th cos e, cos th cos e, sin e).
    theta = math.atan2(-R_gl_cad[0, 2], R_gl_cad[1, 2])
    return azimuth, elevation, theta


def ray_rotation(ray: np.ndarray) -> np.ndarray:
    """Smallest rotation [3, 3] that turns the optical axis (0, 0, 1) onto ``ray`` [3].

    It links allocentric and egocentric orientation, see :func:`allocentric`.
    """
    z = np.asarray(ray, dtype=np.float64)
    z = z / np.linalg.norm(z)
    axis = np.array([-z[1], z[0], 0.0])  # (0,0,1) x z
    sin = float(np.linalg.norm(axis))
    if sin < 1e-12:
        return np.eye(3)
    return so3_exp(axis / sin * math.atan2(sin, z[2]))


def allocentric(T_cam_obj: np.ndarray) -> np.ndarray:
    """Orientation [3, 3] towards the ray to the object, as a camera that looks straight at it would see it.

    The word is that of 3D-RCNN (Kundu et al., CVPR 2018).

    ``T_cam_obj[:3, :3] = ray_rotation(T_cam_obj[:3, 3]) @ allocentric(T_cam_obj)``.

    Args:
        T_cam_obj: [4, 4] object frame to camera optical frame, metres.
    """
    return ray_rotation(T_cam_obj[:3, 3]).T @ T_cam_obj[:3, :3]


def mirror_rotation(R: np.ndarray) -> np.ndarray:
    """Rotation [3, 3] seen in the horizontally mirrored picture of a left-right symmetric object.

    Args:
        R: [3, 3] object frame to camera optical frame in the picture as it is. Camera x and object y change their sign.
    """
    return np.diag([-1.0, 1.0, 1.0]) @ np.asarray(R) @ np.diag([1.0, -1.0, 1.0])
