# SPDX-License-Identifier: Apache-2.0
"""The smallest Triton kernel: whether Triton can compile and launch anything here.

It builds its launcher with a C compiler against Python's headers and writes it to a cache, none of which ``import
triton`` asks for.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl


def doubled(device: str = "cuda") -> list[float]:
    """[0, 2, 4, 6], without a unit, by way of a kernel; whatever is missing is raised as Triton raises it."""
    values = torch.arange(4, dtype=torch.float32).to(device)
    _double[(1,)](values, COUNT=4)
    return values.tolist()


@triton.jit
def _double(values, COUNT: tl.constexpr):
    at = values + tl.arange(0, COUNT)
    tl.store(at, 2.0 * tl.load(at))
