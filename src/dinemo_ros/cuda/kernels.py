# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels. Each has a twin of the same name, arguments and results in ``twins.py``, which explains it.

Those of a refinement step are in ``refine_kernels.py`` and ``compare_kernel.py``.

Triton compiles a kernel again for numbers that are 1 and for those that 16 divides. Sizes are told to be left alone
(``do_not_specialize``): another camera's images must not cost seconds in operation.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..solver.likelihood import _MIN_INFORMATION
from .compare_kernel import compare_cells as compare_cells
from .refine_kernels import _ONE_WARP, _placed
from .refine_kernels import box_sides as box_sides
from .refine_kernels import normal_equations as normal_equations
from .refine_kernels import stepped as stepped

_VERTICES = 16   # looked up at a time
_CELLS = 32      # rasterised at a time ...
_FACES = 32      # ... against so many faces: a serial walk over 1600 of them waited for memory 1600 times
_PIXELS = 256    # numbers of a picture sampled at a time


def gather_scores(evidence: Tensor, index: Tensor, points: Tensor, weight: Tensor, chosen: Tensor, samples: int,
                  place: Tensor, camera: Tensor, pad: int, shift: int) -> tuple[Tensor, Tensor]:
    """See :func:`twins.gather_scores`."""
    B, C, S, _ = place.shape
    best, where = (torch.empty(B, C, S, dtype=torch.int32, device=place.device) for _ in range(2))
    _gather_scores[(B * C * S,)](evidence, index, points, weight, chosen, place, camera, best, where, C, S,
                                 index.shape[1], min(samples, index.shape[1]), evidence.shape[1], evidence.shape[2],
                                 evidence.shape[3], pad, SHIFT=shift, SIDE=2 * shift + 1,
                                 TILE=triton.next_power_of_2(2 * shift + 1), BLOCK=_VERTICES)
    return best, where


