# SPDX-License-Identifier: Apache-2.0
"""float32 that is float32: no products of ten-bit numbers (TF32), which GPUs since Ampere offer in its place.

A robot's own code may have allowed TF32 for the whole process, and torch itself allows it in convolutions. The solver's
normal equations, projections and warps lose their last digits to it, and the network's features drift from the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Around what launches or captures kernels; usable as a decorator. The process's own choice comes back afterwards.

    Of ``torch.set_float32_matmul_precision`` "medium" comes back as "high", which is the same on a GPU. A captured
    graph keeps the kernels that were chosen at its capture, so replays need it no more.
    """
    before = []
    for setting, name in _settings():
        try:
            before.append((setting, name, getattr(setting, name)))
        except RuntimeError:  # an old setting of torch that the process has overruled with a new one: left alone
            continue
    for setting, name, _ in before:
        setattr(setting, name, "ieee" if name == "fp32_precision" else False)
    try:
        yield
    finally:
        for setting, name, value in before:
            setattr(setting, name, value)


def _settings() -> list[tuple[object, str]]:
    """Where torch is told. 2.9 and later have two sets of names, which must not contradict each other.

    The new ones come last: writing the old ones changes them.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    new = [(matmul, "fp32_precision"), (cudnn.conv, "fp32_precision")] if hasattr(matmul, "fp32_precision") else []
    return [(matmul, "allow_tf32"), (cudnn, "allow_tf32"), *new]
