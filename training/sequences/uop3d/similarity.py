# SPDX-License-Identifier: Apache-2.0
"""Similarity transforms and their weighted least-squares estimate (Umeyama, PAMI 1991), many at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """``p_target = scale * R @ p_source + t``; R [3, 3] proper rotation, t [3] in the target's unit."""

    scale: float
    R: np.ndarray
    t: np.ndarray

    @staticmethod
    def identity() -> Similarity:
        """The transform that changes nothing."""
        return Similarity(1.0, np.eye(3), np.zeros(3))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] of the source in the target's frame."""
        return self.scale * points @ self.R.T + self.t

    def inverse(self) -> Similarity:
        """Target to source."""
        return Similarity(1.0 / self.scale, self.R.T, -self.R.T @ self.t / self.scale)

    def __matmul__(self, first: Similarity) -> Similarity:
        """``(self @ first)(p) == self(first(p))``."""
        return Similarity(self.scale * first.scale, self.R @ first.R, self(first.t))


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Proper rotation [3, 3] nearest to a matrix [3, 3] in the Frobenius norm."""
    U, _, Vt = np.linalg.svd(matrix)
    return U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt


def umeyama(source: np.ndarray, target: np.ndarray, weights: np.ndarray,
            upright: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities that minimise ``sum_i w_i |target_i - (s R source_i + t)|^2`` for B sets of points at once.

    Args:
        source, target: [B, N, 3]; weights: [B, N], not negative, not all zero.
        upright: R turns about z only (both frames stand upright: the gravity-aligned case).

    Returns:
        scale [B], R [B, 3, 3], t [B, 3]. Where all source points fall together, the scale is 0.
    """
    w = weights / weights.sum(1, keepdims=True)
    mean_s, mean_t = np.einsum("bn,bnc->bc", w, source), np.einsum("bn,bnc->bc", w, target)
    s, t = source - mean_s[:, None], target - mean_t[:, None]
    covariance = np.einsum("bn,bnc,bnd->bcd", w, t, s)  # Umeyama's Sigma_xy, target x source
    variance = np.einsum("bn,bnc,bnc->b", w, s, s)
    R = _turn_about_up(covariance) if upright else _nearest_rotation(covariance)
    # trace(R^T Sigma) equals Umeyama's trace(D S) and also holds for the restricted rotation.
    scale = np.maximum(np.einsum("bcd,bcd->b", R, covariance), 0) / np.maximum(variance, 1e-12)
    return scale, R, mean_t - scale[:, None] * np.einsum("bcd,bd->bc", R, mean_s)


def _nearest_rotation(M: np.ndarray) -> np.ndarray:
    """Rotations [B, 3, 3] that maximise trace(R^T M), det = +1 enforced (Umeyama, eq. 39, 40)."""
    U, _, Vt = np.linalg.svd(M)
    sign = np.linalg.det(U) * np.linalg.det(Vt)
    U[:, :, 2] *= sign[:, None]
    return U @ Vt


def _turn_about_up(M: np.ndarray) -> np.ndarray:
    """Rotations [B, 3, 3] about z that maximise trace(R^T M)."""
    angle = np.arctan2(M[:, 1, 0] - M[:, 0, 1], M[:, 0, 0] + M[:, 1, 1])
    R = np.zeros_like(M)
    R[:, 0, 0] = R[:, 1, 1] = np.cos(angle)
    R[:, 1, 0], R[:, 2, 2] = np.sin(angle), 1.0
    R[:, 0, 1] = -R[:, 1, 0]
    return R
