# SPDX-License-Identifier: Apache-2.0
"""A pose from vertex-to-pixel matches: robust Gauss-Newton over six pose parameters and the box's three log-sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dinemo_ros.geometry import se3, so3_exp

_ITERATIONS = 12
_CAUCHY = 0.05        # residual scale as a share of the crop side, where a match counts half
_SIZE_SIGMA = np.array([0.12, 0.06, 0.10])
_DEPTH_SIGMA = 0.4    # of log distance: pictures of unknown focal length hardly determine it


@dataclass(frozen=True)
class MatchedPose:
    """T_cam_obj [4, 4] metres; size [3] metres; inliers: weighted share of the matches within the residual scale.

    residual: median over the matches, share of the crop side.
    """

    T_cam_obj: np.ndarray
    size: np.ndarray
    inliers: float
    residual: float


def fit_pose(points: np.ndarray, pixels: np.ndarray, weights: np.ndarray, K: np.ndarray, R: np.ndarray,
             mean_size: np.ndarray, side: float) -> MatchedPose:
    """Fit from a start orientation.

    Iteratively reweighted least squares with the Cauchy weight, its scale narrowed step by step.

    Args:
        points: [N, 3] vertices at mean size, metres; pixels: [N, 2]; weights: [N] trust.
        K: [3, 3] of an assumed camera; R: [3, 3] start; side: crop side in pixels, the unit of the residual scale.
    """
    R = R.copy()
    t = _start_translation(points, pixels, weights, K, R)
    log_size, log_depth0 = np.zeros(3), np.log(t[2])
    scale = 3.0  # graduated: wide at first, so that a start 30 degrees off still pulls in
    for _ in range(_ITERATIONS):
        residuals, J, p = _linearise(points, pixels, K, R, t, log_size)
        error = np.hypot(*residuals.T) / side
        w = weights / (1 + (error / (scale * _CAUCHY)) ** 2) / (side * _CAUCHY) ** 2
        H = np.einsum("nij,n,nik->jk", J, w, J)
        g = np.einsum("nij,n,ni->j", J, w, residuals)
        H[6:, 6:] += np.diag(1 / _SIZE_SIGMA**2)
        g[6:] += log_size / _SIZE_SIGMA**2
        H[5, 5] += 1 / (t[2] * _DEPTH_SIGMA) ** 2
        g[5] += (np.log(t[2]) - log_depth0) / (t[2] * _DEPTH_SIGMA**2)
        step = -np.linalg.solve(H + 1e-6 * np.diag(np.diag(H)), g)
        step *= min(1.0, 0.35 / max(np.linalg.norm(step[:3]), 1e-9))
        R = so3_exp(step[:3]) @ R
        t = t + step[3:6]
        t[2] = max(t[2], 0.5 * np.exp(log_depth0))
        log_size = np.clip(log_size + step[6:], -0.3, 0.3)
        scale = max(1.0, scale * 0.8)
    residuals, _, _ = _linearise(points, pixels, K, R, t, log_size)
    error = np.hypot(*residuals.T) / side
    inliers = float(weights[error < _CAUCHY].sum() / max(weights.sum(), 1e-9))
    return MatchedPose(se3(R, t), mean_size * np.exp(log_size), inliers, float(np.median(error)))


def _start_translation(points: np.ndarray, pixels: np.ndarray, weights: np.ndarray, K: np.ndarray,
                       R: np.ndarray) -> np.ndarray:
    """Weak-perspective fit: scale from the spread of points and pixels, then the centres."""
    p = points @ R.T
    focal = K[0, 0]
    w = weights / weights.sum()
    spread_3d = np.sqrt((w[:, None] * (p[:, :2] - w @ p[:, :2]) ** 2).sum())
    spread_2d = np.sqrt((w[:, None] * (pixels - w @ pixels) ** 2).sum())
    z = focal * spread_3d / max(spread_2d, 1e-6)
    centre = (w @ pixels - K[:2, 2]) / focal * z - w @ p[:, :2]
    return np.array([centre[0], centre[1], z])


def _linearise(points: np.ndarray, pixels: np.ndarray, K: np.ndarray, R: np.ndarray, t: np.ndarray,
               log_size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals [N, 2] px, their Jacobian [N, 2, 9] and the points [N, 3] in the camera.

    Columns: rotation about the object's origin (left perturbation, camera axes), translation, log-size.
    """
    scaled = points * np.exp(log_size)
    q = scaled @ R.T
    p = q + t
    z = np.maximum(p[:, 2], 1e-3)
    uv = p[:, :2] / z[:, None] * np.diag(K)[:2] + K[:2, 2]
    P = np.zeros((len(p), 2, 3))
    P[:, 0, 0], P[:, 1, 1] = K[0, 0] / z, K[1, 1] / z
    P[:, :, 2] = -(uv - K[:2, 2]) / z[:, None]
    dp = np.zeros((len(p), 3, 9))
    dp[:, :, :3] = np.cross(np.eye(3), q[:, None]).transpose(0, 2, 1)  # -[q]x, column by column e_j x q
    dp[:, :, 3:6] = np.eye(3)
    dp[:, :, 6:] = R[None] * scaled[:, None, :]
    return uv - pixels, P @ dp, p
