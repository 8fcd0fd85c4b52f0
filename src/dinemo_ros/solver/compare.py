# SPDX-License-Identifier: Apache-2.0
"""Render and compare: the objective of NeMo (Wang et al., ICLR 2021, arXiv 2101.12378), analytic Gauss-Newton steps.

The mesh is rasterised into the feature map; cell p sees the surface point with barycentric weights b in face (i, j, k),
whose rendered feature is c = b_i C_i + b_j C_j + b_k C_k, normalised. The residual of the cell is f_p - c/|c|, half its
squared norm is one minus their cosine. When the surface under the cell moves by u cells, the rendered feature becomes
that of p - u, so with the picture gradient dc of the rendered features

    cosine   s = (b . S[face, p]) / |c|,         |c|^2 = b^T Gram b,   Gram = C_face C_face^T
    gradient d s / d u = -(d c . f_p) / |c| ...,  Gauss-Newton matrix  d(c/|c|)^T d(c/|c|)

both of which need three dot products per cell and the Gram matrices of the faces. Unlike a window about a vertex this
has no bias at the silhouette: a cell is on the object or it is not.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import kernel
from .likelihood import projection_jacobian
from .linear import transform
from .normal_equations import add_point, clear, complete
from .workspace import MIN_DEPTH


@kernel
def rasterise(vertices, faces, state, camera, rendering, work):
    """Which face each cell centre sees at a state: fills a :class:`~dinemo_ros.solver.problem.Rendering`.

    vertices [V, 3] metres at mean size, faces [F, 3]: they turn counter-clockwise seen from outside; those seen from
    behind are left out.
    """
    scaled, X, size, focal, centre = work.scaled, work.X, work.size, camera.focal, camera.centre
    screen, face_of, barycentric, depth = (rendering.screen, rendering.face_of, rendering.barycentric, rendering.depth)
    for k in range(3):
        size[k] = math.exp(state.log_size[k])
    for v in range(vertices.shape[0]):
        for k in range(3):
            scaled[k] = size[k] * vertices[v, k]
        transform(state.R, state.t, scaled, X)
        near = 1.0 / max(X[2], MIN_DEPTH)
        screen[v, 0], screen[v, 1] = focal * X[0] * near + centre, focal * X[1] * near + centre
        screen[v, 2] = near if X[2] >= MIN_DEPTH else 0.0
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            face_of[i, j], depth[i, j] = -1, 0.0  # depths are inverse ones until all faces are drawn
    right, bottom = depth.shape[1] - 1.0, depth.shape[0] - 1.0
    for f in range(faces.shape[0]):
        a, b, c = screen[faces[f, 0]], screen[faces[f, 1]], screen[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area >= -1e-12:  # y points down, so a face that turns counter-clockwise outside has negative area
            continue
        if min(a[2], b[2], c[2]) == 0.0:
            continue
        j0, j1 = math.ceil(max(min(a[0], b[0], c[0]), 0.0)), math.floor(min(max(a[0], b[0], c[0]), right))
        i0, i1 = math.ceil(max(min(a[1], b[1], c[1]), 0.0)), math.floor(min(max(a[1], b[1], c[1]), bottom))
        share = 1.0 / area
        for i in range(int(i0), int(i1) + 1):
            for j in range(int(j0), int(j1) + 1):
                wa = ((b[0] - j) * (c[1] - i) - (b[1] - i) * (c[0] - j)) * share
                wb = ((c[0] - j) * (a[1] - i) - (c[1] - i) * (a[0] - j)) * share
                wc = 1.0 - wa - wb
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                wa, wb, wc = wa * a[2], wb * b[2], wc * c[2]  # perspective: linear in 1/z
                near = wa + wb + wc
                if near > depth[i, j]:
                    depth[i, j], face_of[i, j] = near, f
                    barycentric[i, j, 0], barycentric[i, j, 1], barycentric[i, j, 2] = wa, wb, wc
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            if face_of[i, j] >= 0:
                depth[i, j] = 1.0 / depth[i, j]
                for k in range(3):
                    barycentric[i, j, k] *= depth[i, j]


@kernel
def barycentric_gradient(screen, corners, bary, z, out):
    """out [3, 2]: change of the perspective barycentric weights per cell in x and y, at depth z."""
    p, q, r = screen[corners[0]], screen[corners[1]], screen[corners[2]]
    share = z / ((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))
    a, b, c = share * p[2], share * q[2], share * r[2]
    out[0, 0], out[0, 1] = a * (q[1] - r[1]), a * (r[0] - q[0])
    out[1, 0], out[1, 1] = b * (r[1] - p[1]), b * (p[0] - r[0])
    out[2, 0], out[2, 1] = c * (p[1] - q[1]), c * (q[0] - p[0])
    sum_x, sum_y = out[0, 0] + out[1, 0] + out[2, 0], out[0, 1] + out[1, 1] + out[2, 1]
    for k in range(3):
        out[k, 0] -= bary[k] * sum_x
        out[k, 1] -= bary[k] * sum_y


@kernel
def cell_terms(f, C, corners, bary, slope, gram):
    """(s, gx, gy, h_xx, h_xy, h_yy): cosine of a cell, its picture gradient, Gauss-Newton matrix of that gradient.

    f [D] is the cell's feature, C [V, D] the vertices', gram [3] holds C_i.C_j, C_j.C_k, C_k.C_i of the face.
    """
    dot = dx = dy = 0.0
    for k in range(3):
        c = C[corners[k]]
        s = np.float32(0.0)
        for d in range(f.shape[0]):
            s += f[d] * c[d]
        dot += bary[k] * s
        dx += slope[k, 0] * s
        dy += slope[k, 1] * s
    norm2 = cx = cy = xx = xy = yy = 0.0
    for k in range(3):
        for m in range(3):
            g = 1.0
            if k != m:
                g = gram[k] if (k + 1) % 3 == m else gram[m]
            norm2 += bary[k] * bary[m] * g
            cx += bary[k] * slope[m, 0] * g
            cy += bary[k] * slope[m, 1] * g
            xx += slope[k, 0] * slope[m, 0] * g
            xy += slope[k, 0] * slope[m, 1] * g
            yy += slope[k, 1] * slope[m, 1] * g
    norm2 = max(norm2, 1e-6)
    norm = math.sqrt(norm2)
    s = dot / norm
    return (s, (dx - s * cx / norm) / norm, (dy - s * cy / norm) / norm,
            (xx - cx * cx / norm2) / norm2, (xy - cx * cy / norm2) / norm2, (yy - cy * cy / norm2) / norm2)


@kernel
def compare(crop, surface, rendering, state, equations, work):
    """Normal equations of the sum of cosines over the object's cells at a rendered state.

    crop: a FeatureMap; rendering: of the ``surface`` at ``state``, by :func:`rasterise`. A cell counts by the
    probability gamma that it shows the object and not clutter.

    Returns (evidence, explained, cosine, covered): sum of max(s - background_score, 0) over the rendered cells, sum of
    gamma, mean of s weighted by gamma, number of rendered cells.
    """
    slope, J, X, scaled, size = work.slope, work.J, work.X, work.scaled, work.size
    background_score, focal, centre = crop.background_score, crop.focal, crop.centre
    face_of, vertices = rendering.face_of, surface.vertices
    for k in range(3):
        size[k] = math.exp(state.log_size[k])
    clear(equations)
    evidence = cosine = explained = covered = 0.0
    for i in range(face_of.shape[0]):
        for j in range(face_of.shape[1]):
            face = face_of[i, j]
            if face < 0:
                continue
            corners, bary, z = surface.faces[face], rendering.barycentric[i, j], rendering.depth[i, j]
            barycentric_gradient(rendering.screen, corners, bary, z, slope)
            s, gx, gy, xx, xy, yy = cell_terms(crop.cells[i, j], surface.features, corners, bary, slope,
                                               surface.gram[face])
            gamma = 1.0 / (1.0 + math.exp(min((background_score[i, j] - s) / crop.temperature, 50.0)))
            curvature = gamma * max(s, 0.1)  # the cosine falls from s, not from 1, as the surface moves away
            evidence += max(s - background_score[i, j], 0.0)
            covered += 1.0
            explained += gamma
            rendering.seen[i, j] = gamma
            cosine += gamma * s
            X[0], X[1], X[2] = (j - centre) * z / focal, (i - centre) * z / focal, z
            for k in range(3):
                scaled[k] = size[k] * (bary[0] * vertices[corners[0], k] + bary[1] * vertices[corners[1], k]
                                       + bary[2] * vertices[corners[2], k])
            projection_jacobian(X, state.t, state.R, scaled, focal, J)
            add_point(J, -gamma, gx, gy, curvature, xx, xy, yy, equations)
    complete(equations)
    return evidence, explained, cosine / max(explained, 1e-9), covered
