# SPDX-License-Identifier: Apache-2.0
"""How the errors of a position change with the evidence and with the proportions that were found.

The most likely slopes under Student's distribution: a pose that is wrong by half a picture must not tell how errors of
right ones grow. Every model counts the same, however many pictures it has.
"""

from __future__ import annotations

import numpy as np
import torch

from .announced import Announced, Errors

FEWEST_MODELS = 5  # of fewer, a slope would tell one model from another and not what is rare from what is common
_FREEDOM = 6.0  # of Student's distribution: how heavy its tails are
_RIDGE, _FLOOR, _FLOOR_PULL = 1e-3, -3.0, 0.01
_FLOOR_BOUNDS = (-7.0, 0.0)


def slopes(announced: Announced, errors: Errors) -> tuple[float, ...]:
    """[8] coefficients of :func:`dinemo_ros.uncertainty.circumstances` in the logarithm of the factor of ``errors``, of
    which the mean is zero; none of fewer than ``FEWEST_MODELS`` models.

    Args:
        errors: of ``announced``, all axes alike.
    """
    _, model, counts = np.unique(announced.asset, return_inverse=True, return_counts=True)
    if len(counts) < FEWEST_MODELS:
        return ()
    found = announced.circumstances[:, 1:]
    mean, spread = found.mean(0), found.std(0)
    used = spread > 1e-6
    x = torch.tensor((found - mean)[:, used] / spread[used])
    share = torch.tensor(1.0 / (len(counts) * counts[model]))
    error, covariance, unit = (torch.tensor(part) for part in (errors.error, errors.covariance, errors.unit))
    slope = torch.zeros(x.shape[1], dtype=torch.double, requires_grad=True)
    level = torch.zeros(2, dtype=torch.double)
    level[1] = _FLOOR
    level.requires_grad_(True)  # logarithms of factor and floor

    def cost() -> torch.Tensor:
        factor, floor = level[0] + x @ slope, torch.exp(level[1].clamp(*_FLOOR_BOUNDS))
        root = torch.linalg.cholesky(covariance + torch.diag_embed((floor * unit) ** 2))
        z = torch.linalg.solve_triangular(root, (error * torch.exp(-factor)[:, None])[..., None], upper=False)[..., 0]
        width = torch.diagonal(root, dim1=1, dim2=2).log().sum(1) + errors.freedom * factor
        tails = 0.5 * (_FREEDOM + errors.freedom) * torch.log1p((z**2).sum(1) / _FREEDOM)
        pull = _RIDGE * (slope**2).sum() + _FLOOR_PULL * (level[1] - _FLOOR) ** 2
        return (share * (width + tails)).sum() + pull

    search = torch.optim.LBFGS([slope, level], lr=0.5, max_iter=100, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        search.zero_grad()
        value = cost()
        value.backward()
        return value

    search.step(step)
    result = np.zeros(found.shape[1])
    result[used] = slope.detach().numpy() / spread[used]
    return tuple(float(f"{value:.4g}") for value in (-result @ mean, *result))