@triton.jit(do_not_specialize=["C", "S", "N", "samples", "V", "height", "width", "pad"])
def _gather_scores(evidence, index, points, weight, chosen, place, camera, best, where, C, S, N, samples, V, height,
                   width, pad, SHIFT: tl.constexpr, SIDE: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr):
    """One program per crop, view and scale."""
    hypothesis = tl.program_id(0)
    b, g = hypothesis // (C * S), tl.load(chosen + hypothesis // S)
    x, y, z = tl.load(place + 3 * hypothesis), tl.load(place + 3 * hypothesis + 1), tl.load(place + 3 * hypothesis + 2)
    focal, centre = tl.load(camera + 2 * b), tl.load(camera + 2 * b + 1)
    tile = tl.arange(0, TILE)
    in_tile = (tile[:, None] < SIDE) & (tile[None, :] < SIDE)
    total = tl.zeros((TILE, TILE), tl.int32)
    for start in range(0, samples, BLOCK):
        n = start + tl.arange(0, BLOCK)
        listed = n < samples
        w = tl.load(weight + g * N + n, listed, 0.0)
        v = tl.load(index + g * N + n, listed, 0)
        p = points + 3 * (g * N + n)
        depth = tl.load(p + 2, listed, 0.0) + z
        far = tl.where(depth < 0.1, 1.0, depth)
        j = tl.floor(focal * (tl.load(p, listed, 0.0) + x) / far + centre + 0.5).to(tl.int32) + pad - SHIFT
        i = tl.floor(focal * (tl.load(p + 1, listed, 0.0) + y) / far + centre + 0.5).to(tl.int32) + pad - SHIFT
        used = (w > 0) & (depth >= 0.1) & (i >= 0) & (j >= 0) & (i <= height - SIDE) & (j <= width - SIDE)
        corner = ((b * V + v) * height + i) * width + j
        cells = corner[:, None, None] + tile[None, :, None] * width + tile[None, None, :]
        total += tl.sum(tl.load(evidence + cells, used[:, None, None] & in_tile[None], 0).to(tl.int32), axis=0)
    total = tl.where(in_tile, total, -1)
    flat = tl.reshape(total, (TILE * TILE,))
    top = tl.argmax(flat, axis=0)
    tl.store(best + hypothesis, tl.max(flat, axis=0))
    tl.store(where + hypothesis, (top // TILE) * SIDE + top % TILE)


def window_terms(odds: Tensor, vertices: Tensor, R: Tensor, t: Tensor, log_size: Tensor, crop: Tensor, camera: Tensor,
                 weight: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`refine_twins.window_terms`."""
    H, V = weight.shape
    value, pull, matrix = weight.new_empty(H, V), weight.new_empty(H, V, 2), weight.new_empty(H, V, 2, 2)
    _window_terms[(H, V)](odds, vertices, R.contiguous(), t.contiguous(), log_size.contiguous(), crop.contiguous(),
                          camera.contiguous(), weight.contiguous(), value, pull, matrix, V, odds.shape[1],
                          odds.shape[2], odds.shape[3], sigma, 2.5 * sigma, LEAST=_MIN_INFORMATION,
                          TILE=triton.next_power_of_2(int(5 * sigma) + 2), num_warps=_ONE_WARP)
    return value, pull, matrix


@triton.jit(do_not_specialize=["V", "planes", "height", "width"])
def _window_terms(odds, vertices, R, t, log_size, crop, camera, weight, value, pull, matrix, V, planes, height, width,
                  sigma, radius, LEAST: tl.constexpr, TILE: tl.constexpr):
    """One program per hypothesis and vertex."""
    h, n = tl.program_id(0), tl.program_id(1)
    at, b = h * V + n, tl.load(crop + h)
    x, y, depth = _placed(vertices, R, t, log_size, h, n, True)
    w = tl.where(depth >= 0.1, tl.load(weight + at), 0.0)
    depth = tl.maximum(depth, 0.1)
    focal, centre = tl.load(camera + 2 * b), tl.load(camera + 2 * b + 1)
    x, y = focal * x / depth + centre, focal * y / depth + centre
    x = tl.where(w > 0, x, -1e4)  # a vertex without weight looks where there is no cell
    x, y = tl.minimum(tl.maximum(x, -1e4), 1e4), tl.minimum(tl.maximum(y, -1e4), 1e4)  # before they become integers
    tile = tl.arange(0, TILE)
    j, i = tl.ceil(x - radius).to(tl.int32) + tile, tl.ceil(y - radius).to(tl.int32) + tile
    du, dv = j.to(tl.float32) - x, i.to(tl.float32) - y
    seen_x = (j >= 0) & (j < width) & (du <= radius)
    seen_y = (i >= 0) & (i < height) & (dv <= radius)
    k = 1.0 / (sigma * sigma)
    gaussian = tl.exp(-0.5 * k * dv * dv)[:, None] * tl.exp(-0.5 * k * du * du)[None, :]
    cells = ((b * planes + n) * height + i)[:, None] * width + j[None, :]
    p = gaussian * tl.load(odds + cells, seen_y[:, None] & seen_x[None, :], 0.0)
    z = tl.sum(p)
    found, safe = (z > 1e-12).to(tl.float32), tl.where(z > 1e-12, z, 1.0)
    mean_u, mean_v = found * tl.sum(p * du[None, :]) / safe, found * tl.sum(p * dv[:, None]) / safe
    uu = found * tl.sum(p * (du * du)[None, :]) / safe - mean_u * mean_u
    uv = found * tl.sum(p * dv[:, None] * du[None, :]) / safe - mean_u * mean_v
    vv = found * tl.sum(p * (dv * dv)[:, None]) / safe - mean_v * mean_v
    z = found * z * k / 6.283185307179586
    share = w * z / (1.0 + z)
    tl.store(value + at, w * tl.log(1.0 + z))
    tl.store(pull + 2 * at, share * k * mean_u)
    tl.store(pull + 2 * at + 1, share * k * mean_v)
    # Minus the second derivative, with eigenvalues clamped to what a window can tell.
    a, c, uv = 1.0 - uu * k, 1.0 - vv * k, -uv * k
    middle, half = 0.5 * (a + c), tl.sqrt(0.25 * (a - c) * (a - c) + uv * uv)
    high = tl.minimum(tl.maximum(middle + half, LEAST), 1.0)
    low = tl.minimum(tl.maximum(middle - half, LEAST), 1.0)
    apart = tl.maximum(half, 1e-12)
    along = tl.where(half < 1e-12, 1.0, 0.5 + 0.25 * (a - c) / apart)
    across = tl.where(half < 1e-12, 1.0, 0.5 - 0.25 * (a - c) / apart)
    between = share * k * (high - low) * 0.5 * uv / apart
    tl.store(matrix + 4 * at, share * k * (low + (high - low) * along))
    tl.store(matrix + 4 * at + 1, between)
    tl.store(matrix + 4 * at + 2, between)
    tl.store(matrix + 4 * at + 3, share * k * (low + (high - low) * across))


def rasterise(corners: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`twins.rasterise`."""
    H, F = corners.shape[:2]
    face = torch.empty(H, height * width, dtype=torch.int64, device=corners.device)
    weights, depth = corners.new_empty(H, height * width, 3), corners.new_empty(H, height * width)
    _rasterise[(H, triton.cdiv(height * width, _CELLS))](corners, face, weights, depth, F, height * width, width,
                                                         BLOCK=_CELLS, FACES=_FACES)
    return face, weights, depth


@triton.jit(do_not_specialize=["F", "P", "width"])
def _rasterise(corners, face, weights, depth, F, P, width, BLOCK: tl.constexpr, FACES: tl.constexpr):
    """One program per hypothesis and block of cells; it compares them with all faces, FACES at a time.

    What is nearest has the largest 1/z. Weights are computed once, in the end, of the face that won.
    """
    h = tl.program_id(0)
    cell = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x, y = (cell % width).to(tl.float32), (cell // width).to(tl.float32)
    nearest = tl.full((BLOCK,), 0.0, tl.float32)
    seen = tl.full((BLOCK,), 0, tl.int32)
    for start in range(0, F, FACES):
        f = start + tl.arange(0, FACES)
        ax, ay, az, bx, by, bz, cx, cy, cz = _corners(corners, h * F + f, f < F)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        drawn = (area < -1e-12) & (az >= 0.1) & (bz >= 0.1) & (cz >= 0.1)
        area = tl.where(drawn, area, -1.0)
        az, bz, cz = tl.where(drawn, az, 1.0), tl.where(drawn, bz, 1.0), tl.where(drawn, cz, 1.0)
        wa, wb, wc = _barycentric(ax[:, None], ay[:, None], bx[:, None], by[:, None], cx[:, None], cy[:, None],
                                  area[:, None], x[None, :], y[None, :])
        hit = drawn[:, None] & (wa >= 0) & (wb >= 0) & (wc >= 0)
        near = tl.where(hit, wa / az[:, None] + wb / bz[:, None] + wc / cz[:, None], 0.0)
        best, at = tl.max(near, axis=0, return_indices=True, return_indices_tie_break_left=True)
        seen = tl.where(best > nearest, start + at, seen)  # of two at the same depth the first
        nearest = tl.maximum(best, nearest)
    listed = cell < P
    found = listed & (nearest > 0)
    ax, ay, az, bx, by, bz, cx, cy, cz = _corners(corners, h * F + seen, listed)
    area = tl.where(found, (bx - ax) * (cy - ay) - (by - ay) * (cx - ax), 1.0)
    wa, wb, wc = _barycentric(ax, ay, bx, by, cx, cy, area, x, y)
    z = 1.0 / tl.where(found, nearest, 1.0)
    tl.store(depth + h * P + cell, tl.where(found, z, float("inf")), listed)
    tl.store(face + h * P + cell, tl.where(found, seen, -1).to(tl.int64), listed)
    out = weights + 3 * (h * P + cell)
    tl.store(out, tl.where(found, wa / az * z, 0.0), listed)
    tl.store(out + 1, tl.where(found, wb / bz * z, 0.0), listed)
    tl.store(out + 2, tl.where(found, wc / cz * z, 0.0), listed)


@triton.jit
def _corners(corners, face, listed):
    """Cell x, cell y and depth of the three corners of each face."""
    c = corners + 9 * face
    return (tl.load(c, listed, 0.0), tl.load(c + 1, listed, 0.0), tl.load(c + 2, listed, 0.0),
            tl.load(c + 3, listed, 0.0), tl.load(c + 4, listed, 0.0), tl.load(c + 5, listed, 0.0),
            tl.load(c + 6, listed, 0.0), tl.load(c + 7, listed, 0.0), tl.load(c + 8, listed, 0.0))


@triton.jit
def _barycentric(ax, ay, bx, by, cx, cy, area, x, y):
    """Weights of a triangle's corners at (x, y), on the picture's plane."""
    wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
    wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
    return wa, wb, 1.0 - wa - wb


def sample_crops(image: Tensor, x: Tensor, y: Tensor, shrink: Tensor, border: int) -> Tensor:
    """See :func:`twins.sample_crops`."""
    B, S, _ = x.shape
    out = torch.empty(B, S, S, 3, dtype=torch.uint8, device=image.device)
    _sample_crops[(triton.cdiv(3 * S * S, _PIXELS), B)](image, x, y, shrink, out, image.shape[0], image.shape[1], S * S,
                                                        border, BLOCK=_PIXELS)
    return out


@triton.jit(do_not_specialize=["height", "width", "P", "border"])
def _sample_crops(image, x, y, shrink, out, height, width, P, border, BLOCK: tl.constexpr):
    """One program per picture and block of its numbers, three a pixel: neighbours write side by side."""
    b = tl.program_id(1)
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    listed = number < 3 * P
    pixel, channel = b * P + number // 3, number % 3
    n = tl.load(shrink + b)
    rows, columns = height // n, width // n
    u = (tl.load(x + pixel, listed, 0.0) + 0.5) / n - 0.5
    v = (tl.load(y + pixel, listed, 0.0) + 0.5) / n - 0.5
    u, v = tl.minimum(tl.maximum(u, -2.0), columns + 1.0), tl.minimum(tl.maximum(v, -2.0), rows + 1.0)
    left, top = tl.floor(u), tl.floor(v)
    du, dv = u - left, v - top
    total = tl.zeros((BLOCK,), tl.float32)
    for corner in tl.static_range(4):
        j, i = left.to(tl.int32) + corner % 2, top.to(tl.int32) + corner // 2
        inside = listed & (j >= 0) & (j < columns) & (i >= 0) & (i < rows)
        mean = tl.zeros((BLOCK,), tl.float32)
        for k in range(n * n):
            at = ((i * n + k // n) * width + j * n + k % n) * 3 + channel
            mean += tl.load(image + at, inside, 0).to(tl.float32)
        mean = tl.where(inside, tl.floor(mean / (n * n) + 0.5), border)
        total += (du if corner % 2 == 1 else 1.0 - du) * (dv if corner // 2 == 1 else 1.0 - dv) * mean
    tl.store(out + b * 3 * P + number, tl.floor(total + 0.5).to(tl.uint8), listed)
