# SPDX-License-Identifier: Apache-2.0
"""How much of a GPU's memory is used at which moment of a benchmark, as its driver counts it. Needs torch.

torch knows its own tensors only. Engines, CUDA graphs, compiled kernels and the context of the process take as much
again, and on a Jetson all of it is missing from the memory of everything else.
"""

from __future__ import annotations

import importlib.util

from ..gpu.cuda_driver import CudaError, find_gpu


class GpuMemory:
    """Made before anything else is put on the GPU; asks nothing of it but how full it is."""

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self._total, self._used = 0.0, {}
        self.mark("before")
        torch.cuda.reset_peak_memory_stats()

    def mark(self, moment: str) -> None:
        """Note what is used now, when all that was asked of the GPU is done."""
        self._torch.cuda.synchronize()
        free, total = self._torch.cuda.mem_get_info()
        self._total, self._used[moment] = total / 1e6, (total - free) / 1e6

    def report(self) -> dict[str, float]:
        """MB: ``total``, that there are; ``used_<moment>``, by everybody on the GPU, for each moment that was marked;
        ``added_<moment>``, since the first one; ``torch_peak`` and ``torch_reserved`` of torch's own allocator.

        The first moment holds this process's CUDA context, and what other programs use.
        """
        first = self._used["before"]
        return {"total": self._total, **{f"used_{moment}": used for moment, used in self._used.items()},
                **{f"added_{moment}": used - first for moment, used in self._used.items() if moment != "before"},
                "torch_peak": self._torch.cuda.max_memory_allocated() / 1e6,
                "torch_reserved": self._torch.cuda.memory_reserved() / 1e6}


def watched_gpu(device: str) -> GpuMemory | None:
    """The GPU that ``device`` of an estimator may mean; None where there is none, or torch cannot use it."""
    if device not in ("auto", "cuda") or importlib.util.find_spec("torch") is None:
        return None
    try:
        find_gpu()
        return GpuMemory()
    except (CudaError, RuntimeError, AssertionError, ImportError, OSError):  # whoever needs it says what is wrong
        return None
