# SPDX-License-Identifier: Apache-2.0
"""The refinement's objective with its exact gradient and Newton matrix.

Every visible vertex v, projected to pi_v, looks at its own odds map P_v through a Gaussian window:

    Z_v = sum_p P_v(p) g(p - pi_v),  g a Gaussian of ``sigma`` cells that sums to one
    value = sum_v w_v log(1 + Z_v)

log(1 + odds) is the smooth form of max(object, clutter) in NeMo (Wang et al., ICLR 2021, arXiv 2101.12378): a vertex
that clutter explains better is occluded and has no say. With m, C the mean and covariance of p under P_v g, and
gamma = Z / (1 + Z) the share of the object,

    d value / d pi_v = gamma (m - pi_v) / sigma^2,    -d^2 / d pi_v^2 ~ gamma (I / sigma^2 - C / sigma^4)

which for a Gaussian peak of variance s^2 is gamma / (sigma^2 + s^2): mean shift (Comaniciu and Meer, 2002) towards the
match, but with the step length of Newton. A wide window has a wide basin, and nothing is rendered.

Unknowns (9): translation of the object's origin and rotation about it along the crop camera's axes,
X = exp(rotation) R diag(exp(log_size)) V + t + translation, then the three log-sizes.
"""

from __future__ import annotations

import math

from .jit import kernel
from .linear import transform
from .normal_equations import add_point, clear, complete
from .visibility import direction_index
from .workspace import LONGEST_WINDOW, MIN_DEPTH

_SOFT_FACING = 0.3  # cosine at which a vertex has full weight; grazing ones fade, so the set changes smoothly
_MIN_INFORMATION = 0.02  # of 1/sigma^2: keeps a vertex with several matches from pushing the matrix out of definiteness


@kernel
def choose_vertices(surface, state, search, index, weight, work):
    """As many visible ones of the ``search`` first vertices at a state as fit into index, weight; returns how many."""
    vertices, normals, R, t, log_size = surface.vertices, surface.normals, state.R, state.t, state.log_size
    camera = work.camera  # centre -R^T t in the mean-size object frame
    for k in range(3):
        camera[k] = -(R[0, k] * t[0] + R[1, k] * t[1] + R[2, k] * t[2]) / math.exp(log_size[k])
    row = surface.visible[direction_index(camera, surface.azimuths, surface.elevations)]
    count, limit = 0, index.shape[0]
    for v in range(search):
        if count == limit:
            break
        if row[v] == 0:
            continue
        dot = norm = 0.0
        for k in range(3):
            ray = camera[k] - vertices[v, k]
            dot += ray * normals[v, k]
            norm += ray * ray
        facing = dot / math.sqrt(norm)
        if facing > 0.0:
            index[count] = v
            weight[count] = min(facing / _SOFT_FACING, 1.0)
            count += 1
    return count


@kernel
def window(plane, u, v, sigma, out, profile):
    """Gaussian-windowed sum and moments of ``plane`` [h, w] about cell (u, v): out [6] = Z, mean offset, covariance.

    out = (Z, du, dv, C_uu, C_uv, C_vv) in cells; zeros where the window misses the map. profile is work space.
    """
    for k in range(6):
        out[k] = 0.0
    radius = min(2.5 * sigma, 0.5 * LONGEST_WINDOW - 1.0)
    j0, j1 = max(int(math.ceil(u - radius)), 0), min(int(math.floor(u + radius)) + 1, plane.shape[1])
    i0, i1 = max(int(math.ceil(v - radius)), 0), min(int(math.floor(v + radius)) + 1, plane.shape[0])
    if j0 >= j1 or i0 >= i1:
        return
    # exp(-d^2 / 2 sigma^2) at d, d + 1, ...: each is the last one times a ratio that itself shrinks by a constant.
    scale = -0.5 / (sigma * sigma)
    shrink = math.exp(2.0 * scale)
    g, ratio = math.exp(scale * (j0 - u) ** 2), math.exp(scale * (2.0 * (j0 - u) + 1.0))
    for k in range(j1 - j0):
        profile[k] = g
        g *= ratio
        ratio *= shrink
    g, ratio = math.exp(scale * (i0 - v) ** 2), math.exp(scale * (2.0 * (i0 - v) + 1.0))
    z = zu = zv = zuu = zuv = zvv = 0.0
    for i in range(i0, i1):
        row = plane[i, j0:j1]
        r0 = r1 = r2 = 0.0
        for k in range(j1 - j0):
            p, d = profile[k] * row[k], k + (j0 - u)
            r0 += p
            r1 += p * d
            r2 += p * d * d
        d = i - v
        z += g * r0
        zu += g * r1
        zv += g * d * r0
        zuu += g * r2
        zuv += g * d * r1
        zvv += g * d * d * r0
        g *= ratio
        ratio *= shrink
    if z <= 1e-12:
        return
    du, dv = zu / z, zv / z
    out[0] = z / (2 * math.pi * sigma * sigma)
    out[1], out[2] = du, dv
    out[3], out[4], out[5] = zuu / z - du * du, zuv / z - du * dv, zvv / z - dv * dv


