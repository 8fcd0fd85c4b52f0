# SPDX-License-Identifier: Apache-2.0
"""The solver's loops as nothing but the shapes of their results, for torch's fake tensors."""

from types import SimpleNamespace

import torch

SHAPES = SimpleNamespace(
    gather_scores=lambda evidence, index, points, weight, chosen, samples, place, camera, pad, shift: (
        place.new_empty(place.shape[:3], dtype=torch.int32), place.new_empty(place.shape[:3], dtype=torch.int32)),
    window_terms=lambda odds, vertices, R, t, log_size, crop, camera, weight, sigma: (
        torch.empty_like(weight), weight.new_empty(*weight.shape, 2), weight.new_empty(*weight.shape, 2, 2)),
    rasterise=lambda corners, height, width: (
        corners.new_empty(len(corners), height * width, dtype=torch.int64),
        corners.new_empty(len(corners), height * width, 3), corners.new_empty(len(corners), height * width)),
    compare_cells=lambda rendered, category, cells, background_score, log_size, crop: (
        *(rendered.depth.new_empty(rendered.depth.shape) for _ in range(2)),
        *(rendered.depth.new_empty(*rendered.depth.shape, *rest) for rest in ((3,), (2,), (2, 2)))),
    normal_equations=lambda scaled, R, t, focal, pull, matrix: (
        scaled.new_empty(len(scaled), 9), scaled.new_empty(len(scaled), 9, 9)),
    box_sides=lambda vertices, R, t, log_size, crop, box, trust, camera: (
        t.new_empty(len(t)), t.new_empty(len(t), 9), t.new_empty(len(t), 9, 9)),
    stepped=lambda normal, gradient, data, prior, damping, R, t, log_size: (
        torch.empty_like(R), torch.empty_like(t), torch.empty_like(log_size)))
