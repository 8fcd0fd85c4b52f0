# SPDX-License-Identifier: Apache-2.0
"""Smooth average precision of retrieving a surface point in another view (arXiv 2411.19458, after Brown et al. 2020).

With one right answer, the average precision of a query is 1 / rank, and the rank is one plus the number of wrong
answers that are more alike. The count is made differentiable by a steep sigmoid.
"""

from __future__ import annotations

import torch
from torch import Tensor

TEMPERATURE = 0.01
NEGATIVE_BEYOND = 0.1  # of the object's longest side: points nearer than this are neither right nor wrong


def smooth_ap_loss(first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """1 - smooth AP, averaged over the queries.

    Two precisions are averaged, as in the authors' code: against the best possible similarity 1, which pulls pairs
    together, and against the similarity of the right answer, which orders them.

    Args:
        first, second: [N, D] unit-norm features of the same N surface points in two views.
        points: [N, 3] where they lie on the object, in units of its longest side.
    """
    similarity = first @ second.T
    right = similarity.diagonal()[:, None]
    wrong = torch.cdist(points, points) > NEGATIVE_BEYOND
    pulled = _precision(right - 1, similarity - 1, wrong)
    ordered = _precision(1 - right, similarity - right, wrong)
    return (1 - 0.5 * (pulled + ordered)).mean()


def _precision(right: Tensor, others: Tensor, wrong: Tensor) -> Tensor:
    numerator = torch.sigmoid(right[:, 0] / TEMPERATURE) + 1
    return numerator / (numerator + (torch.sigmoid(others / TEMPERATURE) * wrong).sum(dim=1))