@kernel
def information(C_uu, C_uv, C_vv, sigma):
    """I / sigma^2 - C / sigma^4 with eigenvalues clamped to [_MIN_INFORMATION, 1] / sigma^2: (a_uu, a_uv, a_vv)."""
    k = 1.0 / (sigma * sigma)
    a, b, c = 1.0 - C_uu * k, -C_uv * k, 1.0 - C_vv * k
    middle, radius = 0.5 * (a + c), math.sqrt(0.25 * (a - c) ** 2 + b * b)
    high = min(max(middle + radius, _MIN_INFORMATION), 1.0)
    low = min(max(middle - radius, _MIN_INFORMATION), 1.0)
    if radius < 1e-12:
        return k * high, 0.0, k * high
    # Spectral form: the projector on the upper eigenvector is (A - low I) / (high - low) of the unclamped matrix.
    p_uu, p_uv, p_vv = 0.5 * (1.0 + 0.5 * (a - c) / radius), 0.5 * b / radius, 0.5 * (1.0 - 0.5 * (a - c) / radius)
    return (k * (low + (high - low) * p_uu), k * (high - low) * p_uv, k * (low + (high - low) * p_vv))


@kernel
def projection_jacobian(X, t, R, scaled, focal, J):
    """J [2, 9]: cells per metre, radian, log-size of the vertex at X [3] = R scaled + t, crop camera frame."""
    fz = focal / X[2]
    x, y = X[0] / X[2], X[1] / X[2]
    rx, ry, rz = X[0] - t[0], X[1] - t[1], X[2] - t[2]
    J[0, 0], J[0, 1], J[0, 2] = fz, 0.0, -fz * x
    J[1, 0], J[1, 1], J[1, 2] = 0.0, fz, -fz * y
    # d X / d rotation = -[R scaled]_x, columns (0, -rz, ry), (rz, 0, -rx), (-ry, rx, 0) of the cross product
    J[0, 3], J[0, 4], J[0, 5] = -fz * x * ry, fz * (rz + x * rx), -fz * ry
    J[1, 3], J[1, 4], J[1, 5] = -fz * (rz + y * ry), fz * y * rx, fz * rx
    for k in range(3):
        dx, dy, dz = R[0, k] * scaled[k], R[1, k] * scaled[k], R[2, k] * scaled[k]
        J[0, 6 + k], J[1, 6 + k] = fz * (dx - x * dz), fz * (dy - y * dz)


@kernel
def accumulate(odds, vertices, index, weight, state, camera, sigma, equations, work):
    """Value at a state, without the size prior; the gradient and the Newton matrix go into ``equations``.

    odds [V', h, w], vertices [V, 3] of which those at index [n] count by weight [n]; sigma of the window in cells.
    """
    moments, J, X, scaled, size = work.moments, work.J, work.X, work.scaled, work.size
    R, t, focal, centre = state.R, state.t, camera.focal, camera.centre
    clear(equations)
    for k in range(3):
        size[k] = math.exp(state.log_size[k])
    value = 0.0
    for n in range(index.shape[0]):
        for k in range(3):
            scaled[k] = size[k] * vertices[index[n], k]
        transform(R, t, scaled, X)
        if X[2] < MIN_DEPTH:
            continue
        window(odds[index[n]], focal * X[0] / X[2] + centre, focal * X[1] / X[2] + centre, sigma, moments, work.profile)
        if moments[0] <= 0.0:
            continue
        value += weight[n] * math.log1p(moments[0])
        gamma = moments[0] / (1.0 + moments[0])
        a_uu, a_uv, a_vv = information(moments[3], moments[4], moments[5], sigma)
        g_u, g_v = moments[1] / sigma**2, moments[2] / sigma**2
        projection_jacobian(X, t, R, scaled, focal, J)
        w = weight[n] * gamma
        add_point(J, w, g_u, g_v, w, a_uu, a_uv, a_vv, equations)
    complete(equations)
    return value
