# SPDX-License-Identifier: Apache-2.0
"""The normal equations that both objectives fill, vertex by vertex or cell by cell: sums of J^T g and J^T A J."""

from __future__ import annotations

from .jit import kernel
from .workspace import PARAMETERS


@kernel
def clear(equations):
    """All zeros."""
    for a in range(PARAMETERS):
        equations.gradient[a] = 0.0
        for b in range(PARAMETERS):
            equations.normal[a, b] = 0.0


@kernel
def add_point(J, along, g_u, g_v, weight, a_uu, a_uv, a_vv, equations):
    """Add ``along`` J^T (g_u, g_v) to the gradient, ``weight`` J^T A J to the lower half of the matrix.

    J [2, 9]: cells per unknown of a point's place in the picture; A = [[a_uu, a_uv], [a_uv, a_vv]] per square cell.
    """
    gradient, normal = equations.gradient, equations.normal
    for a in range(PARAMETERS):
        gradient[a] += along * (J[0, a] * g_u + J[1, a] * g_v)
        row_u = weight * (a_uu * J[0, a] + a_uv * J[1, a])
        row_v = weight * (a_uv * J[0, a] + a_vv * J[1, a])
        for b in range(a + 1):
            normal[a, b] += row_u * J[0, b] + row_v * J[1, b]


@kernel
def complete(equations):
    """The upper half of the matrix from the lower one."""
    for a in range(PARAMETERS):
        for b in range(a):
            equations.normal[b, a] = equations.normal[a, b]
