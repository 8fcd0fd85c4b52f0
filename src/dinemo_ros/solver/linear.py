# SPDX-License-Identifier: Apache-2.0
"""Small dense algebra for kernels. numba's own matrix product and solver would pull in SciPy at run time."""

from __future__ import annotations

import math

import numpy as np

from .jit import kernel


@kernel
def transform(R, t, p, out):
    """out [3] = R p + t."""
    for k in range(3):
        out[k] = R[k, 0] * p[0] + R[k, 1] * p[1] + R[k, 2] * p[2] + t[k]


@kernel
def rotate(omega, R):
    """exp(omega) R [3, 3] by Rodrigues' formula, omega [3] a rotation vector."""
    angle = math.sqrt(omega[0] ** 2 + omega[1] ** 2 + omega[2] ** 2)
    if angle < 1e-8:
        a, b = 1.0, 0.5
    else:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle**2
    out = np.empty((3, 3))
    for j in range(3):
        r = R[:, j]
        first = np.cross(omega, r)
        out[:, j] = r + a * first + b * np.cross(omega, first)
    return out


@kernel
def solve_positive(A, b, x):
    """x with A x = b for a symmetric positive definite A [n, n], by Cholesky; A is overwritten. False if it is not."""
    n = b.shape[0]
    for j in range(n):
        for i in range(j, n):
            s = A[i, j]
            for k in range(j):
                s -= A[i, k] * A[j, k]
            if i > j:
                A[i, j] = s / A[j, j]
            elif s > 0.0:
                A[j, j] = math.sqrt(s)
            else:
                return False
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= A[i, k] * x[k]
        x[i] = s / A[i, i]
    for i in range(n - 1, -1, -1):
        s = x[i]
        for k in range(i + 1, n):
            s -= A[k, i] * x[k]
        x[i] = s / A[i, i]
    return True
