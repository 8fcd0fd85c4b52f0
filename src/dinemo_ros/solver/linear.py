# SPDX-License-Identifier: Apache-2.0
"""Small dense algebra for kernels. numba's own matrix product and solver would pull in SciPy at run time."""

from __future__ import annotations

import math

from .jit import kernel


@kernel
def transform(R, t, p, out):
    """out [3] = R p + t."""
    for k in range(3):
        out[k] = R[k, 0] * p[0] + R[k, 1] * p[1] + R[k, 2] * p[2] + t[k]


@kernel
def rotate(omega, R, out):
    """out [3, 3] = exp(omega) R by Rodrigues' formula, omega [3] a rotation vector; out must not be R."""
    x, y, z = omega[0], omega[1], omega[2]
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-8:
        a, b = 1.0, 0.5
    else:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle**2
    for j in range(3):
        r0, r1, r2 = R[0, j], R[1, j], R[2, j]
        u0, u1, u2 = y * r2 - z * r1, z * r0 - x * r2, x * r1 - y * r0  # omega x r
        out[0, j] = r0 + a * u0 + b * (y * u2 - z * u1)
        out[1, j] = r1 + a * u1 + b * (z * u0 - x * u2)
        out[2, j] = r2 + a * u2 + b * (x * u1 - y * u0)


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
