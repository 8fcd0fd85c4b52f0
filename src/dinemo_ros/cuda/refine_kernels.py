# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels of a refinement step; part of ``kernels``. Their twins are in ``refine_twins.py``.

Written operation by operation such a step is some hundred launches on a handful of hypotheses, each shorter than the
pause before the next.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..solver.refine import _MAX_LOG_SIZE, _MAX_ROTATION, _MAX_TRANSLATION
from ..solver.workspace import CAUCHY_TAIL

_POINTS = 64     # of an object added up at a time
_VERTICES = 256  # looked through for the outermost at a time
_ONE_WARP = 1    # of 32 threads: for tiles of 16 x 16, whose sums are then exchanged without shared memory


def normal_equations(scaled: Tensor, R: Tensor, t: Tensor, focal: Tensor, pull: Tensor,
                     matrix: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`refine_twins.normal_equations`."""
    H, P, _ = scaled.shape
    gradient, normal = scaled.new_empty(H, 9), scaled.new_empty(H, 9, 9)
    _normal_equations[(H,)](scaled.contiguous(), R.contiguous(), t.contiguous(), focal.contiguous(), pull.contiguous(),
                            matrix.contiguous(), gradient, normal, P, BLOCK=_POINTS)
    return gradient, normal


@triton.jit(do_not_specialize=["P"])
def _normal_equations(scaled, R, t, focal, pull, matrix, gradient, normal, P, BLOCK: tl.constexpr):
    """One program per hypothesis; tiles are parameters (9 of 16) x points."""
    h = tl.program_id(0)
    k = tl.arange(0, 16)
    grown = (k >= 6) & (k < 9)
    axis = R + 9 * h + k - 6
    Rx, Ry, Rz = (tl.load(axis, grown, 0.0)[:, None], tl.load(axis + 3, grown, 0.0)[:, None],
                  tl.load(axis + 6, grown, 0.0)[:, None])
    r = R + 9 * h
    r0, r1, r2 = tl.load(r), tl.load(r + 1), tl.load(r + 2)
    r3, r4, r5 = tl.load(r + 3), tl.load(r + 4), tl.load(r + 5)
    r6, r7, r8 = tl.load(r + 6), tl.load(r + 7), tl.load(r + 8)
    tx, ty, tz = tl.load(t + 3 * h), tl.load(t + 3 * h + 1), tl.load(t + 3 * h + 2)
    f = tl.load(focal + h)
    total = tl.zeros((16, 16), tl.float32)
    along = tl.zeros((16,), tl.float32)
    for start in range(0, P, BLOCK):
        n = start + tl.arange(0, BLOCK)
        listed = n < P
        at = h * P + n
        p = scaled + 3 * at
        sx, sy, sz = tl.load(p, listed, 0.0), tl.load(p + 1, listed, 0.0), tl.load(p + 2, listed, 0.0)
        x, y, z = r0 * sx + r1 * sy + r2 * sz, r3 * sx + r4 * sy + r5 * sz, r6 * sx + r7 * sy + r8 * sz  # X - t
        away = tl.maximum(z + tz, 0.1)
        size = tl.load(p[None, :] + (k - 6)[:, None], grown[:, None] & listed[None, :], 0.0)
        K, x, y, z = k[:, None], x[None, :], y[None, :], z[None, :]
        dx = tl.where(K == 0, 1.0, tl.where(K == 4, z, tl.where(K == 5, -y, Rx * size)))
        dy = tl.where(K == 1, 1.0, tl.where(K == 3, -z, tl.where(K == 5, x, Ry * size)))
        dz = tl.where(K == 2, 1.0, tl.where(K == 3, y, tl.where(K == 4, -x, Rz * size)))
        scale, away = (f / away)[None, :], away[None, :]
        u, v = scale * (dx - (x + tx) / away * dz), scale * (dy - (y + ty) / away * dz)
        a, b, c = (tl.load(matrix + 4 * at, listed, 0.0)[None, :], tl.load(matrix + 4 * at + 1, listed, 0.0)[None, :],
                   tl.load(matrix + 4 * at + 3, listed, 0.0)[None, :])
        pu, pv = tl.load(pull + 2 * at, listed, 0.0)[None, :], tl.load(pull + 2 * at + 1, listed, 0.0)[None, :]
        along += tl.sum(u * pu + v * pv, axis=1)
        # "ieee": products of float32; as it is, tl.dot would round to ten bits.
        total += tl.dot(a * u + b * v, tl.trans(u), input_precision="ieee")
        total += tl.dot(b * u + c * v, tl.trans(v), input_precision="ieee")
    tl.store(gradient + 9 * h + k, along, k < 9)
    tl.store(normal + 81 * h + 9 * k[:, None] + k[None, :], total, (k < 9)[:, None] & (k < 9)[None, :])


def box_sides(vertices: Tensor, R: Tensor, t: Tensor, log_size: Tensor, crop: Tensor, box: Tensor, trust: Tensor,
              camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`refine_twins.box_sides`."""
    H = len(R)
    value, gradient, normal = t.new_empty(H), t.new_empty(H, 9), t.new_empty(H, 9, 9)
    _box_sides[(H,)](vertices, R.contiguous(), t.contiguous(), log_size.contiguous(), crop.contiguous(),
                     box.contiguous(), trust.contiguous(), camera.contiguous(), value, gradient, normal, len(vertices),
                     TAIL=CAUCHY_TAIL, BLOCK=_VERTICES)
    return value, gradient, normal


@triton.jit(do_not_specialize=["V"])
def _box_sides(vertices, R, t, log_size, crop, box, trust, camera, value, gradient, normal, V, TAIL: tl.constexpr,
               BLOCK: tl.constexpr):
    """One program per hypothesis: the outermost vertices, then the four sides one by one."""
    h = tl.program_id(0)
    b = tl.load(crop + h)
    lane = tl.arange(0, BLOCK)
    nearest = tl.full((BLOCK,), float("inf"), tl.float32)
    low_x, low_y = nearest, nearest
    high_x, high_y = -nearest, -nearest
    at_low_x = tl.zeros((BLOCK,), tl.int32)
    at_low_y, at_high_x, at_high_y = at_low_x, at_low_x, at_low_x
    for start in range(0, V, BLOCK):
        n = start + lane
        listed = n < V
        x, y, z = _placed(vertices, R, t, log_size, h, n, listed)
        nearest = tl.minimum(nearest, tl.where(listed, z, float("inf")))
        away = tl.maximum(z, 0.1)
        x, y = x / away, y / away
        lower, higher = listed & (x < low_x), listed & (x > high_x)
        low_x, at_low_x = tl.where(lower, x, low_x), tl.where(lower, n, at_low_x)
        high_x, at_high_x = tl.where(higher, x, high_x), tl.where(higher, n, at_high_x)
        lower, higher = listed & (y < low_y), listed & (y > high_y)
        low_y, at_low_y = tl.where(lower, y, low_y), tl.where(lower, n, at_low_y)
        high_y, at_high_y = tl.where(higher, y, high_y), tl.where(higher, n, at_high_y)
    seen = tl.where(tl.min(nearest) >= 0.1, 1.0, 0.0)
    total, along, matrix = 0.0, tl.zeros((16,), tl.float32), tl.zeros((16, 16), tl.float32)
    for side in tl.static_range(4):
        if side == 0:
            n = tl.sum(tl.where(lane == tl.argmin(low_x, axis=0), at_low_x, 0))
        elif side == 1:
            n = tl.sum(tl.where(lane == tl.argmin(low_y, axis=0), at_low_y, 0))
        elif side == 2:
            n = tl.sum(tl.where(lane == tl.argmax(high_x, axis=0), at_high_x, 0))
        else:
            n = tl.sum(tl.where(lane == tl.argmax(high_y, axis=0), at_high_y, 0))
        where, row = _side(vertices, R, t, log_size, tl.load(camera + 2 * b), h, n, side % 2)
        inverse_sigma = tl.load(trust + 4 * b + side)
        residual = (tl.load(box + 4 * b + side) - where - tl.load(camera + 2 * b + 1)) * inverse_sigma
        tail = 1.0 + (residual / TAIL) * (residual / TAIL)
        weight = seen * inverse_sigma / tail
        total -= seen * 0.5 * TAIL * TAIL * tl.log(tail)
        along += weight * residual * row
        matrix += weight * inverse_sigma * row[:, None] * row[None, :]
    k = tl.arange(0, 16)
    tl.store(value + h, total)
    tl.store(gradient + 9 * h + k, along, k < 9)
    tl.store(normal + 81 * h + 9 * k[:, None] + k[None, :], matrix, (k < 9)[:, None] & (k < 9)[None, :])


@triton.jit
def _placed(vertices, R, t, log_size, h, n, listed):
    """Vertices n of hypothesis h in the camera frame."""
    p, r = vertices + 3 * n, R + 9 * h
    x = tl.exp(tl.load(log_size + 3 * h)) * tl.load(p, listed, 0.0)
    y = tl.exp(tl.load(log_size + 3 * h + 1)) * tl.load(p + 1, listed, 0.0)
    z = tl.exp(tl.load(log_size + 3 * h + 2)) * tl.load(p + 2, listed, 0.0)
    return (tl.load(r) * x + tl.load(r + 1) * y + tl.load(r + 2) * z + tl.load(t + 3 * h),
            tl.load(r + 3) * x + tl.load(r + 4) * y + tl.load(r + 5) * z + tl.load(t + 3 * h + 1),
            tl.load(r + 6) * x + tl.load(r + 7) * y + tl.load(r + 8) * z + tl.load(t + 3 * h + 2))


@triton.jit
def _side(vertices, R, t, log_size, focal, h, n, vertical: tl.constexpr):
    """Where vertex n is seen, cells from the principal point in x or, ``vertical``, y, and its derivative [16]."""
    k = tl.arange(0, 16)
    grown = (k >= 6) & (k < 9)
    X, Y, Z = _placed(vertices, R, t, log_size, h, n, True)
    x, y, z = X - tl.load(t + 3 * h), Y - tl.load(t + 3 * h + 1), Z - tl.load(t + 3 * h + 2)
    axis = R + 9 * h + k - 6
    size = tl.load(vertices + 3 * n + k - 6, grown, 0.0) * tl.exp(tl.load(log_size + 3 * h + k - 6, grown, 0.0))
    away = tl.maximum(Z, 0.1)
    dz = tl.where(k == 2, 1.0, tl.where(k == 3, y, tl.where(k == 4, -x, tl.load(axis + 6, grown, 0.0) * size)))
    if vertical:
        ahead = tl.where(k == 1, 1.0, tl.where(k == 3, -z, tl.where(k == 5, x, tl.load(axis + 3, grown, 0.0) * size)))
        along = Y / away
    else:
        ahead = tl.where(k == 0, 1.0, tl.where(k == 4, z, tl.where(k == 5, -y, tl.load(axis, grown, 0.0) * size)))
        along = X / away
    return focal * along, focal / away * (ahead - along * dz)


def stepped(normal: Tensor, gradient: Tensor, data: Tensor, prior: Tensor, damping: Tensor, R: Tensor, t: Tensor,
            log_size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`refine_twins.stepped`."""
    new = torch.empty_like(R), torch.empty_like(t), torch.empty_like(log_size)
    _stepped[(len(R),)](normal.contiguous(), gradient.contiguous(), data, prior, damping, R.contiguous(),
                        t.contiguous(), log_size.contiguous(), *new, LONGEST=_MAX_TRANSLATION, WIDEST=_MAX_ROTATION,
                        LARGEST=_MAX_LOG_SIZE, num_warps=_ONE_WARP)
    return new


@triton.jit
def _stepped(normal, gradient, data, prior, damping, R, t, log_size, new_R, new_t, new_size, LONGEST: tl.constexpr,
             WIDEST: tl.constexpr, LARGEST: tl.constexpr):
    """One program per hypothesis: a system of nine equations in one tile, then the step's nine numbers one by one."""
    h = tl.program_id(0)
    i, j = tl.arange(0, 16)[:, None], tl.arange(0, 16)[None, :]
    d = tl.load(data + h)
    A = d * tl.load(normal + 81 * h + 9 * i + j, (i < 9) & (j < 9), 0.0)
    size = (i >= 6) & (i < 9)
    known = tl.load(prior + i - 6, size, 0.0)
    b = d * tl.load(gradient + 9 * h + i, i < 9, 0.0) - known * tl.load(log_size + 3 * h + i - 6, size, 0.0)
    A += tl.where(i == j, known + tl.load(damping + h) * (A + known) + 1e-9, 0.0)
    # Metres and radians differ by the distance; unit diagonals keep float32 from losing the small ones.
    diagonal = tl.where(i == j, A, 0.0)
    unit = 1.0 / tl.sqrt(tl.maximum(tl.sum(diagonal, axis=1), 1e-20))[:, None]
    across = 1.0 / tl.sqrt(tl.maximum(tl.sum(diagonal, axis=0), 1e-20))[None, :]
    M = tl.where((i < 9) & (j < 9), A * unit * across, 0.0) + tl.where((i < 9) & (j == 9), b * unit, 0.0)
    step = tl.sum(unit, axis=1) * _solution(M)
    k = tl.arange(0, 16)
    x, y, z = tl.sum(tl.where(k == 0, step, 0.0)), tl.sum(tl.where(k == 1, step, 0.0)), tl.sum(tl.where(k == 2, step,
                                                                                                        0.0))
    depth = tl.load(t + 3 * h + 2)
    turned = tl.sqrt(tl.sum(tl.where((k >= 3) & (k < 6), step * step, 0.0)))
    along = tl.max(tl.where(k < 3, tl.abs(step), 0.0)) / (LONGEST * tl.maximum(depth, 0.1))
    grown = tl.max(tl.where((k >= 6) & (k < 9), tl.abs(step), 0.0)) / LARGEST
    short = 1.0 / tl.maximum(tl.maximum(tl.maximum(along, turned / WIDEST), grown), 1.0)
    tl.store(new_t + 3 * h, tl.load(t + 3 * h) + short * x)
    tl.store(new_t + 3 * h + 1, tl.load(t + 3 * h + 1) + short * y)
    tl.store(new_t + 3 * h + 2, depth + short * z)
    at = 3 * h + k - 6
    ends = (k >= 6) & (k < 9)
    tl.store(new_size + at, tl.load(log_size + at, ends, 0.0) + short * step, ends)
    angle = tl.maximum(short * turned, 1e-12)
    x, y, z = (tl.sum(tl.where(k == 3, step, 0.0)) * short / angle, tl.sum(tl.where(k == 4, step, 0.0)) * short / angle,
               tl.sum(tl.where(k == 5, step, 0.0)) * short / angle)
    s, c = tl.sin(angle), 1.0 - tl.cos(angle)  # rows of the rotation by Rodrigues' formula
    _turned(R + 9 * h, new_R + 9 * h, 1.0 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y)
    _turned(R + 9 * h, new_R + 9 * h + 3, c * x * y + s * z, 1.0 - c * (x * x + z * z), c * y * z - s * x)
    _turned(R + 9 * h, new_R + 9 * h + 6, c * x * z - s * y, c * y * z + s * x, 1.0 - c * (x * x + y * y))


@triton.jit
def _solution(M):
    """x [16] of A x = b for M = [A b] in a tile, A 9 x 9: Gauss-Jordan elimination; a positive A has positive pivots.

    Zeros where A is not positive definite.
    """
    i, j = tl.arange(0, 16)[:, None], tl.arange(0, 16)[None, :]
    good = 1
    for k in tl.static_range(9):
        pivot = tl.sum(tl.where((i == k) & (j == k), M, 0.0))
        good = tl.where(pivot > 0.0, good, 0)
        row = tl.sum(tl.where(i == k, M, 0.0), axis=0) / tl.where(pivot > 0.0, pivot, 1.0)
        column = tl.sum(tl.where(j == k, M, 0.0), axis=1)
        M = tl.where(i == k, row[None, :], M - column[:, None] * row[None, :])
    return tl.where(good > 0, tl.sum(tl.where(j == 9, M, 0.0), axis=1), 0.0)


@triton.jit
def _turned(R, row, a, b, c):
    """Write (a, b, c) R, one row of a rotation times another."""
    n = tl.arange(0, 4)
    listed = n < 3
    tl.store(row + n, a * tl.load(R + n, listed, 0.0) + b * tl.load(R + 3 + n, listed, 0.0)
             + c * tl.load(R + 6 + n, listed, 0.0), listed)
