# SPDX-License-Identifier: Apache-2.0
"""Render-and-compare, cell by cell, as a Triton kernel; part of ``kernels``. Its twin is in ``compare_twin.py``."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .category import DeviceCategory
from .rendered import Rendered

_CELLS = 32      # compared at a time
_CHANNELS = 32   # of their features multiplied at a time


def compare_cells(rendered: Rendered, category: DeviceCategory, cells: Tensor, background_score: Tensor,
                  log_size: Tensor, crop: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See :func:`compare_twin.compare_cells`."""
    H, P = rendered.face.shape
    new = rendered.depth.new_empty
    out = new(H, P), new(H, P), new(H, P, 3), new(H, P, 2), new(H, P, 2, 2)
    _compare_cells[(H, triton.cdiv(P, _CELLS))](rendered.screen.contiguous(), rendered.face, rendered.bary,
                                                rendered.depth, category.faces, category.vertices, category.features,
                                                category.gram, cells, background_score.contiguous(),
                                                log_size.contiguous(), crop.contiguous(), *out, P,
                                                rendered.screen.shape[1], cells.shape[2], category.temperature,
                                                CELLS=_CELLS, CHANNELS=_CHANNELS)
    return out


@triton.jit(do_not_specialize=["P", "F", "D"])
def _compare_cells(screen, face, bary, depth, faces, vertices, features, gram, cells, background_score, log_size, crop,
                   cosine, gamma, scaled, pull, matrix, P, F, D, temperature, CELLS: tl.constexpr,
                   CHANNELS: tl.constexpr):
    """One program per hypothesis and block of cells."""
    h = tl.program_id(0)
    p = tl.program_id(1) * CELLS + tl.arange(0, CELLS)
    listed, at, b = p < P, h * P + p, tl.load(crop + h)
    f = tl.load(face + at, listed, -1)
    shown = f >= 0
    f = tl.where(shown, f, 0)
    i, j, k = tl.load(faces + 3 * f), tl.load(faces + 3 * f + 1), tl.load(faces + 3 * f + 2)
    wi, wj, wk = (tl.load(bary + 3 * at, listed, 0.0), tl.load(bary + 3 * at + 1, listed, 0.0),
                  tl.load(bary + 3 * at + 2, listed, 0.0))
    # Cosines of the corners' features with the cell's.
    si, sj, sk = tl.zeros((CELLS,), tl.float32), tl.zeros((CELLS,), tl.float32), tl.zeros((CELLS,), tl.float32)
    for start in range(0, D, CHANNELS):
        d = (start + tl.arange(0, CHANNELS))[None, :]
        both = listed[:, None] & (d < D)
        seen = tl.load(cells + (b * P + p)[:, None] * D + d, both, 0.0)
        si += tl.sum(seen * tl.load(features + i[:, None] * D + d, both, 0.0), axis=1)
        sj += tl.sum(seen * tl.load(features + j[:, None] * D + d, both, 0.0), axis=1)
        sk += tl.sum(seen * tl.load(features + k[:, None] * D + d, both, 0.0), axis=1)
    # Change of the barycentric weights per cell; differences first: float32 would lose the area of a small face.
    c = screen + 9 * (h * F + f)
    xi, yi, zi = tl.load(c), tl.load(c + 1), tl.load(c + 2)
    xj, yj, zj = tl.load(c + 3), tl.load(c + 4), tl.load(c + 5)
    xk, yk, zk = tl.load(c + 6), tl.load(c + 7), tl.load(c + 8)
    area = tl.where(shown, (xj - xi) * (yk - yi) - (xk - xi) * (yj - yi), 1.0)
    zi, zj, zk = tl.where(shown, zi, 1.0), tl.where(shown, zj, 1.0), tl.where(shown, zk, 1.0)
    far = tl.where(shown, tl.load(depth + at, listed, 0.0), 0.0)
    ui, uj, uk = (yj - yk) / zi / area, (yk - yi) / zj / area, (yi - yj) / zk / area
    vi, vj, vk = (xk - xj) / zi / area, (xi - xk) / zj / area, (xj - xi) / zk / area
    u, v = ui + uj + uk, vi + vj + vk
    ui, uj, uk = (ui - wi * u) * far, (uj - wj * u) * far, (uk - wk * u) * far
    vi, vj, vk = (vi - wi * v) * far, (vj - wj * v) * far, (vk - wk * v) * far
    # What is drawn is the sum of the corners' features; its length and that of its changes by their products.
    ij, jk, ki = tl.load(gram + 3 * f), tl.load(gram + 3 * f + 1), tl.load(gram + 3 * f + 2)
    norm = tl.sqrt(tl.maximum(_product(wi, wj, wk, wi, wj, wk, ij, jk, ki), 1e-6))
    s = (si * wi + sj * wj + sk * wk) / norm
    along_u, along_v = (_product(wi, wj, wk, ui, uj, uk, ij, jk, ki) / norm,
                        _product(wi, wj, wk, vi, vj, vk, ij, jk, ki) / norm)
    gu, gv = (si * ui + sj * uj + sk * uk - s * along_u) / norm, (si * vi + sj * vj + sk * vk - s * along_v) / norm
    square = norm * norm
    uu = (_product(ui, uj, uk, ui, uj, uk, ij, jk, ki) - along_u * along_u) / square
    uv = (_product(ui, uj, uk, vi, vj, vk, ij, jk, ki) - along_u * along_v) / square
    vv = (_product(vi, vj, vk, vi, vj, vk, ij, jk, ki) - along_v * along_v) / square
    share = tl.where(shown, tl.sigmoid((s - tl.load(background_score + b * P + p, listed, 0.0)) / temperature), 0.0)
    tl.store(cosine + at, s, listed)
    tl.store(gamma + at, share, listed)
    for axis in tl.static_range(3):
        point = (wi * tl.load(vertices + 3 * i + axis) + wj * tl.load(vertices + 3 * j + axis)
                 + wk * tl.load(vertices + 3 * k + axis))
        tl.store(scaled + 3 * at + axis, point * tl.exp(tl.load(log_size + 3 * h + axis)), listed)
    tl.store(pull + 2 * at, -share * gu, listed)
    tl.store(pull + 2 * at + 1, -share * gv, listed)
    share *= tl.maximum(s, 0.1)
    tl.store(matrix + 4 * at, share * uu, listed)
    tl.store(matrix + 4 * at + 1, share * uv, listed)
    tl.store(matrix + 4 * at + 2, share * uv, listed)
    tl.store(matrix + 4 * at + 3, share * vv, listed)


@triton.jit
def _product(ai, aj, ak, bi, bj, bk, ij, jk, ki):
    """Of two sums of the corners' features, which have unit length and the products ij, jk, ki with each other."""
    return (ai * (bi + ij * bj + ki * bk) + aj * (ij * bi + bj + jk * bk) + ak * (ki * bi + jk * bj + bk))
