# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: the few hundred small operations of a solve become one launch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3  # runs before a capture, which compile the kernels and fill the allocator


class GraphCache:
    """Calls ``function`` through a CUDA graph per shape of its inputs.

    ``function`` must not look at the values of its tensors. What it returns is overwritten by the next call.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self._function = function
        self._graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, list[Tensor], tuple[Tensor, ...]]] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shape = tuple(tensor.shape for tensor in inputs)
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(inputs)
        graph, buffers, outputs = self._graphs[shape]
        for buffer, tensor in zip(buffers, inputs, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]):
        buffers = [tensor.clone() for tensor in inputs]
        device = inputs[0].device
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._function(*buffers)
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._function(*buffers)
        return graph, buffers, outputs
